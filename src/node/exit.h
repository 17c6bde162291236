/* SPDX-License-Identifier: Apache-2.0 */
/* The exit status by which a process tells its launcher why the library ended it. */
#ifndef PERGOLA_NODE_EXIT_H
#define PERGOLA_NODE_EXIT_H

/* A node was lost, and setting on-loss is "abort". */
#define EXIT_NODE_LOST 98

#endif
