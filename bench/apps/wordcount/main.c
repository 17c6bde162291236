/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wordcount: how often each word comes in text files, counted on all nodes of a job. The files
 * stand one after the other, a newline after each, as one text in shared memory; each node reads an
 * equal share of its pages from the files straight into it, counts the words that begin in its
 * share, and merges its counts into a shared table. Node 0 compares that with a serial count.
 */
#include "common/app.h"
#include "stripe.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pergola/dsm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "wordcount"
#define STRIPES_A_NODE 4u
#define STRIPES_MAX 256u

static const char help[] =
	"Usage: wordcount [options] FILE...\n"
	"Counts the words of text files on all nodes of the job and compares the counts with a\n"
	"serial count. A word is a longest run of ASCII letters, digits and bytes from 0x80 on\n"
	"(UTF-8 letters). All nodes must see the same files.\n"
	"\n"
	"  -n, --top K        print the K most frequent words (10)\n"
	"  -f, --fold         count ASCII capitals as small letters\n"
	"  -h, --help         print this\n"
	"\n"
	"Ends with status 0: verified, 1: wrong counts, 2: bad usage or input, 3: failure of the\n"
	"system or the library.\n";

struct options {
	uint64_t top;
	bool fold;
	bool help;
	char **paths;
	size_t path_count;
};

/* This node's view of the count. */
struct count {
	struct app *app;
	const struct options *options;
	struct word_rule rule;
	uint64_t *file_bytes; /* of each file, as node 0 found them */
	char *text;	      /* shared */
	size_t bytes;
	size_t first; /* this node's share: [first, last) */
	size_t last;
	struct word_table words; /* private */
	size_t stripe_count;
	struct stripe_need *needs;  /* shared: [node][stripe], each node's on pages of its own */
	size_t needs_row;	    /* from one node's needs to the next's */
	struct stripe **stripes;    /* shared: the stripes' addresses */
	const struct word **sorted; /* private: this node's words by stripe */
	size_t *sorted_begin;	    /* of each stripe in `sorted`; one more than stripes */
};

/* A counted word, for the list that is printed. */
struct counted {
	const char *text;
	size_t length;
	uint64_t count;
};

/* ---- command line ------------------------------------------------------------------------- */

