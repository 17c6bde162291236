/* SPDX-License-Identifier: Apache-2.0 */
#include "node/bootstrap.h"

#include "base/error.h"
#include "base/id.h"
#include "node/bootstrap_side.h"
#include "node/endpoint.h"

#include <errno.h>
#include <string.h>

bool bootstrap_has_secret(const struct bootstrap *bootstrap)
{
	static const uint8_t none[BOOTSTRAP_SECRET_BYTES];

	return memcmp(bootstrap->secret, none, sizeof(none)) != 0;
}

static int check(const struct bootstrap *bootstrap, size_t bytes)
{
	if (bootstrap->size < 1 || bootstrap->size > NODES_MAX)
		return error_set(-EINVAL, "a job of %u nodes: 1 to %u are possible",
				 bootstrap->size, NODES_MAX);
	if (bootstrap->rank >= bootstrap->size)
		return error_set(-EINVAL, "rank %u in a job of %u nodes: ranks are 0 to %u",
				 bootstrap->rank, bootstrap->size, bootstrap->size - 1);
	if (bytes < 1 || bytes > BOOTSTRAP_BLOB_MAX)
		return error_set(-EINVAL, "a blob of %zu bytes: 1 to %u are possible", bytes,
				 BOOTSTRAP_BLOB_MAX);
	return 0;
}

static int check_root(const struct bootstrap *bootstrap)
{
	if (bootstrap->root == NULL || bootstrap->root[0] == '\0')
		return error_set(-EINVAL,
				 "a job of %u nodes needs to know where rank 0 listens: set "
				 "PERGOLA_ROOT, or start it with `pergola run`",
				 bootstrap->size);
	if (!endpoint_is_local(bootstrap->root) && !bootstrap_has_secret(bootstrap))
		return error_set(-EINVAL,
				 "root %s can be reached from the network and PERGOLA_SECRET is "
				 "not set: give every node the same, made once by `head -c 32 "
				 "/dev/urandom | od -An -v -tx1 | tr -d ' \\n'`",
				 bootstrap->root);
	return 0;
}

int bootstrap_exchange(const struct bootstrap *bootstrap, const void *mine, size_t bytes, void *all)
{
	int error = check(bootstrap, bytes);

	if (error != 0)
		return error;
	if (bootstrap->rank == 0)
		memcpy(all, mine, bytes);
	if (bootstrap->size == 1)
		return 0;
	error = check_root(bootstrap);
	if (error != 0)
		return error;
	if (bootstrap->rank == 0)
		return bootstrap_gather(bootstrap, bytes, all);
	return bootstrap_join(bootstrap, mine, bytes, all);
}
