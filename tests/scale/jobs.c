/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs come and go by the million, most of them small: two lists of spare ones. */
#include "base/assert.h"
#include "scale.h"

#include <stdlib.h>
#include <string.h>

struct job *job_new(struct jobs *jobs, enum job_kind kind, size_t data_bytes)
{
	bool roomy = data_bytes > JOB_DATA_SMALL;
	struct job **spare = roomy ? &jobs->spare_roomy : &jobs->spare_small;
	struct job *job = *spare;

	ASSERT(data_bytes <= MESSAGE_MAX);
	if (job != NULL)
		*spare = job->next;
	else
		job = malloc(sizeof(*job) + (roomy ? MESSAGE_MAX : JOB_DATA_SMALL));
	ASSERT(job != NULL);
	memset(job, 0, sizeof(*job));
	job->kind = kind;
	job->roomy = roomy;
	job->bytes = (uint16_t)data_bytes;
	jobs->live++;
	return job;
}

void job_done(struct jobs *jobs, struct job *job)
{
	struct job **spare = job->roomy ? &jobs->spare_roomy : &jobs->spare_small;

	ASSERT(jobs->live > 0);
	jobs->live--;
	job->next = *spare;
	*spare = job;
}

static void list_free(struct job *job)
{
	while (job != NULL) {
		struct job *next = job->next;

		free(job);
		job = next;
	}
}

void jobs_free(struct jobs *jobs)
{
	list_free(jobs->spare_small);
	list_free(jobs->spare_roomy);
	*jobs = (struct jobs){ 0 };
}
