/* SPDX-License-Identifier: Apache-2.0 */
/* The program litmus: reads files, checks them, and plays them on the nodes of a job. */
#include "memory.h"
#include "play.h"

#include <dirent.h>

#define EXIT_USAGE 2
#define TESTS_MAX 256u
#define NAMES_MAX 64u

static const char usage[] =
	"usage: pergola run -n NODES litmus [OPTION...] [TEST...]\n"
	"       litmus --check [TEST...]\n"
	"\n"
	"Plays litmus tests: a few threads on different nodes, each with a few accesses to shared\n"
	"words, very often. An outcome that no interleaving of the threads' accesses has is a\n"
	"violation of sequential consistency. Prints how often each permitted outcome was seen.\n"
	"\n"
	"TEST is the name of a shape (SB, MP, ...) in the tests' folder, or a file: whatever has "
	"a\n"
	"slash or ends with .litmus. Without one: $CHECK_SHAPES, names with blanks between; "
	"without\n"
	"that, every file of the folder. docs/testing.md describes the format.\n"
	"\n"
	"  --iterations N   how often each test is played with each placement; from 2, default "
	"2000\n"
	"  --placement P    own-pages: each location on a page of its own; one-page: all on one;\n"
	"                   default: one after the other\n"
	"  --folder DIR     the tests' folder; default: where they were when this was built\n"
	"  --relaxed        leave it to the processor in which order a thread's accesses are "
	"done;\n"
	"                   what comes out is reported and is no failure\n"
	"  --check          play nothing: read the tests, say what interleavings permit, and "
	"whether\n"
	"                   each file's condition agrees\n";

static const char usage_end[] =
	"  --help           this\n"
	"\n"
	"CHECK_SEED=N repeats the random delays of a run, which prints it.\n"
	"\n"
	"Exit status: 0 as it should be; 1 a violation; 2 wrong usage, or a file that is wrong; 77 "
	"this\n"
	"machine cannot run a job (the reason is printed).\n";

struct options {
	struct play play;
	const char *folder;
	bool check;
	char *shapes; /* CHECK_SHAPES, cut up */
	const char *names[TESTS_MAX];
	unsigned int name_count;
};

__attribute__((noreturn)) static void die(const char *text, const char *more)
{
	fprintf(stderr, "litmus: %s%s\n", text, more);
	exit(EXIT_USAGE);
}

static void *allocate(size_t count, size_t bytes)
{
	void *block = calloc(count, bytes);

	if (block == NULL)
		die("no memory", "");
	return block;
}

/* ---- which tests ---- */

static void add_name(struct options *options, const char *name)
{
	if (options->name_count == TESTS_MAX)
		die("too many tests", "");
	options->names[options->name_count++] = name;
}

static void add_shapes(struct options *options)
{
	const char *shapes = getenv("CHECK_SHAPES");
	char *rest = NULL;

	if (shapes == NULL)
		return;
	options->shapes = strdup(shapes);
	if (options->shapes == NULL)
		die("no memory", "");
	for (char *name = strtok_r(options->shapes, " ", &rest); name != NULL;
	     name = strtok_r(NULL, " ", &rest))
		add_name(options, name);
}

static bool is_file(const char *name)
{
	size_t length = strlen(name), suffix = strlen(".litmus");

	return strchr(name, '/') != NULL ||
	       (length > suffix && strcmp(name + length - suffix, ".litmus") == 0);
}

static int is_test(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && is_file(entry->d_name);
}

static int by_name(const void *left, const void *right)
{
	return strcmp(((const struct litmus_test *)left)->name,
		      ((const struct litmus_test *)right)->name);
}

/* Reads the file and adds the test, which must be right. */
static void add_test(struct play *play, const char *path)
{
	static struct litmus_outcomes permitted;
	struct litmus_test *test = &play->tests[play->test_count];
	struct litmus_error error;

	if (play->test_count == TESTS_MAX)
		die("too many tests", "");
	if (litmus_read(path, test, &error) != 0 ||
	    litmus_enumerate(test, &permitted, &error) != 0 ||
	    litmus_judge(test, &permitted, &error) != 0)
		die(error.text, "");
	play->test_count++;
}

static void add_path(struct play *play, const char *folder, const char *name, const char *suffix)
{
	char path[LITMUS_PATH_MAX];
	int length = snprintf(path, sizeof(path), "%s/%s%s", folder, name, suffix);

	if (length < 0 || (size_t)length >= sizeof(path))
		die("the path is too long: ", name);
	add_test(play, path);
}

