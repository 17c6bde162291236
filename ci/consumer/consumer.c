/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest program that shares memory: node 0 writes a word, every node reads it. */
#include <pergola/dsm.h>
#include <stdio.h>

int main(void)
{
	int *word = NULL, status = 1;

	if (dsm_init(-1) != 0) {
		fprintf(stderr, "%s\n", dsm_error());
		return 1;
	}
	int *region = dsm_reserve(NULL, DSM_PAGE_BYTES);
	if (region != NULL && dsm_node_id() == 0) {
		region[0] = 42;
		word = region;
	}
	if (region != NULL && dsm_bcast(&word, sizeof(word), 0) == 0 && *word == 42) {
		printf("node %d of %d reads %d\n", dsm_node_id(), dsm_node_count(), *word);
		status = dsm_barrier() == 0 ? 0 : 1;
	}
	if (status != 0)
		fprintf(stderr, "%s\n", dsm_error());
	return dsm_finish() == 0 ? status : 1;
}
