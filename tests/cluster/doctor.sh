#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `pergola doctor`: its lines, its status, and that it finds what is made wrong on purpose.
#
#   doctor.sh PATH/TO/pergola
set -u
pergola=$1
out=$(mktemp)
trap 'rm -f "$out"' EXIT
unset "${!PERGOLA_@}"
failed=0

fail() {
	echo "FAIL $*"
	failed=1
}

doctor() { # ARGUMENT...: sets status
	timeout -k 1 40 "$pergola" doctor "$@" >"$out" 2>&1
	status=$?
}

want_fail() { # NAME TEXT: that check fails, with this in its line, and a remedy
	[[ $status == 1 ]] || fail "$1: exit status $status, not 1"
	grep -F "FAIL  $1: " "$out" | grep -F "$2" | grep -qF ' — ' ||
		fail "$1: no such line: $(grep -F "$1" "$out")"
}

PERGOLA_HOLD=long doctor
want_fail settings 'PERGOLA_HOLD: setting hold: "long" is not a time'

(ulimit -n 100; doctor -n 1000; exit "$status")
status=$?
want_fail "open files" "hard limit 100, for 1000 ranks"

PERGOLA_DELIVERY=thread doctor
grep -q '^ok    delivery of page faults: thread' "$out" || fail "delivery: $(cat "$out")"
if [[ $status == 0 ]]; then
	grep -qE '^ok    trial job of 2 ranks: works' "$out" ||
		fail "no trial by thread: $(cat "$out")"
fi

doctor
default=$("$pergola" info | sed -n 's/^delivery  *\([a-z]*\) .*/\1/p')
grep -q "^ok    delivery of page faults: $default" "$out" || fail "delivery: $(cat "$out")"
[[ $(grep -cE '^(ok|warn|FAIL)  +[^:]+: ' "$out") -ge 15 ]] || fail "too few lines: $(cat "$out")"
if [[ $status == 0 ]]; then
	grep -qE '^ok    trial job of 2 ranks: works; .* takes [0-9.]+ us$' "$out" ||
		fail "no trial: $(cat "$out")"
	grep -q '^FAIL' "$out" && fail "a check failed and the status is 0"
elif [[ $status == 1 ]]; then
	grep -q '^FAIL' "$out" || fail "the status is 1 and no check failed"
else
	fail "exit status $status"
fi
if ((failed == 0 && status == 1)); then
	echo "skipped: this machine cannot run a job:"
	grep '^FAIL' "$out"
	exit 77
fi
echo "doctor: $failed failures"
exit $failed
