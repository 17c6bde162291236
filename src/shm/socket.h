/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets between nodes: names, and records with file descriptors. AF_UNIX, SOCK_SEQPACKET, in
 * the abstract name space, never blocking. A record is whole or not there: a stranger cannot stop
 * in the middle of one.
 */
#ifndef PERGOLA_SHM_SOCKET_H
#define PERGOLA_SHM_SOCKET_H

#include "shm/layout.h"

#include <stdbool.h>
#include <sys/types.h>

#define SHM_DESCRIPTORS_MAX 2

struct shm_received {
	struct shm_record record;
	int fds[SHM_DESCRIPTORS_MAX]; /* the receiver's to close */
	unsigned int fd_count;
};

/* Listens under a fresh name that begins with job and rank. 0 and the socket, or -errno with text.
 */
int shm_socket_listen(uint64_t job, unsigned int rank, struct fabric_address *address, int *out);

/* Whether the bytes can be an address of this backend. */
bool shm_address_valid(const struct fabric_address *address);

/* Process of the node with this address; for messages only. */
pid_t shm_address_pid(const struct fabric_address *address);

/* 0 and the socket; -EAGAIN: not now (busy, or nobody there yet); other -errno. */
int shm_socket_dial(const struct fabric_address *address, int *out);

/* -EAGAIN: nobody there; else 0 and the socket. */
int shm_socket_accept(int listener, int *out);

/* Whether the process at the other end has this process's effective user. Tells its pid. */
bool shm_socket_trusted(int socket, pid_t *pid);

/* -EAGAIN: the buffer is full, or too many descriptors are on the way; -EPIPE: hung up. */
int shm_socket_send(int socket, const struct shm_record *record, const int *fds,
		    unsigned int fd_count);

/*
 * 0 and a record of our magic and version; -EAGAIN: none there; -EPIPE: hung up; -EPROTO: not a
 * record of ours; -EMFILE: it came without its descriptors, as this process has no room for them.
 */
int shm_socket_receive(int socket, struct shm_received *out);

void shm_received_close(struct shm_received *received);

#endif
