/* SPDX-License-Identifier: Apache-2.0 */
/* The job that may not come about: it joins, shares a page, and leaves; exit status 1 otherwise. */
#include "check.h"

int main(void)
{
	if (dsm_init(-1) != 0) {
		bool impossible = strstr(dsm_error(), "userfaultfd") != NULL;

		fprintf(stderr, "rank %s: %s\n", getenv("PERGOLA_RANK"), dsm_error());
		return impossible ? CHECK_EXIT_SKIPPED : 1;
	}
	uint64_t *word = dsm_reserve(NULL, 1);

	CHECK(word != NULL);
	for (int i = 0; i < 1000; i++)
		__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
	CHECK_OK(dsm_barrier());
	CHECK_IS(*word, 1000 * dsm_node_count());
	fprintf(stderr, "node %d: joined\n", dsm_node_id());
	return check_end();
}
