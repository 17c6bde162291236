/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bootstrap between real processes: complete jobs over local sockets and TCP, and every way in
 * which a job's start goes wrong. Each rank is a child that reports its return value and error
 * text through a pipe; the parent judges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "node/bootstrap.h"
#include "node/bootstrap_frame.h"
#include "node/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOB_BYTES 124
#define RANKS_MAX 512
#define MS UINT64_C(1000000)
#define PATIENT_NS (20000 * MS)
#define SHORT_NS (700 * MS)

struct report {
	int result;
	bool blobs_right;
	char text[600];
};

struct rank {
	pid_t pid;
	int pipe;
	struct report report;
};

struct job {
	char root[64];
	struct rank ranks[RANKS_MAX];
};

static unsigned int job_number;

static void local_root(struct job *job)
{
	snprintf(job->root, sizeof(job->root), "@pergola-test-%d-%u", getpid(), job_number++);
}

static struct bootstrap terms(const struct job *job, unsigned int rank, unsigned int size)
{
	struct bootstrap bootstrap = {
		.root = job->root,
		.rank = rank,
		.size = size,
		.version = 7,
		.job = 0x1234,
		.timeout_ns = PATIENT_NS,
	};

	memset(bootstrap.secret, 0x5a, sizeof(bootstrap.secret));
	return bootstrap;
}

static void fill_blob(uint8_t *blob, size_t bytes, unsigned int rank)
{
	for (size_t i = 0; i < bytes; i++)
		blob[i] = (uint8_t)(rank * 31 + i);
}

static bool blobs_are_right(const uint8_t *all, size_t bytes, unsigned int size)
{
	uint8_t expected[BOOTSTRAP_BLOB_MAX];

	for (unsigned int rank = 0; rank < size; rank++) {
		fill_blob(expected, bytes, rank);
		if (memcmp(all + rank * bytes, expected, bytes) != 0)
			return false;
	}
	return true;
}

static void run_rank(const struct bootstrap *bootstrap, size_t bytes, int out)
{
	static uint8_t all[RANKS_MAX * BOOTSTRAP_BLOB_MAX];
	uint8_t mine[BOOTSTRAP_BLOB_MAX] = { 0 };
	struct report report = { 0 };

	fill_blob(mine, bytes, bootstrap->rank);
	memset(all, 0xee, sizeof(all));
	report.result = bootstrap_exchange(bootstrap, mine, bytes, all);
	report.blobs_right = report.result == 0 && blobs_are_right(all, bytes, bootstrap->size);
	snprintf(report.text, sizeof(report.text), "%s", error_text());
	ssize_t written = write(out, &report, sizeof(report));
	_exit(written == sizeof(report) ? 0 : 1);
}

static void start_bytes(struct rank *rank, const struct bootstrap *bootstrap, size_t bytes)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	fflush(stdout);
	rank->pid = fork();
	assert_true(rank->pid >= 0);
	if (rank->pid == 0) {
		close(ends[0]);
		run_rank(bootstrap, bytes, ends[1]);
	}
	close(ends[1]);
	rank->pipe = ends[0];
}

static void start(struct rank *rank, const struct bootstrap *bootstrap)
{
	start_bytes(rank, bootstrap, BLOB_BYTES);
}

static struct report *finish(struct rank *rank)
{
	int status;
	size_t have = 0;

	while (have < sizeof(rank->report)) {
		ssize_t got =
			read(rank->pipe, (char *)&rank->report + have, sizeof(rank->report) - have);

		assert_true(got > 0);
		have += (size_t)got;
	}
	close(rank->pipe);
	assert_int_equal(waitpid(rank->pid, &status, 0), rank->pid);
	assert_int_equal(status, 0);
	return &rank->report;
}

static void expect(struct rank *rank, int result, const char *told)
{
	struct report *report = finish(rank);

	if (report->result != result || strstr(report->text, told) == NULL)
		fail_msg("returned %d (%s), \"%s\"; expected %d and \"%s\"", report->result,
			 strerror(-report->result), report->text, result, told);
}

static void expect_complete(struct rank *rank)
{
	struct report *report = finish(rank);

	if (report->result != 0)
		fail_msg("returned %d: %s", report->result, report->text);
	assert_true(report->blobs_right);
}

/* Starts the ranks from the last to the first, so that rank 0 comes after those who need it. */
static void check_job(struct job *job, unsigned int size)
{
	for (unsigned int rank = size; rank-- > 0;) {
		struct bootstrap bootstrap = terms(job, rank, size);

		start(&job->ranks[rank], &bootstrap);
	}
	for (unsigned int rank = 0; rank < size; rank++)
		expect_complete(&job->ranks[rank]);
}

