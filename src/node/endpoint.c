/* SPDX-License-Identifier: Apache-2.0 */
#include "node/endpoint.h"

#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HOST_BYTES 256
#define NS_PER_MS UINT64_C(1000000)

uint64_t endpoint_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 * NS_PER_MS + (uint64_t)now.tv_nsec;
}

int endpoint_left_ms(uint64_t deadline_ns)
{
	uint64_t now = endpoint_now_ns();

	if (now >= deadline_ns)
		return 0;
	uint64_t left_ms = (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
	return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

static int resolve_local(const char *root, struct endpoint *out)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t name_bytes = strlen(root + 1);

	if (name_bytes == 0 || name_bytes > sizeof(address.sun_path) - 1)
		return error_set(-EINVAL,
				 "root \"%s\": a name of 1 to %zu characters must follow @", root,
				 sizeof(address.sun_path) - 1);
	/* An abstract name: a zero byte, then the name without an end. */
	memcpy(address.sun_path + 1, root + 1, name_bytes);
	memcpy(&out->at[0].address, &address, sizeof(address));
	out->at[0].bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + name_bytes);
	out->count = 1;
	return 0;
}

/* "host:port" and "[host]:port" into two texts. Returns the port, or NULL with error_set(). */
static const char *split(const char *root, char host[HOST_BYTES])
{
	const char *colon = strrchr(root, ':');
	const char *start = root;
	size_t bytes = colon == NULL ? 0 : (size_t)(colon - root);

	if (bytes >= 2 && root[0] == '[' && colon[-1] == ']') {
		start++;
		bytes -= 2;
	}
	if (bytes == 0 || bytes >= HOST_BYTES || colon[1] == '\0') {
		error_set(-EINVAL, "root \"%s\" is neither @name nor host:port", root);
		return NULL;
	}
	memcpy(host, start, bytes);
	host[bytes] = '\0';
	return colon + 1;
}

static int resolver_error(const char *root, int code)
{
	if (code == EAI_SYSTEM)
		return error_set(-errno, "root \"%s\": %s", root, strerror(errno));
	return error_set(code == EAI_AGAIN    ? -EAGAIN
			 : code == EAI_MEMORY ? -ENOMEM
					      : -ENOENT,
			 "root \"%s\": %s", root, gai_strerror(code));
}

/* host NULL: all of this host's addresses. */
static int resolve_tcp(const char *root, const char *host, const char *port, int flags,
		       struct endpoint *out)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};
	struct addrinfo *list;
	int code = getaddrinfo(host, port, &hints, &list);

	if (code != 0)
		return resolver_error(root, code);
	out->count = 0;
	for (struct addrinfo *entry = list; entry != NULL; entry = entry->ai_next) {
		if (out->count == ENDPOINT_ADDRESSES_MAX)
			break;
		memcpy(&out->at[out->count].address, entry->ai_addr, entry->ai_addrlen);
		out->at[out->count++].bytes = entry->ai_addrlen;
	}
	freeaddrinfo(list);
	return 0;
}

int endpoint_resolve(const char *root, struct endpoint *out)
{
	char host[HOST_BYTES];

	if (endpoint_is_local(root))
		return resolve_local(root, out);
	const char *port = split(root, host);
	return port == NULL ? -EINVAL : resolve_tcp(root, host, port, 0, out);
}

int endpoint_resolve_listen(const char *root, struct endpoint *out)
{
	char host[HOST_BYTES];

	if (endpoint_is_local(root))
		return resolve_local(root, out);
	const char *port = split(root, host);
	if (port == NULL)
		return -EINVAL;
	if (strcmp(host, "localhost") == 0)
		return resolve_tcp(root, host, port, AI_PASSIVE, out);
	int error = resolve_tcp(root, host, port, AI_PASSIVE | AI_NUMERICHOST, out);
	if (error != -ENOENT)
		return error;
	return resolve_tcp(root, NULL, port, AI_PASSIVE, out);
}

/* A listening socket at one address, or -errno. */
static int listen_at(const struct sockaddr_storage *address, socklen_t bytes)
{
	int family = address->ss_family;
	int on = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address, bytes) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

int endpoint_listen(const char *root, int *fds)
{
	struct endpoint endpoint;
	int error = endpoint_resolve_listen(root, &endpoint);
	int count = 0;

	if (error != 0)
		return error_prefix(error, "rank 0 cannot listen: ");
	for (int i = 0; i < endpoint.count; i++) {
		int fd = listen_at(&endpoint.at[i].address, endpoint.at[i].bytes);

		if (fd >= 0)
			fds[count++] = fd;
		else
			error = fd;
	}
	if (count > 0)
		return count;
	if (error == -EADDRINUSE)
		return error_set(error,
				 "rank 0 cannot listen at %s: another process does (give "
				 "PERGOLA_ROOT another name or port)",
				 root);
	return error_set(error, "rank 0 cannot listen at %s: %s", root, strerror(-error));
}

const char *endpoint_peer_text(int fd, char text[ENDPOINT_PEER_TEXT_BYTES])
{
	struct sockaddr_storage address = { 0 };
	socklen_t bytes = sizeof(address);
	struct ucred who;
	socklen_t who_bytes = sizeof(who);
	char host[64];
	char port[8];

	snprintf(text, ENDPOINT_PEER_TEXT_BYTES, "a peer that left");
	if (getpeername(fd, (struct sockaddr *)&address, &bytes) != 0)
		return text;
	if (address.ss_family == AF_UNIX) {
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &who_bytes) == 0)
			snprintf(text, ENDPOINT_PEER_TEXT_BYTES, "process %d of user %u", who.pid,
				 who.uid);
	} else if (getnameinfo((struct sockaddr *)&address, bytes, host, sizeof(host), port,
			       sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
		snprintf(text, ENDPOINT_PEER_TEXT_BYTES, "%s port %s", host, port);
	}
	return text;
}

bool endpoint_peer_same_user(int fd)
{
	struct ucred who;
	socklen_t bytes = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 && who.uid == geteuid();
}
