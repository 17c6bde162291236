/* SPDX-License-Identifier: Apache-2.0 */
/* `pergola info`: version, build, kernel, and every setting with its value and where it is from. */
#include "cli/cli.h"

#include "base/error.h"
#include "node/measure.h"
#include "node/node.h"
#include "node/settings.h"
#include "node/wireup.h"
#include "pergola/dsm.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#ifdef __clang__
#define COMPILER_NAME "clang"
#else
#define COMPILER_NAME "gcc"
#endif

static void print_fabrics(void)
{
	const struct fabric_ops *remote = backend_remote();

	printf("fabrics    %s", backend_local()->name);
	if (remote == NULL)
		printf(" (none between hosts in this build)\n");
	else
		printf(" %s\n", remote->name);
}

/* What a job on several hosts would use here, and where it stands in this machine. */
static void print_device(const struct settings *settings)
{
	struct fabric_description device;

	if (backend_remote() == NULL)
		return;
	if (measure_device(settings, &device) != 0) {
		printf("device     none: %s\n", error_text());
		return;
	}
	printf("device     %s:%u, %s, address %s, MTU %u\n", device.device, device.port,
	       device.link_layer, device.address, device.mtu_bytes);
	if (device.numa_node >= 0)
		printf("near       NUMA node %d\n", device.numa_node);
	else
		printf("near       no NUMA node in particular\n");
}

/* PMIx's own text goes on with the versions of its standard, in brackets. */
static void print_launchers(void)
{
	const char *pmix = wireup_pmix_version();

	if (pmix == NULL) {
		printf("launchers  pergola run (this build has no PMIx)\n");
		return;
	}
	const char *end = strstr(pmix, " (");
	printf("launchers  pergola run; mpirun, prterun, srun --mpi=pmix: %.*s\n",
	       (int)(end == NULL ? strlen(pmix) : (size_t)(end - pmix)), pmix);
}

static void print_build(void)
{
	struct utsname kernel;

	printf("version    %d.%d.%d\n", DSM_VERSION_MAJOR, DSM_VERSION_MINOR, DSM_VERSION_PATCH);
	print_fabrics();
	print_launchers();
	printf("compiler   %s %s, %s\n", COMPILER_NAME, __VERSION__, PERGOLA_BUILD_TYPE);
	printf("limits     %d nodes, pages of %d bytes\n", DSM_NODES_MAX, DSM_PAGE_BYTES);
	if (uname(&kernel) == 0)
		printf("kernel     %s %s %s\n", kernel.sysname, kernel.release, kernel.machine);
}

static void print_setting(const struct settings *settings, enum setting_id id)
{
	const struct setting_info *info = settings_info(id);
	const char *value = settings_text_of(settings, info->name);
	char allowed[256];

	printf("\n%-15s  %s  (%s; %s)\n", info->name, *value == '\0' ? "-" : value,
	       settings_source_name(settings_source(settings, id)), info->environment);
	printf("%17s%s\n", "", info->help);
	printf("%17s%s\n", "", settings_allowed(id, allowed, sizeof(allowed)));
}

int cli_info(int argc, char **argv)
{
	struct settings settings;

	if (argc > 1)
		return cli_usage_error("info takes no arguments; it got \"%.64s\"", argv[1]);
	settings_init_defaults(&settings);
	int error = settings_read_environment(&settings);
	print_build();
	print_device(&settings);
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++)
		print_setting(&settings, id);
	if (error == 0)
		return 0;
	fflush(stdout);
	cli_say("%s", error_text());
	return CLI_EXIT_USAGE;
}