/* ---- complete jobs ------------------------------------------------------------------------- */

static void test_alone(void **state)
{
	struct bootstrap bootstrap = { .rank = 0, .size = 1 };
	uint64_t mine = 42;
	uint64_t all = 0;

	(void)state;
	assert_int_equal(bootstrap_exchange(&bootstrap, &mine, sizeof(mine), &all), 0);
	assert_int_equal(all, 42);
}

static void test_local(void **state)
{
	static const unsigned int sizes[] = { 1, 2, 8, 64 };
	struct job job;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		local_root(&job);
		check_job(&job, sizes[i]);
	}
}

/* A port that nobody has just now. */
static unsigned int free_port(int family)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = { .any = { .sa_family = (sa_family_t)family } };
	socklen_t bytes = sizeof(address);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (family == AF_INET6)
		address.v6.sin6_addr = in6addr_loopback;
	else
		address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	unsigned int port = 0;
	if (bind(fd, &address.any, bytes) == 0 && getsockname(fd, &address.any, &bytes) == 0)
		port = ntohs(family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
	close(fd);
	return port;
}

static void check_tcp(int family, const char *host)
{
	struct job job;
	unsigned int port = free_port(family);

	if (port == 0) {
		print_message("no loopback address %s here\n", host);
		skip();
	}
	snprintf(job.root, sizeof(job.root), "%s:%u", host, port);
	check_job(&job, 4);
}

static void test_tcp4(void **state)
{
	(void)state;
	check_tcp(AF_INET, "127.0.0.1");
}

static void test_tcp6(void **state)
{
	(void)state;
	check_tcp(AF_INET6, "[::1]");
}

static void test_tcp_name(void **state)
{
	(void)state;
	check_tcp(AF_INET, "localhost");
}

/*
 * Many nodes with the largest blob: an answer beyond what a local socket takes at once (208 KiB
 * where nobody has changed it).
 */
static void test_large(void **state)
{
	struct job job;

	(void)state;
	local_root(&job);
	for (unsigned int rank = 0; rank < RANKS_MAX; rank++) {
		struct bootstrap bootstrap = terms(&job, rank, RANKS_MAX);

		start_bytes(&job.ranks[rank], &bootstrap, BOOTSTRAP_BLOB_MAX);
	}
	for (unsigned int rank = 0; rank < RANKS_MAX; rank++)
		expect_complete(&job.ranks[rank]);
}

static void test_no_secret_local(void **state)
{
	struct job job;

	(void)state;
	local_root(&job);
	for (unsigned int rank = 0; rank < 2; rank++) {
		struct bootstrap bootstrap = terms(&job, rank, 2);

		memset(bootstrap.secret, 0, sizeof(bootstrap.secret));
		start(&job.ranks[rank], &bootstrap);
	}
	expect_complete(&job.ranks[0]);
	expect_complete(&job.ranks[1]);
}

/* ---- jobs that cannot start ---------------------------------------------------------------- */

static void test_missing_ranks(void **state)
{
	struct job job;
	static const unsigned int present[] = { 0, 1, 4 };

	(void)state;
	local_root(&job);
	for (size_t i = 0; i < 3; i++) {
		struct bootstrap bootstrap = terms(&job, present[i], 7);

		bootstrap.timeout_ns = SHORT_NS;
		start(&job.ranks[present[i]], &bootstrap);
	}
	expect(&job.ranks[0], -ETIMEDOUT, "ranks 2-3, 5-6 of 7 did not come");
	expect(&job.ranks[1], -ETIMEDOUT, "ranks 2-3, 5-6 of 7 did not come");
	expect(&job.ranks[4], -ETIMEDOUT, "ranks 2-3, 5-6 of 7 did not come");
}

static void test_missing_root(void **state)
{
	struct job job;
	struct bootstrap bootstrap;

	(void)state;
	local_root(&job);
	bootstrap = terms(&job, 1, 2);
	bootstrap.timeout_ns = SHORT_NS;
	start(&job.ranks[1], &bootstrap);
	expect(&job.ranks[1], -ETIMEDOUT, "found no rank 0 at @pergola-test-");
}