static int parse_option(int option, struct options *options)
{
	switch (option) {
	case 'n':
		if (app_parse_u64(optarg, 0, UINT32_MAX, &options->top))
			return 0;
		return app_usage_error(NAME, "'%s' is not a number of words", optarg);
	case 'f':
		options->fold = true;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	}
	return app_usage_error(NAME, "that option is not known, or lacks its value");
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{ "top", required_argument, NULL, 'n' },
		{ "fold", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option = 0;

	*options = (struct options){ .top = 10 };
	opterr = 0;
	while ((option = getopt_long(argc, argv, "n:fh", names, NULL)) != -1) {
		int status = parse_option(option, options);

		if (status != 0)
			return status;
	}
	if (!options->help && optind == argc)
		return app_usage_error(NAME, "no file is named");
	options->paths = argv + optind;
	options->path_count = (size_t)(argc - optind);
	return 0;
}

/* ---- the text ----------------------------------------------------------------------------- */

static int bad_file(const char *path, const char *why)
{
	app_say(NAME, "%s: %s", path, why);
	return APP_BAD_INPUT;
}

static int no_memory(void)
{
	app_say(NAME, "no memory for the words");
	return APP_FAILED;
}

/* The size of a file that can be counted. */
static int file_size(const char *path, uint64_t *bytes)
{
	struct stat info;

	if (stat(path, &info) != 0)
		return bad_file(path, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return bad_file(path, "not a regular file");
	if (info.st_size == 0)
		return bad_file(path, "empty file");
	*bytes = (uint64_t)info.st_size;
	return 0;
}

/* On node 0: all sizes, and the length of the text with a newline after each file. */
static int measure_files(struct count *count)
{
	int status = 0;

	count->bytes = 0;
	for (size_t i = 0; status == 0 && i < count->options->path_count; i++) {
		status = file_size(count->options->paths[i], &count->file_bytes[i]);
		count->bytes += (size_t)count->file_bytes[i] + 1;
	}
	return status;
}

/* Sends node 0's sizes to all, as many at a time as one message holds. */
static void share_sizes(struct count *count)
{
	struct app *app = count->app;
	size_t chunk = DSM_BCAST_MAX / sizeof(uint64_t);

	app_must(app, dsm_bcast(&count->bytes, sizeof(count->bytes), 0), "dsm_bcast");
	for (size_t i = 0; i < count->options->path_count; i += chunk) {
		size_t left = count->options->path_count - i;
		size_t now = left < chunk ? left : chunk;

		app_must(app, dsm_bcast(count->file_bytes + i, now * sizeof(uint64_t), 0),
			 "dsm_bcast");
	}
}

/* Equal numbers of whole pages for all nodes; the last ones may get less, or nothing. */
static void cut_text(struct count *count)
{
	size_t nodes = (size_t)count->app->nodes;
	size_t pages = (count->bytes + DSM_PAGE_BYTES - 1) / DSM_PAGE_BYTES;
	size_t share = (pages + nodes - 1) / nodes * DSM_PAGE_BYTES;

	count->first = (size_t)count->app->node * share;
	count->last = count->first + share;
	if (count->first > count->bytes)
		count->first = count->bytes;
	if (count->last > count->bytes)
		count->last = count->bytes;
}

/* Bytes [from, to) of a file to `at`, in shared memory. */
static int read_part(const char *path, char *at, uint64_t from, uint64_t to)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int status = 0;

	if (fd < 0)
		return bad_file(path, strerror(errno));
	while (from < to && status == 0) {
		ssize_t got = pread(fd, at, (size_t)(to - from), (off_t)from);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			status = bad_file(path, strerror(errno));
		else if (got == 0)
			status = bad_file(path, "became shorter while it was read");
		if (got > 0) {
			at += got;
			from += (uint64_t)got;
		}
	}
	(void)close(fd);
	return status;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

/* This node's share, from all files that have a part in it. */
static int read_share(struct count *count)
{
	uint64_t begin = 0;
	int status = 0;

	if (count->first < count->last)
		(void)dsm_prefetch(count->text + count->first, count->last - count->first,
				   DSM_WRITE);
	for (size_t i = 0; status == 0 && i < count->options->path_count; i++) {
		uint64_t end = begin + count->file_bytes[i];
		uint64_t from = clamp(count->first, begin, end);
		uint64_t to = clamp(count->last, begin, end);

		if (from < to)
			status = read_part(count->options->paths[i], count->text + from,
					   from - begin, to - begin);
		if (end >= count->first && end < count->last)
			count->text[end] = '\n';
		begin = end + 1;
	}
	return status;
}

/* ---- merging ------------------------------------------------------------------------------ */

/* Sorts pointers to this node's words by stripe and announces what each stripe will need. */
static bool sort_words(struct count *count)
{
	const struct word_table *words = &count->words;
	struct stripe_need *needs = count->needs + (size_t)count->app->node * count->needs_row;

	count->sorted = malloc((words->word_count + 1) * sizeof(struct word *));
	count->sorted_begin = calloc(count->stripe_count + 2, sizeof(size_t));
	if (count->sorted == NULL || count->sorted_begin == NULL)
		return false;
	memset(needs, 0, count->stripe_count * sizeof(*needs));
	for (size_t i = 0; i < words->place_count; i++) {
		size_t stripe = stripe_index(words->place[i].hash, count->stripe_count);

		if (words->place[i].count == 0)
			continue;
		needs[stripe].words++;
		needs[stripe].bytes += words->place[i].length;
		count->sorted_begin[stripe + 2]++;
	}
	for (size_t s = 2; s < count->stripe_count + 2; s++)
		count->sorted_begin[s] += count->sorted_begin[s - 1];
	/* Entry s + 1 runs from the beginning of stripe s to its end, which is where s + 1 begins.
	 */
	for (size_t i = 0; i < words->place_count; i++) {
		size_t stripe = stripe_index(words->place[i].hash, count->stripe_count);

		if (words->place[i].count != 0)
			count->sorted[count->sorted_begin[stripe + 1]++] = &words->place[i];
	}
	return true;
}

/* All nodes' needs of a stripe; the sum is the most the merged words can take. */
static struct stripe_need stripe_total(const struct count *count, size_t stripe)
{
	struct stripe_need total = { 0, 0 };

	for (size_t node = 0; node < (size_t)count->app->nodes; node++) {
		const struct stripe_need *need = &count->needs[node * count->needs_row + stripe];

		total.words += need->words;
		total.bytes += need->bytes;
	}
	return total;
}

/* A heap for the stripes; then every node makes each stripe that it is to be home of. */
static int make_stripes(struct count *count)
{
	struct app *app = count->app;
	uint64_t bytes = 0;

	for (size_t s = 0; s < count->stripe_count; s++) {
		struct stripe_need total = stripe_total(count, s);

		bytes += stripe_bytes(&total) + DSM_PAGE_BYTES;
	}
	int status = app_heap_open(app, bytes, count->stripe_count);
	if (status != 0)
		return status;
	for (size_t s = (size_t)app->node; s < count->stripe_count; s += (size_t)app->nodes) {
		struct stripe_need total = stripe_total(count, s);
		/* At least a page: smaller blocks could share one. */
		size_t size = stripe_bytes(&total);
		struct stripe *stripe =
			dsm_malloc_at(size < DSM_PAGE_BYTES ? DSM_PAGE_BYTES : size, app->node);

		if (stripe == NULL) {
			app_say(NAME, "node %d: no shared memory for the counts: %s", app->node,
				dsm_error());
			return APP_FAILED;
		}
		app_must(app, dsm_prefetch(stripe, size, DSM_WRITE), "dsm_prefetch");
		stripe_init(stripe, &total);
		app_must(app, dsm_lock_init(stripe), "dsm_lock_init");
		count->stripes[s] = stripe;
	}
	return 0;
}

/* Starts with the stripes that are at home here, so that nodes do not queue for the same ones. */
static void merge(struct count *count)
{
	struct app *app = count->app;

	for (size_t i = 0; i < count->stripe_count; i++) {
		size_t s = (i + (size_t)app->node) % count->stripe_count;
		struct stripe *stripe = count->stripes[s];

		if (count->sorted_begin[s] == count->sorted_begin[s + 1])
			continue;
		app_must(app, dsm_lock(stripe), "dsm_lock");
		app_must(app, dsm_prefetch(stripe, stripe->size, DSM_WRITE), "dsm_prefetch");
		for (size_t w = count->sorted_begin[s]; w < count->sorted_begin[s + 1]; w++)
			stripe_add(stripe, count->sorted[w]);
		app_must(app, dsm_unlock(stripe), "dsm_unlock");
	}
}

/* ---- verification and printing ------------------------------------------------------------ */

static int counted_compare(const void *a, const void *b)
{
	const struct counted *x = a;
	const struct counted *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	size_t shorter = x->length < y->length ? x->length : y->length;
	int order = memcmp(x->text, y->text, shorter);
	return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

/* All merged words, most frequent first; to be freed. NULL: no memory. */
static struct counted *list_words(const struct count *count, size_t *word_count)
{
	size_t total = 0;
	size_t at = 0;

	for (size_t s = 0; s < count->stripe_count; s++) {
		const struct stripe *stripe = count->stripes[s];

		app_must(count->app, dsm_prefetch(stripe, stripe->size, DSM_READ), "dsm_prefetch");
		total += stripe->word_count;
	}
	struct counted *list = malloc((total + 1) * sizeof(*list));
	if (list == NULL)
		return NULL;
	for (size_t s = 0; s < count->stripe_count; s++) {
		const struct stripe *stripe = count->stripes[s];

		for (uint64_t i = 0; i < stripe->place_count && at < total; i++) {
			const struct stripe_place *place = &stripe->place[i];

			if (place->count != 0)
				list[at++] =
					(struct counted){ stripe_text(stripe, place),
							  (size_t)place->length, place->count };
		}
	}
	qsort(list, at, sizeof(*list), counted_compare);
	*word_count = at;
	return list;
}

/* Both have the same words, each as often. */
static bool same_counts(const struct count *count, const struct word_table *serial,
			const struct counted *list, size_t word_count)
{
	if (word_count != serial->word_count) {
		app_say(NAME, "%zu different words, but %zu in a serial count", word_count,
			serial->word_count);
		return false;
	}
	for (size_t i = 0; i < word_count; i++) {
		uint64_t hash = word_hash(&count->rule, list[i].text, list[i].length);
		const struct word *word =
			word_table_find(serial, hash, list[i].text, list[i].length);

		if (word == NULL || word->count != list[i].count) {
			app_say(NAME, "'%.*s' is counted %llu times, but %llu in a serial count",
				(int)(list[i].length < 60 ? list[i].length : 60), list[i].text,
				(unsigned long long)list[i].count,
				(unsigned long long)(word == NULL ? 0 : word->count));
			return false;
		}
	}
	return true;
}

/* The serial count: the files again, with read(2) into private memory. */
static int count_serially(const struct count *count, struct word_table *serial)
{
	for (size_t i = 0; i < count->options->path_count; i++) {
		int error = word_table_read(serial, &count->rule, count->options->paths[i]);

		if (error == ENOMEM)
			return no_memory();
		if (error != 0)
			return bad_file(count->options->paths[i], strerror(error));
	}
	return 0;
}

static int print_and_compare(const struct count *count, const struct word_table *serial,
			     double time, double serial_time)
{
	size_t word_count = 0;
	struct counted *list = list_words(count, &word_count);

	if (list == NULL)
		return no_memory();
	bool right = same_counts(count, serial, list, word_count);
	for (size_t i = 0; i < word_count && i < count->options->top; i++) {
		printf("%8llu ", (unsigned long long)list[i].count);
		(void)fwrite(list[i].text, 1, list[i].length, stdout);
		printf("\n");
	}
	printf(NAME ": %zu file%s, %zu bytes, %llu words, %zu different, %d node%s, time %.6f s, "
		    "verified %s, tolerance 0, serial %.6f s\n",
	       count->options->path_count, count->options->path_count == 1 ? "" : "s",
	       count->bytes - count->options->path_count, (unsigned long long)serial->total,
	       word_count, count->app->nodes, count->app->nodes == 1 ? "" : "s", time,
	       right ? "yes" : "no", serial_time);
	(void)fflush(stdout);
	free(list);
	return right ? APP_VERIFIED : APP_WRONG;
}

/* On node 0. */
static int report(const struct count *count, double time)
{
	struct word_table serial;

	if (!word_table_init(&serial))
		return no_memory();
	double start = app_seconds();
	int status = count_serially(count, &serial);
	double serial_time = app_seconds() - start;
	if (status == 0)
		status = print_and_compare(count, &serial, time, serial_time);
	word_table_fini(&serial);
	return status;
}

/* ---- the run ------------------------------------------------------------------------------ */

/* The text, the table of needs and the list of stripes. */
static int take_shared(struct count *count)
{
	size_t nodes = (size_t)count->app->nodes;
	size_t a_page = DSM_PAGE_BYTES / sizeof(struct stripe_need);

	count->stripe_count = STRIPES_A_NODE * nodes;
	if (count->stripe_count > STRIPES_MAX)
		count->stripe_count = STRIPES_MAX;
	count->needs_row = (count->stripe_count + a_page - 1) / a_page * a_page;
	size_t needs_bytes = nodes * count->needs_row * sizeof(struct stripe_need);
	size_t list_bytes = STRIPES_MAX * sizeof(struct stripe *) + DSM_PAGE_BYTES;
	int status = app_heap_open(count->app, count->bytes + needs_bytes + list_bytes, 3);
	if (status != 0)
		return status;
	count->text = app_heap_take(count->app, count->bytes, DSM_PLACE_FIRST_TOUCH);
	count->needs = app_heap_take(count->app, needs_bytes, DSM_PLACE_CYCLIC);
	count->stripes = app_heap_take(count->app, list_bytes, 0);
	return count->text == NULL || count->needs == NULL || count->stripes == NULL ? APP_FAILED
										     : 0;
}

/* Everything that is timed; each step's failure is agreed on before the next. */
static int count_words(struct count *count)
{
	struct app *app = count->app;
	int status = app_agree(app, read_share(count));

	if (status != 0)
		return status;
	if (!word_table_scan(&count->words, &count->rule, count->text, count->bytes, count->first,
			     count->last) ||
	    !sort_words(count))
		status = no_memory();
	status = app_agree(app, status);
	if (status == 0)
		status = app_agree(app, make_stripes(count));
	if (status != 0)
		return status;
	merge(count);
	app_must(app, dsm_barrier(), "dsm_barrier");
	return 0;
}

static int run(struct count *count)
{
	struct app *app = count->app;
	int status = 0;

	count->file_bytes = calloc(count->options->path_count, sizeof(uint64_t));
	if (count->file_bytes == NULL || !word_table_init(&count->words))
		status = no_memory();
	if (status == 0 && app->node == 0)
		status = measure_files(count);
	status = app_agree(app, status);
	if (status != 0)
		return status;
	share_sizes(count);
	cut_text(count);
	status = app_agree(app, take_shared(count));
	if (status != 0)
		return status;
	double start = app_seconds();
	status = count_words(count);
	double time = app_seconds() - start;
	if (status == 0 && app->node == 0)
		status = report(count, time);
	return app_agree(app, status);
}

int main(int argc, char **argv)
{
	struct options options;
	struct app app;
	int status = parse_options(argc, argv, &options);

	if (status != 0)
		return status;
	if (options.help) {
		if (app_speaks())
			(void)fputs(help, stdout);
		return 0;
	}
	status = app_join(&app, NAME);
	if (status != 0)
		return status;
	struct count count = { .app = &app, .options = &options, .rule = word_rule(options.fold) };
	status = run(&count);
	word_table_fini(&count.words);
	free(count.sorted);
	free(count.sorted_begin);
	free(count.file_bytes);
	return app_leave(&app, status);
}
