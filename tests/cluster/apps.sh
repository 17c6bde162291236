#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The programs of bench/apps as jobs of 1, 2, 4 and 8 nodes with each kind of manager: each verifies
# its own result, and here what it wrote and printed is compared between node counts and with other
# tools. Input that is wrong must end every node with status 2 and a sentence, in time.
#
#   apps.sh BUILD_DIR [PART]      PART: strassen, tsp, sor, wordcount or input; default all
#
# CHECK_NODES, CHECK_MANAGERS: only these numbers of nodes, these managers, and no larger problems;
# CHECK_SLOW: how much slower this machine is than most.
#
# Single quotes hold what the ranks' shells expand:
# shellcheck disable=SC2016
set -u
build=$(cd "$1" && pwd) || exit 1
part=${2:-all}
pergola=$build/src/cli/pergola
data=$(cd "$(dirname "$0")/../../bench/apps/data" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
for name in "${!PERGOLA_@}"; do
	[[ $name == PERGOLA_FABRIC ]] || unset "$name"
done
runs=0
failed=0

fail() {
	echo "FAIL: $*"
	cat out err 2>/dev/null
	failed=$((failed + 1))
}

# run NODES STATUS PROGRAM ARGUMENT...: a job whose every rank must end with STATUS. The ranks'
# shells write it down and end well, because the launcher ends the others when one rank fails.
run() {
	local nodes=$1 expected=$2 program=$3 rank
	shift 3
	runs=$((runs + 1))
	rm -f status.*
	"$pergola" run -n "$nodes" --timeout $((30 * ${CHECK_SLOW:-1})) \
		sh -c '"$@"; echo $? >status.$PERGOLA_RANK' sh \
		"$build/bench/apps/$program" "$@" >out 2>err </dev/null
	local status=$?
	what="$program $* ($nodes nodes, ${PERGOLA_MANAGER:-default})"
	if ((status != 0)); then
		fail "$what: the launcher's status is $status"
		return 1
	fi
	for ((rank = 0; rank < nodes; rank++)); do
		if [[ $(cat "status.$rank" 2>/dev/null) != "$expected" ]]; then
			fail "$what: rank $rank ended with '$(cat "status.$rank" 2>/dev/null)'"
			return 1
		fi
	done
}

# verified: the last run printed one line that says so
verified() {
	[[ $(grep -c "verified yes" out) == 1 ]] || fail "$what: not one line with 'verified yes'"
}

# refused WORDS: the last run's error names this, once
refused() {
	[[ $(grep -c -F -e "$1" err) == 1 ]] || fail "$what: not one line with '$1'"
	! grep -q "verified" out || fail "$what: a result"
}

# each FUNCTION: with every manager and number of nodes, as $nodes
each() {
	local manager
	for manager in ${CHECK_MANAGERS:-fixed central}; do
		for nodes in ${CHECK_NODES:-1 2 4 8}; do
			PERGOLA_MANAGER=$manager "$@"
		done
	done
}

# ---- programs -----------------------------------------------------------------------------------

strassen_runs() {
	run "$nodes" 0 strassen a.npy b.npy -l 16 -o c.npy && verified
	# 33 x 129 float64 and a header of 128 bytes
	[[ $(stat -c %s c.npy) == $((33 * 129 * 8 + 128)) ]] || fail "$what: size of c.npy"
	run "$nodes" 0 strassen c.npy d.npy -l 1000 && verified
	run "$nodes" 0 strassen --random 200 --leaf 20 --seed 3 --compare --repeat 2 && verified
	grep -q "speed-up" out || fail "$what: no speed-up"
	rm -f c.npy
}

test_strassen() {
	run 1 0 strassen --generate 33x70 a.npy
	run 2 0 strassen --generate 70x129 b.npy --seed 2
	run 1 0 strassen --generate 129x1 d.npy --seed 3
	each strassen_runs
	[[ -z ${CHECK_NODES:-} ]] || return 0
	run 3 0 strassen --random 1x1x1 && verified
	run 5 0 strassen --random 7x300x2 -l 1 && verified
	run 2 0 strassen --random 100 --serial && verified
	run 2 0 strassen --random 600 && verified
}

tsp_runs() {
	run "$nodes" 0 tsp "$data/gr17.tsp" --optimum 2085 --cold --plain -o tour && verified
	[[ $(sed -n '/TOUR_SECTION/,/^-1/p' tour | grep -c '^[0-9]') == 17 ]] ||
		fail "$what: a tour of 17 cities"
	run "$nodes" 0 tsp "$data/berlin15.tsp" --optimum 4967 --cold && verified
	rm -f tour
}

test_tsp() {
	each tsp_runs
	[[ -z ${CHECK_NODES:-} ]] || return 0
	run 2 0 tsp "$data/berlin52.tsp" --optimum 7542 && verified
	run 3 0 tsp --random 30 --seed 4 --depth 64 --cold && verified
	run 4 1 tsp "$data/gr17.tsp" --optimum 2084
	grep -q "verified no" out || fail "$what: 'verified no' is not said"
}

sor_runs() {
	run "$nodes" 0 sor -r 101 -c 97 -n 10 -w 1.7 -i start.npy -o end.npy && verified
	# The same bits whatever the number of nodes and the manager.
	[[ -f first.npy ]] || cp end.npy first.npy
	cmp -s first.npy end.npy || fail "$what: not the result of the first run"
	run "$nodes" 0 sor -r 5 -c 1000 -n 4 && verified
	rm -f end.npy
}

test_sor() {
	run 1 0 strassen --generate 101x97 start.npy
	each sor_runs
	[[ -z ${CHECK_NODES:-} ]] || return 0
	run 8 0 sor -r 3 -c 3 -n 2 && verified
	run 2 0 sor && verified
}

wordcount_runs() {
	run "$nodes" 0 wordcount -n 40 text1 text2 text3 && verified
	head -n 40 out >counted
	cmp -s expected counted || fail "$what: not what sort and uniq count"
	run "$nodes" 0 wordcount --fold -n 0 text3 && verified
}

test_wordcount() {
	local i
	seq 1 3 30000 >text1
	# One word of many pages, no newline at the end; then words of every length.
	printf 'start %*s' 50000 '' | sed 's/  */ x/' >text2
	head -c 50000 /dev/zero | tr '\0' y >>text2
	for ((i = 1; i < 400; i++)); do
		printf '%*s ' $((i % 61 + 1)) '' | tr ' ' w
		printf ' The the na\303\257ve, don-t %d\n' $((i % 7))
	done >text3
	# The same rule and order, from other tools. Files are apart: no word goes on in the next.
	for i in text1 text2 text3; do
		cat $i
		echo
	done | LC_ALL=C tr -c 'A-Za-z0-9\200-\377' '\n' | grep -a . | LC_ALL=C sort | uniq -c |
		LC_ALL=C sort -k1,1nr -k2 | head -n 40 | sed -E 's/^ *([0-9]+) /\1 /' |
		while read -r count word; do printf '%8d %s\n' "$count" "$word"; done >expected
	each wordcount_runs
}

# ---- wrong input ---------------------------------------------------------------------------------

# npy FILE VERSION DICTIONARY DATA_BYTES
npy() {
	local dictionary=$3
	{
		printf '\223NUMPY'
		printf '%b\0' "\\x$(printf %02x "$2")"
		printf '%b\0' "\\x$(printf %02x ${#dictionary})"
		(($2 == 1)) || printf '\0\0'
		printf '%s' "$dictionary"
		head -c "$4" /dev/zero
	} >"$1"
}

dictionary() {
	printf "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" "$1" "$2" "$3"
}

# bad_npy WORDS: bad.npy is refused by both programs that read such files, as either operand
bad_npy() {
	run 2 2 strassen bad.npy good.npy && refused "bad.npy: $1"
	run 4 2 strassen good.npy bad.npy && refused "bad.npy: $1"
	run 2 2 sor --input bad.npy && refused "bad.npy: $1"
}

test_bad_npy() {
	npy good.npy 1 "$(dictionary '<f8' False '(3, 4)')" 96
	npy other.npy 2 "$(dictionary '<f8' False '(4, 3)')" 96
	run 2 0 strassen good.npy other.npy && verified
	run 3 2 strassen good.npy good.npy && refused "the shapes do not match"
	npy bad.npy 1 "$(dictionary '<f8' False '(3, 4)')" 95 && bad_npy "truncated"
	npy bad.npy 1 "$(dictionary '<f8' False '(3, 4)')" 97 && bad_npy "1 bytes too many"
	npy bad.npy 1 "$(dictionary '<f4' False '(3, 4)')" 48 && bad_npy "dtype '<f4'"
	npy bad.npy 1 "$(dictionary '<f8' True '(3, 4)')" 96 && bad_npy "Fortran order"
	npy bad.npy 1 "$(dictionary '<f8' False '(12,)')" 96 && bad_npy "1 dimension,"
	npy bad.npy 9 "$(dictionary '<f8' False '(3, 4)')" 96 && bad_npy ".npy version 9.0"
	npy bad.npy 1 "$(dictionary '<f8' False '(4294967296, 4294967296)')" 0 &&
		bad_npy "shape (4294967296, 4294967296) is more bytes than can be counted"
	printf '\223NUMPY\1\0\377\377{' >bad.npy && bad_npy "the header claims 65535 bytes"
	echo "not an array" >bad.npy && bad_npy "not a .npy file"
	: >bad.npy && bad_npy "empty file"
	rm bad.npy && bad_npy "No such file or directory"
	mkdir bad.npy && bad_npy "not a regular file"
	rmdir bad.npy
	npy bad.npy 1 "$(dictionary '<f8' False '(1, 1)')" 0
	printf '\0\0\0\0\0\0\360\177' >>bad.npy
	run 2 2 strassen bad.npy bad.npy && refused "bad.npy: element (0, 0) is not finite"
	run 2 2 sor -i bad.npy && refused "bad.npy: a grid of 1 x 1 has no inner cell"
	run 2 2 strassen good.npy other.npy -o nowhere/c.npy
	grep -q "nowhere/c.npy: No such file" err || fail "$what: the output is not named"
}

# bad_tsp WORDS TEXT
bad_tsp() {
	printf '%b' "$2" >bad.tsp
	run 2 2 tsp bad.tsp && refused "bad.tsp: $1"
}

test_bad_tsp() {
	bad_tsp "empty file" ""
	bad_tsp "no DIMENSION" "NAME : x\nEOF\n"
	bad_tsp "DIMENSION 1000 is not" "DIMENSION : 1000\n"
	bad_tsp "EDGE_WEIGHT_TYPE GEO" "DIMENSION : 3\nEDGE_WEIGHT_TYPE : GEO\n"
	bad_tsp "EDGE_WEIGHT_FORMAT LOWER_COL" "DIMENSION : 3\nEDGE_WEIGHT_FORMAT : LOWER_COL\n"
	bad_tsp "section TOUR_SECTION is not known" "DIMENSION : 3\nTOUR_SECTION\n1 2 3\n"
	bad_tsp "NODE_COORD_SECTION ends before all" \
		"DIMENSION : 3\nEDGE_WEIGHT_TYPE : EUC_2D\nNODE_COORD_SECTION\n1 0 0\n2 1 1\n"
	rm bad.tsp
	run 4 2 tsp bad.tsp && refused "bad.tsp: No such file or directory"
}

test_bad_words() {
	echo words >good
	: >empty
	run 2 2 wordcount good empty && refused "empty: empty file"
	run 4 2 wordcount missing good && refused "missing: No such file or directory"
	run 2 2 wordcount . && refused ".: not a regular file"
}

test_usage() {
	local program
	for program in strassen tsp sor wordcount; do
		run 2 2 "$program" --no-such-option && refused "that option is not known"
		"$build/bench/apps/$program" --help | grep -q "^Usage: $program" ||
			fail "$program --help"
	done
	run 2 2 strassen only.npy && refused "1 file name where 2 are needed"
	run 2 2 strassen --random 0 && refused "size '0'"
	run 2 2 sor --omega 2 && refused "omega '2'"
	run 2 2 wordcount && refused "no file is named"
	run 2 2 tsp --random 65 && refused "number of cities '65'"
}

test_input() {
	test_bad_npy
	test_bad_tsp
	test_bad_words
	test_usage
}

if [[ ! -x $pergola ]]; then
	echo "apps.sh: no $pergola" >&2
	exit 1
fi
case $part in
all)
	for name in strassen tsp sor wordcount input; do "test_$name"; done
	;;
strassen | tsp | sor | wordcount | input) "test_$part" ;;
*)
	echo "usage: apps.sh BUILD_DIR [strassen|tsp|sor|wordcount|input]" >&2
	exit 2
	;;
esac
echo "$runs runs, $failed failures, $SECONDS s"
((failed == 0))
