/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strangers at the sockets of the shm fabric. One process more than the job has (the outsider)
 * does what it can while the nodes connect; the last node comes only when it is through. The job
 * must come about, and no stranger may be given a descriptor.
 */
#include "contract_shm.h"
#include "shm/socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLOOD 300u

static int dial(const struct contract_node *node, unsigned int rank)
{
	uint64_t end_ns = harness_deadline(node);
	int socket = -1;

	while (shm_socket_dial(&node->world->addresses[rank], &socket) == -EAGAIN)
		harness_breathe(end_ns, __FILE__, __LINE__, "a stranger may connect");
	CHECK(socket >= 0);
	return socket;
}

static struct shm_record hello_of(const struct contract_node *node, unsigned int rank)
{
	struct fabric_config config = harness_config(node);
	struct shm_record hello = {
		.magic = SHM_MAGIC,
		.version = SHM_VERSION,
		.kind = SHM_HELLO,
		.job = config.job,
		.rank = rank,
		.node_count = config.node_count,
		.credits = config.credits,
	};

	memcpy(hello.secret, config.secret, sizeof(hello.secret));
	return hello;
}

/* Until the node hangs up; nothing but a refusal may come before that. */
static void hung_up_await(int socket)
{
	struct pollfd wait = { .fd = socket, .events = POLLIN };
	struct shm_received received;

	for (;;) {
		CHECK(poll(&wait, 1, 3000) == 1);
		int error = shm_socket_receive(socket, &received);
		if (error == -EPIPE)
			break;
		CHECK(error == 0 && received.fd_count == 0);
		CHECK(received.record.kind == SHM_REFUSED && received.record.reason < 0);
		for (size_t i = 0; i < FABRIC_SECRET_BYTES; i++)
			CHECK(received.record.secret[i] == 0);
	}
	close(socket);
}

static void refused_with(const struct contract_node *node, unsigned int rank,
			 const struct shm_record *record)
{
	int socket = dial(node, rank);

	CHECK(shm_socket_send(socket, record, NULL, 0) == 0);
	hung_up_await(socket);
}

static void stranger_garbage(struct contract_node *node, unsigned int rank)
{
	static const size_t sizes[] = { 1,
					7,
					sizeof(struct shm_record) - 1,
					sizeof(struct shm_record),
					sizeof(struct shm_record) + 1,
					60000 };
	static unsigned char data[60000];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int socket = dial(node, rank);

		pattern_fill(data, sizes[i], prng_next(&node->prng));
		CHECK(send(socket, data, sizes[i], MSG_NOSIGNAL) == (ssize_t)sizes[i]);
		hung_up_await(socket);
	}
	int socket = dial(node, rank);
	CHECK(send(socket, data, 0, MSG_NOSIGNAL) == 0);
	hung_up_await(socket);
}

static void stranger_hellos(struct contract_node *node, unsigned int rank)
{
	const struct shm_record good = hello_of(node, node->count - 1);
	struct shm_record bad[] = { good, good, good, good, good, good, good, good, good };

	bad[0].secret[0] ^= 1;
	bad[1].secret[FABRIC_SECRET_BYTES - 1] ^= 0x80;
	bad[2].job ^= 1;
	bad[3].version++;
	bad[4].magic ^= 1;
	bad[5].kind = SHM_DESCRIPTORS; /* without a hello before */
	bad[6].rank = node->count;
	bad[7].rank = rank; /* itself */
	bad[8].credits *= 2;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused_with(node, rank, &bad[i]);
}

/* Even with the secret: another user is not let in. Needs to be root to become another. */
static void stranger_other_user(struct contract_node *node, unsigned int rank)
{
	int status;

	if (geteuid() != 0)
		return;
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		struct shm_record hello = hello_of(node, node->count - 1);

		CHECK(setuid(65534) == 0);
		int socket = dial(node, rank);
		/* It may be hung up on before it can say a word. */
		shm_socket_send(socket, &hello, NULL, 0);
		hung_up_await(socket);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void stranger_run(struct contract_node *node)
{
	int silent[FLOOD];

	for (unsigned int rank = 0; rank + 1 < node->count; rank++) {
		stranger_garbage(node, rank);
		stranger_hellos(node, rank);
		stranger_other_user(node, rank);
	}
	/* More silent ones than a node has places for, and they stay. */
	for (unsigned int i = 0; i < FLOOD; i++)
		silent[i] = dial(node, i % (node->count - 1));
	harness_set_word(node, 0, 1);
	/* Once the job stands nobody is even heard. */
	harness_await_word(node, 1, node->count);
	for (unsigned int rank = 0; rank < node->count; rank++) {
		int socket = -1;

		CHECK(shm_socket_dial(&node->world->addresses[rank], &socket) == -EAGAIN);
	}
	for (unsigned int i = 0; i < FLOOD; i++)
		hung_up_await(silent[i]);
	harness_set_word(node, 2, 1);
}

static void byte_note(struct contract_node *node, unsigned int peer, const unsigned char *data,
		      size_t bytes)
{
	(void)node;
	CHECK(bytes == 1 && data[0] == (unsigned char)peer);
}

static void shm_strangers(struct contract_node *node)
{
	unsigned char data = (unsigned char)node->rank;

	if (node->rank == node->count) {
		harness_addresses_await(node, node->count);
		stranger_run(node);
		return;
	}
	node->on_message = byte_note;
	harness_open(node);
	harness_addresses_await(node, node->count);
	if (node->rank == node->count - 1)
		harness_await_word(node, 0, 1);
	harness_connect(node);
	atomic_fetch_add(&node->world->words[1], 1);
	harness_await_word(node, 2, 1);
	for (unsigned int peer = 0; peer < node->count; peer++) {
		if (peer != node->rank)
			harness_send(node, peer, &data, 1);
	}
	for (unsigned int peer = 0; peer < node->count; peer++) {
		if (peer != node->rank)
			WAIT_UNTIL(node, node->received[peer] == 1);
	}
	node->leaving = true;
	harness_barrier(node);
	harness_close(node);
}

static const struct contract_case cases[] = {
	{ .name = "shm_strangers",
	  .run = shm_strangers,
	  .node_count = 3,
	  .flags = CONTRACT_RAW | CONTRACT_OUTSIDER },
};

const struct contract_table contract_shm_cases = CONTRACT_TABLE(cases);
