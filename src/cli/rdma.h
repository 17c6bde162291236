/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host has for RDMA, read from /sys, /dev and /lib/modules alone, so that it can be said
 * in a build without the verbs fabric too. Each function takes the root of the tree it reads: ""
 * for this host's own, a folder in tests.
 */
#ifndef PERGOLA_CLI_RDMA_H
#define PERGOLA_CLI_RDMA_H

#include <stdbool.h>
#include <stddef.h>

#define RDMA_PORTS_MAX 32
#define RDMA_NAME_BYTES 64

/* Largest InfiniBand MTU, and the network MTU that holds it with all headers of RoCE v2. */
#define RDMA_MTU_MAX 4096u
#define RDMA_NETWORK_MTU_MAX 4200u

/* Entries of a port's GID table, by kind. */
struct rdma_gids {
	unsigned int v2_ipv4;
	unsigned int v2_ipv6; /* other than link-local */
	unsigned int v2_link_local;
	unsigned int v1;
	unsigned int infiniband;
};

struct rdma_port {
	char device[RDMA_NAME_BYTES];
	unsigned int number;
	bool active;
	char state[24];	     /* "ACTIVE", "DOWN" */
	char link_layer[24]; /* "Ethernet", "InfiniBand" */
	char rate[48];
	char network[RDMA_NAME_BYTES]; /* the network device below it, or "" */
	unsigned int network_mtu;      /* 0: not known */
	struct rdma_gids gids;
};

struct rdma_scan {
	unsigned int device_count;
	unsigned int port_count; /* those beyond RDMA_PORTS_MAX are not looked at */
	struct rdma_port ports[RDMA_PORTS_MAX];
};

enum rdma_module {
	RDMA_MODULE_LOADED, /* or built in */
	RDMA_MODULE_PRESENT,
	RDMA_MODULE_ABSENT,
};

/* Fills `out`, ports sorted by name and number. */
void rdma_scan(const char *root, struct rdma_scan *out);

/* The largest InfiniBand MTU that fits into packets of a network device; 0: none. */
unsigned int rdma_mtu(unsigned int network_mtu);

/* `release` as uname(2) has it. */
enum rdma_module rdma_module(const char *root, const char *release, const char *name);

/*
 * Opens and closes each file that a verbs program needs. 0 and how many devices there are, or
 * -errno and the first file that cannot be opened in `path`. -ENOENT: that one is missing.
 */
int rdma_open_files(const char *root, unsigned int *device_count, char *path, size_t path_bytes);

#endif
