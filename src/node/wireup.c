/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses how the job's processes meet. Through PMIx they share twice: first a hello, from which
 * all learn who is on which host and the job's secret, which the launcher's rank 0 has drawn; then
 * what wireup_exchange() is given. The launcher's ranks and the job's ranks are the same unless
 * the program or the environment says otherwise, so every message tells its sender's rank.
 */
#include "node/wireup.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/id.h"
#include "base/log.h"
#include "node/bootstrap.h"
#include "node/wireup_pmix.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* First thing shared. Only that of the launcher's rank 0 has job and secret. */
struct hello {
	uint64_t host;
	uint64_t job;
	uint8_t secret[SETTINGS_SECRET_BYTES];
};

/* Second thing shared; the blob follows. */
struct envelope {
	uint32_t rank;
	uint32_t version;
};

/* ---- launchers that say how many there are, and nothing else ------------------------------- */

struct launcher {
	const char *size_variable;
	const char *name;
	const char *remedy;
};

/* SLURM_NTASKS will not do: a batch script has it too, and is one process. */
static const struct launcher launchers[] = {
	{ "OMPI_COMM_WORLD_SIZE", "mpirun", "an mpirun that has PMIx" },
	{ "SLURM_STEP_NUM_TASKS", "srun", "`srun --mpi=pmix`" },
	{ "PMI_SIZE", "a launcher that speaks PMI", "Open MPI's mpirun, or `srun --mpi=pmix`" },
};

/* The launcher that started this process as one of several, or NULL. */
static const struct launcher *find_launcher(unsigned long *size)
{
	for (size_t i = 0; i < sizeof(launchers) / sizeof(launchers[0]); i++) {
		const char *text = getenv(launchers[i].size_variable);

		*size = text == NULL ? 0 : strtoul(text, NULL, 10);
		if (*size > 1)
			return &launchers[i];
	}
	return NULL;
}

/* A launcher that numbers its processes but leaves them no way to meet would make many jobs. */
static int check_launcher(void)
{
	unsigned long size;
	const struct launcher *launcher = find_launcher(&size);

	if (launcher == NULL)
		return 0;
	return error_set(-EINVAL,
			 "%s started this process as one of %lu (%s), without PMIx: they have no "
			 "way to meet. Start them with %s, or set PERGOLA_RANK, PERGOLA_SIZE, "
			 "PERGOLA_ROOT and PERGOLA_SECRET; PERGOLA_SIZE=1 makes each a job of its "
			 "own",
			 launcher->name, size, launcher->size_variable, launcher->remedy);
}

static bool started_through_pmix(void)
{
	return getenv("PMIX_NAMESPACE") != NULL && getenv("PMIX_RANK") != NULL;
}

/* ---- who is this process ------------------------------------------------------------------- */

static int draw(void *out, size_t bytes)
{
	if (getrandom(out, bytes, 0) == (ssize_t)bytes)
		return 0;
	return error_set(-errno, "getrandom: %s", strerror(errno));
}

static int set_from_launcher(struct settings *settings, enum setting_id id, const char *text)
{
	int error = settings_set(settings, settings_info(id)->name, text, SOURCE_LAUNCHER);

	return error == 0 ? 0 : error_prefix(error, "the launcher says so: ");
}

static int set_place(struct settings *settings, const struct wireup_pmix *pmix)
{
	char text[16];

	snprintf(text, sizeof(text), "%" PRIu32, wireup_pmix_size(pmix));
	int error = set_from_launcher(settings, SETTING_SIZE, text);
	snprintf(text, sizeof(text), "%" PRIu32, wireup_pmix_rank(pmix));
	return error != 0 ? error : set_from_launcher(settings, SETTING_RANK, text);
}

static int set_job(struct settings *settings, const struct hello *first)
{
	char text[2 * SETTINGS_SECRET_BYTES + 1];

	for (size_t i = 0; i < SETTINGS_SECRET_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", first->secret[i]);
	int error = set_from_launcher(settings, SETTING_SECRET, text);
	explicit_bzero(text, sizeof(text));
	snprintf(text, sizeof(text), "%016" PRIx64, first->job);
	return error != 0 ? error : set_from_launcher(settings, SETTING_JOB, text);
}

static bool all_on(uint64_t host, const struct hello *hellos, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		if (hellos[i].host != host)
			return false;
	}
	return true;
}

static int share_hello(struct wireup *wireup, struct settings *settings, uint64_t host)
{
	uint32_t size = wireup_pmix_size(wireup->pmix);
	struct hello *hellos = calloc(size, sizeof(*hellos));
	struct hello mine = { .host = host };
	int error = 0;

	if (hellos == NULL)
		return error_set(-ENOMEM, "no memory for the hosts of %" PRIu32 " nodes", size);
	if (wireup_pmix_rank(wireup->pmix) == 0) {
		error = draw(&mine.job, sizeof(mine.job));
		mine.job |= 1; /* zero would be "no job" */
		if (error == 0)
			error = draw(mine.secret, sizeof(mine.secret));
	}
	if (error == 0)
		error = wireup_pmix_share(wireup->pmix, "hello", &mine, sizeof(mine), hellos);
	if (error == 0) {
		wireup->one_host = all_on(host, hellos, size);
		error = set_job(settings, &hellos[0]);
	}
	explicit_bzero(&mine, sizeof(mine));
	explicit_bzero(hellos, size * sizeof(*hellos));
	free(hellos);
	return error;
}

