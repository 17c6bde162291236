# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2016,SC2154
# Sourced by launch.sh: processes started by hand, as over ssh, that meet by TCP.

# by_hand ROOT SIZE [NAME=VALUE...]: prints what all print; the worst exit status
cat >by_hand <<'END'
root=$1 size=$2 worst=0
shift 2
for ((rank = size - 1; rank >= 0; rank--)); do
	env PERGOLA_RANK=$rank PERGOLA_SIZE=$size PERGOLA_ROOT="$root" "$@" "$job" "$size" &
done
for ((rank = 0; rank < size; rank++)); do
	wait -n || worst=$?
done
exit $worst
END

# The error of a job without a secret says how to make one.
try "no secret" bash by_hand "127.0.0.1:$(free_port)" 2 PERGOLA_CONNECT_TIMEOUT=2s
want_refused "PERGOLA_SECRET is not set"
recipe=$(sed -n 's/.*made once by `\(.*\)`.*/\1/p' err | head -n 1)
secret=$(bash -c "$recipe")
[[ $secret =~ ^[0-9a-f]{64}$ ]] || fail "the recipe \"$recipe\" gives \"$secret\""

export PERGOLA_SECRET=$secret
for address in 127.0.0.1 localhost "[::1]"; do
	if [[ $address == "[::1]" && ! -s /proc/net/if_inet6 ]]; then
		echo "no IPv6 on this host: not tried at [::1]"
		continue
	fi
	try "two nodes at $address" bash by_hand "$address:$(free_port)" 2
	want_ok 2
done
# All addresses of this host, which others could reach as well.
try "three nodes at a host's name" bash by_hand "$(uname -n):$(free_port)" 3
if ((status != 0)) && grep -q "no such host" err; then
	echo "this host does not know its own name: not judged"
else
	want_ok 3
fi

try "another secret" bash by_hand "127.0.0.1:$(free_port)" 2 PERGOLA_CONNECT_TIMEOUT=2s \
	PERGOLA_SECRET="$(printf '5%.0s' {1..64})"
want_ok 2 # the same for both
cat >two_secrets <<'END'
env PERGOLA_RANK=1 PERGOLA_SECRET="$(printf '5%.0s' {1..64})" "$job" 2 &
env PERGOLA_RANK=0 "$job" 2
status=$?
wait
exit $status
END
try "two secrets" env PERGOLA_SIZE=2 PERGOLA_ROOT="127.0.0.1:$(free_port)" \
	PERGOLA_CONNECT_TIMEOUT=2s bash two_secrets
want_refused "secret"
try "no root" env PERGOLA_RANK=0 PERGOLA_SIZE=2 "$job" 2
want_refused "PERGOLA_ROOT"
want_within_ms 2000
