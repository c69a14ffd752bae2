#!/usr/bin/env bash
# A throw-away Slurm of several made-up nodes on this machine, loopback only, for tests/test_slurm.py.
#   tests/slurm_lab.sh install | up [NODES [CPUS]] | down          root; refuses where there is a Slurm already
set -euo pipefail
lab=/run/hpcnas-slurm conf=/etc/slurm/slurm.conf mark="# hpcnas: a throw-away Slurm"
ours() { [ -f $conf ] && head -n 1 $conf | grep -qF "$mark"; }
fail() { echo "slurm_lab: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "needs root"

install() {
    # Slurm's PMIx plugin looks for libpmix.so, which Debian has in the package for developers.
    command -v slurmctld slurmd munged >/dev/null && dpkg -s libpmix-dev >/dev/null 2>&1 && return
    # Daemons of the packages must not start by themselves with no configuration.
    local policy=/usr/sbin/policy-rc.d made=
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; made=1; }
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends slurm-wlm munge libpmix-dev >/dev/null
    [ -z "$made" ] || rm $policy
}

up() {
    local nodes=${1:-2} cpus=${2:-4} host
    host=$(hostname -s)
    ! pgrep -x slurmctld >/dev/null || fail "a slurmctld is running already"
    [ ! -e $conf ] || ours || fail "$conf is somebody's own"
    mkdir -p $lab/state /etc/slurm
    getent hosts "$host" >/dev/null || echo "127.0.0.1 $host # hpcnas" >> /etc/hosts
    cat > $conf <<CONF
$mark
ClusterName=hpcnas
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPidFile=$lab/slurmctld.pid
SlurmdPidFile=$lab/slurmd-%n.pid
StateSaveLocation=$lab/state
SlurmdSpoolDir=$lab/spool-%n
TmpFS=$lab/tmp-%n
SlurmctldLogFile=$lab/slurmctld.log
SlurmdLogFile=$lab/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc=$lab/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0
ReturnToService=2
NodeName=lab[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[18100-$((18100 + nodes - 1))] CPUs=$cpus State=UNKNOWN
PartitionName=lab Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=long Nodes=ALL MaxTime=INFINITE State=UP
PartitionName=short Nodes=ALL MaxTime=INFINITE State=UP
CONF
    if ! munge -n </dev/null 2>/dev/null | unmunge >/dev/null 2>&1; then
        [ -s /etc/munge/munge.key ] || { head -c 128 /dev/urandom > /etc/munge/munge.key; chown munge: /etc/munge/munge.key; chmod 400 /etc/munge/munge.key; }
        mkdir -p /run/munge && chown munge: /run/munge && chmod 755 /run/munge
        runuser -u munge -- munged --pid-file=/run/munge/hpcnas.pid
    fi
    slurmctld -c
    for node in $(seq "$nodes"); do mkdir -p $lab/{spool,tmp}-lab"$node"; slurmd -N lab"$node"; done
    for _ in $(seq 60); do [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = "$nodes" ] && return; sleep 0.5; done
    fail "the nodes did not come up; see $lab"
}

down() {
    ours || return 0
    scancel --full --partition=lab 2>/dev/null || true
    for file in $lab/*.pid /run/munge/hpcnas.pid; do [ ! -s "$file" ] || kill "$(cat "$file")" 2>/dev/null || true; done
    sleep 1
    rm -rf $conf $lab
    sed -i '/ # hpcnas$/d' /etc/hosts 2>/dev/null || true
}

"$@"
