/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node other than rank 0 in the bootstrap. It tries to connect until rank 0 is there; from the
 * greeting on it is one straight conversation under a deadline. That deadline is a little later
 * than rank 0's own, so that when somebody is missing the message comes from rank 0, who knows
 * whom.
 */
#include "node/bootstrap_side.h"

#include "base/error.h"
#include "node/bootstrap_frame.h"
#include "node/endpoint.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_MS UINT64_C(1000000)
#define RETRY_FIRST_MS 1
#define RETRY_MAX_MS 50
#define ANSWER_GRACE_NS (1000 * NS_PER_MS)

struct join {
	const struct bootstrap *bootstrap;
	const void *mine;
	size_t bytes;
	uint64_t deadline_ns;
	struct frame_session session;
	uint32_t root_version;
	int fd; /* -1: not connected */
};

static const char *root_of(const struct join *join)
{
	return join->bootstrap->root;
}

static unsigned long long timeout_ms(const struct join *join)
{
	return (unsigned long long)(join->bootstrap->timeout_ns / NS_PER_MS);
}

static void disconnect(struct join *join)
{
	if (join->fd >= 0)
		close(join->fd);
	join->fd = -1;
}

/* ---- moving bytes: 0, -ETIMEDOUT, -ECONNRESET at the other side's end, -errno ---------------- */

static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd ready = { .fd = fd, .events = events };

	for (;;) {
		int count = poll(&ready, 1, endpoint_left_ms(deadline_ns));

		if (count > 0)
			return 0;
		if (count == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int receive(struct join *join, void *data, size_t bytes)
{
	uint8_t *next = data;

	while (bytes > 0) {
		ssize_t got = recv(join->fd, next, bytes, 0);

		if (got == 0)
			return -ECONNRESET;
		if (got > 0) {
			next += got;
			bytes -= (size_t)got;
			continue;
		}
		int error =
			errno == EAGAIN ? wait_for(join->fd, POLLIN, join->deadline_ns) : -errno;
		if (error != 0 && error != -EINTR)
			return error;
	}
	return 0;
}

static int transmit(struct join *join, const void *data, size_t bytes)
{
	const uint8_t *next = data;

	while (bytes > 0) {
		ssize_t put = send(join->fd, next, bytes, MSG_NOSIGNAL);

		if (put > 0) {
			next += put;
			bytes -= (size_t)put;
			continue;
		}
		int error =
			errno == EAGAIN ? wait_for(join->fd, POLLOUT, join->deadline_ns) : -errno;
		if (error != 0 && error != -EINTR)
			return error;
	}
	return 0;
}

/* ---- reaching rank 0 ----------------------------------------------------------------------- */

/* 0 with join->fd set, or -errno. */
static int connect_to(struct join *join, const struct sockaddr_storage *address, socklen_t bytes)
{
	int error = 0;
	socklen_t error_bytes = sizeof(error);
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	join->fd = fd;
	if (connect(fd, (const struct sockaddr *)address, bytes) == 0)
		return 0;
	if (errno != EINPROGRESS)
		error = -errno;
	else
		error = wait_for(fd, POLLOUT, join->deadline_ns);
	if (error == 0) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes);
		error = -error;
	}
	if (error != 0)
		disconnect(join);
	return error;
}

/* Failures that say "not there yet": rank 0 has not come so far, or its backlog is full. */
static bool may_come(int error)
{
	switch (-error) {
	case ECONNREFUSED:
	case ECONNRESET:
	case EAGAIN:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EPIPE:
		return true;
	default:
		return false;
	}
}

static int connect_once(struct join *join)
{
	struct endpoint endpoint;
	int error = endpoint_resolve(root_of(join), &endpoint);

	if (error != 0)
		return error;
	for (int i = 0; i < endpoint.count; i++) {
		error = connect_to(join, &endpoint.at[i].address, endpoint.at[i].bytes);
		if (error == 0)
			return 0;
	}
	return error_set(error, "%s", strerror(-error));
}

/* A local root without a secret is trusted only if it is of this user. */
static int check_local_root(struct join *join)
{
	if (!endpoint_is_local(root_of(join)) || bootstrap_has_secret(join->bootstrap) ||
	    endpoint_peer_same_user(join->fd))
		return 0;
	return error_set(-EACCES,
			 "what listens at %s belongs to another user, and PERGOLA_SECRET is not "
			 "set to tell it from rank 0",
			 root_of(join));
}

static int receive_greeting(struct join *join)
{
	uint8_t bytes[FRAME_GREETING_BYTES];
	struct frame_greeting greeting;
	int error = check_local_root(join);

	if (error != 0)
		return error;
	error = receive(join, bytes, sizeof(bytes));
	if (error != 0)
		return error_set(error, "it takes connections but does not greet: %s",
				 strerror(-error));
	if (!frame_starts(bytes, sizeof(bytes)))
		return error_set(-EPROTO,
				 "what answers at %s is no Pergola node; give PERGOLA_ROOT another "
				 "name or port",
				 root_of(join));
	frame_get_greeting(bytes, &greeting);
	memcpy(join->session.root_nonce, greeting.nonce, FRAME_NONCE_BYTES);
	join->root_version = greeting.version;
	return 0;
}

static int reach_once(struct join *join)
{
	int error = connect_once(join);

	if (error == 0)
		error = receive_greeting(join);
	if (error != 0)
		disconnect(join);
	return error;
}

