/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings: every row of the table, good and bad texts, which source stands, what the
 * environment does, and that no secret is shown.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "node/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100"

struct good {
	enum setting_id id;
	const char *text;
	uint64_t number;
};

static const struct good good[] = {
	{ SETTING_RANK, "0", 0 },
	{ SETTING_RANK, "1023", 1023 },
	{ SETTING_SIZE, "1024", 1024 },
	{ SETTING_JOB, "ffffffffffffffff", UINT64_MAX },
	{ SETTING_JOB, "0x1F", 31 },
	{ SETTING_JOB, "", 0 },
	{ SETTING_SPACE, "64G", UINT64_C(64) << 30 },
	{ SETTING_SPACE, "1t", UINT64_C(1) << 40 },
	{ SETTING_SPACE, "4194304", 4194304 },
	{ SETTING_SPACE, "8192K", 8388608 },
	{ SETTING_HOLD, "0", 0 },
	{ SETTING_HOLD, "0us", 0 },
	{ SETTING_HOLD, "7ns", 7 },
	{ SETTING_HOLD, "7us", 7000 },
	{ SETTING_HOLD, "7ms", 7000000 },
	{ SETTING_HOLD, "1s", 1000000000 },
	{ SETTING_SPIN, "auto", SETTINGS_AUTO },
	{ SETTING_SPIN, "50us", 50000 },
	{ SETTING_CREDITS, "4", 4 },
	{ SETTING_CREDITS, "1024", 1024 },
	{ SETTING_PAGE_REQUESTS, "65536", 65536 },
	{ SETTING_SYNC_OBJECTS, "64", 64 },
	{ SETTING_LOSS_TIMEOUT, "100ms", 100000000 },
	{ SETTING_CONNECT_TIMEOUT, "3600s", UINT64_C(3600000000000) },
	{ SETTING_ADDRESS, "7f0000000000", UINT64_C(0x7f0000000000) },
	{ SETTING_ADDRESS, "0x10000", 0x10000 },
};

static const char *const good_roots[] = {
	"", "@a", "@pergola-0011", "node7:4711", "10.0.0.1:1", "[::1]:65535", "[fe80::1%eth0]:22",
};

struct bad {
	const char *name;
	const char *text;
	const char *told; /* must stand in the error */
};

static const struct bad bad[] = {
	{ "rank", "", "from 0 to 1023" },
	{ "rank", "-1", "from 0 to 1023" },
	{ "rank", "+1", "a whole number" },
	{ "rank", " 1", "a whole number" },
	{ "rank", "1 ", "a whole number" },
	{ "rank", "1024", "\"1024\"" },
	{ "rank", "0x1", "a whole number" },
	{ "rank", "1e3", "a whole number" },
	{ "rank", "18446744073709551616", "from 0 to 1023" },
	{ "size", "0", "from 1 to 1024" },
	{ "size", "1K", "from 1 to 1024" },
	{ "root", "@", "@name" },
	{ "root", "host", "host:port" },
	{ "root", ":4711", "host:port" },
	{ "root", "host:", "host:port" },
	{ "root", "host:0", "host:port" },
	{ "root", "host:65536", "host:port" },
	{ "root", "host:12a", "host:port" },
	{ "root", "::1:4711", "brackets" },
	{ "root", "[]:4711", "brackets" },
	{ "job", "xyz", "hexadecimal" },
	{ "job", "0x", "hexadecimal" },
	{ "job", "-1", "hexadecimal" },
	{ "job", "11111111111111111", "hexadecimal" },
	{ "secret", "00", "64 hexadecimal digits" },
	{ "fabric", "verb", "one of auto, shm" },
	{ "manager", "Fixed", "one of fixed, central, broadcast, dynamic" },
	{ "manager", "", "one of fixed, central, broadcast, dynamic" },
	{ "placement", "first touch", "one of cyclic, first-touch, local" },
	{ "space", "4095", "from 4M to 1T" },
	{ "space", "2T", "from 4M to 1T" },
	{ "space", "4194305", "a multiple of 4096" },
	{ "space", "1.5G", "suffix K, M, G, T" },
	{ "space", "64GB", "suffix K, M, G, T" },
	{ "space", "18014398509481984K", "from 4M to 1T" },
	{ "space", "auto", "from 4M to 1T" },
	{ "hold", "100", "suffix ns, us, ms, s" },
	{ "hold", "1001ms", "from 0 to 1s" },
	{ "hold", "1m", "suffix ns, us, ms, s" },
	{ "hold", "auto", "from 0 to 1s" },
	{ "hold", "18446744073709551615s", "from 0 to 1s" },
	{ "spin", "automatic", "auto, or a time" },
	{ "credits", "0", "a power of two from 4 to 1024" },
	{ "credits", "48", "a power of two from 4 to 1024" },
	{ "credits", "2048", "a power of two from 4 to 1024" },
	{ "page-requests", "63", "from 64 to 65536" },
	{ "sync-objects", "16777217", "from 64 to 16777216" },
	{ "on-loss", "ignore", "one of abort, error" },
	{ "connect-timeout", "9ms", "from 10ms to 3600s" },
	{ "log", "trace", "one of error, warning, info, debug" },
	{ "address", "7f0000000001", "multiple of 1000" },
	{ "address", "ffff800000000000", "7ffffffff000" },
	{ "loss-timeout", "99ms", "from 100ms to 3600s" },
	{ "device", "mlx5 0", "a name of at most" },
	{ "interface", "10.0.0.1\n", "a name of at most" },
	{ "managr", "fixed", "did you mean \"manager\"" },
	{ "sync_objects", "64", "did you mean \"sync-objects\"" },
	{ "", "1", "there is no setting \"\"" },
	{ "windowsill", "1", "`pergola info` lists them" },
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void test_table(void **state)
{
	struct settings settings;

	(void)state;
	settings_init_defaults(&settings);
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++) {
		const struct setting_info *info = settings_info(id);
		char variable[64] = "PERGOLA_";
		size_t used = strlen(variable);

		for (const char *c = info->name; *c != '\0'; c++)
			variable[used++] = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
		variable[used] = '\0';
		assert_string_equal(info->environment, variable);
		assert_true(strlen(info->help) > 10 && strlen(info->help) < 80);
		assert_string_equal(settings_text_of(&settings, info->name), info->default_text);
		assert_int_equal(settings_source(&settings, id), SOURCE_DEFAULT);
	}
	assert_null(settings_text_of(&settings, "ranks"));
	assert_null(settings_text_of(&settings, NULL));
}

