/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pergola doctor` as one of several processes. Rank 0 gives orders, one at a time, so that no
 * measurement disturbs another; the others carry them out and answer. Everything waits with a
 * deadline, and a rank that is gone ends all.
 */
#include "cli/doctor.h"

#include "base/error.h"
#include "cli/cli.h"
#include "cli/host.h"
#include "cli/perftest.h"
#include "node/measure.h"
#include "port/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS_NS UINT64_C(1000000)
#define S_NS (1000 * MS_NS)

/* Reads of all pairs together, about; and of one. */
#define READS_BUDGET_NS (15 * S_NS)
#define PAIR_LEAST_NS (2 * MS_NS)
#define PAIR_MOST_NS (200 * MS_NS)

/* After so long nothing new is begun. */
#define READS_END_NS (60 * S_NS)
#define PERFTEST_END_NS (60 * S_NS)
#define READ_LAT_LIMIT_NS (20 * S_NS)

/* An order is carried out in this time, or its rank is given up; orders come within the other. */
#define ANSWER_NS (60 * S_NS)
#define ORDER_NS (240 * S_NS)

#define COLUMNS_AT_A_TIME 16u
#define PERFTEST_PORT 18515u

enum order_kind {
	ORDER_CHECK = 1, /* the host */
	ORDER_READ,	 /* from `peer` for `budget_ns` */
	ORDER_SERVE,	 /* ib_read_lat at `port` */
	ORDER_END_SERVE,
	ORDER_READ_LAT, /* ib_read_lat from `peer` at `port` */
	ORDER_LEAVE,
};

struct order {
	uint64_t budget_ns;
	uint32_t kind;
	uint32_t peer;
	uint32_t port;
	uint32_t unused;
};

struct answer {
	struct measure_result result;
	int32_t error;
	uint32_t fail_count;
	uint32_t warn_count;
	uint32_t fabric; /* the first letter of what led to the peer */
};

_Static_assert(sizeof(struct order) <= MEASURE_TALK_MAX, "an order is one message");
_Static_assert(sizeof(struct answer) <= MEASURE_TALK_MAX, "an answer is one message");

struct peers {
	struct measure *measure;
	struct doctor *doctor;
	pid_t server; /* of ib_read_lat; 0: none */
};

static unsigned int size_of(const struct peers *peers)
{
	return measure_size(peers->measure);
}

/* ---- carrying out -------------------------------------------------------------------------- */

static struct answer check_host(struct peers *peers)
{
	const struct measure_card *own = measure_card(peers->measure, measure_rank(peers->measure));
	struct doctor doctor = *peers->doctor;
	char prefix[MEASURE_HOST_BYTES + 4];

	snprintf(prefix, sizeof(prefix), "%s: ", own->host);
	doctor.prefix = prefix;
	doctor.terse = true;
	doctor_check_host(&doctor);
	return (struct answer){ .fail_count = doctor.fail_count, .warn_count = doctor.warn_count };
}

static void end_serve(struct peers *peers)
{
	if (peers->server > 0)
		perftest_end(peers->server);
	peers->server = 0;
}

static struct answer carry_out(struct peers *peers, const struct order *order)
{
	struct measure *measure = peers->measure;
	const struct measure_card *own = measure_card(measure, measure_rank(measure));
	struct answer answer = { .error = 0 };

	switch ((enum order_kind)order->kind) {
	case ORDER_CHECK:
		return check_host(peers);
	case ORDER_READ:
		answer.fabric = (unsigned char)measure_fabric(measure, order->peer)[0];
		answer.error = measure_read(measure, order->peer, order->budget_ns, &answer.result);
		break;
	case ORDER_SERVE:
		answer.error = perftest_serve(own, order->port, &peers->server);
		break;
	case ORDER_END_SERVE:
		end_serve(peers);
		break;
	case ORDER_READ_LAT:
		answer.error =
			perftest_read(own, measure_card(measure, order->peer)->address, order->port,
				      READ_LAT_LIMIT_NS, &answer.result.latency_ns);
		break;
	case ORDER_LEAVE:
		break;
	}
	if (answer.error != 0)
		cli_say("rank %u on %s: %s", measure_rank(measure), own->host, error_text());
	return answer;
}

static bool order_is_sound(const struct peers *peers, const struct order *order)
{
	return order->kind >= ORDER_CHECK && order->kind <= ORDER_LEAVE &&
	       order->peer < size_of(peers);
}

/* Of a rank other than 0: until it may leave. */
static int obey(struct peers *peers)
{
	struct order order = { .kind = 0 };
	int error = 0;

	while (error == 0 && order.kind != ORDER_LEAVE) {
		error = measure_hear(peers->measure, 0, &order, sizeof(order), ORDER_NS);
		if (error == 0 && !order_is_sound(peers, &order))
			error = error_set(-EPROTO, "rank 0 orders what makes no sense");
		if (error != 0 || order.kind == ORDER_LEAVE)
			break;
		struct answer answer = carry_out(peers, &order);

		error = measure_tell(peers->measure, 0, &answer, sizeof(answer));
	}
	end_serve(peers);
	return error;
}

/* ---- giving orders ------------------------------------------------------------------------- */

/* An error here is the end; one in the answer concerns this order alone. */
static int ask(struct peers *peers, unsigned int rank, const struct order *order,
	       struct answer *answer)
{
	if (rank == 0) {
		*answer = carry_out(peers, order);
		return 0;
	}
	int error = measure_tell(peers->measure, rank, order, sizeof(*order));

	return error != 0 ? error
			  : measure_hear(peers->measure, rank, answer, sizeof(*answer), ANSWER_NS);
}

static void dismiss(struct peers *peers)
{
	const struct order leave = { .kind = ORDER_LEAVE };

	for (unsigned int rank = 1; rank < size_of(peers); rank++)
		measure_tell(peers->measure, rank, &leave, sizeof(leave));
}

static bool same_host(const struct peers *peers, unsigned int a, unsigned int b)
{
	return strcmp(measure_card(peers->measure, a)->host,
		      measure_card(peers->measure, b)->host) == 0;
}

static bool first_on_host(const struct peers *peers, unsigned int rank)
{
	for (unsigned int other = 0; other < rank; other++) {
		if (same_host(peers, other, rank))
			return false;
	}
	return true;
}

/* Rank 0's own host has been checked before. */
static int check_hosts(struct peers *peers)
{
	const struct order order = { .kind = ORDER_CHECK };
	int error = 0;

	for (unsigned int rank = 1; rank < size_of(peers) && error == 0; rank++) {
		struct answer answer = { .error = 0 };

		if (!first_on_host(peers, rank))
			continue;
		error = ask(peers, rank, &order, &answer);
		peers->doctor->fail_count += answer.fail_count;
		peers->doctor->warn_count += answer.warn_count;
	}
	return error;
}

static void print_ranks(const struct peers *peers)
{
	printf("\nrank  memory     may lock   host\n");
	for (unsigned int rank = 0; rank < size_of(peers); rank++) {
		const struct measure_card *card = measure_card(peers->measure, rank);
		char memory[32];
		char locked[32];

		printf("%4u  %-9s  %-9s  %s", rank,
		       host_format_bytes(card->memory_bytes, memory, sizeof(memory)),
		       host_format_bytes(card->locked_bytes, locked, sizeof(locked)), card->host);
		if (card->device[0] != '\0')
			printf(", %s:%u at %s, MTU %u", card->device, card->port, card->address,
			       card->mtu_bytes);
		printf("\n");
	}
	fflush(stdout);
}

/* ---- matrices ------------------------------------------------------------------------------ */

struct cell {
	double latency_us; /* of these, what is not above zero has not been measured */
	double mib_per_s;
	double perftest_us;
	char fabric; /* 's' shm, 'v' verbs; ' ' not known */
};

struct matrix {
	struct cell *cells; /* [row * size + column] */
	unsigned int size;
};

typedef double cell_value_fn(const struct cell *cell);

static struct cell *cell(const struct matrix *matrix, unsigned int row, unsigned int column)
{
	return &matrix->cells[(size_t)row * matrix->size + column];
}

static double cell_latency(const struct cell *cell)
{
	return cell->latency_us;
}

static double cell_bandwidth(const struct cell *cell)
{
	return cell->mib_per_s;
}

static double cell_perftest(const struct cell *cell)
{
	return cell->perftest_us;
}

static void print_cell(const struct matrix *matrix, unsigned int row, unsigned int column,
		       cell_value_fn *value_of)
{
	double value = value_of(cell(matrix, row, column));

	if (value <= 0)
		printf("%9s ", row == column ? "." : "-");
	else
		printf("%9.*f%c", value < 100 ? 2 : 0, value, cell(matrix, row, column)->fabric);
}

static void print_matrix(const struct matrix *matrix, cell_value_fn *value_of, const char *title)
{
	printf("\n%s\n", title);
	for (unsigned int from = 0; from < matrix->size; from += COLUMNS_AT_A_TIME) {
		unsigned int to = from + COLUMNS_AT_A_TIME;

		to = to < matrix->size ? to : matrix->size;
		printf("    ");
		for (unsigned int column = from; column < to; column++)
			printf("%9u ", column);
		printf("\n");
		for (unsigned int row = 0; row < matrix->size; row++) {
			printf("%4u", row);
			for (unsigned int column = from; column < to; column++)
				print_cell(matrix, row, column, value_of);
			printf("\n");
		}
	}
}

static uint64_t pair_budget(unsigned int size)
{
	uint64_t budget_ns = READS_BUDGET_NS / (size * (size - 1));

	if (budget_ns < PAIR_LEAST_NS)
		return PAIR_LEAST_NS;
	return budget_ns < PAIR_MOST_NS ? budget_ns : PAIR_MOST_NS;
}

static int measure_pairs(struct peers *peers, const struct matrix *matrix)
{
	struct order order = { .kind = ORDER_READ, .budget_ns = pair_budget(size_of(peers)) };
	uint64_t end_ns = clock_now_ns() + READS_END_NS;
	unsigned int size = size_of(peers);

	for (unsigned int pair = 0; pair < size * size && clock_now_ns() < end_ns; pair++) {
		struct answer answer;
		unsigned int reader = pair / size;
		struct cell *at = cell(matrix, reader, pair % size);

		order.peer = pair % size;
		if (reader == order.peer)
			continue;
		int error = ask(peers, reader, &order, &answer);
		if (error != 0)
			return error;
		at->fabric = (char)answer.fabric;
		if (answer.error != 0) {
			peers->doctor->fail_count++;
			continue;
		}
		at->latency_us = (double)answer.result.latency_ns / 1e3;
		at->mib_per_s = answer.result.bytes_per_s / (double)MEASURE_LARGE_BYTES;
	}
	return 0;
}

/* ---- perftest beside it -------------------------------------------------------------------- */

static int read_lat(struct peers *peers, unsigned int reader, unsigned int server, struct cell *at)
{
	struct order order = { .kind = ORDER_SERVE, .peer = server };
	struct answer answer;

	/* One after another, but a port of the last run may not be free yet. */
	order.port = PERFTEST_PORT + reader * size_of(peers) + server;
	int error = ask(peers, server, &order, &answer);
	if (error != 0 || answer.error != 0)
		return error;
	order.kind = ORDER_READ_LAT;
	error = ask(peers, reader, &order, &answer);
	if (error != 0)
		return error;
	if (answer.error == 0)
		at->perftest_us = (double)answer.result.latency_ns / 1e3;
	order.kind = ORDER_END_SERVE;
	return ask(peers, server, &order, &answer);
}

static int measure_perftest(struct peers *peers, const struct matrix *matrix, bool *any)
{
	uint64_t end_ns = clock_now_ns() + PERFTEST_END_NS;
	int error = 0;

	for (unsigned int reader = 0; reader < matrix->size; reader++) {
		for (unsigned int server = reader + 1; server < matrix->size; server++) {
			if (cell(matrix, reader, server)->fabric != 'v')
				continue;
			*any = true;
			if (!perftest_installed() || clock_now_ns() > end_ns)
				continue;
			error = read_lat(peers, reader, server, cell(matrix, reader, server));
			if (error != 0)
				return error;
		}
	}
	return 0;
}

static int compare_with_perftest(struct peers *peers, const struct matrix *matrix)
{
	bool any = false;
	int error = measure_perftest(peers, matrix, &any);

	if (error != 0 || !any)
		return error;
	if (perftest_installed())
		print_matrix(matrix, cell_perftest,
			     "for comparison, perftest's ib_read_lat of 4 KiB, typical, us");
	else
		printf("\nib_read_lat is not installed (package perftest): nothing to compare "
		       "with\n");
	return 0;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static int run_matrix(struct peers *peers)
{
	unsigned int size = size_of(peers);
	struct matrix matrix = { calloc((size_t)size * size, sizeof(struct cell)), size };

	if (matrix.cells == NULL)
		return error_set(-ENOMEM, "no memory for a matrix of %u ranks", size);
	int error = measure_pairs(peers, &matrix);

	if (error == 0) {
		print_matrix(&matrix, cell_latency,
			     "one-sided reads of 4 KiB, median, us; row reads from column "
			     "(s: shm, v: verbs)");
		print_matrix(&matrix, cell_bandwidth, "one-sided reads of 1 MiB, MiB/s");
		fflush(stdout);
		error = compare_with_perftest(peers, &matrix);
	}
	free(matrix.cells);
	return error;
}

static int direct(struct peers *peers, bool checks)
{
	int error = 0;

	if (checks) {
		doctor_check_host(peers->doctor);
		error = check_hosts(peers);
	}

	print_ranks(peers);
	if (error == 0 && size_of(peers) > 1)
		error = run_matrix(peers);
	end_serve(peers);
	if (error == 0)
		dismiss(peers);
	return error;
}

static struct measure_card make_card(void)
{
	uint64_t available = host_memory_available();
	uint64_t group = host_cgroup_memory_left();
	bool exempt;
	uint64_t locked = host_locked_limit(&exempt);
	struct measure_card card = {
		.memory_bytes = group < available ? group : available,
		.locked_bytes = exempt ? HOST_UNLIMITED : locked,
		.gid_index = -1,
	};

	gethostname(card.host, sizeof(card.host) - 1);
	return card;
}

static int finish(const struct peers *peers, int error)
{
	const struct doctor *doctor = peers->doctor;

	if (error != 0)
		cli_say("%s", error_text());
	else if (measure_rank(peers->measure) == 0 && doctor->fail_count + doctor->warn_count > 0)
		printf("\n%u of what is needed is missing, %u can be better.\n", doctor->fail_count,
		       doctor->warn_count);
	return error != 0 || doctor->fail_count > 0 ? CLI_EXIT_FAILED : 0;
}

static unsigned int ranks_here(const struct peers *peers)
{
	unsigned int count = 0;

	for (unsigned int rank = 0; rank < size_of(peers); rank++)
		count += same_host(peers, rank, measure_rank(peers->measure));
	return count;
}

/* There is no job: what this host lacks may say why. Of ranks known to be on one host, one tells.
 */
static void explain(struct doctor *doctor, const struct settings *settings, const char *host)
{
	char prefix[MEASURE_HOST_BYTES + 4];

	if (settings_text(settings, SETTING_ROOT)[0] == '@' &&
	    settings_u64(settings, SETTING_RANK) != 0)
		return;
	snprintf(prefix, sizeof(prefix), "%s: ", host);
	doctor->prefix = prefix;
	doctor->terse = true;
	doctor_check_host(doctor);
}

int doctor_peers(struct doctor *doctor, bool checks)
{
	struct measure_card card = make_card();
	struct peers peers = { .doctor = doctor };
	struct settings settings;

	settings_init_defaults(&settings);
	if (settings_read_environment(&settings) != 0) {
		cli_say("%s", error_text());
		return CLI_EXIT_USAGE;
	}
	if (measure_open(&settings, &card, &peers.measure) != 0) {
		cli_say("on %s: %s", card.host, error_text());
		if (checks)
			explain(doctor, &settings, card.host);
		return CLI_EXIT_FAILED;
	}
	if (!checks && size_of(&peers) == 1) {
		measure_close(peers.measure);
		return cli_usage_error("doctor: --peers needs peers: start it with `pergola run "
				       "-n N`, mpirun or srun, or name them with --hosts");
	}
	doctor->rank_count = ranks_here(&peers);
	int result = finish(&peers, measure_rank(peers.measure) == 0 ? direct(&peers, checks)
								     : obey(&peers));
	measure_close(peers.measure);
	return result;
}
