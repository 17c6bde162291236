/* SPDX-License-Identifier: Apache-2.0 */
/* Cases that only the fabric on RDMA has. */
#ifndef PERGOLA_CONTRACT_VERBS_H
#define PERGOLA_CONTRACT_VERBS_H

#include "harness.h"

extern const struct contract_table contract_verbs_cases;

#endif
