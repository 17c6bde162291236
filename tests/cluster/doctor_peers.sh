#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `pergola doctor` among several processes of this host: under the launchers that are here, and with
# --hosts through a stand-in for ssh; what is lacking, what is refused, and that it ends when a rank
# does.
#
#   doctor_peers.sh PATH/TO/pergola
set -u
pergola=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset "${!PERGOLA_@}" "${!PMIX_@}"
out=$work/out
failed=0

fail() {
	echo "FAIL $*"
	sed 's/^/  | /' "$out"
	failed=1
}

try() { # SECONDS COMMAND...: sets status; output in $out
	local limit=$1
	shift
	timeout -k 1 "$limit" "$@" >"$out" 2>&1
	status=$?
}

matrix() { # TITLE: the lines under it
	sed -n "/^$1/,/^\$/p" "$out" | tail -n +3
}

# want_matrices RANKS: both are whole, over shm, and nobody reads from itself.
want_matrices() {
	local ranks=$1 title row
	for title in "one-sided reads of 4 KiB, median, us" "one-sided reads of 1 MiB, MiB.s"; do
		[[ $(matrix "$title" | grep -c .) == "$ranks" ]] || fail "$title: not $ranks rows"
		for ((row = 0; row < ranks; row++)); do
			matrix "$title" | grep -qE "^ +$row( +[0-9.]+s){$row} +\.( +[0-9.]+s){$((
				ranks - row - 1))} *$" || fail "$title: row $row"
		done
	done
}

# Under `pergola run`, checks included, each host once.
try 60 "$pergola" run -n 3 "$pergola" doctor
[[ $status == 0 ]] || fail "run -n 3: status $status"
want_matrices 3
[[ $(grep -c '^ok    settings: ' "$out") == 1 ]] || fail "one host is not checked once"
[[ $(grep -cE "^ +[0-2]  [0-9.]+ [KMGT]iB .* $(uname -n)" "$out") == 3 ]] ||
	fail "no memory of ranks"

# The measurement alone.
try 60 "$pergola" run -n 2 "$pergola" doctor --peers
[[ $status == 0 ]] || fail "--peers: status $status"
want_matrices 2
grep -q '^ok ' "$out" && fail "--peers checks hosts"
try 10 "$pergola" doctor --peers
[[ $status == 2 ]] || fail "--peers alone: status $status"

# Many.
try 100 "$pergola" run -n 17 "$pergola" doctor --peers
[[ $status == 0 ]] || fail "17 ranks: status $status"
[[ $(grep -cE '^ +16( +[0-9.]+s){16} *$' "$out") == 2 ]] || fail "17 ranks: row 16"

# A launcher that is not ours. What libpmix forgets is not ours either.
echo "leak:libpmix" >"$work/lsan"
export LSAN_OPTIONS=suppressions=$work/lsan:print_suppressions=0
if mpirun --version >/dev/null 2>&1 && grep -q '^ok    PMIx: ' <("$pergola" doctor); then
	try 60 mpirun --allow-run-as-root --oversubscribe -n 3 "$pergola" doctor --peers
	[[ $status == 0 ]] || fail "mpirun: status $status"
	want_matrices 3
else
	echo "not tried: mpirun is not here, or PMIx is not in this build"
fi

# Hosts. The stand-in takes the words as ssh does, and gives them to a shell with an empty
# environment; it keeps what anybody could read of the command line.
cat >"$work/rsh" <<-'END'
	#!/bin/bash
	host=$1
	shift
	echo "$host $*" >>"${0%/*}/words"
	[[ $host == [1]27.0.0.9 ]] && exit 255
	exec env -i PATH="$PATH" sh -c "$*"
END
chmod +x "$work/rsh"
try 60 "$pergola" doctor --hosts localhost,nobody@localhost --rsh "$work/rsh"
[[ $status == 0 ]] || fail "--hosts: status $status"
want_matrices 2
grep -q '^starting rank 0 on localhost, rank 1 on nobody@localhost$' "$out" || fail "--hosts: who"
[[ $(grep -cE "^(nobody@)?localhost .*pergola' doctor --join$" "$work/words") == 2 ]] ||
	fail "--hosts: $(<"$work/words")"
grep -qE '[0-9a-f]{32}' "$work/words" && fail "the secret can be read in the process list"

# One that cannot be reached ends the others, within two seconds.
began=$SECONDS
try 30 "$pergola" doctor --hosts localhost,127.0.0.9 --rsh "$work/rsh"
[[ $status == 255 ]] || fail "a host out of reach: status $status"
grep -q 'rank 1 .* exited with status 255' "$out" || fail "a host out of reach is not named"
((SECONDS - began < 10)) || fail "a host out of reach: $((SECONDS - began)) s"

for hosts in "" "a,,b" "a;b" "-oProxyCommand=x" "a,\$(x)"; do
	try 10 "$pergola" doctor --hosts "$hosts" --rsh "$work/rsh"
	[[ $status == 2 ]] || fail "--hosts '$hosts': status $status"
done
try 10 "$pergola" doctor --rsh x
[[ $status == 2 ]] || fail "--rsh alone: status $status"
try 10 "$pergola" doctor --join <<<"PATH=/nowhere"
[[ $status == 2 ]] || fail "--join takes what is no setting: status $status"

# A rank that dies in the middle of about three seconds: the others end, and say of whom.
PERGOLA_ON_LOSS=error timeout -k 1 60 "$pergola" run -v -n 6 \
	"$pergola" doctor --peers >"$out" 2>&1 &
job=$!
for ((i = 0; i < 500; i++)); do
	grep -q '^rank  memory' "$out" && break
	sleep 0.02
done
victim=$(sed -nE 's/^pergola: rank 2 is pid ([0-9]+).*/\1/p' "$out")
kill -KILL "$victim" || fail "no rank 2 to kill"
began=$SECONDS
wait "$job"
status=$?
[[ $status == 137 ]] || fail "a rank was killed: status $status"
grep -q "rank 2 on .* is gone" "$out" || fail "the lost rank is not named"
((SECONDS - began < 15)) || fail "a rank was killed: $((SECONDS - began)) s"

# Without any RDMA: no failure, unless it is asked for.
if [[ ! -e /sys/class/infiniband ]]; then
	try 40 "$pergola" doctor
	grep -qE '^warn  RDMA devices: none.* — ' "$out" || fail "no word of the lack of devices"
	PERGOLA_FABRIC=verbs try 40 "$pergola" doctor
	[[ $status == 1 ]] || fail "verbs asked for and not there: status $status"
	grep -qE '^FAIL  RDMA devices: none.* — .*modprobe rdma_rxe' "$out" || fail "no remedy"
	grep -q '^FAIL  verbs fabric: ' "$out" || fail "the verbs fabric does not fail"
	PERGOLA_FABRIC=verbs try 40 "$pergola" run -n 3 "$pergola" doctor
	[[ $status == 1 ]] || fail "no way to join: status $status"
	[[ $(grep -c "^$(uname -n): FAIL  RDMA devices: " "$out") == 1 ]] || fail "no reason once"
fi
echo "doctor_peers: $failed failures"
exit $failed