/* A node with another secret (or job) is refused, and the job completes without noticing. */
static void check_refused(bool other_job, const char *told)
{
	struct job job;
	struct bootstrap bootstrap;
	struct rank stranger;

	local_root(&job);
	bootstrap = terms(&job, 0, 2);
	start(&job.ranks[0], &bootstrap);
	bootstrap = terms(&job, 1, 2);
	if (other_job)
		bootstrap.job++;
	else
		bootstrap.secret[7] ^= 1;
	start(&stranger, &bootstrap);
	expect(&stranger, -EACCES, told);
	bootstrap = terms(&job, 1, 2);
	start(&job.ranks[1], &bootstrap);
	expect_complete(&job.ranks[0]);
	expect_complete(&job.ranks[1]);
}

static void test_wrong_secret(void **state)
{
	(void)state;
	check_refused(false, "does not know this job's secret");
}

static void test_wrong_job(void **state)
{
	(void)state;
	check_refused(true, "of another job");
}

/* The half of the secret that proves rank 0: the node must notice. */
static void test_false_root(void **state)
{
	struct job job;
	struct bootstrap bootstrap;

	(void)state;
	local_root(&job);
	bootstrap = terms(&job, 0, 2);
	bootstrap.secret[20] ^= 1;
	start(&job.ranks[0], &bootstrap);
	bootstrap = terms(&job, 1, 2);
	start(&job.ranks[1], &bootstrap);
	expect(&job.ranks[1], -EACCES, "does not know this job's PERGOLA_SECRET");
	finish(&job.ranks[0]);
}

/* Two members that cannot both be of the job: both sides and the bystander say why, at once. */
static void check_disagreement(const struct bootstrap *odd, size_t odd_bytes, int error,
			       const char *told)
{
	struct job job;
	struct bootstrap bootstrap;
	struct rank bystander;
	struct rank second;
	uint64_t begun_ns = endpoint_now_ns();

	snprintf(job.root, sizeof(job.root), "%s", odd->root);
	bootstrap = terms(&job, 0, 4);
	start(&job.ranks[0], &bootstrap);
	bootstrap = terms(&job, 1, 4);
	start(&bystander, &bootstrap);
	usleep(200 * 1000); /* the bystander is in; if not yet, it is the one that is told */
	start_bytes(&second, odd, odd_bytes);
	expect(&second, error, told);
	expect(&job.ranks[0], error, told);
	expect(&bystander, error, told);
	assert_true(endpoint_now_ns() - begun_ns < PATIENT_NS / 2);
}

static void test_duplicate_rank(void **state)
{
	struct job job;
	struct bootstrap odd;

	(void)state;
	local_root(&job);
	odd = terms(&job, 1, 4);
	check_disagreement(&odd, BLOB_BYTES, -EEXIST, "two nodes came as rank 1");
}

static void test_other_size(void **state)
{
	struct job job;
	struct bootstrap odd;

	(void)state;
	local_root(&job);
	odd = terms(&job, 2, 5);
	check_disagreement(&odd, BLOB_BYTES, -EPROTO, "in a job of 5 nodes and rank 0 in one of 4");
}

static void test_other_version(void **state)
{
	struct job job;
	struct bootstrap odd;

	(void)state;
	local_root(&job);
	odd = terms(&job, 2, 4);
	odd.version = 8;
	check_disagreement(&odd, BLOB_BYTES, -EPROTO, "rank 2 runs version 8");
}

static void test_other_blob(void **state)
{
	struct job job;
	struct bootstrap odd;

	(void)state;
	local_root(&job);
	odd = terms(&job, 2, 4);
	check_disagreement(&odd, BLOB_BYTES - 4, -EPROTO, "rank 2 gives 120 bytes");
}

/* A member killed while the others are awaited: named at once. */
static void test_lost_member(void **state)
{
	struct job job;
	struct bootstrap bootstrap;
	struct rank lost;
	int status;

	(void)state;
	local_root(&job);
	bootstrap = terms(&job, 0, 3);
	start(&job.ranks[0], &bootstrap);
	bootstrap = terms(&job, 2, 3);
	start(&lost, &bootstrap);
	usleep(300 * 1000);
	assert_int_equal(kill(lost.pid, SIGKILL), 0);
	assert_int_equal(waitpid(lost.pid, &status, 0), lost.pid);
	close(lost.pipe);
	expect(&job.ranks[0], -EHOSTDOWN, "rank 2 left while");
}

static void test_busy_root(void **state)
{
	struct job job;
	struct bootstrap bootstrap;
	int fds[ENDPOINT_ADDRESSES_MAX];

	(void)state;
	local_root(&job);
	assert_int_equal(endpoint_listen(job.root, fds), 1);
	bootstrap = terms(&job, 0, 2);
	start(&job.ranks[0], &bootstrap);
	expect(&job.ranks[0], -EADDRINUSE, "another process does");
	close(fds[0]);
}

