#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Does the runner of the litmus tests notice? Behind memory that is broken, in each of six ways,
# shapes that tell must end with the outcome that their files rule out, and the run with status 1.
# Threads have to meet in the right moment for that, so what has not come about is tried again.
# (That every shape can fail at all is for the unit test of the litmus files.)
#
#   broken.sh PERGOLA LITMUS_BROKEN
set -uo pipefail
pergola=$1
litmus=$2
rounds=${BROKEN_ROUNDS:-12}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
export PERGOLA_HOLD=0

declare -A telling=(
	[all-exchanged]="MP SB LB R S 2+2W WRC 3.2W"
	[one-exchanged]="MP CoWW CoRW2"
	[stores-late]="SB R SB+rmws"
	[loads-stale]="MP CoRR"
	[updates-torn]="Tickets4 CAS2 Lock"
	[thin-air]="LB+datas LB+ctrls"
)

# play MODE SHAPE...: $left is then what has not come about.
play() {
	local mode=$1 status=0 shape
	shift
	"$pergola" run -n 2 --timeout 60 "$litmus" --broken "$mode" --placement own-pages \
		--iterations 256 "$@" >"$out" 2>&1 || status=$?
	if ((status == 77)); then
		grep -h -m 1 skipped "$out"
		exit 77
	fi
	left=()
	for shape in "$@"; do
		sed -n 's/: VIOLATION: .* (the forbidden outcome)$//p' "$out" |
			grep -q -x -F "$shape" || left+=("$shape")
	done
	if ((status > 1 || (status == 0 && ${#left[@]} < $#))); then
		echo "FAIL: $mode: status $status"
		tail -n 20 "$out"
		exit 1
	fi
}

for mode in "${!telling[@]}"; do
	read -r -a left <<<"${telling[$mode]}"
	for ((round = 1; round <= rounds && ${#left[@]} > 0; round++)); do
		play "$mode" "${left[@]}"
	done
	if ((${#left[@]} > 0)); then
		echo "FAIL: $mode: no forbidden outcome of ${left[*]}"
		exit 1
	fi
	echo "ok: $mode: noticed by ${telling[$mode]}, $((round - 1)) runs"
done
