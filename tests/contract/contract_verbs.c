/* SPDX-License-Identifier: Apache-2.0 */
/* The suite on the fabric on RDMA. Exit status 77 where there is no device. */
#include "contract_verbs.h"
#include "verbs/verbs.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is there, in a line; the exit status. */
static int show_device(void)
{
	struct fabric_config config = {
		.node_count = 1,
		.job = 1,
		.credits = 1,
		.connect_timeout_ns = 1000000000,
		.loss_timeout_ns = 1000000000,
	};
	struct fabric_description what;
	struct fabric_address address;
	struct fabric *fabric;

	int error = fabric_verbs_ops.open(&config, &fabric, &address);

	if (error != 0) {
		printf("%s: %s\n", error == -ENODEV || error == -ENOENT ? "skipped" : "failed",
		       error_text());
		return error == -ENODEV || error == -ENOENT ? 77 : 1;
	}
	fabric_verbs_ops.describe(fabric, &what);
	printf("%s port %u, %s, %s, GID %d (%s), MTU %u%s\n", what.device, what.port,
	       what.link_layer, what.address, what.gid_index, what.gid_type, what.mtu_bytes,
	       what.on_demand ? ", on-demand paging" : "");
	fflush(stdout);
	fabric_verbs_ops.close(fabric);
	return 0;
}

/* In a process of its own: a device that is open cannot be used by forked processes. */
static int look_for_device(void)
{
	int status = 1;
	pid_t pid = fork();

	if (pid == 0)
		exit(show_device());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 1;
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	int status = look_for_device();

	if (status != 0)
		return status;
	return contract_main(&fabric_verbs_ops, contract_verbs_cases.cases,
			     contract_verbs_cases.count, argc, argv);
}
