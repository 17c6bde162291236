/* SPDX-License-Identifier: Apache-2.0 */
/* Planted faults round the fabric between processes of one host. */
#include "mutants.h"
#include "shm/shm.h"

int main(int argc, char **argv)
{
	return mutants_main(&fabric_shm_ops, argc, argv);
}
