/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rank 0 in the bootstrap: one poll(2) loop over the listening sockets and all who came.
 *
 * Somebody who came is a stranger until the hello is whole and its proof is right; then a member.
 * A stranger can cost the job nothing but a slot: whatever is wrong with one ends that connection
 * only, a silent one is dropped after STRANGER_NS, and they have slots of their own. What is wrong
 * with a member (its version, a rank that is taken, its end) cannot be mended by waiting: it ends
 * the job's start at once, and every member is told why.
 */
#include "node/bootstrap_side.h"

#include "base/assert.h"
#include "base/bitset.h"
#include "base/error.h"
#include "base/id.h"
#include "base/log.h"
#include "node/bootstrap_frame.h"
#include "node/endpoint.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_MS UINT64_C(1000000)
#define STRANGER_NS (10000 * NS_PER_MS)
#define STRANGERS_MAX 64u

/* Refusals that are logged one by one; more are only counted. */
#define REFUSALS_LOGGED 16u

struct caller {
	int fd; /* -1: gone, the slot is about to be removed */
	bool member;
	unsigned int rank; /* of a member */
	uint64_t deadline_ns;
	struct frame_session session;
	uint8_t in[FRAME_HELLO_BYTES + BOOTSTRAP_BLOB_MAX];
	size_t in_bytes;
	uint8_t answer[FRAME_ANSWER_BYTES]; /* goes out before the payload */
	size_t out_bytes;		    /* of answer and payload, so far */
};

struct gather {
	const struct bootstrap *bootstrap;
	size_t bytes; /* of a blob */
	uint8_t *all;
	uint64_t deadline_ns;
	uint64_t arrived[NODES_MAX / 64];
	unsigned int member_count;
	unsigned int refusal_count;
	char last_refusal[160];
	int listeners[ENDPOINT_ADDRESSES_MAX];
	int listener_count;
	struct caller *callers;
	struct pollfd *ready; /* listeners first, then callers */
	size_t caller_count;
	size_t caller_limit;
};

/* ---- words --------------------------------------------------------------------------------- */

/* "2, 5-7, 12": the ranks that have not arrived, as far as there is room. */
static void list_missing(const struct gather *gather, char *text, size_t text_bytes)
{
	unsigned int size = gather->bootstrap->size;
	size_t used = 0;

	text[0] = '\0';
	for (unsigned int first = 1; first < size; first++) {
		unsigned int last = first;

		if (bitset_test(gather->arrived, first))
			continue;
		while (last + 1 < size && !bitset_test(gather->arrived, last + 1))
			last++;
		if (text_bytes - used < 24) {
			snprintf(text + used, text_bytes - used, ", ...");
			return;
		}
		used += (size_t)snprintf(text + used, text_bytes - used, "%s%u",
					 used == 0 ? "" : ", ", first);
		if (last > first)
			used += (size_t)snprintf(text + used, text_bytes - used, "-%u", last);
		first = last;
	}
}

static int missing_error(const struct gather *gather)
{
	char missing[200];
	unsigned int count = gather->bootstrap->size - 1 - gather->member_count;

	list_missing(gather, missing, sizeof(missing));
	return error_set(-ETIMEDOUT,
			 "%s %s of %u did not come to %s within %llu ms (PERGOLA_CONNECT_TIMEOUT)"
			 "%s%s",
			 count == 1 ? "rank" : "ranks", missing, gather->bootstrap->size,
			 gather->bootstrap->root,
			 (unsigned long long)(gather->bootstrap->timeout_ns / NS_PER_MS),
			 gather->refusal_count > 0 ? "; the last that was refused: " : "",
			 gather->last_refusal);
}

static void log_refusal(struct gather *gather, const struct caller *caller, const char *why)
{
	char peer[ENDPOINT_PEER_TEXT_BYTES];

	endpoint_peer_text(caller->fd, peer);
	snprintf(gather->last_refusal, sizeof(gather->last_refusal), "%s, %s", peer, why);
	gather->refusal_count++;
	if (gather->refusal_count > REFUSALS_LOGGED)
		return;
	log_line(LOG_WARNING, "refused %s at %s: %s%s", peer, gather->bootstrap->root, why,
		 gather->refusal_count == REFUSALS_LOGGED ? "; later refusals are not shown" : "");
}

/* ---- answers ------------------------------------------------------------------------------- */

static void hang_up(struct caller *caller)
{
	close(caller->fd);
	caller->fd = -1;
}

