/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds, branching, the first tour, and the independent exact method. */
#include "solve.h"

#include <stdlib.h>
#include <string.h>

#define ASCENT_STEPS 2000u
#define STALE_STEPS 20u
#define FAR (INT64_MAX / 4)

/* ---- spanning trees ------------------------------------------------------------------------ */

/*
 * The weight of a minimum spanning tree of the `count` cities of `city` (Prim); where `degree` is
 * given the tree's degrees are added to it, by city.
 */
static int64_t spanning_tree(const int64_t weight[][TSP_CITIES_MAX], const uint8_t *city,
			     size_t count, int *degree)
{
	int64_t key[TSP_CITIES_MAX];
	uint8_t rest[TSP_CITIES_MAX];
	uint8_t parent[TSP_CITIES_MAX];
	int64_t total = 0;

	for (size_t i = 1; i < count; i++) {
		rest[i - 1] = city[i];
		key[i - 1] = weight[city[0]][city[i]];
		parent[i - 1] = city[0];
	}
	for (size_t left = count > 0 ? count - 1 : 0; left > 0; left--) {
		size_t best = 0;

		for (size_t i = 1; i < left; i++)
			best = key[i] < key[best] ? i : best;
		uint8_t joined = rest[best];
		total += key[best];
		if (degree != NULL) {
			degree[joined]++;
			degree[parent[best]]++;
		}
		rest[best] = rest[left - 1];
		key[best] = key[left - 1];
		parent[best] = parent[left - 1];
		for (size_t i = 0; i < left - 1; i++) {
			int64_t to_joined = weight[joined][rest[i]];

			if (to_joined < key[i]) {
				key[i] = to_joined;
				parent[i] = joined;
			}
		}
	}
	return total;
}

/* A 1-tree: a spanning tree of cities 1 .. n - 1 and the two shortest edges of city 0. */
static int64_t one_tree(const int64_t weight[][TSP_CITIES_MAX], size_t n, int *degree)
{
	uint8_t city[TSP_CITIES_MAX];
	size_t first = 1;
	size_t second = 2;

	for (size_t i = 1; i < n; i++)
		city[i - 1] = (uint8_t)i;
	memset(degree, 0, n * sizeof(*degree));
	int64_t total = spanning_tree(weight, city, n - 1, degree);
	if (weight[0][second] < weight[0][first]) {
		first = 2;
		second = 1;
	}
	for (size_t i = 3; i < n; i++) {
		if (weight[0][i] < weight[0][first]) {
			second = first;
			first = i;
		} else if (weight[0][i] < weight[0][second]) {
			second = i;
		}
	}
	degree[0] = 2;
	degree[first]++;
	degree[second]++;
	return total + weight[0][first] + weight[0][second];
}

/* ---- reduction ----------------------------------------------------------------------------- */

static void reduce(struct tsp_problem *problem, const int64_t *p)
{
	size_t n = problem->instance.city_count;

	problem->reduction = 0;
	for (size_t i = 0; i < n; i++) {
		problem->reduction += 2 * p[i];
		for (size_t j = 0; j < n; j++)
			problem->reduced[i][j] =
				(int64_t)problem->instance.weight[i][j] * TSP_SCALE + p[i] + p[j];
	}
}

/* The smallest whole tour length that a reduced bound permits. */
static int64_t bound_length(const struct tsp_problem *problem, int64_t reduced)
{
	int64_t scaled = reduced - problem->reduction;

	return scaled <= 0 ? 0 : (scaled + TSP_SCALE - 1) / TSP_SCALE;
}

/* One step of the ascent: cities of a high degree in the 1-tree become dearer. */
static void step_up(int64_t *p, const int *degree, size_t n, double gap, double scale)
{
	int squares = 0;

	for (size_t i = 0; i < n; i++)
		squares += (degree[i] - 2) * (degree[i] - 2);
	for (size_t i = 0; i < n && squares > 0; i++)
		p[i] += (int64_t)(scale * gap / squares * (degree[i] - 2));
}

