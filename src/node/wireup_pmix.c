/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one file that calls PMIx. PMIx's calls wait for the launcher and for other processes, some of
 * them without an end; so each errand there runs on a thread of its own, and who sent it waits
 * until a deadline. An errand that is not back by then is abandoned: it owns all that it touches
 * and frees it when PMIx lets it go, and PMIx is not called again for this job.
 *
 * The errand's thread blocks all signals, and so does the thread that PMIx_Init() starts under it.
 */
#include "node/wireup_pmix.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/log.h"
#include "node/endpoint.h"
#include "node/wireup.h"

#include <errno.h>
#include <pmix.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* Programs that one process slot of a launcher may run one after another. */
#define ROUNDS_MAX 10000u

/* The name of the first thing that a job shares; it tells that a round has been used. */
#define KEY_FORMAT "pergola.%u.%s"
#define KEY_FIRST "hello"

struct wireup_pmix {
	pmix_proc_t self;
	uint32_t size;
	uint32_t round; /* programs that have joined a job in this slot of the launcher before */
	uint64_t timeout_ns;
	bool stuck; /* an errand has not come back */
};

struct errand {
	pthread_mutex_t lock; /* protects over, abandoned */
	pthread_cond_t ended;
	bool over;
	bool abandoned;
	int (*work)(struct errand *errand);
	const char *_Atomic doing; /* the PMIx function that it waits for */
	int error;
	char text[400];
	struct wireup_pmix pmix; /* a copy; an errand that changes it says so */
	char key[PMIX_MAX_KEYLEN + 1];
	size_t bytes; /* of one blob */
	size_t blobs_bytes;
	uint8_t blobs[]; /* mine, then all; a secret may be among them */
};

/* ---- PMIx's statuses as errors ------------------------------------------------------------- */

