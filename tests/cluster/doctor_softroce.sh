#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `pergola doctor` where there is RDMA: on two machines with Soft-RoCE, two ranks on each, so that
# half of the pairs are joined by shm and half by verbs; beside perftest's ib_read_lat.
#
#   doctor_softroce.sh PATH/TO/pergola
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pergola=$1
softroce=$here/../../ci/softroce

die() {
	echo "FAIL $*"
	sed 's/^/  | /' "$out"
	exit 1
}

# Inside a machine: its two ranks of the job, started by hand.
if [[ ${2:-} == inside ]]; then
	read -ra addresses <<<"$SOFTROCE_ADDRS"
	status=0
	export PERGOLA_SIZE=4 PERGOLA_ROOT=${addresses[0]}:7700 PERGOLA_CONNECT_TIMEOUT=120s
	export PERGOLA_LOSS_TIMEOUT=20s # the machines are emulated, and stand still at times
	PERGOLA_SECRET=$(printf '5eed%.0s' {1..16})
	export PERGOLA_SECRET
	PERGOLA_RANK=$((2 * SOFTROCE_NODE)) timeout 240 "$pergola" doctor &
	first=$!
	PERGOLA_RANK=$((2 * SOFTROCE_NODE + 1)) timeout 240 "$pergola" doctor || status=$?
	wait "$first" || status=$?
	((SOFTROCE_NODE > 0)) || "$pergola" info | awk '/^(device|near) / && n++ < 2'
	exit "$status"
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT
unset "${!PERGOLA_@}" "${!PMIX_@}"
status=0
"$softroce" --nodes 2 --timeout 400 -- "$here/doctor_softroce.sh" "$pergola" inside \
	>"$out" 2>&1 || status=$?
if ((status == 77)); then
	cat "$out"
	exit 77
fi
((status == 0)) || die "status $status"
if grep -q "verbs fabric: not in this build" "$out"; then
	echo "skipped: the verbs fabric is not in this build"
	exit 77
fi
sed -i 's/^\[0\] //' "$out" # softroce's mark of machine 0
for line in 'RDMA port rxe0:1: ACTIVE, Ethernet' \
	'RDMA addresses of rxe0:1: RoCE v2 GIDs for IPv4 1' \
	'RDMA MTU of rxe0:1: 4096' 'Soft-RoCE: rdma_rxe is loaded' \
	'RDMA modules: ib_uverbs loaded, rdma_cm loaded, rdma_ucm loaded' \
	'RDMA device files: rdma_cm and 1 of uverbs' 'locked memory: limit unlimited' \
	'verbs fabric: works on rxe0:1, Ethernet, address '; do
	grep -qF "ok    $line" "$out" || die "no line: $line"
done
grep -qE '^device     rxe0:1, Ethernet, address [0-9.]+, MTU 4096$' "$out" || die "info: no device"

matrix() { # TITLE: the lines under it
	sed -n "/^$1/,/^\$/p" "$out" | tail -n +3
}

# check TITLE ROW PATTERN
check() {
	matrix "$1" | grep -qE "^ +$2$3 *\$" || die "$1: row $2"
}

s='( +[0-9.]+s)' v='( +[0-9.]+v)' none='( +-)' self='( +\.)'
for title in "one-sided reads of 4 KiB, median, us" "one-sided reads of 1 MiB, MiB.s"; do
	check "$title" 0 "$self$s$v$v"
	check "$title" 1 "$s$self$v$v"
	check "$title" 2 "$v$v$self$s"
	check "$title" 3 "$v$v$s$self"
done
title="for comparison, perftest's ib_read_lat of 4 KiB"
if grep -q '^ib_read_lat is not installed' "$out"; then
	echo "not compared: no perftest"
else
	check "$title" 0 "$self$none$v$v"
	check "$title" 1 "$none$self$v$v"
fi
sed -n '/^rank  memory/,$p' "$out"
