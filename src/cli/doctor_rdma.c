/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of `pergola doctor` on what RDMA needs of this host. */
#include "cli/doctor.h"

#include "cli/host.h"
#include "cli/rdma.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES 320

/* Without a device of its own a host gets one over any network device. */
#define SOFTWARE_RECIPE "modprobe rdma_rxe && rdma link add rxe0 type rxe netdev IFACE"

static enum finding_status lacking(const struct doctor *doctor)
{
	return doctor->rdma_needed ? FINDING_FAIL : FINDING_WARN;
}

/* ---- modules ------------------------------------------------------------------------------- */

void doctor_check_rdma_modules(struct doctor *doctor)
{
	static const char *const modules[] = { "ib_uverbs", "rdma_cm", "rdma_ucm" };
	static const char *const words[] = { "loaded", "not loaded", "not in this kernel" };
	enum rdma_module worst = RDMA_MODULE_LOADED;
	char found[TEXT_BYTES] = "";
	char remedy[TEXT_BYTES] = "modprobe -a ib_uverbs rdma_cm rdma_ucm";
	size_t used = 0;

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		enum rdma_module module = rdma_module(doctor->root, doctor->release, modules[i]);

		used += (size_t)snprintf(found + used, sizeof(found) - used, "%s%s %s",
					 i == 0 ? "" : ", ", modules[i], words[module]);
		worst = module > worst ? module : worst;
	}
	if (worst == RDMA_MODULE_ABSENT)
		snprintf(remedy, sizeof(remedy),
			 "for RDMA: a kernel with CONFIG_INFINIBAND_USER_ACCESS and its modules "
			 "(this is %.64s)",
			 doctor->release);
	doctor_find(doctor, worst == RDMA_MODULE_LOADED ? FINDING_OK : lacking(doctor),
		    "RDMA modules", found, remedy);
}

/* Software RDMA is only one way to have a device: its lack fails nothing. */
void doctor_check_rdma_software(struct doctor *doctor)
{
	struct rdma_scan scan;
	char remedy[TEXT_BYTES] = SOFTWARE_RECIPE;
	enum rdma_module module = rdma_module(doctor->root, doctor->release, "rdma_rxe");
	static const char *const words[] = { "rdma_rxe is loaded", "rdma_rxe can be loaded",
					     "this kernel has no rdma_rxe" };

	rdma_scan(doctor->root, &scan);
	if (module == RDMA_MODULE_ABSENT)
		snprintf(remedy, sizeof(remedy),
			 "without an RDMA device: a kernel with CONFIG_RDMA_RXE (this is %.64s); "
			 "then " SOFTWARE_RECIPE,
			 doctor->release);
	doctor_find(doctor, scan.device_count > 0 ? FINDING_OK : FINDING_WARN, "Soft-RoCE",
		    words[module], remedy);
}

/* ---- devices and their ports --------------------------------------------------------------- */

static void find_state(struct doctor *doctor, const struct rdma_port *port, bool any_active)
{
	bool ethernet = strcmp(port->link_layer, "Ethernet") == 0;
	char name[TEXT_BYTES];
	char found[TEXT_BYTES];
	char remedy[TEXT_BYTES];

	snprintf(name, sizeof(name), "RDMA port %s:%u", port->device, port->number);
	snprintf(found, sizeof(found), "%s, %s, %s%s%s", port->state,
		 port->link_layer[0] == '\0' ? "link layer unknown" : port->link_layer,
		 port->rate[0] == '\0' ? "rate unknown" : port->rate,
		 port->network[0] == '\0' ? "" : ", over ", port->network);
	if (ethernet)
		snprintf(remedy, sizeof(remedy), "ip link set dev %s up, and look at its cable",
			 port->network[0] == '\0' ? "IFACE" : port->network);
	else
		snprintf(remedy, sizeof(remedy),
			 "start a subnet manager (opensm) in this network, and look at the cable");
	/* Of two ports one is often not used. */
	doctor_find(doctor,
		    port->active ? FINDING_OK
		    : any_active ? FINDING_WARN
				 : lacking(doctor),
		    name, found, remedy);
}

static void format_gids(const struct rdma_gids *gids, char *found, size_t found_bytes)
{
	if (gids->infiniband > 0)
		snprintf(found, found_bytes, "InfiniBand GIDs %u", gids->infiniband);
	else
		snprintf(found, found_bytes,
			 "RoCE v2 GIDs for IPv4 %u, IPv6 %u, link-local IPv6 %u; RoCE v1 %u",
			 gids->v2_ipv4, gids->v2_ipv6, gids->v2_link_local, gids->v1);
}

static void find_gids(struct doctor *doctor, const struct rdma_port *port)
{
	const struct rdma_gids *gids = &port->gids;
	const char *network = port->network[0] == '\0' ? "IFACE" : port->network;
	unsigned int good = gids->v2_ipv4 + gids->v2_ipv6 + gids->infiniband;
	enum finding_status status = FINDING_OK;
	char name[TEXT_BYTES];
	char found[TEXT_BYTES];
	char remedy[TEXT_BYTES];

	snprintf(name, sizeof(name), "RDMA addresses of %s:%u", port->device, port->number);
	format_gids(gids, found, sizeof(found));
	snprintf(remedy, sizeof(remedy), "ip address add ADDRESS/BITS dev %s", network);
	if (good == 0)
		status = gids->v2_link_local > 0 ? FINDING_WARN : lacking(doctor);
	if (good == 0 && gids->v2_link_local == 0 && gids->v1 > 0)
		snprintf(remedy, sizeof(remedy),
			 "Pergola needs RoCE v2: switch it on in the device's firmware or driver, "
			 "or use Soft-RoCE over %s",
			 network);
	doctor_find(doctor, status, name, found, remedy);
}