static int identify_through_pmix(struct wireup *wireup, struct settings *settings, uint64_t host)
{
	uint64_t timeout_ns = settings_u64(settings, SETTING_CONNECT_TIMEOUT);
	int error = wireup_pmix_open(timeout_ns, &wireup->pmix);

	if (error == 0)
		error = set_place(settings, wireup->pmix);
	if (error == 0 && wireup_pmix_size(wireup->pmix) > 1)
		error = share_hello(wireup, settings, host);
	return error;
}

/* Nobody can be met at the address of one's own host but from this host. */
static bool is_loopback(const char *root)
{
	return strncmp(root, "127.", 4) == 0 || strncmp(root, "[::1]:", 6) == 0 ||
	       strncmp(root, "localhost:", 10) == 0;
}

int wireup_identify(struct wireup *wireup, struct settings *settings, uint64_t host)
{
	const char *root = settings_text(settings, SETTING_ROOT);
	int error = 0;

	*wireup = (struct wireup){ .one_host = root[0] == '@' || is_loopback(root) };
	if (settings_source(settings, SETTING_SIZE) != SOURCE_ENVIRONMENT) {
		if (started_through_pmix())
			error = identify_through_pmix(wireup, settings, host);
		else if (settings_u64(settings, SETTING_SIZE) == 1)
			error = check_launcher();
	}
	if (error != 0)
		return error;
	unsigned int size = (unsigned int)settings_u64(settings, SETTING_SIZE);
	if (size == 1)
		wireup->one_host = true;
	if (size == 1 || root[0] != '\0' || wireup->pmix != NULL)
		return 0;
	return error_set(
		-EINVAL,
		"a job of %u nodes needs a way to meet: start it with `pergola run -n %u`, "
		"mpirun or `srun --mpi=pmix`, or set PERGOLA_ROOT to a host and a port of "
		"node 0",
		size, size);
}

/* ---- what do the others say ---------------------------------------------------------------- */

/* `envelopes` come in the order of the launcher's ranks and go to `all` in that of the job's. */
static int open_envelopes(const uint8_t *envelopes, size_t bytes, unsigned int size,
			  uint32_t version, uint8_t *all)
{
	bool here[NODES_MAX] = { false };

	for (unsigned int i = 0; i < size; i++) {
		const uint8_t *at = envelopes + i * (sizeof(struct envelope) + bytes);
		struct envelope envelope;

		memcpy(&envelope, at, sizeof(envelope));
		if (envelope.version != version)
			return error_set(-EPROTO,
					 "the launcher's rank %u runs version %" PRIu32 " of the "
					 "library's protocol and this one version %" PRIu32
					 ": install the same release everywhere",
					 i, envelope.version, version);
		if (envelope.rank >= size || here[envelope.rank])
			return error_set(-EEXIST,
					 "rank %" PRIu32 " is given %s in a job of %u (dsm_init's "
					 "id, PERGOLA_RANK)",
					 envelope.rank, envelope.rank < size ? "twice" : "but not",
					 size);
		here[envelope.rank] = true;
		memcpy(all + envelope.rank * bytes, at + sizeof(envelope), bytes);
	}
	return 0;
}

static int exchange_through_pmix(struct wireup_pmix *pmix, const struct envelope *envelope,
				 const void *mine, size_t bytes, void *all)
{
	uint32_t size = wireup_pmix_size(pmix);
	size_t full_bytes = sizeof(*envelope) + bytes;
	uint8_t *out = calloc(size + 1u, full_bytes);

	if (out == NULL)
		return error_set(-ENOMEM, "no memory for the addresses of %" PRIu32 " nodes", size);
	uint8_t *in = out + full_bytes;
	memcpy(out, envelope, sizeof(*envelope));
	memcpy(out + sizeof(*envelope), mine, bytes);
	int error = wireup_pmix_share(pmix, "node", out, full_bytes, in);
	if (error == 0)
		error = open_envelopes(in, bytes, size, envelope->version, all);
	free(out);
	return error;
}

static int exchange_at_root(const struct settings *settings, uint32_t version, const void *mine,
			    size_t bytes, void *all)
{
	struct bootstrap bootstrap = {
		.root = settings_text(settings, SETTING_ROOT),
		.rank = (unsigned int)settings_u64(settings, SETTING_RANK),
		.size = (unsigned int)settings_u64(settings, SETTING_SIZE),
		.version = version,
		.job = settings_u64(settings, SETTING_JOB),
		.timeout_ns = settings_u64(settings, SETTING_CONNECT_TIMEOUT),
	};

	settings_secret(settings, bootstrap.secret);
	int error = bootstrap_exchange(&bootstrap, mine, bytes, all);
	explicit_bzero(bootstrap.secret, sizeof(bootstrap.secret));
	return error;
}

int wireup_exchange(const struct wireup *wireup, const struct settings *settings, uint32_t version,
		    const void *mine, size_t bytes, void *all)
{
	const struct envelope envelope = {
		.rank = (uint32_t)settings_u64(settings, SETTING_RANK),
		.version = version,
	};

	if (wireup->pmix == NULL || settings_u64(settings, SETTING_SIZE) == 1 ||
	    settings_text(settings, SETTING_ROOT)[0] != '\0')
		return exchange_at_root(settings, version, mine, bytes, all);
	return exchange_through_pmix(wireup->pmix, &envelope, mine, bytes, all);
}

void wireup_end(struct wireup *wireup)
{
	if (wireup->pmix != NULL)
		wireup_pmix_close(wireup->pmix);
	wireup->pmix = NULL;
}