void tsp_prepare(struct tsp_problem *problem, const struct tsp_instance *instance, int64_t upper,
		 bool plain)
{
	size_t n = instance->city_count;
	int64_t p[TSP_CITIES_MAX] = { 0 };
	int64_t best_p[TSP_CITIES_MAX] = { 0 };
	int degree[TSP_CITIES_MAX];
	int64_t best = INT64_MIN;
	double scale = 1;
	size_t stale = 0;

	*problem = (struct tsp_problem){ .instance = *instance };
	for (size_t step = 0; step < (plain ? 1 : ASCENT_STEPS); step++) {
		reduce(problem, p);
		int64_t value =
			one_tree((const int64_t(*)[TSP_CITIES_MAX])problem->reduced, n, degree) -
			problem->reduction;
		if (value > best) {
			best = value;
			stale = 0;
			memcpy(best_p, p, sizeof(p));
		} else if (++stale > STALE_STEPS) {
			scale /= 2;
			stale = 0;
			memcpy(p, best_p, sizeof(p));
			continue;
		}
		double gap = (double)upper * TSP_SCALE - (double)value;
		step_up(p, degree, n, gap > 0 ? gap : TSP_SCALE, scale);
	}
	reduce(problem, best_p);
	problem->root_bound = bound_length(problem, best + problem->reduction);
}

/* ---- the first tour ------------------------------------------------------------------------ */

static int64_t tour_length(const struct tsp_instance *instance, const uint8_t *city)
{
	size_t n = instance->city_count;
	int64_t length = 0;

	for (size_t i = 0; i < n; i++)
		length += instance->weight[city[i]][city[(i + 1) % n]];
	return length;
}

static void nearest_neighbour(const struct tsp_instance *instance, size_t start, uint8_t *city)
{
	size_t n = instance->city_count;
	uint64_t visited = UINT64_C(1) << start;

	city[0] = (uint8_t)start;
	for (size_t i = 1; i < n; i++) {
		size_t nearest = n;

		for (size_t j = 0; j < n; j++) {
			const int32_t *row = instance->weight[city[i - 1]];

			if ((visited >> j & 1) == 0 && (nearest == n || row[j] < row[nearest]))
				nearest = j;
		}
		city[i] = (uint8_t)nearest;
		visited |= UINT64_C(1) << nearest;
	}
}

static void reverse(uint8_t *city, size_t first, size_t last)
{
	for (; first < last; first++, last--) {
		uint8_t kept = city[first];

		city[first] = city[last];
		city[last] = kept;
	}
}

/* Exchanges pairs of edges while one exchange makes the tour shorter. */
static void two_opt(const struct tsp_instance *instance, uint8_t *city)
{
	size_t n = instance->city_count;
	bool better = true;

	while (better) {
		better = false;
		for (size_t i = 0; i + 1 < n; i++) {
			for (size_t j = i + 2; j < n; j++) {
				uint8_t a = city[i];
				uint8_t b = city[i + 1];
				uint8_t c = city[j];
				uint8_t d = city[(j + 1) % n];

				if (a == d ||
				    instance->weight[a][c] + instance->weight[b][d] >=
					    instance->weight[a][b] + instance->weight[c][d])
					continue;
				reverse(city, i + 1, j);
				better = true;
			}
		}
	}
}

void tsp_heuristic(const struct tsp_instance *instance, struct tsp_tour *tour)
{
	tour->length = TSP_NO_TOUR;
	for (size_t start = 0; start < instance->city_count; start++) {
		uint8_t city[TSP_CITIES_MAX] = { 0 };

		nearest_neighbour(instance, start, city);
		two_opt(instance, city);
		int64_t length = tour_length(instance, city);
		if (length < tour->length) {
			tour->length = length;
			memcpy(tour->city, city, sizeof(city));
		}
	}
}

/* ---- branch and bound ---------------------------------------------------------------------- */

/* The shortest reduced edge from `from` to one of the cities. */
static int64_t shortest_edge(const struct tsp_problem *problem, size_t from, const uint8_t *city,
			     size_t count)
{
	int64_t shortest = FAR;

	for (size_t i = 0; i < count; i++) {
		int64_t edge = problem->reduced[from][city[i]];

		shortest = edge < shortest ? edge : shortest;
	}
	return shortest;
}

/* The reduced bound on what closes the tour: from `last` through all of `city` back to 0. */
static int64_t completion_bound(const struct tsp_problem *problem, size_t last, const uint8_t *city,
				size_t count)
{
	return spanning_tree((const int64_t(*)[TSP_CITIES_MAX])problem->reduced, city, count,
			     NULL) +
	       shortest_edge(problem, last, city, count) + shortest_edge(problem, 0, city, count);
}

static size_t unvisited(const struct tsp_problem *problem, const struct tsp_prefix *prefix,
			uint8_t *city)
{
	uint64_t visited = 0;
	size_t count = 0;

	for (size_t i = 0; i < prefix->depth; i++)
		visited |= UINT64_C(1) << prefix->city[i];
	for (size_t i = 0; i < problem->instance.city_count; i++) {
		if ((visited >> i & 1) == 0)
			city[count++] = (uint8_t)i;
	}
	return count;
}

