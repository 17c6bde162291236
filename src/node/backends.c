/* SPDX-License-Identifier: Apache-2.0 */
/* The one file of this folder that names concrete backends. */
#include "node/node.h"
#include "pager/pager.h"
#include "shm/shm.h"
#ifdef PERGOLA_VERBS
#include "verbs/verbs.h"
#endif

const struct fabric_ops *backend_local(void)
{
	return &fabric_shm_ops;
}

const struct fabric_ops *backend_remote(void)
{
#ifdef PERGOLA_VERBS
	return &fabric_verbs_ops;
#else
	return NULL;
#endif
}

const struct pager_ops *backend_pager(void)
{
	return &pager_uffd_ops;
}