/* ---- strangers ----------------------------------------------------------------------------- */

static int connect_stranger(const char *root)
{
	struct endpoint endpoint;
	int fd = -1;

	assert_int_equal(endpoint_resolve(root, &endpoint), 0);
	for (int tries = 0; tries < 500; tries++) {
		fd = socket(endpoint.at[0].address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(fd >= 0);
		if (connect(fd, (struct sockaddr *)&endpoint.at[0].address, endpoint.at[0].bytes) ==
		    0)
			return fd;
		close(fd);
		usleep(10 * 1000);
	}
	fail_msg("rank 0 does not listen");
	return -1;
}

/* Reads to the end: how many bytes came. The test's own timeout bounds it. */
static size_t read_to_end(int fd)
{
	char bytes[4096];
	size_t total = 0;

	for (;;) {
		ssize_t got = read(fd, bytes, sizeof(bytes));

		if (got <= 0)
			return total;
		total += (size_t)got;
	}
}

static void send_garbage(const char *root, const uint8_t *bytes, size_t count)
{
	int fd = connect_stranger(root);

	assert_int_equal(send(fd, bytes, count, MSG_NOSIGNAL), count);
	assert_int_equal(read_to_end(fd), FRAME_GREETING_BYTES); /* hung up on, no answer */
	close(fd);
}

/* Well-formed hellos with impossible lengths, and random bytes; none stops the job. */
static void test_garbage(void **state)
{
	struct job job;
	struct bootstrap bootstrap;
	uint8_t bytes[FRAME_HELLO_BYTES + BOOTSTRAP_BLOB_MAX];
	struct frame_session session = { .secret = bytes };
	struct frame_hello hello = { .version = 7, .rank = 1, .size = 2, .job = 0x1234 };

	(void)state;
	local_root(&job);
	bootstrap = terms(&job, 0, 2);
	start(&job.ranks[0], &bootstrap);
	memset(bytes, 'x', sizeof(bytes));
	send_garbage(job.root, bytes, 1);
	send_garbage(job.root, bytes, sizeof(bytes));
	send_garbage(job.root, (const uint8_t *)"GET / HTTP/1.0\r\n\r\n", 18);
	frame_put_hello(bytes, &hello, NULL, &session);
	send_garbage(job.root, bytes, FRAME_HELLO_BYTES); /* no blob */
	memset(bytes + 20, 0xff, 4);
	send_garbage(job.root, bytes, FRAME_HELLO_BYTES); /* a blob of 4 GiB */
	bootstrap = terms(&job, 1, 2);
	start(&job.ranks[1], &bootstrap);
	expect_complete(&job.ranks[0]);
	expect_complete(&job.ranks[1]);
}

/* Strangers that say nothing, or half a hello and no more, while the job starts. */
static void test_silent(void **state)
{
	struct job job;
	struct bootstrap bootstrap;
	int strangers[20];
	uint64_t begun_ns = endpoint_now_ns();

	(void)state;
	local_root(&job);
	bootstrap = terms(&job, 0, 2);
	start(&job.ranks[0], &bootstrap);
	for (size_t i = 0; i < 20; i++) {
		strangers[i] = connect_stranger(job.root);
		if (i % 2 == 0)
			assert_int_equal(send(strangers[i], "Pergo", 5, MSG_NOSIGNAL), 5);
	}
	bootstrap = terms(&job, 1, 2);
	start(&job.ranks[1], &bootstrap);
	expect_complete(&job.ranks[0]);
	expect_complete(&job.ranks[1]);
	assert_true(endpoint_now_ns() - begun_ns < 5000 * MS);
	for (size_t i = 0; i < 20; i++)
		close(strangers[i]);
}

/* A hello recorded from one connection is worth nothing on another. */
static void test_replay(void **state)
{
	struct job job;
	struct bootstrap bootstrap;
	uint8_t greeting[FRAME_GREETING_BYTES];
	uint8_t hello_bytes[FRAME_HELLO_BYTES + BLOB_BYTES];
	uint8_t answer[FRAME_ANSWER_BYTES];
	struct frame_session session = { 0 };
	struct frame_hello hello = {
		.version = 7,
		.rank = 1,
		.size = 2,
		.blob_bytes = BLOB_BYTES,
		.job = 0x1234,
	};

	(void)state;
	local_root(&job);
	bootstrap = terms(&job, 0, 2);
	start(&job.ranks[0], &bootstrap);
	/* A proof over a nonce of another connection than the one it is sent on. */
	int first = connect_stranger(job.root);
	int second = connect_stranger(job.root);
	assert_int_equal(recv(first, greeting, sizeof(greeting), MSG_WAITALL), sizeof(greeting));
	memcpy(session.root_nonce, greeting + 12, FRAME_NONCE_BYTES);
	session.secret = bootstrap.secret;
	fill_blob(hello_bytes + FRAME_HELLO_BYTES, BLOB_BYTES, 1);
	frame_put_hello(hello_bytes, &hello, hello_bytes + FRAME_HELLO_BYTES, &session);
	assert_int_equal(send(second, hello_bytes, sizeof(hello_bytes), MSG_NOSIGNAL),
			 sizeof(hello_bytes));
	assert_int_equal(recv(second, greeting, sizeof(greeting), MSG_WAITALL), sizeof(greeting));
	assert_int_equal(recv(second, answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
	assert_int_equal(answer[8], FRAME_REFUSED);
	/* On its own connection the same hello is taken: the proof was right. */
	assert_int_equal(send(first, hello_bytes, sizeof(hello_bytes), MSG_NOSIGNAL),
			 sizeof(hello_bytes));
	assert_int_equal(recv(first, answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
	assert_int_equal(answer[8], FRAME_WELCOME);
	assert_int_equal(read_to_end(first), 2 * BLOB_BYTES);
	expect_complete(&job.ranks[0]);
	close(first);
	close(second);
}

/* What listens at root is no rank 0: a node says so and does not wait for the timeout. */
static void test_foreign_root(void **state)
{
	struct job job;
	struct bootstrap bootstrap;
	int fds[ENDPOINT_ADDRESSES_MAX];

	(void)state;
	local_root(&job);
	assert_int_equal(endpoint_listen(job.root, fds), 1);
	assert_int_equal(fcntl(fds[0], F_SETFL, 0), 0);
	bootstrap = terms(&job, 1, 2);
	start(&job.ranks[1], &bootstrap);
	int fd = accept(fds[0], NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(send(fd, "SSH-2.0-a server of another kind\r\n", 34, MSG_NOSIGNAL), 34);
	expect(&job.ranks[1], -EPROTO, "is no Pergola node");
	close(fd);
	close(fds[0]);
}

static void test_arguments(void **state)
{
	static const struct {
		unsigned int rank, size;
		size_t bytes;
		const char *root;
		const char *told;
	} bad[] = {
		{ 0, 0, 8, "@x", "a job of 0 nodes" },
		{ 0, 1025, 8, "@x", "a job of 1025 nodes" },
		{ 2, 2, 8, "@x", "rank 2 in a job of 2" },
		{ 0, 2, 0, "@x", "a blob of 0 bytes" },
		{ 0, 2, 513, "@x", "a blob of 513 bytes" },
		{ 0, 2, 8, "", "PERGOLA_ROOT" },
		{ 0, 2, 8, NULL, "PERGOLA_ROOT" },
		{ 0, 2, 8, "127.0.0.1:7", "PERGOLA_SECRET" },
		{ 1, 2, 8, "@", "1 to 107 characters" },
	};
	uint8_t all[16];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bootstrap bootstrap = {
			.root = bad[i].root,
			.rank = bad[i].rank,
			.size = bad[i].size,
			.timeout_ns = SHORT_NS,
		};

		assert_int_equal(bootstrap_exchange(&bootstrap, all, bad[i].bytes, all), -EINVAL);
		if (strstr(error_text(), bad[i].told) == NULL)
			fail_msg("row %zu: %s", i, error_text());
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),	      cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_local),	      cmocka_unit_test(test_tcp4),
		cmocka_unit_test(test_tcp6),	      cmocka_unit_test(test_tcp_name),
		cmocka_unit_test(test_large),	      cmocka_unit_test(test_no_secret_local),
		cmocka_unit_test(test_missing_ranks), cmocka_unit_test(test_missing_root),
		cmocka_unit_test(test_wrong_secret),  cmocka_unit_test(test_wrong_job),
		cmocka_unit_test(test_false_root),    cmocka_unit_test(test_duplicate_rank),
		cmocka_unit_test(test_other_size),    cmocka_unit_test(test_other_version),
		cmocka_unit_test(test_other_blob),    cmocka_unit_test(test_lost_member),
		cmocka_unit_test(test_busy_root),     cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_silent),	      cmocka_unit_test(test_replay),
		cmocka_unit_test(test_foreign_root),
	};

	alarm(55); /* whatever hangs, the run ends */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
