/* SPDX-License-Identifier: Apache-2.0 */
/* Joining, leaving, options, statistics, error texts, and collective calls with their mistakes. */
#include "check.h"

#define REGION_BYTES (4 * CHECK_UNIT_BYTES)

static void before_joining(void)
{
	struct dsm_stats stats;
	char word = 0;
	int value = 0;

	CHECK(strcmp(dsm_error(), "") == 0);
	CHECK_FAILS(dsm_node_id(), -ENOTCONN, "dsm_node_id");
	CHECK_FAILS(dsm_node_count(), -ENOTCONN, "dsm_node_count");
	CHECK_FAILS(dsm_finish(), -ENOTCONN, "dsm_finish");
	CHECK_FAILS(dsm_barrier(), -ENOTCONN, "dsm_barrier");
	CHECK_FAILS(dsm_bcast(&value, sizeof(value), 0), -ENOTCONN, "dsm_bcast");
	CHECK_FAILS(dsm_stats_get(&stats), -ENOTCONN, "dsm_stats_get");
	CHECK_NULL(dsm_open(NULL, REGION_BYTES), ENOTCONN, "dsm_open");
	CHECK_NULL(dsm_reserve(NULL, REGION_BYTES), ENOTCONN, "dsm_reserve");
	CHECK_NULL(dsm_malloc(10), ENOTCONN, "dsm_malloc");
	CHECK_NULL(dsm_malloc_at(10, 0), ENOTCONN, "dsm_malloc_at");
	CHECK_FAILS(dsm_free(&word, 1), -ENOTCONN, "dsm_free");
	CHECK_FAILS(dsm_home(&word), -ENOTCONN, "dsm_home");
	CHECK_FAILS(dsm_prefetch(&word, 1, DSM_READ), -ENOTCONN, "dsm_prefetch");
}

static void sync_before_joining(void)
{
	static int (*const calls[])(void *) = {
		dsm_lock_init,	    dsm_lock,
		dsm_trylock,	    dsm_unlock,
		dsm_lock_destroy,   dsm_rwlock_init,
		dsm_rwlock_rdlock,  dsm_rwlock_tryrdlock,
		dsm_rwlock_wrlock,  dsm_rwlock_trywrlock,
		dsm_rwlock_unlock,  dsm_rwlock_destroy,
		dsm_cond_init,	    dsm_cond_signal,
		dsm_cond_broadcast, dsm_cond_destroy,
		dsm_sem_wait,	    dsm_sem_trywait,
		dsm_sem_post,	    dsm_sem_destroy,
		dsm_barrier_wait,   dsm_barrier_destroy,
	};
	char word = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		CHECK_FAILS(calls[i](&word), -ENOTCONN, "dsm_");
	CHECK_FAILS(dsm_sem_init(&word, 1), -ENOTCONN, "dsm_sem_init");
	CHECK_FAILS(dsm_barrier_init(&word, 1), -ENOTCONN, "dsm_barrier_init");
	CHECK_FAILS(dsm_cond_wait(&word, &word), -ENOTCONN, "dsm_cond_wait");
}

static void options_before_joining(void)
{
	CHECK_FAILS(dsm_option_set("no-such-option", "1"), -EINVAL, "no-such-option");
	CHECK_FAILS(dsm_option_set("spaec", "1G"), -EINVAL, "space");
	CHECK_FAILS(dsm_option_set("hold", "a while"), -EINVAL, "hold");
	CHECK_FAILS(dsm_option_set("credits", "3"), -EINVAL, "credits");
	CHECK_FAILS(dsm_option_set(NULL, "1"), -EINVAL, "dsm_option_set");
	CHECK_FAILS(dsm_option_set("hold", NULL), -EINVAL, "dsm_option_set");
	CHECK(dsm_option_get("no-such-option") == NULL);
	CHECK(dsm_option_get(NULL) == NULL);
	CHECK_FAILS(dsm_init(DSM_NODES_MAX), -EINVAL, "dsm_init");
	CHECK_FAILS(dsm_init(atoi(getenv("PERGOLA_SIZE"))), -EINVAL, "dsm_init");
	CHECK_OK(dsm_option_set("sync-objects", "128"));
	CHECK(strcmp(dsm_option_get("sync-objects"), "128") == 0);
	CHECK_OK(dsm_option_set("connect-timeout", "20s"));
	/* The environment decides over the program. */
	setenv("PERGOLA_CONNECT_TIMEOUT", "21s", 1);
}

