/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of `pergola doctor` on what this build has, and whether it works here. */
#include "cli/doctor.h"

#include "base/error.h"
#include "node/measure.h"
#include "node/node.h"
#include "node/settings.h"
#include "node/wireup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES 400

static void find_no_verbs(struct doctor *doctor)
{
	doctor_find(doctor, doctor->rdma_needed ? FINDING_FAIL : FINDING_WARN, "verbs fabric",
		    "not in this build, which works on one host",
		    "build with -DPERGOLA_VERBS=ON (libibverbs-dev librdmacm-dev)");
}

static void format_device(const struct fabric_description *device, char *text, size_t bytes)
{
	char gid[48] = "";
	char near_node[32] = "";

	if (device->gid_index >= 0)
		snprintf(gid, sizeof(gid), ", GID %d (%s)", device->gid_index, device->gid_type);
	if (device->numa_node >= 0)
		snprintf(near_node, sizeof(near_node), ", NUMA node %d", device->numa_node);
	snprintf(text, bytes, "works on %s:%u, %s, address %s%s, MTU %u%s, %s", device->device,
		 device->port, device->link_layer, device->address, gid, device->mtu_bytes,
		 near_node, device->on_demand ? "pages on demand" : "registered memory is locked");
}

/* What the files of /sys promise, tried: device, port and address are chosen as a job does. */
void doctor_check_verbs(struct doctor *doctor)
{
	struct settings settings;
	struct fabric_description device;
	char found[TEXT_BYTES];

	if (backend_remote() == NULL) {
		find_no_verbs(doctor);
		return;
	}
	settings_init_defaults(&settings);
	settings_read_environment(&settings);
	int error = measure_device(&settings, &device);

	if (error == 0)
		format_device(&device, found, sizeof(found));
	else
		snprintf(found, sizeof(found), "in this build, but cannot be used here: %s",
			 error_text());
	doctor_find(doctor,
		    error == 0		  ? FINDING_OK
		    : doctor->rdma_needed ? FINDING_FAIL
					  : FINDING_WARN,
		    "verbs fabric", found, NULL);
}

void doctor_check_pmix(struct doctor *doctor)
{
	const char *version = wireup_pmix_version();
	const char *job = getenv("PMIX_NAMESPACE");
	char found[TEXT_BYTES];

	if (version == NULL) {
		doctor_find(doctor, FINDING_WARN, "PMIx",
			    "not in this build: mpirun and srun cannot start its jobs",
			    "build with -DPERGOLA_PMIX=ON (libpmix-dev)");
		return;
	}
	snprintf(found, sizeof(found), "%.*s; %s%.100s", (int)strcspn(version, "(") - 1, version,
		 job == NULL ? "no launcher with PMIx started this" : "started by one, as ",
		 job == NULL ? "" : job);
	doctor_find(doctor, FINDING_OK, "PMIx", found, NULL);
}
