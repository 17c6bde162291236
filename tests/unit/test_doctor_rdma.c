/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's checks of RDMA on small trees made for the purpose: no device, a port that is down,
 * one that has RoCE v1 only, one with small packets, one in which all is well; kernels with and
 * without the modules; files that can and cannot be opened.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/doctor.h"
#include "cli/host.h"
#include "cli/rdma.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELEASE "6.99-test"
#define IPV4_GID "0000:0000:0000:0000:0000:ffff:0a00:0001"
#define LINK_LOCAL_GID "fe80:0000:0000:0000:5054:00ff:fe12:3456"
#define GLOBAL_GID "fd00:0000:0000:0000:0000:0000:0000:0001"
#define ZERO_GID "0000:0000:0000:0000:0000:0000:0000:0000"

/* ---- what a check finds, kept ---- */

#define FINDINGS_MAX 16

struct finding {
	enum finding_status status;
	char name[128];
	char found[400];
	char remedy[400];
};

static struct finding findings[FINDINGS_MAX];
static int finding_count;

void doctor_find(struct doctor *doctor, enum finding_status status, const char *name,
		 const char *found, const char *remedy)
{
	struct finding *finding = &findings[finding_count++];

	(void)doctor;
	assert_true(finding_count <= FINDINGS_MAX);
	finding->status = status;
	snprintf(finding->name, sizeof(finding->name), "%s", name);
	snprintf(finding->found, sizeof(finding->found), "%s", found);
	snprintf(finding->remedy, sizeof(finding->remedy), "%s", remedy == NULL ? "" : remedy);
}

/* ---- trees ---- */

static char root[] = "/tmp/pergola-doctor-XXXXXX";
static struct doctor doctor;

static void make_folders(char *path)
{
	for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
}

/* File `name` in the tree, with one line. */
static void put(const char *name, const char *line)
{
	char path[512];

	assert_true(snprintf(path, sizeof(path), "%s/%s", root, name) < (int)sizeof(path));
	make_folders(path);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "%s\n", line);
	assert_int_equal(fclose(file), 0);
}

struct gid {
	const char *gid;
	const char *type; /* NULL: the entry is not used, and reading its type fails */
};

static void put_port(const char *device, int number, const char *state, const char *link_layer)
{
	char name[256];

	snprintf(name, sizeof(name), "sys/class/infiniband/%s/ports/%d/state", device, number);
	put(name, state);
	snprintf(name, sizeof(name), "sys/class/infiniband/%s/ports/%d/link_layer", device, number);
	put(name, link_layer);
	snprintf(name, sizeof(name), "sys/class/infiniband/%s/ports/%d/rate", device, number);
	put(name, "100 Gb/sec (4X EDR)");
}

static void put_gids(const char *device, int number, const struct gid *gids, const char *network)
{
	char name[256];

	for (int i = 0; gids[i].gid != NULL; i++) {
		snprintf(name, sizeof(name), "sys/class/infiniband/%s/ports/%d/gids/%d", device,
			 number, i);
		put(name, gids[i].gid);
		if (gids[i].type == NULL)
			continue;
		snprintf(name, sizeof(name), "sys/class/infiniband/%s/ports/%d/gid_attrs/types/%d",
			 device, number, i);
		put(name, gids[i].type);
		snprintf(name, sizeof(name), "sys/class/infiniband/%s/ports/%d/gid_attrs/ndevs/%d",
			 device, number, i);
		put(name, network);
	}
}

static void put_network(const char *network, const char *mtu)
{
	char name[128];

	snprintf(name, sizeof(name), "sys/class/net/%s/mtu", network);
	put(name, mtu);
}

/* A device as it should be. */
static void put_fine_device(void)
{
	static const struct gid gids[] = {
		{ LINK_LOCAL_GID, "IB/RoCE v1" },
		{ LINK_LOCAL_GID, "RoCE v2" },
		{ IPV4_GID, "IB/RoCE v1" },
		{ IPV4_GID, "RoCE v2" },
		{ GLOBAL_GID, "RoCE v2" },
		{ ZERO_GID, NULL },
		{ NULL, NULL },
	};

	put_port("mlx5_0", 1, "4: ACTIVE", "Ethernet");
	put_gids("mlx5_0", 1, gids, "eth1");
	put_network("eth1", "9000");
}

