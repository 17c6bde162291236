# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2016,SC2154
# Sourced by launch.sh: the project's own launcher.

try "pergola run" "$pergola" run -n 4 "$job" 4
want_ok 4
try "one node" "$pergola" run -n 1 "$job" 1
want_ok 1
try "no launcher" "$job" 1
want_ok 1
try "ids in reverse" "$pergola" run -n 3 "$job" 3 reverse
want_ok 3
