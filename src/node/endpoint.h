/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where rank 0 can be met: "@name", an abstract local socket, or "host:port", TCP. From the text to
 * socket addresses, and from a socket to words for a person.
 */
#ifndef PERGOLA_NODE_ENDPOINT_H
#define PERGOLA_NODE_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ENDPOINT_ADDRESSES_MAX 8
#define ENDPOINT_PEER_TEXT_BYTES 96

struct endpoint {
	int count;
	struct {
		struct sockaddr_storage address;
		socklen_t bytes;
	} at[ENDPOINT_ADDRESSES_MAX];
};

static inline bool endpoint_is_local(const char *root)
{
	return root[0] == '@';
}

/*
 * The addresses to connect to. -EAGAIN: the name service did not answer, try again; -EINVAL not an
 * endpoint; -ENOENT no such host. With error_set().
 */
int endpoint_resolve(const char *root, struct endpoint *out);

/*
 * The addresses for rank 0 to listen at: a numeric address or "localhost" as it is; for a host
 * name all of this host's, because what a host's own name resolves to on itself (often a loopback
 * address) is not where others reach it.
 */
int endpoint_resolve_listen(const char *root, struct endpoint *out);

/*
 * Opens listening sockets, non-blocking; fds has room for ENDPOINT_ADDRESSES_MAX. Returns how many
 * (at least one) or -errno with error_set().
 */
int endpoint_listen(const char *root, int *fds);

/* Who is at the other end: "10.0.0.7:50211", "process 417 of user 1000". */
const char *endpoint_peer_text(int fd, char text[ENDPOINT_PEER_TEXT_BYTES]);

/* Whether the other end of a local socket is a process of this process's user. */
bool endpoint_peer_same_user(int fd);

/* Nanoseconds on the monotonic clock. */
uint64_t endpoint_now_ns(void);

/* What is left until `deadline_ns`, in milliseconds rounded up, for poll(2). */
int endpoint_left_ms(uint64_t deadline_ns);

#endif
