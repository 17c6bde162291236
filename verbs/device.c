/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which device: the addresses of this host are offered to rdma_cm one by one, which binds those
 * that belong to an RDMA device. Of these the first with an active port is taken, IPv4 before IPv6
 * before link-local, unless the settings name a device or an address. On RoCE rdma_cm then uses the
 * GID of that address; a port whose table has no RoCE v2 entry for it refuses the queue pair later.
 */
#include "state.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define BACKLOG 1024

/*
 * What Soft-RoCE says its vendor is. Its reads are kept to one packet: when packets change places,
 * Linux's driver (seen in 6.12) takes a repeated response of several for an error of its own, ends
 * the connection, and tells of that read as if it had succeeded.
 */
#define RXE_VENDOR_ID 0xffffffu

static socklen_t address_bytes(const struct sockaddr *address)
{
	return address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
					     : sizeof(struct sockaddr_in6);
}

/* Lower is better; negative: cannot be used. */
static int rank_of(const struct ifaddrs *candidate)
{
	const struct sockaddr *address = candidate->ifa_addr;

	if (address == NULL || !(candidate->ifa_flags & IFF_UP) ||
	    (candidate->ifa_flags & IFF_LOOPBACK))
		return -1;
	if (address->sa_family == AF_INET)
		return 0;
	if (address->sa_family != AF_INET6)
		return -1;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;

	return IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr) ? 2 : 1;
}

static const void *address_bits(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return &((const struct sockaddr_in *)(const void *)address)->sin_addr;
	return &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
}

const char *device_address_text(const struct sockaddr *address, char *text, size_t bytes)
{
	if ((address->sa_family != AF_INET && address->sa_family != AF_INET6) ||
	    inet_ntop(address->sa_family, address_bits(address), text, (socklen_t)bytes) == NULL)
		snprintf(text, bytes, "?");
	return text;
}

/* An address can be written in many ways; what stands after a % is the device's name. */
static bool address_wanted(const struct fabric *fabric, const struct sockaddr *address)
{
	char text[FABRIC_NAME_MAX];
	struct in6_addr bits;
	size_t bytes = address->sa_family == AF_INET ? sizeof(struct in_addr) : sizeof(bits);

	if (fabric->config.address[0] == '\0')
		return true;
	snprintf(text, sizeof(text), "%s", fabric->config.address);
	text[strcspn(text, "%")] = '\0';
	return inet_pton(address->sa_family, text, &bits) == 1 &&
	       memcmp(&bits, address_bits(address), bytes) == 0;
}

/* "mlx5_0" or "mlx5_0:1". */
static bool device_wanted(const struct fabric *fabric, const struct rdma_cm_id *id)
{
	char with_port[IBV_SYSFS_NAME_MAX + 16];
	const char *name = ibv_get_device_name(id->verbs->device);

	snprintf(with_port, sizeof(with_port), "%s:%u", name, id->port_num);
	return fabric->config.device[0] == '\0' || strcmp(fabric->config.device, name) == 0 ||
	       strcmp(fabric->config.device, with_port) == 0;
}

static bool port_active(const struct rdma_cm_id *id)
{
	struct ibv_port_attr port;

	return ibv_query_port(id->verbs, id->port_num, &port) == 0 && port.state == IBV_PORT_ACTIVE;
}

/* Tries one address: true when the listener is bound to it and it will do. */
static bool try_address(struct fabric *fabric, struct sockaddr *address)
{
	if (!address_wanted(fabric, address) ||
	    rdma_create_id(fabric->cm, &fabric->listener, NULL, RDMA_PS_TCP) != 0)
		return false;
	if (rdma_bind_addr(fabric->listener, address) == 0 && fabric->listener->verbs != NULL &&
	    device_wanted(fabric, fabric->listener) && port_active(fabric->listener))
		return true;
	rdma_destroy_id(fabric->listener);
	fabric->listener = NULL;
	return false;
}

static int no_device(const struct fabric *fabric)
{
	int count = 0;
	struct ibv_device **list = ibv_get_device_list(&count);

	if (list != NULL)
		ibv_free_device_list(list);
	if (count == 0)
		return error_set(
			-ENODEV,
			"this host has no RDMA device; for Soft-RoCE: modprobe rdma_rxe && "
			"rdma link add rxe0 type rxe netdev IFACE");
	return error_set(
		-ENODEV,
		"none of the %d RDMA devices has an active port with an IP address%s%s%s%s "
		"(rdma link; ip address; PERGOLA_DEVICE, PERGOLA_INTERFACE choose)",
		count, fabric->config.device[0] != '\0' ? " and is named " : "",
		fabric->config.device,
		fabric->config.address[0] != '\0' ? " and has the address " : "",
		fabric->config.address);
}

