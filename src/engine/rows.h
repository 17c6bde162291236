/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ROW("write request"): here the engine carries out that row of a table of docs/protocol.md. In the
 * library it is nothing. An engine built with PERGOLA_ROWS tells engine_row(), which the program
 * brings with it, so that tests can see which rows were taken. tests/sim/rows holds code and tables
 * to each other.
 */
#ifndef PERGOLA_ENGINE_ROWS_H
#define PERGOLA_ENGINE_ROWS_H

#ifdef PERGOLA_ROWS
/* `name` is a literal: it lives as long as the program, and is the same pointer each time. */
void engine_row(const char *name);

#define ROW(name) engine_row("" name)
#else
#define ROW(name) ((void)sizeof("" name))
#endif

#endif
