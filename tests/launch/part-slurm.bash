# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# Sourced by launch.sh: Slurm with two emulated nodes on this host, n1 and n2. Its three kinds of
# daemon run as this user, on ports of 127.0.0.1 and sockets in $work, and not as services: nothing
# of a Slurm that this host may have is used or touched. Single quotes hold what the ranks' shells
# expand.

PATH=$PATH:/usr/sbin
need munged slurmctld slurmd srun sinfo
need_pmix

daemons=()

configure() {
	local user host
	user=$(id -un) host=$(uname -n)
	export SLURM_CONF=$work/slurm.conf
	mkdir -p state spool.n1 spool.n2 "$TMPDIR/n1" "$TMPDIR/n2"
	(umask 077 && head -c 1024 /dev/urandom >munge.key)
	# TmpFS: Slurm's PMIx plugin makes directories there that two nodes must not share.
	cat >"$SLURM_CONF" <<-END
		ClusterName=launch
		SlurmctldHost=$host(127.0.0.1)
		SlurmctldPort=$(free_port)
		SlurmUser=$user
		SlurmdUser=$user
		AuthType=auth/munge
		AuthInfo=socket=$work/munge.socket
		CredType=cred/munge
		MpiDefault=none
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		SwitchType=switch/none
		JobAcctGatherType=jobacct_gather/none
		AccountingStorageType=accounting_storage/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_CPU
		ReturnToService=2
		StateSaveLocation=$work/state
		SlurmdSpoolDir=$work/spool.%n
		TmpFS=$TMPDIR/%n
		SlurmctldPidFile=$work/slurmctld.pid
		SlurmdPidFile=$work/slurmd.%n.pid
		SlurmdParameters=config_overrides
		NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$(free_port) CPUs=8
		NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$(free_port) CPUs=8
		PartitionName=all Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
	END
}

# daemon NAME COMMAND...: in the background; its output in NAME.log
daemon() {
	local log=$1.log
	shift
	"$@" >"$log" 2>&1 </dev/null &
	daemons+=($!)
}

start_daemons() {
	daemon munged munged --foreground --force --socket="$work/munge.socket" \
		--key-file="$work/munge.key" --pid-file="$work/munged.pid" \
		--log-file="$work/munged.own.log" --seed-file="$work/munged.seed"
	wait_until "munged's socket" test -S munge.socket
	daemon slurmctld slurmctld -D
	daemon n1 slurmd -D -N n1
	daemon n2 slurmd -D -N n2
	wait_until "both nodes to be idle" both_idle
}

both_idle() {
	[[ $(timeout 5 sinfo -h -o '%D %T' 2>/dev/null) == "2 idle" ]]
}

wait_until() { # WHAT COMMAND...: at most 20 s
	local what=$1 i
	shift
	for ((i = 0; i < 200; i++)); do
		"$@" && return
		sleep 0.1
	done
	echo "waited 20 s for $what"
	tail -n 20 ./*.log
	exit 1
}

# Ends the daemons, last started first, each within 10 s.
stop_daemons() {
	local i j
	name="stopping the daemons"
	for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
		kill "${daemons[i]}" 2>/dev/null || fail "one had ended before"
		for ((j = 0; j < 100; j++)); do
			kill -0 "${daemons[i]}" 2>/dev/null || break
			sleep 0.1
		done
		if kill -9 "${daemons[i]}" 2>/dev/null; then
			fail "one did not end by itself"
		fi
		wait "${daemons[i]}" 2>/dev/null
	done
	rm -rf "$TMPDIR/n1" "$TMPDIR/n2"
}

# The job's nodes were on both of Slurm's.
want_both_nodes() {
	local node
	for node in n1 n2; do
		grep -q " on $node\$" out || fail "nobody was on $node: $(cat out)"
	done
}

configure
srun --mpi=list 2>&1 | grep -q pmix || skip "this Slurm has no mpi/pmix (slurm-wlm-basic-plugins)"
start_daemons
try "srun --mpi=pmix, two nodes" srun --mpi=pmix -N 2 -n 4 "$job" 4
want_ok 4
want_both_nodes
try "ids in reverse" srun --mpi=pmix -N 2 -n 2 "$job" 2 reverse
want_ok 2
want_both_nodes
try "one rank" srun --mpi=pmix -n 1 "$job" 1
want_ok 1
try "pergola run below srun" srun -n 1 "$pergola" run -n 2 "$job" 2
want_ok 2
try "a node is killed" srun --mpi=pmix -N 2 -n 3 "$job" 3 -1 2
want_lost 2
want_within_ms 8000
try "srun without PMIx" srun --mpi=none -n 2 "$job" 2
want_refused "srun started this process as one of 2 (SLURM_STEP_NUM_TASKS), without PMIx"
want_refused 'srun --mpi=pmix'
try "one rank alone" srun --mpi=none -n 1 "$job" 1
want_ok 1
stop_daemons