/* In the order of their names, so that all nodes have them in the same. */
static void add_folder(struct play *play, const char *folder)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, is_test, NULL);

	if (count < 0)
		die("no such folder: ", folder);
	for (int i = 0; i < count; i++) {
		add_path(play, folder, entries[i]->d_name, "");
		free(entries[i]);
	}
	free(entries);
	if (count == 0)
		die("no file *.litmus in ", folder);
	qsort(play->tests, play->test_count, sizeof(*play->tests), by_name);
}

static void read_tests(struct options *options)
{
	struct play *play = &options->play;

	play->tests = allocate(TESTS_MAX, sizeof(*play->tests));
	if (options->name_count == 0)
		add_shapes(options);
	if (options->name_count == 0)
		add_folder(play, options->folder);
	for (unsigned int i = 0; i < options->name_count; i++) {
		if (is_file(options->names[i]))
			add_test(play, options->names[i]);
		else
			add_path(play, options->folder, options->names[i], ".litmus");
	}
}

/* ---- options ---- */

static void set_placement(struct play *play, const char *name)
{
	play->placements[PLAY_OWN_PAGES] = strcmp(name, "own-pages") == 0;
	play->placements[PLAY_ONE_PAGE] = strcmp(name, "one-page") == 0;
	if (!play->placements[PLAY_OWN_PAGES] && !play->placements[PLAY_ONE_PAGE])
		die("--placement is own-pages or one-page, not ", name);
}

static void set_iterations(struct play *play, const char *text)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < 2 ||
	    number > 1000000000)
		die("--iterations is a number from 2 on, not ", text);
	play->iterations = (unsigned int)number;
}

/* An option that has a value. */
static void set(struct options *options, const char *name, const char *value)
{
	if (strcmp(name, "--iterations") == 0)
		set_iterations(&options->play, value);
	else if (strcmp(name, "--placement") == 0)
		set_placement(&options->play, value);
	else if (strcmp(name, "--folder") == 0)
		options->folder = value;
	else if (strcmp(name, "--broken") != 0 || !memory_break(value))
		die("no such option, or not its value (--help has them): ", name);
}

static void parse_options(int argc, char **argv, struct options *options)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			printf("%s%s%s", usage, memory_help, usage_end);
			exit(0);
		}
		if (strcmp(argv[i], "--relaxed") == 0)
			options->play.relaxed = true;
		else if (strcmp(argv[i], "--check") == 0)
			options->check = true;
		else if (argv[i][0] != '-')
			add_name(options, argv[i]);
		else if (i + 1 < argc)
			set(options, argv[i], argv[i + 1]), i++;
		else
			die("no such option, or its value is missing: ", argv[i]);
	}
}

/* ---- checking and playing ---- */

static void print_check(const struct litmus_test *test)
{
	static struct litmus_outcomes permitted;
	struct litmus_error error;
	char text[400];

	CHECK_OK(litmus_enumerate(test, &permitted, &error));
	printf("%-10s %u threads, %s; %u permitted outcomes:", test->name, test->thread_count,
	       test->condition, permitted.count);
	for (unsigned int i = 0; i < permitted.count; i++)
		printf(" [%s]", litmus_text(test, &permitted.list[i], text, sizeof(text)));
	printf("\n");
}

/* Every node must be playing the same. */
static void check_agreed(const struct play *play)
{
	uint64_t mine = play->iterations * UINT64_C(31) + play->test_count, first;

	for (unsigned int i = 0; i < PLAY_PLACEMENTS; i++)
		mine = mine * 31 + play->placements[i];
	for (unsigned int i = 0; i < play->test_count; i++)
		mine = mine * 31 + play->tests[i].hash;
	first = mine;
	CHECK_OK(dsm_bcast(&first, sizeof(first), 0));
	if (first != mine)
		die("other files or options than node 0", "");
}

static int run_job(struct play *play)
{
	int status = 0;

	check_join();
	check_agreed(play);
	play_all(play);
	if (play->violation_count > 0) {
		printf("%u violations of sequential consistency\n", play->violation_count);
		status = play->relaxed ? 0 : 1;
	}
	CHECK_OK(dsm_barrier());
	CHECK_OK(dsm_finish());
	return status;
}

int main(int argc, char **argv)
{
	struct options *options = allocate(1, sizeof(*options));
	int status = 0;

	options->folder = LITMUS_FOLDER;
	options->play.iterations = 2000;
	for (unsigned int i = 0; i < PLAY_PLACEMENTS; i++)
		options->play.placements[i] = true;
	parse_options(argc, argv, options);
	read_tests(options);
	if (!options->check)
		status = run_job(&options->play);
	for (unsigned int i = 0; options->check && i < options->play.test_count; i++)
		print_check(&options->play.tests[i]);
	free(options->play.tests);
	free(options->shapes);
	free(options);
	return status;
}
