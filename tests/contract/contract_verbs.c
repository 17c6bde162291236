/* SPDX-License-Identifier: Apache-2.0 */
/* The suite on the fabric on RDMA. Exit status 77 where there is no device. */
#include "contract_verbs.h"
#include "verbs/verbs.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is there, in a line. */
static bool show_device(void)
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

	if (fabric_verbs_ops.open(&config, &fabric, &address) != 0) {
		printf("skipped: %s\n", error_text());
		return false;
	}
	fabric_verbs_ops.describe(fabric, &what);
	printf("%s port %u, %s, %s, GID %d (%s), MTU %u%s\n", what.device, what.port,
	       what.link_layer, what.address, what.gid_index, what.gid_type, what.mtu_bytes,
	       what.on_demand ? ", on-demand paging" : "");
	fflush(stdout);
	fabric_verbs_ops.close(fabric);
	return true;
}

/* In a process of its own: a device that is open cannot be used by forked processes. */
static bool have_device(void)
{
	int status = 1;
	pid_t pid = fork();

	if (pid == 0)
		exit(show_device() ? 0 : 77);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
	if (!have_device())
		return 77;
	return contract_main(&fabric_verbs_ops, contract_verbs_cases.cases,
			     contract_verbs_cases.count, argc, argv);
}
