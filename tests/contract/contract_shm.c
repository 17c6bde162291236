/* SPDX-License-Identifier: Apache-2.0 */
/* The suite on the fabric between processes of one host, with cases of strangers of its own. */
#include "contract_shm.h"
#include "shm/shm.h"

int main(int argc, char **argv)
{
	return contract_main(&fabric_shm_ops, contract_shm_cases.cases, contract_shm_cases.count,
			     argc, argv);
}
