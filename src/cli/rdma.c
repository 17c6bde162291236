/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rdma.h"

#include "cli/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES "/sys/class/infiniband"
#define DEVICE_FILES "/dev/infiniband"

/* Of the thousands that a table may have room for, the used ones come first. */
#define GIDS_LOOKED_AT 256

/* GRH or IP header, UDP, BTH, XRC, atomic and check sum: what the kernel sets aside for RoCE. */
#define HEADERS_BYTES 96u

/* ---- small files --------------------------------------------------------------------------- */

/* One line of the file `name` in `folder`; "" where there is none. */
static void read_in(const char *folder, const char *name, char *text, size_t text_bytes)
{
	char path[PATH_MAX];

	text[0] = '\0';
	if (snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path))
		host_read_line(path, text, text_bytes);
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* The names in root/folder, sorted; to be freed with free_names(). */
static int list_names(const char *root, const char *folder, struct dirent ***names)
{
	char path[PATH_MAX];

	*names = NULL;
	if (snprintf(path, sizeof(path), "%s%s", root, folder) >= (int)sizeof(path))
		return 0;
	int count = scandir(path, names, visible, alphasort);
	return count < 0 ? 0 : count;
}

static void free_names(struct dirent **names, int count)
{
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

/* ---- GIDs ---------------------------------------------------------------------------------- */

/* Written as eight groups of four digits. Empty entries are zero, or stop after fe80. */
static bool gid_used(const char *gid)
{
	return strlen(gid) == 39 && strspn(gid, "0:") != 39 &&
	       strcmp(gid, "fe80:0000:0000:0000:0000:0000:0000:0000") != 0;
}

static void count_gid(struct rdma_gids *gids, const char *gid, const char *type)
{
	bool v2 = strcmp(type, "RoCE v2") == 0;

	if (strcmp(type, "IB/RoCE v1") == 0)
		gids->v1++;
	else if (v2 && strncmp(gid, "0000:0000:0000:0000:0000:ffff:", 30) == 0)
		gids->v2_ipv4++;
	else if (v2 && strncmp(gid, "fe80:", 5) == 0)
		gids->v2_link_local++;
	else if (v2)
		gids->v2_ipv6++;
}

static void scan_gids(const char *folder, struct rdma_port *port)
{
	bool ethernet = strcmp(port->link_layer, "Ethernet") == 0;

	for (int i = 0; i < GIDS_LOOKED_AT; i++) {
		char name[48];
		char gid[64];
		char type[32];

		snprintf(name, sizeof(name), "gids/%d", i);
		read_in(folder, name, gid, sizeof(gid));
		if (gid[0] == '\0')
			break;
		if (!gid_used(gid))
			continue;
		snprintf(name, sizeof(name), "gid_attrs/types/%d", i);
		read_in(folder, name, type, sizeof(type));
		if (ethernet)
			count_gid(&port->gids, gid, type);
		else
			port->gids.infiniband++;
		if (port->network[0] == '\0') {
			snprintf(name, sizeof(name), "gid_attrs/ndevs/%d", i);
			read_in(folder, name, port->network, sizeof(port->network));
		}
	}
}

/* ---- ports --------------------------------------------------------------------------------- */

static void scan_network(const char *root, struct rdma_port *port)
{
	char path[PATH_MAX];
	char text[32];

	if (port->network[0] == '\0') { /* a software device names the one below it */
		snprintf(path, sizeof(path), "%s" DEVICES "/%s", root, port->device);
		read_in(path, "parent", port->network, sizeof(port->network));
	}
	if (port->network[0] == '\0')
		return;
	snprintf(path, sizeof(path), "%s/sys/class/net/%s", root, port->network);
	read_in(path, "mtu", text, sizeof(text));
	port->network_mtu = (unsigned int)strtoul(text, NULL, 10);
}

/* "4: ACTIVE" -> "ACTIVE". */
static void scan_state(const char *folder, struct rdma_port *port)
{
	char text[32];

	read_in(folder, "state", text, sizeof(text));
	const char *word = strchr(text, ' ');
	snprintf(port->state, sizeof(port->state), "%.20s", word == NULL ? "unknown" : word + 1);
	port->active = strcmp(port->state, "ACTIVE") == 0;
}

static void scan_port(const char *root, const char *device, const char *number,
		      struct rdma_scan *out)
{
	char folder[PATH_MAX];
	struct rdma_port *port = &out->ports[out->port_count];

	if (out->port_count == RDMA_PORTS_MAX ||
	    snprintf(folder, sizeof(folder), "%s" DEVICES "/%s/ports/%s", root, device, number) >=
		    (int)sizeof(folder))
		return;
	*port = (struct rdma_port){ .number = (unsigned int)strtoul(number, NULL, 10) };
	snprintf(port->device, sizeof(port->device), "%.*s", RDMA_NAME_BYTES - 1, device);
	scan_state(folder, port);
	read_in(folder, "link_layer", port->link_layer, sizeof(port->link_layer));
	read_in(folder, "rate", port->rate, sizeof(port->rate));
	scan_gids(folder, port);
	scan_network(root, port);
	out->port_count++;
}

void rdma_scan(const char *root, struct rdma_scan *out)
{
	struct dirent **devices;
	int device_count = list_names(root, DEVICES, &devices);

	*out = (struct rdma_scan){ .device_count = (unsigned int)device_count };
	for (int i = 0; i < device_count; i++) {
		char folder[PATH_MAX];
		struct dirent **ports;

		snprintf(folder, sizeof(folder), DEVICES "/%s/ports", devices[i]->d_name);
		int port_count = list_names(root, folder, &ports);

		for (int p = 0; p < port_count; p++)
			scan_port(root, devices[i]->d_name, ports[p]->d_name, out);
		free_names(ports, port_count);
	}
	free_names(devices, device_count);
}

unsigned int rdma_mtu(unsigned int network_mtu)
{
	unsigned int mtu = RDMA_MTU_MAX;

	while (mtu >= 256 && mtu + HEADERS_BYTES > network_mtu)
		mtu /= 2;
	return mtu >= 256 ? mtu : 0;
}

/* ---- modules ------------------------------------------------------------------------------- */

/* Does a list of the kernel's modules begin a line with the file of this one? */
static bool listed(const char *root, const char *release, const char *list, const char *name)
{
	char path[PATH_MAX];
	char file[RDMA_NAME_BYTES];
	char line[4096];
	bool found = false;

	snprintf(file, sizeof(file), "/%s.ko", name);
	if (snprintf(path, sizeof(path), "%s/lib/modules/%s/%s", root, release, list) >=
	    (int)sizeof(path))
		return false;
	FILE *stream = fopen(path, "re");
	if (stream == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), stream) != NULL) {
		line[strcspn(line, ":\n")] = '\0';
		const char *at = strstr(line, file);
		found = at != NULL && strchr(at + 1, '/') == NULL;
	}
	fclose(stream);
	return found;
}