static void join(void)
{
	check_join();
	CHECK_FAILS(dsm_init(-1), -EALREADY, "dsm_init");
	CHECK_FAILS(dsm_init(0), -EALREADY, "dsm_init");
	CHECK_FAILS(dsm_option_set("hold", "1ms"), -EALREADY, "dsm_option_set");
	CHECK(strcmp(dsm_option_get("sync-objects"), "128") == 0);
	CHECK(strcmp(dsm_option_get("connect-timeout"), "21s") == 0);
	CHECK_IS(dsm_node_id(), atoi(getenv("PERGOLA_RANK")));
	CHECK_IS(dsm_node_count(), atoi(getenv("PERGOLA_SIZE")));
}

static void versions_and_texts(void)
{
	char version[32];

	snprintf(version, sizeof(version), "%d.%d.%d", DSM_VERSION_MAJOR, DSM_VERSION_MINOR,
		 DSM_VERSION_PATCH);
	CHECK(strcmp(dsm_version(), version) == 0);
	for (int error = -200; error <= 200; error++)
		CHECK(dsm_strerror(error) != NULL && dsm_strerror(error)[0] != '\0');
	CHECK(dsm_strerror(-100000) != NULL);
	CHECK(strcmp(dsm_strerror(-EHOSTDOWN), dsm_strerror(-EINVAL)) != 0);
	CHECK(strcmp(dsm_strerror(-EOWNERDEAD), dsm_strerror(-EHOSTDOWN)) != 0);
}

static void broadcasts(void)
{
	int count = dsm_node_count();
	unsigned char value[DSM_BCAST_MAX + 1];

	for (int root = 0; root < count; root++) {
		for (size_t bytes = 1; bytes <= DSM_BCAST_MAX; bytes += bytes < 4 ? 1 : 31) {
			memset(value, dsm_node_id() == root ? 40 + root : 0, sizeof(value));
			CHECK_OK(dsm_bcast(value, bytes, root));
			for (size_t i = 0; i < bytes; i++)
				CHECK_IS(value[i], 40 + root);
			CHECK(value[bytes] == 0 || dsm_node_id() == root);
		}
	}
	CHECK_FAILS(dsm_bcast(value, 0, 0), -EINVAL, "dsm_bcast");
	CHECK_FAILS(dsm_bcast(value, DSM_BCAST_MAX + 1, 0), -EINVAL, "dsm_bcast");
	CHECK_FAILS(dsm_bcast(value, 1, count), -EINVAL, "dsm_bcast");
	CHECK_FAILS(dsm_bcast(value, 1, -1), -EINVAL, "dsm_bcast");
	CHECK_FAILS(dsm_bcast(NULL, 1, 0), -EINVAL, "dsm_bcast");
}

/* A value in shared memory, never touched before on the nodes that receive it. */
static void broadcast_to_shared(unsigned char *region)
{
	unsigned char *value = region + (size_t)dsm_node_id() * DSM_PAGE_BYTES;

	if (dsm_node_id() == dsm_node_count() - 1)
		memcpy(value, "from the last node", 19);
	CHECK_OK(dsm_bcast(value, 19, dsm_node_count() - 1));
	CHECK(strcmp((char *)value, "from the last node") == 0);
	CHECK_OK(dsm_barrier());
	CHECK(strcmp((char *)region, "from the last node") == 0);
}

/* Nodes that are in different collective calls all learn it, and can go on. */
static void disagreements(void)
{
	bool odd = dsm_node_id() == dsm_node_count() - 1;
	char value[16] = { 0 };

	if (dsm_node_count() == 1)
		return;
	CHECK_FAILS(dsm_bcast(value, odd ? 8 : 4, 0), -EPROTO, "dsm_bcast");
	CHECK_FAILS(dsm_bcast(value, 4, odd ? 1 : 0), -EPROTO, "dsm_bcast");
	CHECK_IS(odd ? dsm_barrier() : dsm_bcast(value, 4, 0), -EPROTO);
	check_text(__FILE__, __LINE__, odd ? "dsm_barrier" : "dsm_bcast");
	CHECK_OK(dsm_barrier());
	CHECK_IS(odd ? dsm_barrier() : (dsm_open(NULL, CHECK_UNIT_BYTES) == NULL ? -errno : 0),
		 -EPROTO);
	check_text(__FILE__, __LINE__, odd ? "dsm_barrier" : "dsm_open");
	CHECK_OK(dsm_bcast(value, 4, 0));
}

