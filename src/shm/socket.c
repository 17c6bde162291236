/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets: names, credentials, records with descriptors. */
#include "shm/socket.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn. */
#define BACKLOG 4096

static int socket_make(int *out)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return error_set(-errno, "cannot make a socket: %s", strerror(errno));
	*out = fd;
	return 0;
}

static socklen_t sockaddr_fill(struct sockaddr_un *out, const struct shm_address *address)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(out->sun_path + 1, address->name, address->name_bytes);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + address->name_bytes);
}

int shm_socket_listen(uint64_t job, unsigned int rank, struct fabric_address *address, int *out)
{
	struct shm_address named = { .pid = (uint32_t)getpid() };
	struct sockaddr_un name;
	uint64_t nonce; /* so that nobody can take the name before us */
	int fd = -1;

	if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
		return error_set(-EAGAIN, "getrandom: %s", strerror(errno));
	named.name_bytes =
		(uint32_t)snprintf(named.name, sizeof(named.name),
				   "pergola/%016" PRIx64 "/%u/%016" PRIx64, job, rank, nonce);
	int error = socket_make(&fd);
	if (error != 0)
		return error;
	socklen_t bytes = sockaddr_fill(&name, &named);
	if (bind(fd, (struct sockaddr *)&name, bytes) != 0 || listen(fd, BACKLOG) != 0) {
		error = error_set(-errno, "cannot listen at abstract name %s: %s", named.name,
				  strerror(errno));
		close(fd);
		return error;
	}
	*address = (struct fabric_address){ .bytes = sizeof(named) };
	memcpy(address->data, &named, sizeof(named));
	*out = fd;
	return 0;
}

static struct shm_address address_read(const struct fabric_address *address)
{
	struct shm_address named;

	memcpy(&named, address->data, sizeof(named));
	return named;
}

bool shm_address_valid(const struct fabric_address *address)
{
	if (address->bytes != sizeof(struct shm_address))
		return false;
	struct shm_address named = address_read(address);

	return named.name_bytes >= 1 && named.name_bytes <= sizeof(named.name);
}

pid_t shm_address_pid(const struct fabric_address *address)
{
	return (pid_t)address_read(address).pid;
}

int shm_socket_dial(const struct fabric_address *address, int *out)
{
	struct shm_address named = address_read(address);
	struct sockaddr_un name;
	int fd = -1;
	int error = socket_make(&fd);

	if (error != 0)
		return error;
	socklen_t bytes = sockaddr_fill(&name, &named);
	if (connect(fd, (struct sockaddr *)&name, bytes) == 0) {
		*out = fd;
		return 0;
	}
	/* A full backlog, or a node that closed: it shows by the deadline which. */
	if (errno == EAGAIN || errno == ECONNREFUSED || errno == EINTR)
		error = -EAGAIN;
	else
		error = error_set(-errno, "connect to abstract name %.*s: %s",
				  (int)named.name_bytes, named.name, strerror(errno));
	close(fd);
	return error;
}

int shm_socket_accept(int listener, int *out)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		*out = fd;
		return 0;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return -EAGAIN;
	return error_set(-errno, "cannot accept a connection: %s%s", strerror(errno),
			 errno == EMFILE ? " (raise it with ulimit -n)" : "");
}

bool shm_socket_trusted(int socket, pid_t *pid)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0)
		return false;
	*pid = peer.pid;
	return peer.uid == geteuid();
}

int shm_socket_send(int socket, const struct shm_record *record, const int *fds,
		    unsigned int fd_count)
{
	_Alignas(
		struct cmsghdr) char control[CMSG_SPACE(SHM_DESCRIPTORS_MAX * sizeof(int))] = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)record, .iov_len = sizeof(*record) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd_count > 0) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		*header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(fd_count * sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	}
	if (sendmsg(socket, &message, MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ETOOMANYREFS)
		return -EAGAIN;
	return -EPIPE;
}

/* Takes the descriptors out of a message; those there is no place for are closed. */
static void descriptors_take(struct msghdr *message, struct shm_received *out)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	for (; header != NULL; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
			if (out->fd_count < SHM_DESCRIPTORS_MAX)
				out->fds[out->fd_count++] = fd;
			else
				close(fd);
		}
	}
}

static int receive_failed(void)
{
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	return -EPIPE;
}

int shm_socket_receive(int socket, struct shm_received *out)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(SHM_DESCRIPTORS_MAX * sizeof(int))];
	struct iovec part = { .iov_base = &out->record, .iov_len = sizeof(out->record) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};

	out->fd_count = 0;
	ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	if (got < 0)
		return receive_failed();
	if (got == 0)
		return -EPIPE;
	descriptors_take(&message, out);
	int error = 0;
	if (got != sizeof(out->record) || message.msg_flags & MSG_TRUNC ||
	    out->record.magic != SHM_MAGIC || out->record.version != SHM_VERSION)
		error = -EPROTO;
	else if (message.msg_flags & MSG_CTRUNC)
		error = -EMFILE;
	if (error != 0)
		shm_received_close(out);
	return error;
}

void shm_received_close(struct shm_received *received)
{
	for (unsigned int i = 0; i < received->fd_count; i++)
		close(received->fds[i]);
	received->fd_count = 0;
}
