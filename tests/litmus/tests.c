/* SPDX-License-Identifier: Apache-2.0 */
/* The tests. x, y, z are locations; r0 .. r3 registers. */
#include "litmus.h"

enum { x, y, z };

#define W(place, what)                                                                             \
	{                                                                                          \
		LITMUS_STORE, place, what                                                          \
	}
#define R(place, reg)                                                                              \
	{                                                                                          \
		LITMUS_LOAD, place, reg                                                            \
	}
#define REG(reg, what)                                                                             \
	{                                                                                          \
		true, false, reg, what                                                             \
	}
#define LAST(place, what)                                                                          \
	{                                                                                          \
		true, true, place, what                                                            \
	}

const struct litmus_test litmus_tests[] = {
	{ "SB",
	  "r0=0 r1=0",
	  2,
	  2,
	  2,
	  { { W(x, 1), R(y, 0) }, { W(y, 1), R(x, 1) } },
	  { REG(0, 0), REG(1, 0) } },
	{ "MP",
	  "r0=1 r1=0",
	  2,
	  2,
	  2,
	  { { W(x, 1), W(y, 1) }, { R(y, 0), R(x, 1) } },
	  { REG(0, 1), REG(1, 0) } },
	{ "LB",
	  "r0=1 r1=1",
	  2,
	  2,
	  2,
	  { { R(x, 0), W(y, 1) }, { R(y, 1), W(x, 1) } },
	  { REG(0, 1), REG(1, 1) } },
	{ "R",
	  "r0=0 y=2",
	  2,
	  2,
	  1,
	  { { W(x, 1), W(y, 1) }, { W(y, 2), R(x, 0) } },
	  { REG(0, 0), LAST(y, 2) } },
	{ "S",
	  "r0=1 x=2",
	  2,
	  2,
	  1,
	  { { W(x, 2), W(y, 1) }, { R(y, 0), W(x, 1) } },
	  { REG(0, 1), LAST(x, 2) } },
	{ "2+2W",
	  "x=1 y=1",
	  2,
	  2,
	  0,
	  { { W(x, 1), W(y, 2) }, { W(y, 1), W(x, 2) } },
	  { LAST(x, 1), LAST(y, 1) } },
	{ "WRC",
	  "r0=1 r1=1 r2=0",
	  3,
	  2,
	  3,
	  { { W(x, 1) }, { R(x, 0), W(y, 1) }, { R(y, 1), R(x, 2) } },
	  { REG(0, 1), REG(1, 1), REG(2, 0) } },
	{ "RWC",
	  "r0=1 r1=0 r2=0",
	  3,
	  2,
	  3,
	  { { W(x, 1) }, { R(x, 0), R(y, 1) }, { W(y, 1), R(x, 2) } },
	  { REG(0, 1), REG(1, 0), REG(2, 0) } },
	{ "ISA2",
	  "r0=1 r1=1 r2=0",
	  3,
	  3,
	  3,
	  { { W(x, 1), W(y, 1) }, { R(y, 0), W(z, 1) }, { R(z, 1), R(x, 2) } },
	  { REG(0, 1), REG(1, 1), REG(2, 0) } },
	{ "IRIW",
	  "r0=1 r1=0 r2=1 r3=0",
	  4,
	  2,
	  4,
	  { { W(x, 1) }, { W(y, 1) }, { R(x, 0), R(y, 1) }, { R(y, 2), R(x, 3) } },
	  { REG(0, 1), REG(1, 0), REG(2, 1), REG(3, 0) } },
	{ "CoRR",
	  "r0=1 r1=0",
	  2,
	  1,
	  2,
	  { { W(x, 1) }, { R(x, 0), R(x, 1) } },
	  { REG(0, 1), REG(1, 0) } },
	{ "CoRR2",
	  "r0=1 r1=2 r2=2 r3=1",
	  4,
	  1,
	  4,
	  { { W(x, 1) }, { W(x, 2) }, { R(x, 0), R(x, 1) }, { R(x, 2), R(x, 3) } },
	  { REG(0, 1), REG(1, 2), REG(2, 2), REG(3, 1) } },
	{ "CoWW", "x=1", 2, 1, 1, { { W(x, 1), W(x, 2) }, { R(x, 0) } }, { LAST(x, 1) } },
	{ "CoRW",
	  "r0=2 x=2",
	  2,
	  1,
	  1,
	  { { R(x, 0), W(x, 1) }, { W(x, 2) } },
	  { REG(0, 2), LAST(x, 2) } },
	{ "CoWR",
	  "r0=2 x=1",
	  2,
	  1,
	  1,
	  { { W(x, 1), R(x, 0) }, { W(x, 2) } },
	  { REG(0, 2), LAST(x, 1) } },
};

const unsigned int litmus_test_count = sizeof(litmus_tests) / sizeof(litmus_tests[0]);
