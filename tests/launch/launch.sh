#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One program under every launcher: does it find its place, share memory, and leave nothing behind?
#
#   launch.sh PART PATH/TO/pergola PATH/TO/launch_job
#
# PART is run (pergola run), hand (PERGOLA_* set by hand, TCP), mpirun, or slurm (a cluster of two
# emulated nodes on this host, with daemons of its own). Runs below a `pergola run -n 1` of its own,
# which gets every process that is left without a parent: so this script can say who they are, and
# they end with it in any case. Exit status 77, with the reason: something is not installed.
set -u
if [[ ${LAUNCH_GUARD:-} != "$PPID" ]]; then
	LAUNCH_WORK=$(mktemp -d)
	export LAUNCH_WORK
	trap 'rm -rf "$LAUNCH_WORK"' EXIT
	# shellcheck disable=SC2016 # $PPID is the inner shell's
	"$2" run -n 1 --timeout 100s -- \
		bash -c 'LAUNCH_GUARD=$PPID exec bash "$@"' launch "$0" "$@"
	exit
fi
part=$1 pergola=$(realpath "$2") job=$(realpath "$3") work=$LAUNCH_WORK
here=$(cd "$(dirname "$0")" && pwd)
unset "${!PERGOLA_@}" "${!PMIX_@}" "${!SLURM_@}" "${!OMPI_@}" "${!LAUNCH_@}"
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
cd "$work" || exit 1
cases=0
failed=0

# Processes of this test that have lost their parent.
orphans() {
	pgrep -P "$PPID" | grep -vx $$
}

end_all() {
	local pid
	for pid in $(jobs -p) $(orphans); do
		kill -9 "$pid" 2>/dev/null
	done
}
trap end_all EXIT

skip() {
	echo "launch.sh $part: skipped: $*"
	exit 77
}

need() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || skip "no $program (ci/deps installs it)"
	done
}

need_pmix() { # in the library
	if PMIX_RANK=0 PMIX_NAMESPACE=none "$job" 1 2>&1 | grep -q "built without PMIx"; then
		skip "this build has no PMIx (cmake -DPERGOLA_PMIX=ON, with libpmix-dev)"
	fi
}

fail() {
	echo "FAIL $name: $*"
	failed=$((failed + 1))
}

now_ms() {
	local t=$EPOCHREALTIME
	echo $((10#${t/./} / 1000))
}

# try NAME COMMAND...: sets status; output in out and err; at most 20 s
try() {
	local began
	name=$1
	shift
	cases=$((cases + 1))
	began=$(now_ms)
	timeout -k 1 20 "$@" >out 2>err </dev/null
	status=$?
	took=$(($(now_ms) - began))
	echo "$name: status $status after $took ms"
	((status != 77)) || skip "$(grep -h "^launch_job: " err || tail -n 1 err)"
}

# want_ok SIZE [TIMES]: every node of a job of SIZE has said that all is well, and nobody else
want_ok() {
	local size=$1 times=${2:-1} expected
	((status == 0)) || fail "exit status $status: $(head -c 1500 err)"
	expected=$(for ((i = 0; i < size; i++)); do
		for ((j = 0; j < times; j++)); do echo "ok $i of $size"; done
	done)
	[[ $(sed 's/ on .*//' out | LC_ALL=C sort -k 2n) == "$expected" ]] ||
		fail "printed: $(cat out)"
}

# want_refused TEXT: the job did not start, and dsm_init()'s error has TEXT
want_refused() {
	((status != 0)) || fail "it ran"
	grep "^launch_job: -[0-9]*: dsm_init: " err out | grep -qF -- "$1" ||
		fail "dsm_init() did not say \"$1\" but: $(head -c 1500 err)"
}

# want_lost NODE: the job ended because of it, and says so
want_lost() {
	((status != 0)) || fail "exit status 0"
	grep -qE "(error: |dsm_error: .*)node $1 was lost" err out ||
		fail "nobody said that node $1 was lost but: $(head -c 1500 err)"
}

want_nothing_left() {
	local i
	for ((i = 0; i < 100; i++)); do
		[[ -z $(orphans) ]] && break
		sleep 0.05
	done
	[[ -z $(orphans) ]] || fail "left: $(ps -o pid,args -p "$(orphans | paste -sd ,)")"
}

want_within_ms() {
	((took <= $1)) || fail "took $took ms, more than $1"
}

# An unused TCP port of this host.
free_port() {
	local port
	for (( ; ; )); do
		port=$((20000 + RANDOM % 10000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo $port
			return
		fi
	done
}

export job
# shellcheck source=tests/launch/part-run.bash
source "$here/part-$part.bash" || exit 2
want_nothing_left
left=$(find "$TMPDIR" -mindepth 1 | head -n 5)
[[ -z $left ]] || fail "files left: $left"
echo "launch.sh $part: $cases cases, $failed failures"
((failed == 0))
