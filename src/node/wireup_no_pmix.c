/* SPDX-License-Identifier: Apache-2.0 */
/* PMIx in a build without it: nothing can be opened, so the other calls are never made. */
#include "node/wireup_pmix.h"

#include "base/assert.h"
#include "base/error.h"
#include "node/wireup.h"

#include <errno.h>

const char *wireup_pmix_version(void)
{
	return NULL;
}

int wireup_pmix_open(uint64_t timeout_ns, struct wireup_pmix **out)
{
	(void)timeout_ns;
	(void)out;
	return error_set(-ENOSYS,
			 "a launcher started this process through PMIx, and this library was built "
			 "without PMIx: build it with -DPERGOLA_PMIX=ON (libpmix-dev), or set "
			 "PERGOLA_RANK, PERGOLA_SIZE, PERGOLA_ROOT and PERGOLA_SECRET; "
			 "PERGOLA_SIZE=1 makes each process a job of its own");
}

uint32_t wireup_pmix_rank(const struct wireup_pmix *pmix)
{
	ASSERT(pmix == NULL);
	return 0;
}

uint32_t wireup_pmix_size(const struct wireup_pmix *pmix)
{
	ASSERT(pmix == NULL);
	return 1;
}

int wireup_pmix_share(struct wireup_pmix *pmix, const char *what, const void *mine, size_t bytes,
		      void *all)
{
	ASSERT(pmix == NULL);
	(void)what;
	(void)mine;
	(void)bytes;
	(void)all;
	return -ENOSYS;
}

void wireup_pmix_close(struct wireup_pmix *pmix)
{
	ASSERT(pmix == NULL);
}