static struct dsm_stats stats_now(void)
{
	struct dsm_stats stats;

	CHECK_OK(dsm_stats_get(&stats));
	return stats;
}

/* One node writes pages, all read them: the counters must tell just that. */
static void statistics(unsigned char *region)
{
	enum { PAGES = 16 };
	unsigned char *block = region + CHECK_UNIT_BYTES;
	int count = dsm_node_count();
	int writer = count - 1;
	unsigned int sum = 0;

	CHECK_FAILS(dsm_stats_get(NULL), -EINVAL, "dsm_stats_get");
	struct dsm_stats before = stats_now();

	for (int i = 0; i < PAGES && dsm_node_id() == writer; i++)
		block[i * DSM_PAGE_BYTES] = 1;
	CHECK_OK(dsm_barrier());
	struct dsm_stats written = stats_now();

	CHECK_OK(dsm_barrier());
	for (int i = 0; i < PAGES; i++)
		sum += block[i * DSM_PAGE_BYTES];
	CHECK_IS(sum, PAGES);
	struct dsm_stats after = stats_now();

	if (dsm_node_id() == writer) {
		CHECK_IS(written.write_faults - before.write_faults, PAGES);
		CHECK(after.pages_resident >= PAGES);
	} else {
		CHECK_IS(after.read_faults - written.read_faults, PAGES);
		CHECK_IS(after.pages_fetched - written.pages_fetched, PAGES);
		CHECK_IS(after.bytes_fetched - written.bytes_fetched, PAGES * DSM_PAGE_BYTES);
		CHECK(after.messages_sent > before.messages_sent);
		CHECK(after.messages_received > before.messages_received);
	}
	CHECK_OK(dsm_barrier());
	after = stats_now();
	CHECK_OK(dsm_barrier());
	if (dsm_node_id() == writer && count > 1)
		CHECK_IS(after.downgrades - written.downgrades, PAGES);
	for (int i = 0; i < PAGES && dsm_node_id() == writer; i++)
		block[i * DSM_PAGE_BYTES] = 2;
	CHECK_OK(dsm_barrier());
	written = stats_now();
	if (dsm_node_id() == writer && count > 1)
		CHECK_IS(written.upgrades - after.upgrades, PAGES);
	if (dsm_node_id() != writer)
		CHECK_IS(written.invalidations - after.invalidations, PAGES);
}

/* A job after the job, of the same nodes: nothing of the first is left. */
static void rejoin(const unsigned char *old_region)
{
	struct dsm_stats stats;

	CHECK_OK(dsm_option_set("sync-objects", "256"));
	CHECK_OK(dsm_init(atoi(getenv("PERGOLA_RANK"))));
	CHECK(strcmp(dsm_option_get("sync-objects"), "256") == 0);
	CHECK_OK(dsm_stats_get(&stats));
	CHECK_IS(stats.read_faults + stats.write_faults + stats.pages_resident, 0);
	CHECK_FAILS(dsm_home(old_region), -EFAULT, "dsm_home");
	unsigned char *region = dsm_open(NULL, REGION_BYTES);

	CHECK(region != NULL);
	for (size_t i = 0; i < REGION_BYTES; i += DSM_PAGE_BYTES)
		CHECK_IS(region[i], 0);
	CHECK_OK(dsm_barrier());
	region[dsm_node_id()] = 1;
	CHECK_OK(dsm_barrier());
	for (int i = 0; i < dsm_node_count(); i++)
		CHECK_IS(region[i], 1);
	CHECK_OK(dsm_barrier());
}

static void leave(void)
{
	CHECK_OK(dsm_barrier());
	CHECK_OK(dsm_finish());
	CHECK_FAILS(dsm_finish(), -ENOTCONN, "dsm_finish");
	CHECK_FAILS(dsm_node_id(), -ENOTCONN, "dsm_node_id");
}

int main(void)
{
	before_joining();
	sync_before_joining();
	options_before_joining();
	join();
	versions_and_texts();
	unsigned char *region = dsm_reserve(NULL, REGION_BYTES);

	CHECK(region != NULL);
	broadcasts();
	broadcast_to_shared(region);
	disagreements();
	statistics(region);
	leave();
	rejoin(region);
	leave();
	return 0;
}
