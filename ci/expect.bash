# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# For the tests of the checks (ci/self-test-*), which source it. Each case is a small tree under
# $tree with one breach, and the words that the check must answer with; a tree without a breach must
# pass. The script defines fresh(), which lays down the tree without a breach, and ends with
# `exit $failed`.

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

# must_fail NAME WORDS COMMAND...
must_fail() {
	local name=$1 words=$2 output
	shift 2
	if output=$("$@" 2>&1); then
		echo "FAIL $name: the check passed"
		failed=1
	elif [[ $output != *"$words"* ]]; then
		printf 'FAIL %s: expected "%s", the check said:\n%s\n' "$name" "$words" "$output"
		failed=1
	else
		echo "ok   $name"
	fi
	fresh
}

# must_pass NAME COMMAND...
must_pass() {
	local name=$1 output
	shift
	if output=$("$@" 2>&1); then
		echo "ok   $name"
	else
		printf 'FAIL %s: the check said:\n%s\n' "$name" "$output"
		failed=1
	fi
	fresh
}