struct tsp_prefix tsp_root(const struct tsp_problem *problem)
{
	return (struct tsp_prefix){ .bound = problem->root_bound, .depth = 1 };
}

/* The only tour that is left. */
static void close_tour(struct tsp_search *search, const struct tsp_prefix *prefix, uint8_t city)
{
	struct tsp_tour tour;

	memcpy(tour.city, prefix->city, sizeof(tour.city));
	tour.city[prefix->depth] = city;
	tour.length = tour_length(&search->problem->instance, tour.city);
	if (tour.length < search->best(search->context))
		search->found(search->context, &tour);
}

static void insert_by_bound(struct tsp_prefix *children, size_t count,
			    const struct tsp_prefix *child)
{
	size_t at = count;

	for (; at > 0 && children[at - 1].bound > child->bound; at--)
		children[at] = children[at - 1];
	children[at] = *child;
}

size_t tsp_expand(struct tsp_search *search, const struct tsp_prefix *prefix,
		  struct tsp_prefix children[TSP_CITIES_MAX])
{
	const struct tsp_problem *problem = search->problem;
	uint8_t city[TSP_CITIES_MAX];
	size_t left = unvisited(problem, prefix, city);
	size_t count = 0;
	int64_t best = search->best(search->context);

	search->expanded++;
	if (left == 1) {
		close_tour(search, prefix, city[0]);
		return 0;
	}
	for (size_t i = 0; i < left; i++) {
		uint8_t next = city[i];

		/* A tour and its mirror image are one: city 1 comes before city 2. */
		if (next == 2 && city[0] == 1)
			continue;
		struct tsp_prefix child = *prefix;
		child.city[child.depth++] = next;
		child.length += problem->reduced[prefix->city[prefix->depth - 1]][next];
		city[i] = city[left - 1];
		child.bound = bound_length(
			problem, child.length + completion_bound(problem, next, city, left - 1));
		city[i] = next;
		if (child.bound < best)
			insert_by_bound(children, count++, &child);
	}
	return count;
}

void tsp_search_below(struct tsp_search *search, const struct tsp_prefix *prefix)
{
	struct tsp_prefix children[TSP_CITIES_MAX]; /* 6 KiB; at most 64 of them on the stack */
	size_t count = tsp_expand(search, prefix, children);

	for (size_t i = 0; i < count; i++) {
		/* A better tour may have come meanwhile; the children after this one are no better.
		 */
		if (children[i].bound >= search->best(search->context))
			return;
		tsp_search_below(search, &children[i]);
	}
}

bool tsp_tour_check(const struct tsp_instance *instance, const struct tsp_tour *tour)
{
	uint64_t visited = 0;

	for (size_t i = 0; i < instance->city_count; i++) {
		if (tour->city[i] >= instance->city_count)
			return false;
		visited |= UINT64_C(1) << tour->city[i];
	}
	uint64_t all = ~UINT64_C(0) >> (64 - instance->city_count);
	return visited == all && tour_length(instance, tour->city) == tour->length;
}

/* ---- the independent exact method ---------------------------------------------------------- */

/*
 * shortest[set * (n - 1) + last]: the shortest way from city 0 through all cities of `set` that
 * ends in `last` (a member). Cities 1 .. n - 1 are bits 0 .. n - 2.
 */
static void fill_row(const struct tsp_instance *instance, int64_t *shortest, size_t set)
{
	size_t rest = instance->city_count - 1;

	for (size_t last = 0; last < rest; last++) {
		size_t before = set & ~((size_t)1 << last);
		int64_t least = before == 0 ? instance->weight[0][last + 1] : FAR;

		if (before == set)
			continue;
		for (size_t prior = 0; prior < rest; prior++) {
			if ((before >> prior & 1) == 0)
				continue;
			int64_t way = shortest[before * rest + prior] +
				      instance->weight[prior + 1][last + 1];
			least = way < least ? way : least;
		}
		shortest[set * rest + last] = least;
	}
}

int64_t tsp_exact(const struct tsp_instance *instance)
{
	size_t rest = instance->city_count - 1;
	size_t all = ((size_t)1 << rest) - 1;
	int64_t least = FAR;

	if (instance->city_count > TSP_EXACT_MAX)
		return -1;
	int64_t *shortest = malloc((all + 1) * rest * sizeof(*shortest));
	if (shortest == NULL)
		return -1;
	for (size_t set = 1; set <= all; set++)
		fill_row(instance, shortest, set);
	for (size_t last = 0; last < rest; last++) {
		int64_t length = shortest[all * rest + last] + instance->weight[last + 1][0];

		least = length < least ? length : least;
	}
	free(shortest);
	return least;
}