static int reach(struct join *join)
{
	int wait_ms = RETRY_FIRST_MS;
	int error = reach_once(join);

	while (may_come(error) && endpoint_left_ms(join->deadline_ns) > 0) {
		poll(NULL, 0, wait_ms);
		wait_ms = wait_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : wait_ms * 2;
		error = reach_once(join);
	}
	if (error == 0 || error == -EPROTO || error == -EACCES)
		return error;
	if (!may_come(error) && error != -ETIMEDOUT)
		return error_prefix(error,
				    "rank %u cannot reach rank 0 at %s: ", join->bootstrap->rank,
				    root_of(join));
	return error_prefix(-ETIMEDOUT,
			    "rank %u found no rank 0 at %s within %llu ms: ", join->bootstrap->rank,
			    root_of(join), timeout_ms(join));
}

/* ---- the conversation ---------------------------------------------------------------------- */

static int say_hello(struct join *join)
{
	uint8_t bytes[FRAME_HELLO_BYTES + BOOTSTRAP_BLOB_MAX];
	struct frame_hello hello = {
		.version = join->bootstrap->version,
		.rank = join->bootstrap->rank,
		.size = join->bootstrap->size,
		.blob_bytes = (uint32_t)join->bytes,
		.job = join->bootstrap->job,
	};

	memcpy(hello.nonce, join->session.node_nonce, FRAME_NONCE_BYTES);
	frame_put_hello(bytes, &hello, join->mine, &join->session);
	memcpy(bytes + FRAME_HELLO_BYTES, join->mine, join->bytes);
	return transmit(join, bytes, FRAME_HELLO_BYTES + join->bytes);
}

/* Errors that a refusal may carry; anything else in it is taken for -EPROTO. */
static int refusal_error(uint32_t error)
{
	switch (error) {
	case EACCES:
	case EEXIST:
	case ETIMEDOUT:
	case EHOSTDOWN:
	case EMFILE:
		return -(int)error;
	default:
		return -EPROTO;
	}
}

/* The reason comes from a side that has proven nothing: only its printable characters are shown. */
static int hear_refusal(struct join *join, const struct frame_answer *answer)
{
	char reason[FRAME_REASON_MAX + 1] = "";
	int error = receive(join, reason, answer->payload_bytes);

	if (error != 0)
		return error;
	for (char *c = reason; *c != '\0'; c++) {
		if (!isprint((unsigned char)*c))
			*c = '?';
	}
	return error_set(refusal_error(answer->error), "rank 0 at %s ended it for rank %u: %s",
			 root_of(join), join->bootstrap->rank, reason);
}

static int hear_welcome(struct join *join, const uint8_t *frame, size_t payload_bytes, void *all)
{
	void *payload = malloc(payload_bytes);

	if (payload == NULL)
		return error_set(-ENOMEM, "no memory for the addresses of %u nodes",
				 join->bootstrap->size);
	int error = receive(join, payload, payload_bytes);
	if (error == 0 && !frame_answer_proven(frame, payload, payload_bytes, &join->session))
		error = error_set(-EACCES,
				  "what answers at %s does not know this job's PERGOLA_SECRET",
				  root_of(join));
	if (error == 0)
		memcpy(all, payload, payload_bytes);
	free(payload);
	return error;
}

static int hear_answer(struct join *join, void *all)
{
	uint8_t frame[FRAME_ANSWER_BYTES];
	struct frame_answer answer;
	size_t all_bytes = join->bootstrap->size * join->bytes;
	int error = receive(join, frame, sizeof(frame));

	if (error != 0)
		return error;
	frame_get_answer(frame, &answer);
	if (frame_starts(frame, sizeof(frame))) {
		if (answer.kind == FRAME_REFUSED && answer.payload_bytes <= FRAME_REASON_MAX)
			return hear_refusal(join, &answer);
		if (answer.kind == FRAME_WELCOME && answer.payload_bytes == all_bytes)
			return hear_welcome(join, frame, all_bytes, all);
	}
	return error_set(-EPROTO,
			 "rank 0 at %s speaks version %u; its answer makes no sense in "
			 "this node's version %u",
			 root_of(join), join->root_version, join->bootstrap->version);
}

static int converse(struct join *join, void *all)
{
	int error;

	join->deadline_ns = endpoint_now_ns() + join->bootstrap->timeout_ns + ANSWER_GRACE_NS;
	error_clear();
	error = say_hello(join);
	if (error == 0 || error == -EPIPE)
		error = hear_answer(join, all);
	if (error == 0 || error_text()[0] != '\0')
		return error;
	if (error == -ETIMEDOUT)
		return error_set(error,
				 "rank 0 at %s took rank %u in but did not answer within "
				 "%llu ms",
				 root_of(join), join->bootstrap->rank, timeout_ms(join));
	return error_set(-EHOSTDOWN, "rank 0 at %s left while rank %u waited for the others: %s",
			 root_of(join), join->bootstrap->rank, strerror(-error));
}

int bootstrap_join(const struct bootstrap *bootstrap, const void *mine, size_t bytes, void *all)
{
	struct join join = {
		.bootstrap = bootstrap,
		.mine = mine,
		.bytes = bytes,
		.deadline_ns = endpoint_now_ns() + bootstrap->timeout_ns,
		.session = { .secret = bootstrap->secret },
		.fd = -1,
	};
	int error = frame_nonce(join.session.node_nonce);

	if (error == 0)
		error = reach(&join);
	if (error == 0)
		error = converse(&join, all);
	disconnect(&join);
	return error;
}
