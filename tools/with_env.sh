#!/usr/bin/env bash
# Run a command inside the virtual environment: tools/with_env.sh VENV COMMAND...
set -euo pipefail
venv=$(cd "$1" && pwd); shift
export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
# As root (containers) Open MPI wants to be told twice. One thread a rank, unless told otherwise: ranks fill the cores.
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$@"