static void test_defaults(void **state)
{
	struct settings settings;
	uint8_t secret[SETTINGS_SECRET_BYTES];

	(void)state;
	settings_init_defaults(&settings);
	assert_int_equal(settings_u64(&settings, SETTING_SIZE), 1);
	assert_int_equal(settings_u64(&settings, SETTING_SPACE), UINT64_C(64) << 30);
	assert_int_equal(settings_u64(&settings, SETTING_HOLD), 100000);
	assert_int_equal(settings_u64(&settings, SETTING_CREDITS), 64);
	assert_int_equal(settings_choice(&settings, SETTING_LOG), LOG_WARNING);
	assert_int_equal(settings_choice(&settings, SETTING_PLACEMENT), PLACEMENT_CHOICE_CYCLIC);
	assert_int_equal(settings_choice(&settings, SETTING_ON_LOSS), ON_LOSS_CHOICE_ABORT);
	assert_false(settings_secret(&settings, secret));
}

static void test_good(void **state)
{
	struct settings settings;

	(void)state;
	settings_init_defaults(&settings);
	for (size_t i = 0; i < LENGTH(good); i++) {
		const char *name = settings_info(good[i].id)->name;

		assert_int_equal(settings_set(&settings, name, good[i].text, SOURCE_PROGRAM), 0);
		assert_int_equal(settings_u64(&settings, good[i].id), good[i].number);
		assert_string_equal(settings_text_of(&settings, name), good[i].text);
		assert_int_equal(settings_source(&settings, good[i].id), SOURCE_PROGRAM);
	}
	for (size_t i = 0; i < LENGTH(good_roots); i++) {
		assert_int_equal(settings_set(&settings, "root", good_roots[i], SOURCE_PROGRAM), 0);
		assert_string_equal(settings_text(&settings, SETTING_ROOT), good_roots[i]);
	}
}

static void test_choices(void **state)
{
	struct settings settings;

	(void)state;
	settings_init_defaults(&settings);
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++) {
		const struct setting_info *info = settings_info(id);

		for (unsigned int i = 0; info->choices != NULL && info->choices[i] != NULL; i++) {
			assert_int_equal(settings_set(&settings, info->name, info->choices[i],
						      SOURCE_PROGRAM),
					 0);
			assert_int_equal(settings_choice(&settings, id), i);
		}
	}
}

/* A refused text changes nothing and the error says what is allowed. */
static void test_bad(void **state)
{
	struct settings settings;
	struct settings before;

	(void)state;
	settings_init_defaults(&settings);
	for (size_t i = 0; i < LENGTH(bad); i++) {
		before = settings;
		error_clear();
		assert_int_equal(settings_set(&settings, bad[i].name, bad[i].text, SOURCE_PROGRAM),
				 -EINVAL);
		if (strstr(error_text(), bad[i].told) == NULL ||
		    strstr(error_text(), bad[i].name) == NULL)
			fail_msg("%s=%s: the error is: %s", bad[i].name, bad[i].text, error_text());
		assert_memory_equal(&settings, &before, sizeof(before));
	}
	assert_int_equal(settings_set(&settings, NULL, "1", SOURCE_PROGRAM), -EINVAL);
	assert_int_equal(settings_set(&settings, "rank", NULL, SOURCE_PROGRAM), -EINVAL);
}