static int error_of(pmix_status_t status)
{
	switch (status) {
	case PMIX_ERR_UNREACH:
		return -EHOSTUNREACH;
	case PMIX_ERR_TIMEOUT:
		return -ETIMEDOUT;
	case PMIX_ERR_LOST_CONNECTION:
	case PMIX_ERR_COMM_FAILURE:
		return -EHOSTDOWN;
	case PMIX_ERR_NOMEM:
	case PMIX_ERR_OUT_OF_RESOURCE:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static const char *remedy(pmix_status_t status)
{
	switch (status) {
	case PMIX_ERR_UNREACH:
		return ": the launcher named by PMIX_NAMESPACE does not answer; where it has ended,"
		       " unset PMIX_NAMESPACE and PMIX_RANK, or set PERGOLA_SIZE=1 for a job of one"
		       " process";
	case PMIX_ERR_LOST_CONNECTION:
	case PMIX_ERR_COMM_FAILURE:
		return ": the launcher has ended";
	default:
		return "";
	}
}

static int failed(const struct errand *errand, pmix_status_t status)
{
	return error_set(error_of(status), "%s: %s (%d)%s", atomic_load(&errand->doing),
			 PMIx_Error_string(status), status, remedy(status));
}

/* ---- what errands do: on their own threads ------------------------------------------------- */

/* PMIX_SUCCESS with *out, to be released; never waits for the value to come. */
static pmix_status_t get_now(const pmix_proc_t *from, const char *key, pmix_value_t **out)
{
	pmix_info_t now;
	bool yes = true;

	PMIX_INFO_LOAD(&now, PMIX_IMMEDIATE, &yes, PMIX_BOOL);
	pmix_status_t status = PMIx_Get(from, key, &now, 1, out);
	PMIX_INFO_DESTRUCT(&now);
	return status;
}

static int get_size(struct errand *errand)
{
	pmix_proc_t all;
	pmix_value_t *value = NULL;

	PMIX_LOAD_PROCID(&all, errand->pmix.self.nspace, PMIX_RANK_WILDCARD);
	atomic_store(&errand->doing, "PMIx_Get of the job's size");
	pmix_status_t status = get_now(&all, PMIX_JOB_SIZE, &value);
	if (status != PMIX_SUCCESS)
		return failed(errand, status);
	bool sound = value->type == PMIX_UINT32 && value->data.uint32 > errand->pmix.self.rank;
	if (sound)
		errand->pmix.size = value->data.uint32;
	PMIX_VALUE_RELEASE(value);
	return sound ? 0 : error_set(-EPROTO, "PMIx gives a job's size that makes no sense");
}

/*
 * A script that a launcher starts may run one program after another, all in one slot, whose keys
 * stay. A key that is put again may still be read as it was (seen with Slurm 22.05), so each
 * program uses keys of its own, counted by what its slot has put before.
 */
static int find_round(struct errand *errand)
{
	struct wireup_pmix *pmix = &errand->pmix;

	atomic_store(&errand->doing, "PMIx_Get of this process's earlier jobs");
	for (; pmix->round < ROUNDS_MAX; pmix->round++) {
		pmix_value_t *value = NULL;

		snprintf(errand->key, sizeof(errand->key), KEY_FORMAT, pmix->round, KEY_FIRST);
		if (get_now(&pmix->self, errand->key, &value) != PMIX_SUCCESS)
			return 0;
		PMIX_VALUE_RELEASE(value);
	}
	return error_set(-EIO, "PMIx: more than %u programs in one rank of a launcher", ROUNDS_MAX);
}

static int work_open(struct errand *errand)
{
	atomic_store(&errand->doing, "PMIx_Init");
	pmix_status_t status = PMIx_Init(&errand->pmix.self, NULL, 0);

	if (status != PMIX_SUCCESS)
		return failed(errand, status);
	int error = get_size(errand);
	if (error == 0)
		error = find_round(errand);
	if (error != 0)
		PMIx_Finalize(NULL, 0);
	return error;
}

static int work_close(struct errand *errand)
{
	atomic_store(&errand->doing, "PMIx_Finalize");
	pmix_status_t status = PMIx_Finalize(NULL, 0);

	return status == PMIX_SUCCESS ? 0 : failed(errand, status);
}

static int put(struct errand *errand)
{
	pmix_value_t value = {
		.type = PMIX_BYTE_OBJECT,
		.data.bo = { .bytes = (char *)errand->blobs, .size = errand->bytes },
	};

	atomic_store(&errand->doing, "PMIx_Put");
	pmix_status_t status = PMIx_Put(PMIX_GLOBAL, errand->key, &value); /* copies */
	if (status != PMIX_SUCCESS)
		return failed(errand, status);
	atomic_store(&errand->doing, "PMIx_Commit");
	status = PMIx_Commit();
	return status == PMIX_SUCCESS ? 0 : failed(errand, status);
}

static int fence(struct errand *errand)
{
	pmix_info_t collect;
	bool yes = true;

	PMIX_INFO_LOAD(&collect, PMIX_COLLECT_DATA, &yes, PMIX_BOOL);
	atomic_store(&errand->doing, "PMIx_Fence");
	pmix_status_t status = PMIx_Fence(NULL, 0, &collect, 1);
	PMIX_INFO_DESTRUCT(&collect);
	return status == PMIX_SUCCESS ? 0 : failed(errand, status);
}

static int get_blob(struct errand *errand, uint32_t rank)
{
	pmix_proc_t from;
	pmix_value_t *value = NULL;

	PMIX_LOAD_PROCID(&from, errand->pmix.self.nspace, rank);
	pmix_status_t status = get_now(&from, errand->key, &value);
	if (status == PMIX_ERR_NOT_FOUND)
		return error_set(-EPROTO,
				 "the launcher's rank %u is not in the same call of dsm_init(): it "
				 "has joined more or fewer jobs before, or has another "
				 "version of Pergola",
				 rank);
	if (status != PMIX_SUCCESS)
		return failed(errand, status);
	bool sound = value->type == PMIX_BYTE_OBJECT && value->data.bo.size == errand->bytes;
	if (sound)
		memcpy(errand->blobs + (rank + 1u) * errand->bytes, value->data.bo.bytes,
		       errand->bytes);
	PMIX_VALUE_RELEASE(value);
	return sound ? 0
		     : error_set(-EPROTO,
				 "the launcher's rank %u has another version of Pergola than rank "
				 "%u: install the same release everywhere",
				 rank, errand->pmix.self.rank);
}

static int work_share(struct errand *errand)
{
	int error = put(errand);

	if (error == 0)
		error = fence(errand);
	atomic_store(&errand->doing, "PMIx_Get");
	for (uint32_t rank = 0; error == 0 && rank < errand->pmix.size; rank++)
		error = get_blob(errand, rank);
	return error;
}

/* ---- errands ------------------------------------------------------------------------------- */

static struct errand *errand_new(const struct wireup_pmix *pmix, int (*work)(struct errand *errand),
				 size_t blobs_bytes)
{
	struct errand *errand = calloc(1, sizeof(*errand) + blobs_bytes);
	pthread_condattr_t attributes;

	if (errand == NULL) {
		error_set(-ENOMEM, "no memory to speak with the launcher");
		return NULL;
	}
	errand->work = work;
	errand->pmix = *pmix;
	errand->blobs_bytes = blobs_bytes;
	atomic_store(&errand->doing, "PMIx");
	pthread_mutex_init(&errand->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&errand->ended, &attributes);
	pthread_condattr_destroy(&attributes);
	return errand;
}

static void errand_free(struct errand *errand)
{
	pthread_cond_destroy(&errand->ended);
	pthread_mutex_destroy(&errand->lock);
	explicit_bzero(errand->blobs, errand->blobs_bytes);
	free(errand);
}

static void *errand_main(void *argument)
{
	struct errand *errand = argument;

	errand->error = errand->work(errand);
	if (errand->error != 0)
		snprintf(errand->text, sizeof(errand->text), "%s", error_text());
	pthread_mutex_lock(&errand->lock);
	errand->over = true;
	bool abandoned = errand->abandoned;
	pthread_cond_signal(&errand->ended);
	pthread_mutex_unlock(&errand->lock);
	if (abandoned)
		errand_free(errand);
	return NULL;
}

static int start(struct errand *errand, pthread_t *thread)
{
	sigset_t all;
	sigset_t before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(thread, NULL, errand_main, errand);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		return error_set(-error,
				 "cannot start a thread to speak with the launcher: %s "
				 "(ulimit -u)",
				 strerror(error));
	return 0;
}

/* NULL: the errand is over. Else what it waits for, and it is no longer the caller's. */
static const char *await(struct errand *errand, uint64_t timeout_ns)
{
	uint64_t until_ns = endpoint_now_ns() + timeout_ns;
	const struct timespec until = {
		.tv_sec = (time_t)(until_ns / NS_PER_S),
		.tv_nsec = (long)(until_ns % NS_PER_S),
	};
	int error = 0;

	pthread_mutex_lock(&errand->lock);
	while (!errand->over && error == 0)
		error = pthread_cond_timedwait(&errand->ended, &errand->lock, &until);
	const char *doing = errand->over ? NULL : atomic_load(&errand->doing);
	errand->abandoned = !errand->over;
	pthread_mutex_unlock(&errand->lock);
	return doing;
}

static int late(const char *doing, uint64_t timeout_ns)
{
	bool others = strcmp(doing, "PMIx_Fence") == 0;

	return error_set(-ETIMEDOUT, "%s was not over within %llu ms (PERGOLA_CONNECT_TIMEOUT): %s",
			 doing, (unsigned long long)(timeout_ns / NS_PER_MS),
			 others ? "some process of the job has not called dsm_init()"
				: "the launcher does not answer");
}

/* Returns the errand's error. `errand` may be looked at, and is to be freed, unless pmix->stuck. */
static int run(struct wireup_pmix *pmix, struct errand *errand)
{
	pthread_t thread;

	ASSERT(!pmix->stuck);
	int error = start(errand, &thread);
	if (error != 0)
		return error;
	const char *doing = await(errand, pmix->timeout_ns);
	if (doing != NULL) {
		pmix->stuck = true;
		pthread_detach(thread);
		return late(doing, pmix->timeout_ns);
	}
	pthread_join(thread, NULL);
	if (errand->error != 0)
		error_set(errand->error, "%s", errand->text);
	return errand->error;
}

/* ---- the interface ------------------------------------------------------------------------- */

const char *wireup_pmix_version(void)
{
	return PMIx_Get_version();
}

int wireup_pmix_open(uint64_t timeout_ns, struct wireup_pmix **out)
{
	struct wireup_pmix *pmix = calloc(1, sizeof(*pmix));

	if (pmix == NULL)
		return error_set(-ENOMEM, "no memory to speak with the launcher");
	pmix->timeout_ns = timeout_ns;
	struct errand *errand = errand_new(pmix, work_open, 0);
	int error = errand == NULL ? -ENOMEM : run(pmix, errand);
	if (error == 0) {
		*pmix = errand->pmix;
		*out = pmix;
	}
	if (errand != NULL && !pmix->stuck)
		errand_free(errand);
	if (error != 0)
		free(pmix);
	return error;
}

uint32_t wireup_pmix_rank(const struct wireup_pmix *pmix)
{
	return pmix->self.rank;
}

uint32_t wireup_pmix_size(const struct wireup_pmix *pmix)
{
	return pmix->size;
}

int wireup_pmix_share(struct wireup_pmix *pmix, const char *what, const void *mine, size_t bytes,
		      void *all)
{
	if (pmix->stuck)
		return error_set(-ETIMEDOUT, "the launcher does not answer");
	struct errand *errand = errand_new(pmix, work_share, (pmix->size + 1u) * bytes);
	if (errand == NULL)
		return -ENOMEM;
	snprintf(errand->key, sizeof(errand->key), KEY_FORMAT, pmix->round, what);
	errand->bytes = bytes;
	memcpy(errand->blobs, mine, bytes);
	int error = run(pmix, errand);
	if (error == 0)
		memcpy(all, errand->blobs + bytes, pmix->size * bytes);
	if (!pmix->stuck)
		errand_free(errand);
	return error;
}

void wireup_pmix_close(struct wireup_pmix *pmix)
{
	struct errand *errand = pmix->stuck ? NULL : errand_new(pmix, work_close, 0);

	if (errand != NULL) {
		if (run(pmix, errand) != 0)
			log_line(LOG_WARNING, "leaving PMIx: %s", error_text());
		if (!pmix->stuck)
			errand_free(errand);
	}
	free(pmix);
}