enum rdma_module rdma_module(const char *root, const char *release, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/sys/module/%s", root, name);
	if (access(path, F_OK) == 0 || listed(root, release, "modules.builtin", name))
		return RDMA_MODULE_LOADED;
	return listed(root, release, "modules.dep", name) ? RDMA_MODULE_PRESENT
							  : RDMA_MODULE_ABSENT;
}

/* ---- files --------------------------------------------------------------------------------- */

/* Only opening tells: beside permissions there are the control group's rules for devices. */
static int open_file(const char *root, const char *name, char *path, size_t path_bytes)
{
	if (snprintf(path, path_bytes, "%s" DEVICE_FILES "/%s", root, name) >= (int)path_bytes)
		return -ENAMETOOLONG;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int rdma_open_files(const char *root, unsigned int *device_count, char *path, size_t path_bytes)
{
	struct dirent **names;
	unsigned int found = 0;
	int error = open_file(root, "rdma_cm", path, path_bytes);
	int count = error == 0 ? list_names(root, DEVICE_FILES, &names) : 0;

	if (error != 0)
		return error;
	for (int i = 0; i < count && error == 0; i++) {
		if (strncmp(names[i]->d_name, "uverbs", 6) != 0)
			continue;
		error = open_file(root, names[i]->d_name, path, path_bytes);
		found++;
	}
	free_names(names, count);
	if (error == 0 && found == 0) {
		snprintf(path, path_bytes, "%s" DEVICE_FILES "/uverbs0", root);
		error = -ENOENT;
	}
	if (error == 0)
		*device_count = found;
	return error;
}
