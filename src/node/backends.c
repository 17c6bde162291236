/* SPDX-License-Identifier: Apache-2.0 */
/* The one file of this folder that names concrete backends. */
#include "node/node.h"
#include "pager/pager.h"
#include "shm/shm.h"

const struct fabric_ops *backend_fabric(unsigned int choice)
{
	switch ((enum fabric_choice)choice) {
	case FABRIC_CHOICE_AUTO:
	case FABRIC_CHOICE_SHM:
		return &fabric_shm_ops;
	}
	return NULL;
}

const struct pager_ops *backend_pager(void)
{
	return &pager_uffd_ops;
}