static int bind_listener(struct fabric *fabric)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) != 0)
		return verbs_fail("getifaddrs", errno);
	for (int rank = 0; rank <= 2 && fabric->listener == NULL; rank++) {
		for (struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
			if (rank_of(one) == rank && try_address(fabric, one->ifa_addr))
				break;
		}
	}
	freeifaddrs(all);
	return fabric->listener != NULL ? 0 : no_device(fabric);
}

/* ---- what it is ---- */

static const char *gid_type_name(uint32_t type)
{
	if (type == IBV_GID_TYPE_ROCE_V2)
		return "RoCE v2";
	return type == IBV_GID_TYPE_ROCE_V1 ? "RoCE v1" : "IB";
}

/* The GID of an address is the address, an IPv4 one in the form ::ffff:a.b.c.d. */
static void gid_of(const struct sockaddr *address, union ibv_gid *gid)
{
	memset(gid, 0, sizeof(*gid));
	if (address->sa_family == AF_INET) {
		gid->raw[10] = gid->raw[11] = 0xff;
		memcpy(gid->raw + 12, address_bits(address), 4);
	} else {
		memcpy(gid->raw, address_bits(address), 16);
	}
}

/* The port's entry for the fabric's address; RoCE v2 where there are several. */
static void find_gid(const struct fabric *fabric, int table_length, struct fabric_description *out)
{
	union ibv_gid wanted;

	gid_of((const struct sockaddr *)(const void *)&fabric->address, &wanted);
	for (int i = 0; i < table_length; i++) {
		struct ibv_gid_entry entry;

		if (ibv_query_gid_ex(fabric->device, fabric->port, (uint32_t)i, &entry, 0) != 0 ||
		    (entry.gid_type != IBV_GID_TYPE_IB &&
		     memcmp(&entry.gid, &wanted, sizeof(wanted)) != 0))
			continue;
		out->gid_index = i;
		snprintf(out->gid_type, sizeof(out->gid_type), "%s", gid_type_name(entry.gid_type));
		if (entry.gid_type != IBV_GID_TYPE_ROCE_V1)
			return;
	}
}

static int numa_node(const struct ibv_context *context)
{
	char path[IBV_SYSFS_PATH_MAX + 32];
	int node = -1;

	snprintf(path, sizeof(path), "%s/device/numa_node", context->device->ibdev_path);
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return -1;
	if (fscanf(file, "%d", &node) != 1)
		node = -1;
	fclose(file);
	return node;
}

static int describe(struct fabric *fabric)
{
	struct fabric_description *out = &fabric->description;
	struct ibv_port_attr port;

	if (ibv_query_port(fabric->device, fabric->port, &port) != 0)
		return verbs_fail("ibv_query_port", errno);
	snprintf(out->device, sizeof(out->device), "%s",
		 ibv_get_device_name(fabric->device->device));
	out->port = fabric->port;
	snprintf(out->link_layer, sizeof(out->link_layer), "%s",
		 port.link_layer == IBV_LINK_LAYER_ETHERNET ? "Ethernet" : "InfiniBand");
	device_address_text((const struct sockaddr *)(const void *)&fabric->address, out->address,
			    sizeof(out->address));
	out->gid_index = -1;
	find_gid(fabric, port.gid_tbl_len, out);
	out->mtu_bytes = 128u << port.active_mtu;
	out->read_bytes = fabric->limits.vendor_id == RXE_VENDOR_ID ? out->mtu_bytes : 0;
	out->numa_node = numa_node(fabric->device);
	out->on_demand = fabric->on_demand;
	if (port.link_layer == IBV_LINK_LAYER_ETHERNET && out->gid_index < 0)
		return error_set(
			-ENODEV,
			"port %u of %s has no GID for the address %s (show_gids; bring the "
			"network device down and up)",
			out->port, out->device, out->address);
	return 0;
}

/* Every kind of one-sided operation must be able to fault pages in; messages' buffers are pinned.
 */
static bool has_on_demand(struct ibv_context *device)
{
	struct ibv_device_attr_ex limits;
	uint32_t needed = IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ | IBV_ODP_SUPPORT_ATOMIC;

	return ibv_query_device_ex(device, NULL, &limits) == 0 &&
	       (limits.odp_caps.general_caps & IBV_ODP_SUPPORT) != 0 &&
	       (limits.odp_caps.per_transport_caps.rc_odp_caps & needed) == needed;
}

int device_open(struct fabric *fabric)
{
	int error = bind_listener(fabric);

	if (error != 0)
		return error;
	fabric->device = fabric->listener->verbs;
	fabric->port = fabric->listener->port_num;
	if (rdma_listen(fabric->listener, BACKLOG) != 0)
		return verbs_fail("rdma_listen", errno);
	struct sockaddr *bound = rdma_get_local_addr(fabric->listener);

	memcpy(&fabric->address, bound, address_bytes(bound));
	if (ibv_query_device(fabric->device, &fabric->limits) != 0)
		return verbs_fail("ibv_query_device", errno);
	fabric->on_demand = has_on_demand(fabric->device);
	return describe(fabric);
}