static void test_long_texts(void **state)
{
	struct settings settings;
	char text[2000];

	(void)state;
	settings_init_defaults(&settings);
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++)
		assert_int_equal(
			settings_set(&settings, settings_info(id)->name, text, SOURCE_PROGRAM),
			-EINVAL);
	text[0] = '@';
	assert_int_equal(settings_set(&settings, "root", text, SOURCE_PROGRAM), -EINVAL);
	assert_true(strlen(error_text()) < 300);
	assert_int_equal(settings_set(&settings, text, "1", SOURCE_PROGRAM), -EINVAL);
	text[101] = '\0';
	assert_int_equal(settings_set(&settings, "root", text, SOURCE_PROGRAM), 0);
	text[101] = 'a';
	text[102] = '\0';
	assert_int_equal(settings_set(&settings, "root", text, SOURCE_PROGRAM), -EINVAL);
}

static void test_secret(void **state)
{
	struct settings settings;
	uint8_t secret[SETTINGS_SECRET_BYTES];

	(void)state;
	settings_init_defaults(&settings);
	assert_int_equal(settings_set(&settings, "secret", SECRET, SOURCE_PROGRAM), 0);
	assert_true(settings_secret(&settings, secret));
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(secret[i], 0x11 * i);
		assert_int_equal(secret[31 - i], 0x11 * i);
	}
	assert_string_equal(settings_text_of(&settings, "secret"), "set");
	assert_int_equal(settings_set(&settings, "secret", SECRET "0", SOURCE_PROGRAM), -EINVAL);
	assert_null(strstr(error_text(), "0011"));
}

static void test_precedence(void **state)
{
	struct settings settings;

	(void)state;
	settings_init_defaults(&settings);
	setenv("PERGOLA_CREDITS", "16", 1);
	assert_int_equal(settings_read_environment(&settings), 0);
	assert_int_equal(settings_source(&settings, SETTING_CREDITS), SOURCE_ENVIRONMENT);
	assert_int_equal(settings_set(&settings, "credits", "32", SOURCE_PROGRAM), 0);
	assert_int_equal(settings_u64(&settings, SETTING_CREDITS), 16);
	assert_int_equal(settings_set(&settings, "credits", "33", SOURCE_PROGRAM), -EINVAL);

	settings_init_defaults(&settings);
	assert_int_equal(settings_set(&settings, "credits", "32", SOURCE_PROGRAM), 0);
	assert_int_equal(settings_u64(&settings, SETTING_CREDITS), 32);
	assert_int_equal(settings_read_environment(&settings), 0);
	assert_int_equal(settings_u64(&settings, SETTING_CREDITS), 16);

	setenv("PERGOLA_CREDITS", "17", 1);
	assert_int_equal(settings_read_environment(&settings), -EINVAL);
	assert_non_null(strstr(error_text(), "PERGOLA_CREDITS: setting credits: \"17\""));
	unsetenv("PERGOLA_CREDITS");
}

/* Runs settings_read_environment() and gives what it wrote to standard error. */
static void read_environment_captured(struct settings *settings, char *out, size_t out_bytes)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);

	assert_non_null(file);
	assert_true(saved >= 0);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	int error = settings_read_environment(settings);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	rewind(file);
	out[fread(out, 1, out_bytes - 1, file)] = '\0';
	fclose(file);
	assert_int_equal(error, 0);
}

static void test_unknown_variables(void **state)
{
	struct settings settings;
	char lines[1000];

	(void)state;
	settings_init_defaults(&settings);
	setenv("PERGOLA_MANAGERS", "central", 1);
	setenv("PERGOLA_WINDOWSILL", "1", 1);
	read_environment_captured(&settings, lines, sizeof(lines));
	assert_non_null(strstr(lines, "PERGOLA_MANAGERS in the environment is no setting; did "
				      "you mean PERGOLA_MANAGER?"));
	assert_non_null(strstr(lines, "PERGOLA_WINDOWSILL in the environment is no setting; it "
				      "has no effect"));
	setenv("PERGOLA_RANK", "1", 1);
	read_environment_captured(&settings, lines, sizeof(lines));
	assert_string_equal(lines, "");
	unsetenv("PERGOLA_RANK");
	unsetenv("PERGOLA_MANAGERS");
	unsetenv("PERGOLA_WINDOWSILL");
}

static void clear_environment(void)
{
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++)
		unsetenv(settings_info(id)->environment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long_texts),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_unknown_variables),
	};

	clear_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
