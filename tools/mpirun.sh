#!/usr/bin/env bash
# mpirun with what a search wants of the MPI at hand: tools/mpirun.sh -np 64 python -m hpcnas.search
#
# Open MPI 5: a lost rank does not end the others (ULFM). All Open MPIs: no binding, since a rank bound to one core would share
# it with Horovod's thread and torch's; HPCNAS_BIND=core (or any --bind-to) overrules; and that thread, which waits for its mates
# a thousand times a second, gives way to training meanwhile. Other MPIs: as they are.
#   HPCNAS_MPIRUN_ARGS   more arguments, such as "--map-by ppr:4:node"
set -euo pipefail
version=$(mpirun --version 2>/dev/null | head -n 1)
flags=()
case $version in
*"Open MPI"*)
    export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
    flags=(--oversubscribe --bind-to "${HPCNAS_BIND:-none}")
    major=${version##*) }
    [ "${major%%.*}" -lt 5 ] || flags+=(--with-ft ulfm)
    # In containers, where everybody is root, it wants to be told twice.
    if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi ;;
esac
# shellcheck disable=SC2086
exec mpirun ${flags[@]+"${flags[@]}"} ${HPCNAS_MPIRUN_ARGS:-} "$@"
