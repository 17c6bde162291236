/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager on userfaultfd and a memfd. Obligations: port/pager.h. How it works: docs/pager.md.
 *
 * Beyond the contract: at most PAGER_REGIONS_MAX regions at a time (region_add then returns
 * -ENOSPC). A process made by fork() has neither view and must not use the pager: the userfaultfd
 * it inherits still speaks of its parent's memory.
 */
#ifndef PERGOLA_PAGER_PAGER_H
#define PERGOLA_PAGER_PAGER_H

#include "port/pager.h"

#define PAGER_REGIONS_MAX 64

extern const struct pager_ops pager_uffd_ops;

#endif
