#!/usr/bin/env bash
# mpirun with what a search wants of the MPI at hand: tools/mpirun.sh -np 64 python -m hpcnas.search
#
# Open MPI 5: a lost rank does not end the others (ULFM). All Open MPIs: no binding, since a rank bound to one core would share
# it with Horovod's thread, and the cores of rank 0, which sleeps, would be idle; and that thread, which waits for its mates a
# thousand times a second, gives way to training meanwhile. Other MPIs: as they are.
#   HPCNAS_BIND          core or hwthread: bind each rank, under Slurm to as many as --cpus-per-task says; or what --bind-to knows
#   HPCNAS_MPIRUN_ARGS   more arguments, such as "--map-by ppr:4:node"
set -euo pipefail
version=$(mpirun --version 2>/dev/null) || true
version=${version%%$'\n'*}
flags=()
case $version in
*"Open MPI"*)
    export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
    bind=${HPCNAS_BIND:-none}
    flags=(--oversubscribe --bind-to "$bind")
    cpus=${SLURM_CPUS_PER_TASK:-${SRUN_CPUS_PER_TASK:-}}
    case $cpus in "" | 1 | *[!0-9]*) cpus= ;; esac
    case $bind:" ${HPCNAS_MPIRUN_ARGS:-} $* " in
    *" --map-by "*) ;;
    core:*) flags+=(${cpus:+--map-by "slot:PE=$cpus"}) ;;
    hwthread:*) flags+=(${cpus:+--map-by "slot:PE=$cpus:HWTCPUS"}) ;;
    esac
    major=${version##*) }
    [ "${major%%.*}" -lt 5 ] || flags+=(--with-ft ulfm)
    # In containers, where everybody is root, it wants to be told twice.
    if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi ;;
esac
# shellcheck disable=SC2086
exec mpirun ${flags[@]+"${flags[@]}"} ${HPCNAS_MPIRUN_ARGS:-} "$@"
