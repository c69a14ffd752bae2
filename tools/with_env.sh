#!/usr/bin/env bash
# Run a command inside the virtual environment: tools/with_env.sh VENV COMMAND...
set -euo pipefail
venv=$(cd "$1" && pwd); shift
export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
# As root (containers) Open MPI wants to be told twice.
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
# Threads are decided by the programs (hpcnas/core/threads.py). But numpy's library of linear algebra, which has little to do here,
# would start a thread for each core as it is loaded: 64 ranks on 64 cores are 4,096, often more than a user may have. Elsewhere
# than on x86 torch uses the same library.
if [ "$(uname -m)" = x86_64 ]; then export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"; fi
exec "$@"
