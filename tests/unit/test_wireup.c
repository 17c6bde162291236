/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process finds out who it is, as far as that takes no launcher: which of environment,
 * launcher and program decides, and what is said where there is no way to meet. tests/launch has
 * the launchers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "node/wireup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOST 7

/* LeakSanitizer asks for it: PMIx forgets a few bytes when PMIx_Init() fails. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libpmix";
}

static const char *const variables[] = {
	"PERGOLA_RANK",
	"PERGOLA_SIZE",
	"PERGOLA_ROOT",
	"PERGOLA_JOB",
	"PERGOLA_SECRET",
	"PMIX_RANK",
	"PMIX_NAMESPACE",
	"OMPI_COMM_WORLD_SIZE",
	"PMI_SIZE",
	"PERGOLA_CONNECT_TIMEOUT",
	"SLURM_STEP_NUM_TASKS",
	"SLURM_NTASKS",
};

/* One process's surroundings, and what wireup_identify() makes of them. */
struct scene {
	const char *environment[6]; /* name, value, ... */
	const char *program_size;   /* dsm_option_set(), or NULL */
	int result;
	bool one_host;
	const char *told; /* part of the error's text */
};

static const struct scene scenes[] = {
	/* Nobody says anything: alone. */
	{ .one_host = true },
	{ { "SLURM_NTASKS", "4" }, .one_host = true }, /* a batch script */
	{ { "SLURM_STEP_NUM_TASKS", "1" }, .one_host = true },
	{ { "OMPI_COMM_WORLD_SIZE", "1" }, .one_host = true },
	/* The environment says where to meet. */
	{ { "PERGOLA_SIZE", "2", "PERGOLA_ROOT", "@here" }, .one_host = true },
	{ { "PERGOLA_SIZE", "2", "PERGOLA_ROOT", "127.0.0.1:4000" }, .one_host = true },
	{ { "PERGOLA_SIZE", "2", "PERGOLA_ROOT", "[::1]:4000" }, .one_host = true },
	{ { "PERGOLA_SIZE", "2", "PERGOLA_ROOT", "localhost:4000" }, .one_host = true },
	{ { "PERGOLA_SIZE", "2", "PERGOLA_ROOT", "localhost.example:4000" }, .one_host = false },
	{ { "PERGOLA_SIZE", "2", "PERGOLA_ROOT", "10.1.2.3:4000" }, .one_host = false },
	{ { "PERGOLA_SIZE", "1", "PERGOLA_ROOT", "10.1.2.3:4000" }, .one_host = true },
	{ { "PERGOLA_ROOT", "10.1.2.3:4000" }, .program_size = "2" },
	/* It stands against a launcher, which is then not asked. */
	{ { "PERGOLA_SIZE", "1", "OMPI_COMM_WORLD_SIZE", "4" }, .one_host = true },
	{ { "PERGOLA_SIZE", "1", "PMIX_NAMESPACE", "gone", "PMIX_RANK", "0" }, .one_host = true },
	{ { "PMIX_NAMESPACE", "half of it" }, .one_host = true },
	/* Several, and no way to meet. */
	{ { "PERGOLA_SIZE", "3" }, .result = -EINVAL, .told = "`pergola run -n 3`" },
	{ { NULL }, .program_size = "3", .result = -EINVAL, .told = "PERGOLA_ROOT" },
	{ { "OMPI_COMM_WORLD_SIZE", "4" }, .result = -EINVAL, .told = "mpirun started this" },
	{ { "SLURM_STEP_NUM_TASKS", "2" }, .result = -EINVAL, .told = "`srun --mpi=pmix`" },
	{ { "PMI_SIZE", "3" }, .result = -EINVAL, .told = "one of 3 (PMI_SIZE)" },
};

static int identify(const struct scene *scene, struct wireup *wireup, struct settings *settings)
{
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
	for (size_t i = 0; i < 6 && scene->environment[i] != NULL; i += 2)
		setenv(scene->environment[i], scene->environment[i + 1], 1);
	settings_init_defaults(settings);
	if (scene->program_size != NULL)
		assert_int_equal(
			settings_set(settings, "size", scene->program_size, SOURCE_PROGRAM), 0);
	assert_int_equal(settings_read_environment(settings), 0);
	error_clear();
	return wireup_identify(wireup, settings, HOST);
}

static void test_scenes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
		const struct scene *scene = &scenes[i];
		struct settings settings;
		struct wireup wireup;
		int result = identify(scene, &wireup, &settings);

		if (result != scene->result || (result == 0 && wireup.one_host != scene->one_host))
			fail_msg("scene %zu: %d, one host %d: %s", i, result, wireup.one_host,
				 error_text());
		if (scene->told != NULL && strstr(error_text(), scene->told) == NULL)
			fail_msg("scene %zu: it says: %s", i, error_text());
		assert_null(wireup.pmix);
		wireup_end(&wireup);
	}
}

/* What the launcher says goes over the program's word and under the environment's. */
static void test_precedence(void **state)
{
	struct settings settings;

	(void)state;
	settings_init_defaults(&settings);
	assert_int_equal(settings_set(&settings, "size", "2", SOURCE_PROGRAM), 0);
	assert_int_equal(settings_set(&settings, "size", "3", SOURCE_LAUNCHER), 0);
	assert_int_equal(settings_u64(&settings, SETTING_SIZE), 3);
	assert_string_equal(settings_source_name(settings_source(&settings, SETTING_SIZE)),
			    "launcher");
	assert_int_equal(settings_set(&settings, "size", "4", SOURCE_ENVIRONMENT), 0);
	assert_int_equal(settings_set(&settings, "size", "5", SOURCE_LAUNCHER), 0);
	assert_int_equal(settings_u64(&settings, SETTING_SIZE), 4);
}

/* A job of one node exchanges with itself, without a root. */
static void test_alone(void **state)
{
	const struct scene alone = { .one_host = true };
	struct settings settings;
	struct wireup wireup;
	uint32_t mine = 0x1234;
	uint32_t all = 0;

	(void)state;
	assert_int_equal(identify(&alone, &wireup, &settings), 0);
	assert_int_equal(wireup_exchange(&wireup, &settings, 1, &mine, sizeof(mine), &all), 0);
	assert_int_equal(all, mine);
	wireup_end(&wireup);
}

/* PMIx's variables stay in the environment of what a launcher has left behind. */
static void test_launcher_gone(void **state)
{
	const struct scene gone = {
		.environment = { "PMIX_NAMESPACE", "gone", "PMIX_RANK", "0",
				 "PERGOLA_CONNECT_TIMEOUT", "5s" },
	};
	struct settings settings;
	struct wireup wireup;
	int result = identify(&gone, &wireup, &settings);

	(void)state;
	if (wireup_pmix_version() == NULL) {
		assert_int_equal(result, -ENOSYS);
		assert_non_null(strstr(error_text(), "PERGOLA_PMIX=ON"));
	} else {
		assert_int_equal(result, -EHOSTUNREACH);
		assert_non_null(strstr(error_text(), "PMIx_Init"));
		assert_non_null(strstr(error_text(), "unset PMIX_NAMESPACE"));
	}
	wireup_end(&wireup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenes),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_launcher_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