static int setup(void **state)
{
	(void)state;
	memcpy(strrchr(root, '-') + 1, "XXXXXX", 6);
	finding_count = 0;
	doctor = (struct doctor){ .rank_count = 2, .root = root, .release = RELEASE, .prefix = "" };
	return mkdtemp(root) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

/* The finding whose name holds `name`; its status and texts are as given. */
static void expect(const char *name, enum finding_status status, const char *found,
		   const char *remedy)
{
	for (int i = 0; i < finding_count; i++) {
		if (strstr(findings[i].name, name) == NULL)
			continue;
		if (findings[i].status != status || strstr(findings[i].found, found) == NULL ||
		    strstr(findings[i].remedy, remedy) == NULL)
			fail_msg("%s: status %d: %s - %s", findings[i].name, findings[i].status,
				 findings[i].found, findings[i].remedy);
		return;
	}
	fail_msg("nothing is said of %s", name);
}

/* ---- devices and ports ---- */

static void no_device(void **state)
{
	(void)state;
	doctor_check_rdma_ports(&doctor);
	expect("RDMA devices", FINDING_WARN, "none", "rdma link add rxe0 type rxe netdev");
	assert_int_equal(finding_count, 1);
	doctor_check_rdma_files(&doctor);
	assert_int_equal(finding_count, 1);
}

static void no_device_but_needed(void **state)
{
	(void)state;
	doctor.rdma_needed = true;
	doctor_check_rdma_ports(&doctor);
	expect("RDMA devices", FINDING_FAIL, "none", "modprobe rdma_rxe");
}

static void fine_device(void **state)
{
	(void)state;
	put_fine_device();
	doctor_check_rdma_ports(&doctor);
	expect("RDMA port mlx5_0:1", FINDING_OK, "ACTIVE, Ethernet, 100 Gb/sec (4X EDR), over eth1",
	       "");
	expect("RDMA addresses of mlx5_0:1", FINDING_OK,
	       "IPv4 1, IPv6 1, link-local IPv6 1; RoCE v1 2", "");
	expect("RDMA MTU of mlx5_0:1", FINDING_OK, "4096, as eth1 has MTU 9000", "");
	assert_int_equal(finding_count, 3);
}

static void port_down(void **state)
{
	(void)state;
	put_port("rxe0", 1, "1: DOWN", "Ethernet");
	put("sys/class/infiniband/rxe0/parent", "eth0");
	put_network("eth0", "1500");
	doctor_check_rdma_ports(&doctor);
	expect("RDMA port rxe0:1", FINDING_WARN, "DOWN, Ethernet", "ip link set dev eth0 up");
	assert_int_equal(finding_count, 1);
	finding_count = 0;
	doctor.rdma_needed = true;
	doctor_check_rdma_ports(&doctor);
	expect("RDMA port rxe0:1", FINDING_FAIL, "DOWN", "eth0 up");
}

/* The unused second port of a card is no failure. */
static void second_port_down(void **state)
{
	(void)state;
	put_fine_device();
	put_port("mlx5_0", 2, "1: DOWN", "InfiniBand");
	doctor.rdma_needed = true;
	doctor_check_rdma_ports(&doctor);
	expect("RDMA port mlx5_0:1", FINDING_OK, "ACTIVE", "");
	expect("RDMA port mlx5_0:2", FINDING_WARN, "DOWN, InfiniBand", "opensm");
}

static void v1_only(void **state)
{
	static const struct gid gids[] = {
		{ LINK_LOCAL_GID, "IB/RoCE v1" },
		{ IPV4_GID, "IB/RoCE v1" },
		{ NULL, NULL },
	};

	(void)state;
	put_port("old0", 1, "4: ACTIVE", "Ethernet");
	put_gids("old0", 1, gids, "eth0");
	put_network("eth0", "9000");
	doctor.rdma_needed = true;
	doctor_check_rdma_ports(&doctor);
	expect("RDMA addresses of old0:1", FINDING_FAIL, "IPv4 0, IPv6 0, link-local IPv6 0",
	       "RoCE v2");
}

static void no_address(void **state)
{
	static const struct gid gids[] = {
		{ LINK_LOCAL_GID, "RoCE v2" },
		{ NULL, NULL },
	};

	(void)state;
	put_port("rxe0", 1, "4: ACTIVE", "Ethernet");
	put_gids("rxe0", 1, gids, "eth0");
	doctor_check_rdma_ports(&doctor);
	expect("RDMA addresses of rxe0:1", FINDING_WARN, "link-local IPv6 1",
	       "ip address add ADDRESS/BITS dev eth0");
	assert_int_equal(finding_count, 2); /* an MTU that is not known is not judged */
}

static void small_packets(void **state)
{
	(void)state;
	put_fine_device();
	put_network("eth1", "1500");
	doctor_check_rdma_ports(&doctor);
	expect("RDMA MTU of mlx5_0:1", FINDING_WARN, "1024, as eth1 has MTU 1500; it could be 4096",
	       "ip link set dev eth1 mtu 4200");
}

static void infiniband(void **state)
{
	static const struct gid gids[] = {
		{ "fe80:0000:0000:0000:0002:c903:00a1:b2c3", "IB/RoCE v1" },
		{ ZERO_GID, NULL },
		{ NULL, NULL },
	};

	(void)state;
	put_port("mlx4_0", 1, "4: ACTIVE", "InfiniBand");
	put_gids("mlx4_0", 1, gids, "ib0");
	put_network("ib0", "2044");
	doctor_check_rdma_ports(&doctor);
	expect("RDMA addresses of mlx4_0:1", FINDING_OK, "InfiniBand GIDs 1", "");
	assert_int_equal(finding_count, 2);
}

static void mtu(void **state)
{
	static const struct {
		unsigned int network;
		unsigned int rdma;
	} rows[] = { { 0, 0 },	     { 351, 0 },     { 352, 256 },   { 1280, 1024 },
		     { 1500, 1024 }, { 2143, 1024 }, { 2144, 2048 }, { 4191, 2048 },
		     { 4192, 4096 }, { 9000, 4096 }, { 65520, 4096 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(rdma_mtu(rows[i].network), rows[i].rdma);
	assert_int_equal(rdma_mtu(RDMA_NETWORK_MTU_MAX), RDMA_MTU_MAX);
}

/* More ports than there is room for are not looked at, and nothing else happens. */
static void many_ports(void **state)
{
	struct rdma_scan scan;
	char device[16];

	(void)state;
	for (int i = 0; i < RDMA_PORTS_MAX + 3; i++) {
		snprintf(device, sizeof(device), "rxe%d", i);
		put_port(device, 1, "4: ACTIVE", "Ethernet");
	}
	rdma_scan(root, &scan);
	assert_int_equal(scan.device_count, RDMA_PORTS_MAX + 3);
	assert_int_equal(scan.port_count, RDMA_PORTS_MAX);
}

/* ---- modules ---- */

static void modules(void **state)
{
	(void)state;
	doctor_check_rdma_modules(&doctor);
	expect("RDMA modules", FINDING_WARN, "rdma_ucm not in this kernel", "this is " RELEASE);
	put("lib/modules/" RELEASE "/modules.dep",
	    "kernel/drivers/infiniband/core/ib_uverbs.ko.xz: kernel/core/ib_core.ko.xz\n"
	    "kernel/drivers/infiniband/core/rdma_cm.ko: kernel/rdma_ucm.ko\n"
	    "kernel/drivers/infiniband/core/rdma_ucm.ko:\n"
	    "kernel/drivers/infiniband/sw/rxe/rdma_rxe.ko.zst:");
	finding_count = 0;
	doctor_check_rdma_modules(&doctor);
	expect("RDMA modules", FINDING_WARN, "rdma_cm not loaded", "modprobe -a ib_uverbs");
	put("sys/module/ib_uverbs/refcnt", "1");
	put("sys/module/rdma_ucm/refcnt", "1");
	put("lib/modules/" RELEASE "/modules.builtin", "kernel/infiniband/core/rdma_cm.ko");
	finding_count = 0;
	doctor.rdma_needed = true;
	doctor_check_rdma_modules(&doctor);
	expect("RDMA modules", FINDING_OK, "ib_uverbs loaded, rdma_cm loaded, rdma_ucm loaded", "");
	assert_int_equal(rdma_module(root, RELEASE, "rdma"), RDMA_MODULE_ABSENT);
	assert_int_equal(rdma_module(root, RELEASE, "ib_core"), RDMA_MODULE_ABSENT);
}

static void software(void **state)
{
	(void)state;
	doctor_check_rdma_software(&doctor);
	expect("Soft-RoCE", FINDING_WARN, "has no rdma_rxe", "CONFIG_RDMA_RXE");
	put("lib/modules/" RELEASE "/modules.dep", "kernel/sw/rxe/rdma_rxe.ko:");
	finding_count = 0;
	doctor_check_rdma_software(&doctor);
	expect("Soft-RoCE", FINDING_WARN, "can be loaded",
	       "modprobe rdma_rxe && rdma link add rxe0 type rxe netdev IFACE");
	put_fine_device();
	finding_count = 0;
	doctor_check_rdma_software(&doctor);
	expect("Soft-RoCE", FINDING_OK, "can be loaded", "");
}

/* ---- files ---- */

static void files(void **state)
{
	char path[512];

	(void)state;
	put_fine_device();
	doctor_check_rdma_files(&doctor);
	expect("RDMA device files", FINDING_WARN, "rdma_cm: No such file", "modprobe -a ib_uverbs");
	put("dev/infiniband/rdma_cm", "");
	finding_count = 0;
	doctor_check_rdma_files(&doctor);
	expect("RDMA device files", FINDING_WARN, "uverbs0: No such file", "modprobe");
	put("dev/infiniband/uverbs0", "");
	put("dev/infiniband/uverbs1", "");
	finding_count = 0;
	doctor_check_rdma_files(&doctor);
	expect("RDMA device files", FINDING_OK, "2 of uverbs", "");
	snprintf(path, sizeof(path), "%s/dev/infiniband/uverbs1", root);
	assert_int_equal(chmod(path, 0), 0);
	finding_count = 0;
	doctor.rdma_needed = true;
	doctor_check_rdma_files(&doctor);
	if (geteuid() != 0)
		expect("RDMA device files", FINDING_FAIL, "uverbs1: Permission denied", "udev");
}

/* ---- locked memory ---- */

static void locked_memory(void **state)
{
	const uint64_t gib = UINT64_C(1) << 30;

	(void)state;
	doctor_judge_locked_memory(&doctor, 8 << 20, false, 4 * gib);
	expect("locked memory", FINDING_WARN,
	       "limit 8.0 MiB; verbs locks what it registers, up to "
	       "4.0 GiB",
	       "LimitMEMLOCK=infinity");
	finding_count = 0;
	doctor.rdma_needed = true;
	doctor_judge_locked_memory(&doctor, 8 << 20, false, 4 * gib);
	expect("locked memory", FINDING_FAIL, "limit 8.0 MiB", "ulimit -l unlimited");
	finding_count = 0;
	doctor_judge_locked_memory(&doctor, 8 << 20, true, 4 * gib);
	expect("locked memory", FINDING_OK, "this user is exempt", "");
	finding_count = 0;
	doctor_judge_locked_memory(&doctor, 4 * gib, false, 4 * gib);
	expect("locked memory", FINDING_OK, "limit 4.0 GiB", "");
	finding_count = 0;
	doctor_judge_locked_memory(&doctor, HOST_UNLIMITED, false, HOST_UNLIMITED);
	expect("locked memory", FINDING_OK, "limit unlimited", "");
	finding_count = 0;
	doctor_judge_locked_memory(&doctor, 0, false, 0);
	expect("locked memory", FINDING_OK, "the shm fabric locks none", "");
}

#define ROW(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(no_device),	       ROW(no_device_but_needed),
		ROW(fine_device),      ROW(port_down),
		ROW(second_port_down), ROW(v1_only),
		ROW(no_address),       ROW(small_packets),
		ROW(infiniband),       ROW(mtu),
		ROW(many_ports),       ROW(modules),
		ROW(software),	       ROW(files),
		ROW(locked_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
