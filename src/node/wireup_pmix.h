/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wireup.c needs of PMIx. wireup_pmix.c has it; wireup_no_pmix.c stands in for it in a build
 * without PMIx.
 */
#ifndef PERGOLA_NODE_WIREUP_PMIX_H
#define PERGOLA_NODE_WIREUP_PMIX_H

#include <stddef.h>
#include <stdint.h>

/* This process as its launcher knows it. */
struct wireup_pmix;

/*
 * Asks the launcher; only where PMIX_NAMESPACE and PMIX_RANK are set, or it may wait for nobody.
 * Each call of this file takes at most `timeout_ns`; after one that did not end in time, the
 * others do nothing but fail. Errors as wireup_identify(); -ENOSYS: built without PMIx.
 */
int wireup_pmix_open(uint64_t timeout_ns, struct wireup_pmix **out);

uint32_t wireup_pmix_rank(const struct wireup_pmix *pmix);
uint32_t wireup_pmix_size(const struct wireup_pmix *pmix);

/*
 * Gives `mine` under the name `what` (another one each time) and fills `all`, size * bytes, in the
 * order of the launcher's ranks. Collective.
 */
int wireup_pmix_share(struct wireup_pmix *pmix, const char *what, const void *mine, size_t bytes,
		      void *all);

void wireup_pmix_close(struct wireup_pmix *pmix);

#endif
