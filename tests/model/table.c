/* SPDX-License-Identifier: Apache-2.0 */
/* Byte strings by number, hash maps that only grow, and the hash of both. */
#include "model.h"

#include <stdlib.h>

void *model_grow(void *memory, size_t item_bytes, uint32_t count, uint32_t *room)
{
	if (count < *room)
		return memory;
	*room = *room == 0 ? 1024 : *room * 2;
	ASSERT(*room > count);
	memory = realloc(memory, *room * item_bytes);
	ASSERT(memory != NULL);
	return memory;
}

/* ---- hash ---- */

static uint64_t load_u64(const unsigned char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* Both halves of the product, folded: as good as the multiplier is odd and the input mixed. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

struct hash128 hash_bytes(const void *bytes, size_t count)
{
	const unsigned char *at = bytes;
	uint64_t low = UINT64_C(0x9e3779b97f4a7c15) ^ count;
	uint64_t high = UINT64_C(0xd1b54a32d192ed03) + count;
	unsigned char last[8] = { 0 };

	for (; count >= 8; count -= 8, at += 8) {
		uint64_t word = load_u64(at);

		low = fold(low ^ word, UINT64_C(0xa0761d6478bd642f));
		high = fold(high + word, UINT64_C(0xe7037ed1a0b428db)) ^ low;
	}
	memcpy(last, at, count);
	low = fold(low ^ load_u64(last), UINT64_C(0x8ebc6af09c88c6e3));
	high = fold(high + load_u64(last), UINT64_C(0x589965cc75374cc3));
	return (struct hash128){ hash_u64(low ^ high), hash_u64(high + (low << 1)) };
}

/* ---- strings ---- */

static bool same_string(const struct table *table, uint32_t number, const void *bytes, size_t count)
{
	size_t have;
	const unsigned char *string = table_get(table, number, &have);

	return have == count && memcmp(string, bytes, count) == 0;
}

static uint32_t *find_slot(const struct table *table, const void *bytes, size_t count)
{
	uint32_t mask = table->slot_count - 1;
	uint32_t at = (uint32_t)hash_bytes(bytes, count).low & mask;

	while (table->slots[at] != 0 && !same_string(table, table->slots[at] - 1, bytes, count))
		at = (at + 1) & mask;
	return &table->slots[at];
}

static void rehash(struct table *table)
{
	free(table->slots);
	table->slot_count = table->slot_count == 0 ? 4096 : table->slot_count * 2;
	table->slots = calloc(table->slot_count, sizeof(*table->slots));
	ASSERT(table->slots != NULL);
	for (uint32_t i = 0; i < table->count; i++) {
		size_t count;
		const unsigned char *bytes = table_get(table, i, &count);

		*find_slot(table, bytes, count) = i + 1;
	}
}

static void append(struct table *table, const void *bytes, size_t count)
{
	while (table->bytes_used + count > table->bytes_room) {
		table->bytes_room = table->bytes_room == 0 ? 65536 : table->bytes_room * 2;
		table->bytes = realloc(table->bytes, table->bytes_room);
		ASSERT(table->bytes != NULL);
	}
	memcpy(table->bytes + table->bytes_used, bytes, count);
	table->bytes_used += count;
	table->offsets =
		model_grow(table->offsets, sizeof(*table->offsets), table->count + 1, &table->room);
	table->offsets[0] = 0;
	table->offsets[++table->count] = table->bytes_used;
}

uint32_t table_intern(struct table *table, const void *bytes, size_t count, bool *fresh)
{
	if (2 * table->count >= table->slot_count)
		rehash(table);
	uint32_t *slot = find_slot(table, bytes, count);

	*fresh = *slot == 0;
	if (*fresh) {
		append(table, bytes, count);
		*slot = table->count;
	}
	return *slot - 1;
}

const unsigned char *table_get(const struct table *table, uint32_t number, size_t *count)
{
	ASSERT(number < table->count);
	*count = table->offsets[number + 1] - table->offsets[number];
	return table->bytes + table->offsets[number];
}

void table_free(struct table *table)
{
	free(table->bytes);
	free(table->offsets);
	free(table->slots);
}

/* ---- maps ---- */

static uint32_t map_place(const struct map *map, uint64_t key)
{
	uint32_t at = (uint32_t)hash_u64(key) & (map->room - 1);

	while (map->keys[at] != UINT64_MAX && map->keys[at] != key)
		at = (at + 1) & (map->room - 1);
	return at;
}

uint32_t *map_find(const struct map *map, uint64_t key)
{
	if (map->room == 0)
		return NULL;
	uint32_t at = map_place(map, key);

	return map->keys[at] == key ? &map->values[at] : NULL;
}

static void map_resize(struct map *map)
{
	struct map old = *map;

	map->room = old.room == 0 ? 4096 : old.room * 2;
	map->keys = malloc(map->room * sizeof(*map->keys));
	map->values = malloc(map->room * sizeof(*map->values));
	ASSERT(map->keys != NULL && map->values != NULL);
	memset(map->keys, 0xff, map->room * sizeof(*map->keys));
	for (uint32_t i = 0; i < old.room; i++) {
		if (old.keys[i] == UINT64_MAX)
			continue;
		uint32_t at = map_place(map, old.keys[i]);

		map->keys[at] = old.keys[i];
		map->values[at] = old.values[i];
	}
	map_free(&old);
}

void map_add(struct map *map, uint64_t key, uint32_t value)
{
	if (2 * map->count >= map->room)
		map_resize(map);
	uint32_t at = map_place(map, key);

	ASSERT(map->keys[at] == UINT64_MAX);
	map->keys[at] = key;
	map->values[at] = value;
	map->count++;
}

void map_free(struct map *map)
{
	free(map->keys);
	free(map->values);
}
