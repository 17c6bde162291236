/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest shared space there can be (PERGOLA_SPACE=4M): what fits fits, the rest is refused.
 */
#include "check.h"

#define SPACE ((size_t)4 << 20)

int main(void)
{
	check_join();
	CHECK(strcmp(dsm_option_get("space"), "4M") == 0);
	CHECK_NULL(dsm_open(NULL, SPACE + 1), EINVAL, "dsm_open");
	check_text(__FILE__, __LINE__, "PERGOLA_SPACE");
	unsigned char *heap = dsm_open(NULL, SPACE / 2);
	unsigned char *one_page = dsm_reserve(NULL, 1);

	CHECK(heap != NULL && one_page != NULL);
	CHECK_NULL(dsm_reserve(NULL, SPACE / 2), ENOMEM, "dsm_reserve");
	check_text(__FILE__, __LINE__, "PERGOLA_SPACE");
	/* A region takes whole units of the space. */
	unsigned char *rest = dsm_reserve(NULL, SPACE / 2 - CHECK_UNIT_BYTES);

	CHECK(rest != NULL);
	CHECK_NULL(dsm_reserve(NULL, 1), ENOMEM, "dsm_reserve");
	for (size_t i = 0; i < SPACE / 2 - CHECK_UNIT_BYTES; i += DSM_PAGE_BYTES)
		__atomic_fetch_add(&rest[i], 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(one_page, 1, __ATOMIC_SEQ_CST);
	CHECK_OK(dsm_barrier());
	for (size_t i = 0; i < SPACE / 2 - CHECK_UNIT_BYTES; i += DSM_PAGE_BYTES)
		CHECK_IS(rest[i], dsm_node_count());
	CHECK_IS(*one_page, dsm_node_count());
	CHECK_NULL(dsm_malloc(SPACE), ENOMEM, "dsm_malloc");
	return check_end();
}
