/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses the engine's planted bug (src/engine/mutants.h) for a program that is linked with the
 * engine that has them: ENGINE_MUTANT in the environment names it, in small letters. "list" prints
 * all, each with what is wrong, and ends the program.
 */
#include "engine/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum mutant engine_mutant = MUTANT_NONE;

#define MUTANT_TEXT(name, what) [MUTANT_##name] = { #name, what },

static const struct {
	const char *name;
	const char *what;
} texts[MUTANT_END] = { MUTANTS(MUTANT_TEXT) };

static bool same_name(const char *upper, const char *asked)
{
	while (*upper != '\0' && tolower((unsigned char)*upper) == *asked) {
		upper++;
		asked++;
	}
	return *upper == '\0' && *asked == '\0';
}

static void print_name(const char *upper)
{
	for (; *upper != '\0'; upper++)
		putchar(tolower((unsigned char)*upper));
}

static void list(void)
{
	for (unsigned int i = MUTANT_NONE + 1; i < MUTANT_END; i++) {
		print_name(texts[i].name);
		printf("\t%s\n", texts[i].what);
	}
	exit(0);
}

__attribute__((constructor)) static void choose(void)
{
	const char *asked = getenv("ENGINE_MUTANT");

	if (asked == NULL)
		return;
	if (strcmp(asked, "list") == 0)
		list();
	for (unsigned int i = MUTANT_NONE + 1; i < MUTANT_END; i++) {
		if (same_name(texts[i].name, asked)) {
			engine_mutant = (enum mutant)i;
			return;
		}
	}
	fprintf(stderr, "mutant: no \"%s\"; ENGINE_MUTANT=list names all\n", asked);
	exit(2);
}
