/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fabrics with a planted fault, each a wrapper round a sound one. The suite must fail on every one
 * of them: this tests the tests.
 */
#ifndef PERGOLA_CONTRACT_MUTANTS_H
#define PERGOLA_CONTRACT_MUTANTS_H

#include "contract.h"

/* As a program: [mutant]. 0: the suite has caught each mutant (or the one named). */
int mutants_main(const struct fabric_ops *ops, int argc, char **argv);

#endif