/* Best effort, in one piece: a fresh socket has room for it. */
static void send_refusal(struct caller *caller, int error, const char *reason)
{
	uint8_t bytes[FRAME_ANSWER_BYTES + FRAME_REASON_MAX];
	size_t reason_bytes = strnlen(reason, FRAME_REASON_MAX);
	struct frame_answer answer = {
		.kind = FRAME_REFUSED,
		.payload_bytes = (uint32_t)reason_bytes,
		.error = (uint32_t)-error,
	};

	frame_put_answer(bytes, &answer, reason, &caller->session);
	memcpy(bytes + FRAME_ANSWER_BYTES, reason, reason_bytes);
	ssize_t sent = send(caller->fd, bytes, FRAME_ANSWER_BYTES + reason_bytes,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		log_line(LOG_DEBUG, "a refusal could not be sent: %s", strerror(errno));
}

static void refuse(struct gather *gather, struct caller *caller, const char *why)
{
	log_refusal(gather, caller, why);
	send_refusal(caller, -EACCES, why);
	hang_up(caller);
}

/* Garbage gets no answer. */
static void drop(struct gather *gather, struct caller *caller, const char *why)
{
	log_refusal(gather, caller, why);
	hang_up(caller);
}

static void tell_members(struct gather *gather, int error)
{
	for (size_t i = 0; i < gather->caller_count; i++) {
		struct caller *caller = &gather->callers[i];

		/* Not in the middle of a welcome: bytes of a refusal would be taken for blobs. */
		if (caller->fd >= 0 && caller->member && caller->out_bytes == 0)
			send_refusal(caller, error, error_text());
	}
}

/* ---- hellos -------------------------------------------------------------------------------- */

/* A member that cannot be of this job as it is: 0, or what ends the job's start. */
static int check_member(const struct gather *gather, const struct frame_hello *hello)
{
	const struct bootstrap *own = gather->bootstrap;

	if (hello->version != own->version)
		return error_set(-EPROTO,
				 "rank %u runs version %u of the library's protocol and rank 0 "
				 "version %u: install the same release everywhere",
				 hello->rank, hello->version, own->version);
	if (hello->size != own->size)
		return error_set(-EPROTO,
				 "rank %u was started in a job of %u nodes and rank 0 in "
				 "one of %u (PERGOLA_SIZE)",
				 hello->rank, hello->size, own->size);
	if (hello->blob_bytes != gather->bytes)
		return error_set(-EPROTO,
				 "rank %u gives %u bytes and rank 0 %zu: they are not the "
				 "same build",
				 hello->rank, hello->blob_bytes, gather->bytes);
	if (hello->rank >= own->size)
		return error_set(-EPROTO, "a node came as rank %u in a job of %u (PERGOLA_RANK)",
				 hello->rank, own->size);
	if (hello->rank == 0 || bitset_test(gather->arrived, hello->rank))
		return error_set(-EEXIST, "two nodes came as rank %u (PERGOLA_RANK)", hello->rank);
	return 0;
}

static void admit(struct gather *gather, struct caller *caller, const struct frame_hello *hello)
{
	ASSERT(hello->rank > 0 && hello->rank < gather->bootstrap->size);
	ASSERT(!bitset_test(gather->arrived, hello->rank));
	memcpy(gather->all + hello->rank * gather->bytes, caller->in + FRAME_HELLO_BYTES,
	       gather->bytes);
	bitset_set(gather->arrived, hello->rank);
	gather->member_count++;
	caller->member = true;
	caller->rank = hello->rank;
}

static int judge(struct gather *gather, struct caller *caller, const struct frame_hello *hello)
{
	memcpy(caller->session.node_nonce, hello->nonce, FRAME_NONCE_BYTES);
	if (hello->job != gather->bootstrap->job) {
		refuse(gather, caller, "it is of another job (PERGOLA_JOB)");
		return 0;
	}
	if (!frame_hello_proven(caller->in, caller->in + FRAME_HELLO_BYTES, hello->blob_bytes,
				&caller->session)) {
		refuse(gather, caller, "it does not know this job's secret (PERGOLA_SECRET)");
		return 0;
	}
	int error = check_member(gather, hello);
	if (error == 0) {
		admit(gather, caller, hello);
		return 0;
	}
	send_refusal(caller, error, error_text());
	hang_up(caller);
	return error;
}

/* Looks at what a stranger has said so far. */
static int consider(struct gather *gather, struct caller *caller)
{
	struct frame_hello hello;

	if (!frame_starts(caller->in, caller->in_bytes)) {
		drop(gather, caller, "what it sends is not of Pergola");
		return 0;
	}
	if (caller->in_bytes < FRAME_HELLO_BYTES)
		return 0;
	frame_get_hello(caller->in, &hello);
	if (hello.blob_bytes < 1 || hello.blob_bytes > BOOTSTRAP_BLOB_MAX ||
	    caller->in_bytes > FRAME_HELLO_BYTES + hello.blob_bytes) {
		drop(gather, caller, "its hello makes no sense");
		return 0;
	}
	if (caller->in_bytes < FRAME_HELLO_BYTES + hello.blob_bytes)
		return 0;
	return judge(gather, caller, &hello);
}

static int lose_member(struct caller *caller)
{
	hang_up(caller);
	return error_set(-EHOSTDOWN, "rank %u left while the other nodes were still awaited",
			 caller->rank);
}

/* A caller's socket has something. Returns what ends the job's start, or 0. */
static int hear(struct gather *gather, struct caller *caller)
{
	size_t room = sizeof(caller->in) - caller->in_bytes;
	uint8_t excess;
	ssize_t got = room > 0 && !caller->member
			      ? recv(caller->fd, caller->in + caller->in_bytes, room, 0)
			      : recv(caller->fd, &excess, 1, 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (caller->member) /* has nothing more to say: its end, or a fault */
		return lose_member(caller);
	if (got > 0) {
		caller->in_bytes += (size_t)got;
		return consider(gather, caller);
	}
	drop(gather, caller, "it left before it said who it is");
	return 0;
}

/* ---- callers ------------------------------------------------------------------------------- */

static int greet(struct gather *gather, struct caller *caller)
{
	uint8_t bytes[FRAME_GREETING_BYTES];
	struct frame_greeting greeting = { .version = gather->bootstrap->version };
	int error = frame_nonce(greeting.nonce);

	if (error != 0)
		return error;
	memcpy(caller->session.root_nonce, greeting.nonce, FRAME_NONCE_BYTES);
	frame_put_greeting(bytes, &greeting);
	if (send(caller->fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != sizeof(bytes))
		drop(gather, caller, "it left at once");
	return 0;
}

static int add_caller(struct gather *gather, int fd)
{
	struct caller *caller = &gather->callers[gather->caller_count];

	ASSERT(gather->caller_count < gather->caller_limit);
	*caller = (struct caller){
		.fd = fd,
		.deadline_ns = endpoint_now_ns() + STRANGER_NS,
		.session = { .secret = gather->bootstrap->secret },
	};
	gather->caller_count++;
	if (endpoint_is_local(gather->bootstrap->root) &&
	    !bootstrap_has_secret(gather->bootstrap) && !endpoint_peer_same_user(fd)) {
		drop(gather, caller, "it is of another user, and PERGOLA_SECRET is not set");
		return 0;
	}
	return greet(gather, caller);
}

static int accept_from(struct gather *gather, int listener)
{
	while (gather->caller_count < gather->caller_limit) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			return error_set(-EMFILE,
					 "rank 0 has no file descriptor left for node %u of %u: "
					 "raise the limit of open files (ulimit -n)",
					 gather->member_count + 1, gather->bootstrap->size);
		if (fd < 0)
			return 0; /* none there, or it has gone again */
		int error = add_caller(gather, fd);
		if (error != 0)
			return error;
	}
	return 0;
}

static void remove_gone(struct gather *gather)
{
	size_t kept = 0;

	for (size_t i = 0; i < gather->caller_count; i++) {
		if (gather->callers[i].fd < 0)
			continue;
		if (kept != i)
			gather->callers[kept] = gather->callers[i];
		kept++;
	}
	gather->caller_count = kept;
}

/* Ends strangers that have been silent too long; returns when the next one will have been. */
static uint64_t drop_silent(struct gather *gather)
{
	uint64_t now = endpoint_now_ns();
	uint64_t next = gather->deadline_ns;

	for (size_t i = 0; i < gather->caller_count; i++) {
		struct caller *caller = &gather->callers[i];

		if (caller->member)
			continue;
		if (now >= caller->deadline_ns)
			drop(gather, caller, "it did not say who it is in time");
		else if (caller->deadline_ns < next)
			next = caller->deadline_ns;
	}
	remove_gone(gather);
	return next;
}

/* ---- the loops ----------------------------------------------------------------------------- */

/* Fills gather->ready; with `events` 0 a caller's slot only reports errors. */
static nfds_t prepare(struct gather *gather, bool listening, short events)
{
	nfds_t count = 0;

	for (int i = 0; i < gather->listener_count; i++) {
		bool room = gather->caller_count < gather->caller_limit;

		gather->ready[count++] = (struct pollfd){
			.fd = listening && room ? gather->listeners[i] : -1,
			.events = POLLIN,
		};
	}
	for (size_t i = 0; i < gather->caller_count; i++)
		gather->ready[count++] =
			(struct pollfd){ .fd = gather->callers[i].fd, .events = events };
	return count;
}

static int wait_ready(struct gather *gather, nfds_t count, uint64_t until_ns)
{
	if (poll(gather->ready, count, endpoint_left_ms(until_ns)) >= 0)
		return 0;
	if (errno != EINTR)
		return error_set(-errno, "poll: %s", strerror(errno));
	for (nfds_t i = 0; i < count; i++)
		gather->ready[i].revents = 0;
	return 0;
}

static int gather_once(struct gather *gather)
{
	uint64_t until_ns = drop_silent(gather);
	size_t known = gather->caller_count; /* accept adds callers that were not polled */
	int error = wait_ready(gather, prepare(gather, true, POLLIN), until_ns);

	for (size_t i = 0; error == 0 && i < known; i++) {
		if (gather->ready[(size_t)gather->listener_count + i].revents != 0)
			error = hear(gather, &gather->callers[i]);
	}
	for (int i = 0; error == 0 && i < gather->listener_count; i++) {
		if (gather->ready[i].revents != 0)
			error = accept_from(gather, gather->listeners[i]);
	}
	remove_gone(gather);
	return error;
}

static int gather_all(struct gather *gather)
{
	while (gather->member_count + 1 < gather->bootstrap->size) {
		if (endpoint_left_ms(gather->deadline_ns) == 0)
			return missing_error(gather);
		int error = gather_once(gather);
		if (error != 0)
			return error;
	}
	return 0;
}

/* Sends as much of a welcome as the socket takes. */
static int tell(struct gather *gather, struct caller *caller)
{
	size_t all_bytes = gather->bootstrap->size * gather->bytes;

	while (caller->out_bytes < FRAME_ANSWER_BYTES + all_bytes) {
		bool head = caller->out_bytes < FRAME_ANSWER_BYTES;
		size_t at = head ? caller->out_bytes : caller->out_bytes - FRAME_ANSWER_BYTES;
		const uint8_t *from = head ? caller->answer + at : gather->all + at;
		size_t bytes = (head ? FRAME_ANSWER_BYTES : all_bytes) - at;
		ssize_t sent = send(caller->fd, from, bytes, MSG_NOSIGNAL | (head ? MSG_MORE : 0));

		if (sent < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (sent < 0)
			return lose_member(caller);
		caller->out_bytes += (size_t)sent;
	}
	hang_up(caller);
	return 0;
}

static void keep_members_only(struct gather *gather)
{
	struct frame_answer answer = {
		.kind = FRAME_WELCOME,
		.payload_bytes = (uint32_t)(gather->bootstrap->size * gather->bytes),
	};

	for (size_t i = 0; i < gather->caller_count; i++) {
		struct caller *caller = &gather->callers[i];

		if (!caller->member)
			drop(gather, caller, "the job is complete");
		else
			frame_put_answer(caller->answer, &answer, gather->all, &caller->session);
	}
	remove_gone(gather);
}

static int tell_all(struct gather *gather)
{
	/* The nodes wait for the answer; a time of its own, however late the last one came. */
	uint64_t deadline_ns = endpoint_now_ns() + gather->bootstrap->timeout_ns;

	keep_members_only(gather);
	while (gather->caller_count > 0) {
		int error = wait_ready(gather, prepare(gather, false, POLLOUT), deadline_ns);

		for (size_t i = 0; error == 0 && i < gather->caller_count; i++) {
			if (gather->ready[(size_t)gather->listener_count + i].revents != 0)
				error = tell(gather, &gather->callers[i]);
		}
		remove_gone(gather);
		if (error != 0)
			return error;
		if (gather->caller_count > 0 && endpoint_left_ms(deadline_ns) == 0)
			return error_set(-ETIMEDOUT, "rank %u came but does not take the answer",
					 gather->callers[0].rank);
	}
	return 0;
}

static int gather_open(struct gather *gather)
{
	gather->caller_limit = gather->bootstrap->size - 1 + STRANGERS_MAX;
	gather->callers = calloc(gather->caller_limit, sizeof(*gather->callers));
	gather->ready =
		calloc(gather->caller_limit + ENDPOINT_ADDRESSES_MAX, sizeof(*gather->ready));
	if (gather->callers == NULL || gather->ready == NULL)
		return error_set(-ENOMEM, "no memory to gather %u nodes", gather->bootstrap->size);
	int count = endpoint_listen(gather->bootstrap->root, gather->listeners);
	if (count < 0)
		return count;
	gather->listener_count = count;
	return 0;
}

static void gather_close(struct gather *gather)
{
	for (size_t i = 0; i < gather->caller_count; i++)
		hang_up(&gather->callers[i]);
	for (int i = 0; i < gather->listener_count; i++)
		close(gather->listeners[i]);
	free(gather->callers);
	free(gather->ready);
}

int bootstrap_gather(const struct bootstrap *bootstrap, size_t bytes, void *all)
{
	struct gather gather = {
		.bootstrap = bootstrap,
		.bytes = bytes,
		.all = all,
		.deadline_ns = endpoint_now_ns() + bootstrap->timeout_ns,
	};
	int error = gather_open(&gather);

	if (error == 0)
		error = gather_all(&gather);
	if (error == 0)
		error = tell_all(&gather);
	if (error != 0)
		tell_members(&gather, error);
	gather_close(&gather);
	return error;
}
