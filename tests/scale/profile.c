/* SPDX-License-Identifier: Apache-2.0 */
/* What things cost. docs/scale.md says where each figure is from. */
#include "scale.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The processor's part is the same on both networks. */
#define PROCESSOR                                                                                  \
	.send_ns = 200, .receive_ns = 300, .step_ns = 150, .trap_ns = 4000, .wake_ns = 4000,       \
	.map_ns = 730, .protect_ns = 900, .drop_ns = 1000

static const struct profile profiles[] = {
	{
		.name = "infiniband",
		.wire_ns = 900,
		.byte_ps = 80,
		.header_bytes = 26, /* LRH 8, BTH 12, ICRC 4, VCRC 2 */
		.dma_ns = 1000,
		PROCESSOR,
	},
	{
		.name = "roce",
		.wire_ns = 1600,
		.byte_ps = 80,
		/* Preamble 8, Ethernet 14, IPv4 20, UDP 8, BTH 12, ICRC 4, FCS 4, gap 12 */
		.header_bytes = 82,
		.dma_ns = 1000,
		PROCESSOR,
	},
};

static const struct {
	const char *name;
	size_t offset;
} fields[] = {
#define FIELD(name)                                                                                \
	{                                                                                          \
#name, offsetof(struct profile, name)                                              \
	}
	FIELD(wire_ns), FIELD(byte_ps),	   FIELD(header_bytes), FIELD(dma_ns),
	FIELD(send_ns), FIELD(receive_ns), FIELD(step_ns),	FIELD(trap_ns),
	FIELD(wake_ns), FIELD(map_ns),	   FIELD(protect_ns),	FIELD(drop_ns),
#undef FIELD
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct profile *profile_at(unsigned int index)
{
	return index < COUNT(profiles) ? &profiles[index] : NULL;
}

const struct profile *profile_find(const char *name)
{
	for (unsigned int i = 0; i < COUNT(profiles); i++) {
		if (strcmp(profiles[i].name, name) == 0)
			return &profiles[i];
	}
	return NULL;
}

static uint64_t *field_of(struct profile *profile, unsigned int index)
{
	return (uint64_t *)(void *)((unsigned char *)profile + fields[index].offset);
}

bool profile_set(struct profile *profile, const char *assignment)
{
	const char *equals = strchr(assignment, '=');
	char *end;

	if (equals == NULL || equals[1] < '0' || equals[1] > '9')
		return false;
	errno = 0;
	uint64_t value = strtoull(equals + 1, &end, 10);

	/* A second is more than any of them can mean; sums of them must not wrap round. */
	if (*end != '\0' || errno != 0 || value > UINT64_C(1000000000))
		return false;
	for (unsigned int i = 0; i < COUNT(fields); i++) {
		size_t length = strlen(fields[i].name);

		if (length == (size_t)(equals - assignment) &&
		    memcmp(fields[i].name, assignment, length) == 0) {
			*field_of(profile, i) = value;
			return true;
		}
	}
	return false;
}

void profile_print(FILE *file, const struct profile *profile)
{
	struct profile copy = *profile;

	for (unsigned int i = 0; i < COUNT(fields); i++)
		fprintf(file, "%s,%s,%" PRIu64 "\n", copy.name, fields[i].name,
			*field_of(&copy, i));
}