/* What an Ethernet port can have follows from the network device; the ends agree on the least. */
static void find_mtu(struct doctor *doctor, const struct rdma_port *port)
{
	unsigned int mtu = rdma_mtu(port->network_mtu);
	char name[TEXT_BYTES];
	char found[TEXT_BYTES];
	char remedy[TEXT_BYTES];

	if (port->network_mtu == 0 || strcmp(port->link_layer, "Ethernet") != 0)
		return;
	snprintf(name, sizeof(name), "RDMA MTU of %s:%u", port->device, port->number);
	snprintf(found, sizeof(found), "%u, as %s has MTU %u%s", mtu, port->network,
		 port->network_mtu, mtu < RDMA_MTU_MAX ? "; it could be 4096" : "");
	snprintf(remedy, sizeof(remedy),
		 "ip link set dev %s mtu %u, on all hosts and switches between them", port->network,
		 RDMA_NETWORK_MTU_MAX);
	doctor_find(doctor, mtu < RDMA_MTU_MAX ? FINDING_WARN : FINDING_OK, name, found, remedy);
}

void doctor_check_rdma_ports(struct doctor *doctor)
{
	struct rdma_scan scan;
	bool any_active = false;

	rdma_scan(doctor->root, &scan);
	if (scan.port_count == 0) {
		doctor_find(doctor, lacking(doctor), "RDMA devices",
			    scan.device_count == 0 ? "none; ranks on one host need none"
						   : "none with a port",
			    "for jobs on several hosts: a device's driver, or " SOFTWARE_RECIPE);
		return;
	}
	for (unsigned int i = 0; i < scan.port_count; i++)
		any_active = any_active || scan.ports[i].active;
	for (unsigned int i = 0; i < scan.port_count; i++) {
		find_state(doctor, &scan.ports[i], any_active);
		if (!scan.ports[i].active)
			continue;
		find_gids(doctor, &scan.ports[i]);
		find_mtu(doctor, &scan.ports[i]);
	}
}

/* ---- device files -------------------------------------------------------------------------- */

static const char *file_remedy(int error)
{
	switch (-error) {
	case ENOENT:
		return "modprobe -a ib_uverbs rdma_ucm; in a container: --device=/dev/infiniband";
	case ENXIO:
	case ENODEV:
		return "modprobe -a ib_uverbs rdma_ucm: the file is there and nothing behind it";
	case EPERM:
		return "the control group forbids it: docker run --device=/dev/infiniband, or "
		       "DeviceAllow= in the service";
	default:
		return "a udev rule: SUBSYSTEM==\"infiniband_verbs\" or KERNEL==\"rdma_cm\", "
		       "MODE=\"0666\"";
	}
}

void doctor_check_rdma_files(struct doctor *doctor)
{
	struct rdma_scan scan;
	char path[PATH_MAX];
	char found[TEXT_BYTES];
	unsigned int count = 0;

	rdma_scan(doctor->root, &scan);
	if (scan.device_count == 0)
		return; /* said already, and one follows from the other */
	int error = rdma_open_files(doctor->root, &count, path, sizeof(path));
	if (error == 0)
		snprintf(found, sizeof(found), "rdma_cm and %u of uverbs can be opened", count);
	else
		snprintf(found, sizeof(found), "%.200s: %s", path, strerror(-error));
	doctor_find(doctor, error == 0 ? FINDING_OK : lacking(doctor), "RDMA device files", found,
		    file_remedy(error));
}

/* ---- locked memory ------------------------------------------------------------------------- */

void doctor_judge_locked_memory(struct doctor *doctor, uint64_t bytes, bool exempt,
				uint64_t needed_bytes)
{
	bool enough = exempt || bytes >= needed_bytes;
	char found[TEXT_BYTES];
	char limit[32];
	char need[32];

	host_format_bytes(bytes, limit, sizeof(limit));
	host_format_bytes(needed_bytes, need, sizeof(need));
	if (needed_bytes == 0)
		snprintf(found, sizeof(found), "limit %s; the shm fabric locks none", limit);
	else
		snprintf(found, sizeof(found),
			 "limit %s%s; verbs locks what it registers, up to %s a rank here", limit,
			 exempt && bytes != HOST_UNLIMITED ? " (this user is exempt)" : "", need);
	doctor_find(doctor, enough ? FINDING_OK : lacking(doctor), "locked memory", found,
		    "ulimit -l unlimited; for good \"* - memlock unlimited\" in "
		    "/etc/security/limits.d/rdma.conf; in services LimitMEMLOCK=infinity");
}

/* A rank's frames: at most the whole space, and at most its part of the host's memory. */
void doctor_check_locked_memory(struct doctor *doctor)
{
	struct rdma_scan scan;
	bool exempt;
	uint64_t limit = host_locked_limit(&exempt);
	uint64_t available = host_memory_available() / doctor->rank_count;
	uint64_t needed = doctor->space_bytes < available ? doctor->space_bytes : available;

	rdma_scan(doctor->root, &scan);
	if (scan.device_count == 0 && !doctor->rdma_needed)
		needed = 0;
	doctor_judge_locked_memory(doctor, limit, exempt, needed);
}
