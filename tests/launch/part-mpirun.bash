# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2016,SC2154
# Sourced by launch.sh: Open MPI's mpirun, which brings PMIx. No MPI is in the program. Single
# quotes hold what the ranks' shells expand.

need mpirun
# What a container and a small machine need of mpirun; nothing of it is about the program.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_plm=isolated

try "is PMIx there" mpirun -n 2 bash -c '[[ -n $PMIX_RANK && -n $PMIX_NAMESPACE ]]'
((status == 0)) || skip "this mpirun has no PMIx: $(head -c 500 err)"
need_pmix

try "mpirun" mpirun -n 4 "$job" 4
want_ok 4
try "one rank" mpirun -n 1 "$job" 1
want_ok 1
try "ids in reverse" mpirun -n 3 "$job" 3 reverse
want_ok 3
try "two programs in turn" mpirun -n 2 sh -c '"$job" 2 && "$job" 2'
want_ok 2 2
try "pergola run below mpirun" mpirun -n 1 "$pergola" run -n 2 "$job" 2
want_ok 2
try "each a job of its own" mpirun -n 2 sh -c 'PERGOLA_SIZE=1 PERGOLA_RANK=0 "$job" 1'
((status == 0)) || fail "exit status $status: $(head -c 1500 err)"
[[ $(grep -c "ok 0 of 1" out) == 2 ]] || fail "printed: $(cat out)"
PERGOLA_SECRET=$(printf 'ab%.0s' {1..32}) PERGOLA_ROOT=127.0.0.1:$(free_port) \
	try "place from mpirun, meeting at a root" mpirun -n 2 "$job" 2
want_ok 2
try "a node is killed" mpirun -n 3 "$job" 3 -1 1
((status != 0)) || fail "exit status 0"
want_within_ms 8000

try "one id twice" mpirun -n 2 "$job" 2 0
want_refused "rank 0 is given twice"
try "without PMIx's variables" mpirun -n 2 env -u PMIX_RANK "$job" 2
want_refused "mpirun started this process as one of 2 (OMPI_COMM_WORLD_SIZE), without PMIx"
try "a rank that does not join" env PERGOLA_CONNECT_TIMEOUT=1s \
	mpirun -n 2 sh -c '[ $PMIX_RANK = 1 ] && exec sleep 10; exec "$job" 2'
want_refused "PMIx_Fence was not over within 1000 ms (PERGOLA_CONNECT_TIMEOUT)"
want_within_ms 6000
try "a launcher that is gone" env PMIX_RANK=0 PMIX_NAMESPACE=gone "$job" 1
want_refused "unset PMIX_NAMESPACE"
want_within_ms 10000
