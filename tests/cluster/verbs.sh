#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The programs of tests/cluster and tests/litmus with several nodes on one machine that speak RDMA
# with each other, though they could share memory. In a machine with Soft-RoCE where this one has
# no RDMA (ci/softroce).
#
#   verbs.sh api|memory|random|onesided|loss|litmus BUILD_DIR
#
# Emulated processors are slow, and two nodes' polling threads are all that the machine has: fewer
# steps and more patience than elsewhere. Nothing is left out but work.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
group=$1
build=$(cd "$2" && pwd) || exit 2
if [[ -z ${SOFTROCE_NODE:-} ]]; then
	unset "${!PERGOLA_@}"
	exec "$here/../../ci/softroce" --timeout "${SOFTROCE_LIMIT:-580}" --memory 2048 -- \
		"$here/verbs.sh" "$group" "$build"
fi

export PERGOLA_FABRIC=verbs PERGOLA_LOSS_TIMEOUT=20s
export CHECK_STEPS=40 CHECK_KILLS=6
limit=${VERBS_LIMIT:-400}
failed=0

# run NODES PROGRAM [ARGUMENT...]
run() {
	local nodes=$1 program=$2 status=0 begun=$EPOCHREALTIME
	shift 2
	"$build/src/cli/pergola" run -n "$nodes" --timeout "$limit" "$build/tests/$program" "$@" \
		>/tmp/out 2>&1 || status=$?
	local ms=$(((${EPOCHREALTIME/./} - ${begun/./}) / 1000))
	if ((status == 0)); then
		echo "ok: ${PERGOLA_MANAGER:-fixed} manager, $nodes nodes:" \
			"${program##*/} $*, $ms ms"
	else
		echo "FAIL: ${PERGOLA_MANAGER:-fixed} manager, $nodes nodes: ${program##*/} $*," \
			"status $status after $ms ms"
		tail -n 40 /tmp/out
		failed=1
	fi
}

# Both kinds of manager, unless the environment has chosen.
managers() {
	local manager
	for manager in fixed central; do
		PERGOLA_MANAGER=$manager "$@"
	done
}

case $group in
api)
	managers run 2 cluster/cluster_api_job
	run 4 cluster/cluster_api_job
	managers run 2 cluster/cluster_api_sync
	run 2 cluster/cluster_syscalls
	;;
memory)
	run 2 cluster/cluster_api_memory
	run 2 cluster/cluster_sharing
	;;
random)
	run 2 cluster/cluster_threads
	managers run 2 cluster/cluster_random
	CHECK_STEPS=15 run 4 cluster/cluster_random
	;;
onesided)
	export PERGOLA_LOSS_TIMEOUT=60s
	PERGOLA_MANAGER=central run 3 cluster/cluster_onesided
	grep "work requests" /tmp/out
	PERGOLA_MANAGER=central run 4 cluster/cluster_onesided
	PERGOLA_MANAGER=central run 3 cluster/cluster_onesided dirty
	;;
loss)
	"$build/tests/cluster/cluster_loss" "$build/src/cli/pergola" \
		"$build/tests/cluster/cluster_loss_job" || failed=1
	;;
litmus)
	managers run 2 litmus/litmus --iterations 16
	run 4 litmus/litmus --iterations 32
	;;
*)
	echo "there is no $group"
	exit 2
	;;
esac
exit "$failed"
