#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `pergola run` with small shell programs as ranks: exit status, environment, output, input,
# signals, and that no process is left behind, however the job ends.
#
#   launcher.sh PATH/TO/pergola
#
# Single quotes hold what the ranks' shells expand:
# shellcheck disable=SC2016
set -u
pergola=$1
[[ $pergola == /* ]] || pergola=$PWD/$pergola
manual=$(cd "$(dirname "$0")/../../docs/man" && pwd)/pergola.7
work=$(mktemp -d)
stubborn=$work.stubborn
launcher=
# A launcher killed by -9 takes its ranks with it.
trap '[[ -z $launcher ]] || kill -9 $launcher; rm -rf "$work" "$stubborn" "$stubborn".signals' EXIT
cd "$work" || exit 1
unset "${!PERGOLA_@}"
cases=0
failed=0

fail() {
	echo "FAIL $name: $*"
	failed=$((failed + 1))
}

now_ms() {
	local t=$EPOCHREALTIME
	echo $((10#${t/./} / 1000))
}

# begin NAME: a case; its files are out and err
begin() {
	name=$1
	cases=$((cases + 1))
	rm -rf ./*
	began=$(now_ms)
}

# run ARGUMENT...: pergola with those; sets status
run() {
	timeout -k 1 20 "$pergola" "$@" >out 2>err
	status=$?
}

want_status() {
	[[ $status == "$1" ]] || fail "exit status $status, not $1: $(head -c 500 err)"
}

want_in() { # FILE TEXT
	grep -qF -- "$2" "$1" || fail "no \"$2\" in $1: $(head -c 500 "$1")"
}

# Bounds are those of a machine that has time for us. By how much this one has not is measured at
# once, with ten short sleeps, and given on top.
want_within_ms() {
	local took=$(($(now_ms) - began)) start i limit
	((took <= $1)) && return
	start=$(now_ms)
	for i in {1..10}; do
		sleep 0.05
	done
	limit=$(($1 * ($(now_ms) - start) / 500))
	((took <= limit)) || fail "took $took ms, more than $1 ($limit on so busy a machine)"
}

# wait_for COMMAND...: until it succeeds, at most 5 s
wait_for() {
	local i
	for ((i = 0; i < 500; i++)); do
		"$@" 2>/dev/null && return 0
		sleep 0.01
	done
	fail "waited 5 s for: $*"
	return 1
}

files() { # COUNT GLOB: so many files of that name are there and not empty
	local have=0 file
	for file in ./$2; do
		[[ -s $file ]] && have=$((have + 1))
	done
	((have >= $1))
}

reap() { # the launcher in the background; sets status
	wait "$launcher"
	status=$?
	launcher=
}

gone() { # PID: ended, or a zombie that waits for another parent
	local stat
	read -r stat <"/proc/$1/stat" || return 0
	[[ ${stat##*) } == Z* ]]
}

want_gone() { # FILE...: of pids
	local file pid
	for file in "$@"; do
		pid=$(<"$file")
		wait_for gone "$pid" || kill -9 "$pid"
	done
}

# ---- exit status ----

begin "all succeed"
run run -n 4 -- true
want_status 0
[[ ! -s out && ! -s err ]] || fail "it said something: $(cat out err)"

begin "the status of the rank that fails"
run run -n 3 sh -c '[ $PERGOLA_RANK = 1 ] && exit 7; sleep 0.3'
want_status 7
want_in err "pergola: rank 1 (pid "
want_in err "exited with status 7; ending the job"

begin "the first that fails, not a later one"
run run -n 3 sh -c 'sleep 0.$((PERGOLA_RANK * 2 + 1)); exit $((PERGOLA_RANK + 10))'
want_status 10
[[ $(wc -l <err) == 1 ]] || fail "more than one line: $(cat err)"

begin "a rank that ends because it lost another is not blamed"
run run -n 2 sh -c '[ $PERGOLA_RANK = 0 ] && exit 98; sleep 0.3; kill -SEGV $$'
want_status 139
want_in err "rank 1 (pid "
want_in err "was killed by signal 11"

begin "... unless no other turns up"
run run -n 2 sh -c '[ $PERGOLA_RANK = 0 ] && exit 98; exit 0'
want_status 98
want_in err "rank 0 (pid "

begin "a program that is not there"
run run -n 3 no-such-program
want_status 127
want_in err "no-such-program: there is no such program in PATH"

begin "a program that cannot be executed"
echo 'echo never' >script
run run -n 2 ./script
want_status 126
want_in err "./script cannot be executed: Permission denied"

# ---- bad command lines ----

bad() { # TEXT ARGUMENT...
	local text=$1
	shift
	begin "bad command line: $*"
	run "$@"
	want_status 2
	want_in err "$text"
	[[ ! -e ran ]] || fail "ranks ran"
}
bad 'there is no subcommand "rum"' rum
bad 'is missing' run touch ran
bad 'program to start is missing' run -n 2
bad '-n "0" is not a number of nodes from 1 to 1024' run -n 0 touch ran
bad '-n "1025"' run -n 1025 touch ran
bad '-n "2x"' run -n 2x touch ran
bad '-n "-2"' run -n -2 touch ran
bad 'there is no option --lable' run --lable -n 2 touch ran
bad '-n needs a value' run -n
bad '--timeout "soon" is not a time' run -n 2 --timeout soon touch ran
bad '--timeout "0"' run -n 2 --timeout 0 touch ran
bad '"verb" is not one of auto, shm' run -n 2 --fabric verb touch ran
bad 'did you mean "manager"' run -n 2 --set managers=fixed touch ran
bad 'setting credits: "3" is not a power of two' run -n 2 --set credits=3 touch ran
bad 'is not NAME=VALUE' run -n 2 --set credits touch ran
bad "setting rank is the launcher's own" run -n 2 --set rank=1 touch ran
bad 'info takes no arguments' info all
bad 'doctor has no option "--fast"' doctor --fast

begin "a bad value in the environment"
PERGOLA_HOLD=long run run -n 2 touch ran
want_status 2
want_in err 'PERGOLA_HOLD: setting hold: "long" is not a time'

begin "--help and --version"
run --help
want_status 0
want_in out "usage: pergola run"
run run --help
want_status 0
want_in out "usage: pergola run"
run --version
want_status 0
grep -qE '^pergola [0-9]+\.[0-9]+\.[0-9]+$' out || fail "version: $(cat out)"

# ---- environment ----

begin "what the ranks are told"
cat >tell.sh <<'END'
echo "$PERGOLA_SIZE $PERGOLA_ROOT $PERGOLA_JOB $PERGOLA_SECRET" >rank$PERGOLA_RANK
echo "$PERGOLA_HOLD $PERGOLA_CREDITS $PERGOLA_FABRIC" >>rank$PERGOLA_RANK
END
PERGOLA_CREDITS=16 PERGOLA_RANK=77 PERGOLA_SIZE=99 \
	run run -n 3 --set hold=5us --fabric shm -- sh ./tell.sh
want_status 0
grep -qE '^3 @pergola-([0-9a-f]{16}) \1 [0-9a-f]{64}$' rank0 || fail "rank 0: $(cat rank0)"
[[ $(tail -n 1 rank0) == "5us 16 shm" ]] || fail "rank 0: $(cat rank0)"
[[ $(sort -u rank? | wc -l) == 2 ]] || fail "the ranks are told different things"
read -r _ _ _ secret <rank0
run run -n 1 sh -c 'echo "$PERGOLA_SECRET" >rank$PERGOLA_RANK'
[[ $(cat rank0) != "$secret" ]] || fail "two jobs have one secret"

begin "info says where a value is from, and hides the secret"
PERGOLA_CREDITS=16 PERGOLA_SECRET=$(printf '5%.0s' {1..64}) run info
want_status 0
want_in out "credits          16  (environment; PERGOLA_CREDITS)"
want_in out "secret           set  (environment"
want_in out "manager          fixed  (default; PERGOLA_MANAGER)"
grep -q 5555 out && fail "the secret is shown"

begin "pergola(7) has every setting, with its variable"
run info
settings=$(sed -nE 's/^([a-z-]+) .*; (PERGOLA_[A-Z_]+)\)$/\1 Pq Ev \2/p' out)
[[ $(wc -l <<<"$settings") -ge 18 ]] || fail "info lists only: $settings"
while read -r setting; do
	grep -qF ".It Cm $setting" "$manual" || fail "no \"$setting\" in $manual"
done <<<"$settings"

# ---- input and output ----

begin "rank 0 has the input, the others have none"
printf 'one\ntwo\n' | run run -n 3 sh -c 'cat >rank$PERGOLA_RANK; echo end >>rank$PERGOLA_RANK'
want_status 0
[[ $(cat rank0) == $'one\ntwo\nend' ]] || fail "rank 0 read: $(cat rank0)"
[[ $(cat rank1 rank2) == $'end\nend' ]] || fail "ranks 1 and 2 read: $(cat rank1 rank2)"

begin "labelled lines are whole, in order, and all there"
cat >talk.sh <<'END'
i=0
while [ $i -lt 500 ]; do
	printf 'line '
	printf '%s of rank %s abcdefghijklmnopqrstuvwxyzabcdefghij\n' $i $PERGOLA_RANK
	i=$((i + 1))
done
printf 'no end'
echo complaint >&2
END
run run -n 4 --label sh ./talk.sh
want_status 0
[[ $(wc -l <out) == 2004 ]] || fail "$(wc -l <out) lines, not 2004"
for rank in 0 1 2 3; do
	for ((i = 0; i < 500; i++)); do
		echo "[$rank] line $i of rank $rank abcdefghijklmnopqrstuvwxyzabcdefghij"
	done >expected
	echo "[$rank] no end" >>expected
	grep -F "[$rank] " out | cmp -s - expected || fail "the lines of rank $rank differ"
	want_in err "[$rank] complaint"
done

begin "a very long line is whole too"
run run -n 2 -l -- sh -c 'head -c 300000 /dev/zero | tr "\\0" x; echo'
want_status 0
[[ $(wc -lc <out | tr -s ' ') == " 2 600010" ]] || fail "lines and bytes: $(wc -lc <out)"

begin "standard output and error in one place are in order"
cat >both.sh <<'END'
for i in 1 2 3; do echo $i; sleep 0.05; echo $i >&2; sleep 0.05; done
END
timeout -k 1 20 "$pergola" run -n 1 -l -- sh ./both.sh >out 2>&1
[[ $(tr '\n' , <out) == "[0] 1,[0] 1,[0] 2,[0] 2,[0] 3,[0] 3," ]] || fail "$(cat out)"

begin "a reader that goes away"
timeout -k 1 20 "$pergola" run -n 2 -l yes 2>err | head -n 1 >out
status=${PIPESTATUS[0]}
want_status 141
want_in out "] y"

begin "a reader that does not read holds nothing up, nor does its backlog grow"
mkfifo pipe
(exec <pipe; sleep 4) &
"$pergola" run -n 2 -l --timeout 1s yes "$(printf 'x%.0s' {1..1000})" >pipe 2>err &
launcher=$!
sleep 0.9
peak_kib=$(awk '/^VmHWM/ { print $2 }' /proc/$launcher/status)
((peak_kib < 60000)) || fail "the launcher has $peak_kib KiB"
reap
want_status 124
want_within_ms 6000

# ---- the end of a job ----

cat >"$stubborn" <<'END'
trap '' TERM INT HUP
echo $$ >rank$PERGOLA_RANK
while :; do sleep 300 & echo $! >child$PERGOLA_RANK; wait; done
END

begin "kill -9 of a rank ends all within 2 s, stubborn or not"
"$pergola" run -n 4 sh "$stubborn" 2>err &
launcher=$!
if wait_for files 4 'rank?' && wait_for files 4 'child?'; then
	began=$(now_ms)
	kill -9 "$(cat rank2)"
	reap
	want_within_ms 2300 # 2 s, and a loaded machine
	want_status 137
	want_in err "rank 2 (pid $(cat rank2)) was killed by signal 9 (Killed); ending the job"
fi
want_gone rank? child?

begin "ranks that end by themselves are not waited for"
run run -n 3 sh -c '[ $PERGOLA_RANK = 0 ] && exit 5; sleep 0.2'
want_status 5
want_within_ms 900

begin "--timeout"
run run -n 2 --timeout 300ms sh "$stubborn"
want_status 124
want_in err "the job has run for 0.3 s (--timeout); ending it"
want_within_ms 2500
want_gone rank? child?

begin "the launcher killed by -9 leaves no rank"
"$pergola" run -n 4 sh -c 'echo $$ >rank$PERGOLA_RANK; exec sleep 300' 2>err &
launcher=$!
if wait_for files 4 'rank?'; then
	kill -9 $launcher
	reap 2>/dev/null
	want_status 137
fi
want_gone rank?

begin "what the ranks leave behind is ended with them"
run run -n 2 sh -c 'setsid sleep 300 >/dev/null 2>&1 & echo $! >child$PERGOLA_RANK'
want_status 0
want_within_ms 1500
want_gone child?

begin "... also with --label, and when it is stubborn"
run run -n 2 -l sh -c \
	"setsid sh $stubborn & while [ ! -s child\$PERGOLA_RANK ]; do sleep 0.01; done"
want_status 0
want_within_ms 2500
want_gone child? rank?

begin "a job that fails at its start leaves nothing"
(
	ulimit -n 30 2>/dev/null
	timeout -k 1 20 "$pergola" run -n 64 --label touch ran >out 2>err
)
status=$?
want_status 125
want_in err "-n 64 --label needs 160 open files and the limit is 30"
[[ ! -e ran ]] || fail "ranks ran"

# ---- signals ----

cat >"$stubborn.signals" <<'END'
for signal in HUP INT QUIT USR1 USR2 TERM TSTP CONT; do
	trap "echo $signal >>got\$PERGOLA_RANK" $signal
done
echo ready >ready$PERGOLA_RANK
while [ ! -e stop ]; do sleep 0.02; done
exit 0
END

heard() { # SIGNAL: by both ranks
	grep -qx "$1" got0 && grep -qx "$1" got1
}

begin "signals reach the ranks"
set -m # so that the launcher does not start with SIGINT and SIGQUIT ignored
"$pergola" run -n 2 bash "$stubborn.signals" 2>err &
launcher=$!
set +m
if wait_for files 2 'ready?'; then
	for signal in USR1 USR2 HUP; do
		kill -$signal $launcher
		wait_for heard $signal
	done
	touch stop
	reap
	want_status 0
fi

for signal in INT TERM QUIT; do
	begin "SIG$signal reaches the ranks"
	set -m
	"$pergola" run -n 2 bash "$stubborn.signals" 2>err &
	launcher=$!
	set +m
	if wait_for files 2 'ready?'; then
		kill -$signal $launcher
		wait_for heard $signal
		touch stop
		reap
		want_status 0
	fi
done

stopped() {
	local stat
	read -r stat <"/proc/$1/stat" && [[ ${stat##*) } == T* ]]
}

begin "SIGTSTP stops the launcher and reaches the ranks, SIGCONT too"
set -m
"$pergola" run -n 2 bash "$stubborn.signals" 2>err &
launcher=$!
set +m
if wait_for files 2 'ready?'; then
	kill -TSTP $launcher
	wait_for stopped $launcher
	wait_for heard TSTP
	kill -CONT $launcher
	wait_for heard CONT
	touch stop
	reap
	want_status 0
fi

begin "SIGTERM ends ranks that do not handle it, without a word"
"$pergola" run -n 2 sh -c 'echo $$ >rank$PERGOLA_RANK; exec sleep 300' 2>err &
launcher=$!
if wait_for files 2 'rank?'; then
	kill -TERM $launcher
	reap
	want_status 143
	[[ ! -s err ]] || fail "it said: $(cat err)"
fi
want_gone rank?

begin "a second SIGTERM ends ranks that ignore it"
"$pergola" run -n 2 sh "$stubborn" 2>err &
launcher=$!
if wait_for files 2 'rank?' && wait_for files 2 'child?'; then
	kill -TERM $launcher
	sleep 0.2
	began=$(now_ms)
	kill -TERM $launcher
	reap
	want_status 143
	want_within_ms 1500
fi
want_gone rank? child?

begin "-v says who starts and who ends"
run run -n 2 -v true
want_status 0
want_in err "pergola: rank 1 is pid "
want_in err "exited with status 0 after "

echo "launcher: $cases cases, $failed failures"
((failed == 0))
