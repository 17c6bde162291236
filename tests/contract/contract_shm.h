/* SPDX-License-Identifier: Apache-2.0 */
/* Cases that only the shm fabric has. */
#ifndef PERGOLA_CONTRACT_SHM_H
#define PERGOLA_CONTRACT_SHM_H

#include "harness.h"

extern const struct contract_table contract_shm_cases;

#endif
