/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the doctor runs ib_read_lat, with a script in its place: what it is called with, what is made
 * of what it prints, and what becomes of one that fails, is not there, or never ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "cli/perftest.h"
#include "port/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT_NS UINT64_C(3000000000)

static char folder[] = "/tmp/pergola-perftest-XXXXXX";

static const struct measure_card card = {
	.device = "rxe7",
	.port = 2,
	.gid_index = 3,
};

/* As perftest 4.5 prints it. */
static const char output[] =
	"#!/bin/sh\n"
	"echo \"$@\" >>\"${0%/*}/words\"\n"
	"cat <<'END'\n"
	"---------------------------------------------------------------------------------------\n"
	"                    RDMA_Read Latency Test\n"
	" Dual-port       : OFF          Device         : rxe7\n"
	"---------------------------------------------------------------------------------------\n"
	" #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    "
	"t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec] \n"
	" 4096    500          61.25          892.10       98.50  \t       104.21  \t        41.33 "
	"  "
	"\t        170.02              892.10 \n"
	"---------------------------------------------------------------------------------------\n"
	"END\n";

/* The path alone: nothing else is to be found on it. */
static void put_program(const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/ib_read_lat", folder);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0700), 0);
}

static void read_words(char *words, size_t bytes)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/words", folder);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	size_t got = fread(words, 1, bytes - 1, file);
	words[got] = '\0';
	fclose(file);
}

static int setup(void **state)
{
	char path[256];

	(void)state;
	memcpy(strrchr(folder, '-') + 1, "XXXXXX", 6);
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", folder);
	return setenv("PATH", path, 1);
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "/bin/rm -rf '%s'", folder);
	return system(command);
}

static void typical(void **state)
{
	uint64_t latency_ns = 0;
	char words[256];

	(void)state;
	put_program(output);
	assert_true(perftest_installed());
	assert_int_equal(perftest_read(&card, "10.1.2.3", 4711, LIMIT_NS, &latency_ns), 0);
	assert_int_equal(latency_ns, 98500);
	read_words(words, sizeof(words));
	assert_string_equal(words, "-F -s 4096 -n 500 -p 4711 -d rxe7 -i 2 -x 3 10.1.2.3\n");
}

/* A server that is not up yet refuses, and is asked again. */
static void second_attempt(void **state)
{
	char text[2048];
	uint64_t latency_ns = 0;

	(void)state;
	snprintf(text, sizeof(text),
		 "#!/bin/sh\n"
		 "[ -e \"$0.tried\" ] || { : >\"$0.tried\"; echo Couldnt connect; exit 1; }\n%s",
		 output);
	put_program(text);
	assert_int_equal(perftest_read(&card, "10.1.2.3", 4711, LIMIT_NS, &latency_ns), 0);
	assert_int_equal(latency_ns, 98500);
}

static void failure(void **state)
{
	uint64_t latency_ns = 1;

	(void)state;
	put_program("#!/bin/sh\necho first\necho 'the last word'\nexit 1\n");
	assert_int_equal(perftest_read(&card, "10.1.2.3", 4711, LIMIT_NS, &latency_ns), -EIO);
	assert_string_equal(error_text(), "ib_read_lat: the last word");
	assert_int_equal(latency_ns, 1);
}

static void nonsense(void **state)
{
	uint64_t latency_ns = 1;

	(void)state;
	put_program("#!/bin/sh\necho ' #bytes t_typical[usec]'\necho ' 4096 many few -1'\n");
	assert_int_equal(perftest_read(&card, "10.1.2.3", 4711, LIMIT_NS, &latency_ns), -EIO);
	assert_int_equal(latency_ns, 1);
}

static void not_installed(void **state)
{
	uint64_t latency_ns = 1;

	(void)state;
	setenv("PATH", folder, 1);
	assert_false(perftest_installed());
	assert_int_equal(perftest_read(&card, "10.1.2.3", 4711, LIMIT_NS, &latency_ns), -ENOENT);
}

/* A server goes with perftest_end(), at once, and leaves no zombie. */
static void server(void **state)
{
	pid_t pid = 0;
	uint64_t began_ns = clock_now_ns();

	(void)state;
	put_program("#!/bin/sh\nexec sleep 60\n");
	assert_int_equal(perftest_serve(&card, 4711, &pid), 0);
	assert_int_equal(kill(pid, 0), 0);
	perftest_end(pid);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_true(clock_now_ns() - began_ns < UINT64_C(10000000000));
}

/* What never ends is ended, with all it was to say. */
static void no_end(void **state)
{
	uint64_t latency_ns = 1;
	uint64_t began_ns = clock_now_ns();

	(void)state;
	put_program("#!/bin/sh\nexec sleep 100\n");
	assert_int_equal(perftest_read(&card, "10.1.2.3", 4711, LIMIT_NS, &latency_ns), -ETIMEDOUT);
	assert_true(clock_now_ns() - began_ns < UINT64_C(20000000000));
}

#define ROW(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(typical),	    ROW(second_attempt), ROW(failure), ROW(nonsense),
		ROW(not_installed), ROW(server),	 ROW(no_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
