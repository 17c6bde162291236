/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Branch and bound for the symmetric travelling salesman problem, one thread, private memory.
 *
 * A partial tour (a prefix) starts in city 0. Its lower bound is its length, plus a minimum
 * spanning tree of the cities not visited, plus the shortest edges from its last city and from
 * city 0 into that tree. Weights are reduced first: to each edge (i, j) are added p_i + p_j, which
 * adds 2 * (sum of p) to every tour and so changes no order of tours, but lifts spanning trees; the
 * p come from a subgradient ascent over 1-trees (Held and Karp, "The traveling-salesman problem
 * and minimum spanning trees", parts I and II, Operations Research 18, 1970, and Mathematical
 * Programming 1, 1971). All arithmetic is in whole numbers: weights times TSP_SCALE.
 */
#ifndef APPS_TSP_SOLVE_H
#define APPS_TSP_SOLVE_H

#include "tsplib.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TSP_SCALE 1000
#define TSP_NO_TOUR INT64_MAX

/* Cities that the dynamic program for checking takes at most: 2^(n - 1) * (n - 1) states. */
#define TSP_EXACT_MAX 20u

struct tsp_problem {
	struct tsp_instance instance;
	int64_t reduced[TSP_CITIES_MAX][TSP_CITIES_MAX]; /* weight * TSP_SCALE + p_i + p_j */
	int64_t reduction;				 /* 2 * sum of p */
	int64_t root_bound;				 /* no tour is shorter */
};

struct tsp_tour {
	int64_t length;
	uint8_t city[TSP_CITIES_MAX];
};

struct tsp_prefix {
	int64_t bound;	/* no tour that starts like this is shorter */
	int64_t length; /* of the prefix, reduced */
	uint8_t depth;	/* cities in it */
	uint8_t city[TSP_CITIES_MAX];
};

/* Where a search keeps its best tour: alone, or shared with other nodes. */
struct tsp_search {
	const struct tsp_problem *problem;
	int64_t (*best)(void *context);
	void (*found)(void *context, const struct tsp_tour *tour);
	void *context;
	uint64_t expanded; /* prefixes whose children were made: counted here */
};

/*
 * Sets the problem up: reduction and root bound. `upper` is some tour's length. `plain`: weights
 * are left as they are, which makes weak bounds and long searches.
 */
void tsp_prepare(struct tsp_problem *problem, const struct tsp_instance *instance, int64_t upper,
		 bool plain);

/* A good tour: the nearest neighbour from every city, each improved by 2-opt. */
void tsp_heuristic(const struct tsp_instance *instance, struct tsp_tour *tour);

/* The prefix {0} and its bound. */
struct tsp_prefix tsp_root(const struct tsp_problem *problem);

/*
 * The children of a prefix whose bound is below the best tour's length, lowest bound first; returns
 * how many. A prefix that lacks one city only has no children: its tour is reported if it is
 * better.
 */
size_t tsp_expand(struct tsp_search *search, const struct tsp_prefix *prefix,
		  struct tsp_prefix children[TSP_CITIES_MAX]);

/* Searches everything below the prefix. */
void tsp_search_below(struct tsp_search *search, const struct tsp_prefix *prefix);

/* True if the tour visits each city once and is as long as it says. */
bool tsp_tour_check(const struct tsp_instance *instance, const struct tsp_tour *tour);

/*
 * The length of the shortest tour by dynamic programming over sets of cities (Held and Karp, "A
 * dynamic programming approach to sequencing problems", SIAM Journal 10(1), 1962). -1: no memory,
 * or more than TSP_EXACT_MAX cities.
 */
int64_t tsp_exact(const struct tsp_instance *instance);

#endif
