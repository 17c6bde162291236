/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of settings and its readers. A value is parsed into a local and stored only when all
 * of it is right.
 */
#include "node/settings.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/id.h"
#include "base/log.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)
#define GIB (KIB * MIB)
#define TIB (KIB * GIB)
#define US_NS UINT64_C(1000)
#define MS_NS (1000 * US_NS)
#define S_NS (1000 * MS_NS)

#define ENVIRONMENT_PREFIX "PERGOLA_"
#define ABSTRACT_NAME_MAX 100 /* of the 107 bytes that an abstract socket's name may have */
#define HOST_NAME_BYTES_MAX 253
#define SECRET_DIGITS (2 * SETTINGS_SECRET_BYTES)

/* A bad value is quoted up to this length. */
#define QUOTED_MAX 64

static const char *const fabric_choices[] = { "auto", "shm", "verbs", NULL };
static const char *const manager_choices[] = { "fixed", "central", "broadcast", "dynamic", NULL };
static_assert(sizeof(manager_choices) == (MANAGER_CHOICES + 1) * sizeof(char *),
	      "a name for each enum manager_choice");
static const char *const placement_choices[] = { "cyclic", "first-touch", "local", NULL };
static const char *const fast_read_choices[] = { "off", "on", NULL };
static const char *const delivery_choices[] = { "inline", "thread", NULL };
static const char *const on_loss_choices[] = { "abort", "error", NULL };
static const char *const log_choices[] = { "error", "warning", "info", "debug", NULL };

/*
 * ThreadSanitizer carries atomic operations out under a lock of its own. A fault of one must not be
 * served by its thread, which would use atomic operations with the lock held.
 */
#ifdef __SANITIZE_THREAD__
#define DELIVERY_DEFAULT "thread"
#else
#define DELIVERY_DEFAULT "inline"
#endif

static const struct setting_info table[SETTING_COUNT] = {
	[SETTING_RANK] = {
		.name = "rank",
		.environment = "PERGOLA_RANK",
		.kind = SETTING_INTEGER,
		.default_text = "0",
		.minimum = 0,
		.maximum = NODES_MAX - 1,
		.help = "this node's number in the job; the launcher sets it",
	},
	[SETTING_SIZE] = {
		.name = "size",
		.environment = "PERGOLA_SIZE",
		.kind = SETTING_INTEGER,
		.default_text = "1",
		.minimum = 1,
		.maximum = NODES_MAX,
		.help = "nodes in the job; the launcher sets it",
	},
	[SETTING_ROOT] = {
		.name = "root",
		.environment = "PERGOLA_ROOT",
		.kind = SETTING_ENDPOINT,
		.default_text = "",
		.help = "where node 0 listens while the job starts; the launcher sets it",
	},
	[SETTING_JOB] = {
		.name = "job",
		.environment = "PERGOLA_JOB",
		.kind = SETTING_HEX,
		.default_text = "",
		.maximum = UINT64_MAX,
		.help = "random name of the job, the same on all nodes; the launcher sets it",
	},
	[SETTING_SECRET] = {
		.name = "secret",
		.environment = "PERGOLA_SECRET",
		.kind = SETTING_KEY,
		.default_text = "",
		.help = "what nodes prove to each other, the same on all; the launcher sets it",
	},
	[SETTING_FABRIC] = {
		.name = "fabric",
		.environment = "PERGOLA_FABRIC",
		.kind = SETTING_CHOICE,
		.default_text = "auto",
		.choices = fabric_choices,
		.help = "auto: shm between processes of one host, verbs between hosts",
	},
	[SETTING_MANAGER] = {
		.name = "manager",
		.environment = "PERGOLA_MANAGER",
		.kind = SETTING_CHOICE,
		.default_text = "fixed",
		.choices = manager_choices,
		.help = "who manages a page: its home (fixed), node 0 (central), its owner",
	},
	[SETTING_PLACEMENT] = {
		.name = "placement",
		.environment = "PERGOLA_PLACEMENT",
		.kind = SETTING_CHOICE,
		.default_text = "cyclic",
		.choices = placement_choices,
		.help = "homes of heap blocks above 128 KiB: dealt round, first toucher, or caller",
	},
	[SETTING_SPACE] = {
		.name = "space",
		.environment = "PERGOLA_SPACE",
		.kind = SETTING_BYTES,
		.default_text = "64G",
		.minimum = 4 * MIB,
		.maximum = TIB,
		.multiple = PAGE_BYTES,
		.help = "shared address space in all; memory is taken only as pages are touched",
	},
	[SETTING_HOLD] = {
		.name = "hold",
		.environment = "PERGOLA_HOLD",
		.kind = SETTING_DURATION,
		.default_text = "100us",
		.minimum = 0,
		.maximum = S_NS,
		.help = "least time a fresh page stays with its node before it is taken away",
	},
	[SETTING_FAST_READ] = {
		.name = "fast-read",
		.environment = "PERGOLA_FAST_READ",
		.kind = SETTING_CHOICE,
		.default_text = "off",
		.choices = fast_read_choices,
		.help = "read clean pages without a message (managers fixed and central)",
	},
	[SETTING_SPIN] = {
		.name = "spin",
		.environment = "PERGOLA_SPIN",
		.kind = SETTING_DURATION,
		.default_text = "auto",
		.minimum = 0,
		.maximum = S_NS,
		.has_auto = true,
		.help = "how long a waiting thread polls before it sleeps",
	},
	[SETTING_DELIVERY] = {
		.name = "delivery",
		.environment = "PERGOLA_DELIVERY",
		.kind = SETTING_CHOICE,
		.default_text = DELIVERY_DEFAULT,
		.choices = delivery_choices,
		.help = "who serves a page fault: the faulting thread, or the progress thread",
	},
	[SETTING_PIN_TIMEOUT] = {
		.name = "pin-timeout",
		.environment = "PERGOLA_PIN_TIMEOUT",
		.kind = SETTING_DURATION,
		.default_text = "10s",
		.minimum = MS_NS,
		.maximum = 3600 * S_NS,
		.help = "how long dsm_pin() waits for a page",
	},
	[SETTING_CREDITS] = {
		.name = "credits",
		.environment = "PERGOLA_CREDITS",
		.kind = SETTING_INTEGER,
		.default_text = "64",
		.minimum = 4,
		.maximum = 1024,
		.power_of_two = true,
		.help = "messages that may be on the way from a node to each peer",
	},
	[SETTING_PAGE_REQUESTS] = {
		.name = "page-requests",
		.environment = "PERGOLA_PAGE_REQUESTS",
		.kind = SETTING_INTEGER,
		.default_text = "4096",
		.minimum = 64,
		.maximum = 65536,
		.help = "page requests that a node may have outstanding",
	},
	[SETTING_READ_AHEAD] = {
		.name = "read-ahead",
		.environment = "PERGOLA_READ_AHEAD",
		.kind = SETTING_INTEGER,
		.default_text = "0",
		.minimum = 0,
		.maximum = 1024,
		.help = "most pages asked for at a time ahead of a thread that reads; 0: off",
	},
	[SETTING_CACHE] = {
		.name = "cache",
		.environment = "PERGOLA_CACHE",
		.kind = SETTING_BYTES,
		.default_text = "0",
		.minimum = 0,
		.maximum = TIB,
		.has_auto = true,
		.help = "memory for copies of pages at home elsewhere; auto: half; 0: no limit",
	},
	[SETTING_SYNC_OBJECTS] = {
		.name = "sync-objects",
		.environment = "PERGOLA_SYNC_OBJECTS",
		.kind = SETTING_INTEGER,
		.default_text = "65536",
		.minimum = 64,
		.maximum = 16777216,
		.help = "locks, semaphores, conditions and barriers that a node can keep",
	},
	[SETTING_ON_LOSS] = {
		.name = "on-loss",
		.environment = "PERGOLA_ON_LOSS",
		.kind = SETTING_CHOICE,
		.default_text = "abort",
		.choices = on_loss_choices,
		.help = "when a node is lost: end the process, or let calls return an error",
	},
	[SETTING_CONNECT_TIMEOUT] = {
		.name = "connect-timeout",
		.environment = "PERGOLA_CONNECT_TIMEOUT",
		.kind = SETTING_DURATION,
		.default_text = "30s",
		.minimum = 10 * MS_NS,
		.maximum = 3600 * S_NS,
		.help = "how long nodes wait for each other while the job starts",
	},
	[SETTING_LOSS_TIMEOUT] = {
		.name = "loss-timeout",
		.environment = "PERGOLA_LOSS_TIMEOUT",
		.kind = SETTING_DURATION,
		.default_text = "5s",
		.minimum = 100 * MS_NS,
		.maximum = 3600 * S_NS,
		.help = "a node whose machine or link is dead is given up after so long",
	},
	[SETTING_DEVICE] = {
		.name = "device",
		.environment = "PERGOLA_DEVICE",
		.kind = SETTING_NAME,
		.default_text = "",
		.help = "RDMA device to use, as mlx5_0 or mlx5_0:1 (with the port); empty: any",
	},
	[SETTING_INTERFACE] = {
		.name = "interface",
		.environment = "PERGOLA_INTERFACE",
		.kind = SETTING_NAME,
		.default_text = "",
		.help = "IP address of the RDMA device to use; empty: the first that works",
	},
	[SETTING_ADDRESS] = {
		.name = "address",
		.environment = "PERGOLA_ADDRESS",
		.kind = SETTING_HEX,
		.default_text = "",
		.maximum = UINT64_C(0x7ffffffff000),
		.multiple = PAGE_BYTES,
		.help = "where node 0 first looks for free addresses for regions; empty: anywhere",
	},
	[SETTING_LOG] = {
		.name = "log",
		.environment = "PERGOLA_LOG",
		.kind = SETTING_CHOICE,
		.default_text = "warning",
		.choices = log_choices,
		.help = "least level of the lines that a node prints on standard error",
	},
};

struct unit {
	const char *suffix;
	uint64_t factor;
};

static const struct unit byte_units[] = {
	{ "", 1 }, { "K", KIB }, { "M", MIB }, { "G", GIB }, { "T", TIB }, { NULL, 0 },
};

static const struct unit duration_units[] = {
	{ "ns", 1 }, { "us", US_NS }, { "ms", MS_NS }, { "s", S_NS }, { NULL, 0 },
};

static const struct unit plain_units[] = { { "", 1 }, { NULL, 0 } };

/* ---- parsing: each returns false for a text that is not a value ----------------------------- */

static bool parse_digits(const char **text, uint64_t *out)
{
	const char *at = *text;
	uint64_t number = 0;

	if (!isdigit((unsigned char)*at))
		return false;
	for (; isdigit((unsigned char)*at); at++) {
		if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
			return false;
	}
	*text = at;
	*out = number;
	return true;
}

static bool parse_quantity(const char *text, const struct unit *units, uint64_t *out)
{
	uint64_t number;

	if (!parse_digits(&text, &number))
		return false;
	if (number == 0 && *text == '\0') {
		*out = 0; /* zero is zero in every unit */
		return true;
	}
	for (const struct unit *unit = units; unit->suffix != NULL; unit++) {
		if (strcasecmp(text, unit->suffix) == 0)
			return !__builtin_mul_overflow(number, unit->factor, out);
	}
	return false;
}

static bool in_range(const struct setting_info *info, uint64_t number)
{
	if (number < info->minimum || number > info->maximum)
		return false;
	if (info->multiple > 1 && number % info->multiple != 0)
		return false;
	return !info->power_of_two || (number != 0 && (number & (number - 1)) == 0);
}

static bool parse_number(const struct setting_info *info, const char *text,
			 const struct unit *units, uint64_t *out)
{
	if (info->has_auto && strcmp(text, "auto") == 0) {
		*out = SETTINGS_AUTO;
		return true;
	}
	return parse_quantity(text, units, out) && in_range(info, *out);
}

static bool parse_choice(const struct setting_info *info, const char *text, uint64_t *out)
{
	for (size_t i = 0; info->choices[i] != NULL; i++) {
		if (strcmp(text, info->choices[i]) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

static bool parse_hex(const struct setting_info *info, const char *text, uint64_t *out)
{
	if (*text == '\0') {
		*out = 0;
		return true;
	}
	if (strncmp(text, "0x", 2) == 0)
		text += 2;
	size_t digits = strspn(text, "0123456789abcdefABCDEF");
	if (digits < 1 || digits > 16 || text[digits] != '\0')
		return false;
	*out = strtoull(text, NULL, 16);
	return in_range(info, *out);
}

static bool parse_port(const char *text)
{
	uint64_t port;

	return parse_digits(&text, &port) && *text == '\0' && port >= 1 && port <= 65535;
}

static bool parse_endpoint(const char *text)
{
	if (*text == '\0')
		return true;
	if (*text == '@')
		return text[1] != '\0' && strlen(text + 1) <= ABSTRACT_NAME_MAX;
	const char *colon = strrchr(text, ':');
	if (colon == NULL || colon == text || colon - text > HOST_NAME_BYTES_MAX)
		return false;
	/* An IPv6 address has colons of its own and must stand in brackets. */
	bool bracketed = *text == '[' && colon[-1] == ']' && colon - text > 2;
	if (!bracketed && strcspn(text, ":[]") != (size_t)(colon - text))
		return false;
	return parse_port(colon + 1);
}

/* As long as a device or an address can be, and nothing that would garble a message. */
static bool parse_name(const char *text)
{
	size_t good = 0;

	while (isgraph((unsigned char)text[good]))
		good++;
	return text[good] == '\0' && good < SETTINGS_NAME_BYTES;
}

static bool parse_key(const char *text)
{
	size_t digits = strspn(text, "0123456789abcdefABCDEF");

	return text[digits] == '\0' && (digits == 0 || digits == SECRET_DIGITS);
}

static bool parse_value(const struct setting_info *info, const char *text, uint64_t *out)
{
	*out = 0;
	if (strlen(text) >= SETTINGS_TEXT_BYTES)
		return false;
	switch (info->kind) {
	case SETTING_CHOICE:
		return parse_choice(info, text, out);
	case SETTING_INTEGER:
		return parse_number(info, text, plain_units, out);
	case SETTING_BYTES:
		return parse_number(info, text, byte_units, out);
	case SETTING_DURATION:
		return parse_number(info, text, duration_units, out);
	case SETTING_HEX:
		return parse_hex(info, text, out);
	case SETTING_ENDPOINT:
		return parse_endpoint(text);
	case SETTING_NAME:
		return parse_name(text);
	case SETTING_KEY:
		return parse_key(text);
	}
	return false;
}

/* ---- what is allowed, in words ------------------------------------------------------------- */

/* The largest unit that leaves a whole number. */
static void format_quantity(uint64_t number, const struct unit *units, char *text, size_t bytes)
{
	const struct unit *best = units;

	for (const struct unit *unit = units; unit->suffix != NULL; unit++) {
		if (number != 0 && number % unit->factor == 0)
			best = unit;
	}
	snprintf(text, bytes, "%llu%s", (unsigned long long)(number / best->factor),
		 number == 0 ? "" : best->suffix);
}

static void allow_choices(const struct setting_info *info, char *text, size_t bytes)
{
	size_t used = (size_t)snprintf(text, bytes, "one of");

	for (size_t i = 0; info->choices[i] != NULL && used < bytes; i++)
		used += (size_t)snprintf(text + used, bytes - used, "%s %s", i == 0 ? "" : ",",
					 info->choices[i]);
}

static void allow_numbers(const struct setting_info *info, const struct unit *units,
			  const char *what, char *text, size_t bytes)
{
	char low[32];
	char high[32];

	format_quantity(info->minimum, units, low, sizeof(low));
	format_quantity(info->maximum, units, high, sizeof(high));
	snprintf(text, bytes, "%s%s from %s to %s%s", info->has_auto ? "auto, or " : "",
		 info->power_of_two ? "a power of two" : what, low, high,
		 info->multiple > 1 ? ", a multiple of 4096" : "");
}

const char *settings_allowed(enum setting_id id, char *text, size_t text_bytes)
{
	const struct setting_info *info = settings_info(id);

	switch (info->kind) {
	case SETTING_CHOICE:
		allow_choices(info, text, text_bytes);
		break;
	case SETTING_INTEGER:
		allow_numbers(info, plain_units, "a whole number", text, text_bytes);
		break;
	case SETTING_BYTES:
		allow_numbers(info, byte_units, "bytes (suffix K, M, G, T)", text, text_bytes);
		break;
	case SETTING_DURATION:
		allow_numbers(info, duration_units, "a time (suffix ns, us, ms, s)", text,
			      text_bytes);
		break;
	case SETTING_HEX:
		snprintf(text, text_bytes, "1 to 16 hexadecimal digits%s%s",
			 info->multiple > 1 ? " at or below 7ffffffff000, a multiple of 1000" : "",
			 ", or empty");
		break;
	case SETTING_ENDPOINT:
		snprintf(text, text_bytes,
			 "@name (a local socket; at most %d characters) or host:port; an IPv6 "
			 "address in brackets",
			 ABSTRACT_NAME_MAX);
		break;
	case SETTING_NAME:
		snprintf(text, text_bytes, "a name of at most %d characters, or empty",
			 SETTINGS_NAME_BYTES - 1);
		break;
	case SETTING_KEY:
		snprintf(text, text_bytes, "%d hexadecimal digits", SECRET_DIGITS);
		break;
	}
	return text;
}

/* ---- names --------------------------------------------------------------------------------- */

/* SETTING_COUNT: none. */
static enum setting_id find(const char *name)
{
	enum setting_id id = SETTING_RANK;

	while (id < SETTING_COUNT && strcmp(table[id].name, name) != 0)
		id++;
	return id;
}

#define NAME_MAX_COMPARED 32

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Levenshtein's distance of two names, at most NAME_MAX_COMPARED long each. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NAME_MAX_COMPARED + 1];
	size_t columns = strlen(b);

	for (size_t j = 0; j <= columns; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < columns; j++) {
			size_t replaced = diagonal + (a[i] != b[j]);

			diagonal = row[j + 1];
			row[j + 1] = least(replaced, 1 + least(row[j], diagonal));
		}
	}
	return row[columns];
}

/* The known name most like `name`, or NULL when none is near. */
static const char *nearest(const char *name)
{
	const char *best = NULL;
	size_t best_distance = 4; /* farther than this is no typing slip */

	if (strlen(name) > NAME_MAX_COMPARED)
		return NULL;
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++) {
		size_t apart = distance(name, table[id].name);

		if (apart < best_distance && apart < strlen(table[id].name)) {
			best_distance = apart;
			best = table[id].name;
		}
	}
	return best;
}

static int refuse_name(const char *name)
{
	const char *meant = nearest(name);

	if (meant != NULL)
		return error_set(-EINVAL, "there is no setting \"%.*s\"; did you mean \"%s\"?",
				 QUOTED_MAX, name, meant);
	return error_set(-EINVAL, "there is no setting \"%.*s\"; `pergola info` lists them",
			 QUOTED_MAX, name);
}

static int refuse_text(enum setting_id id, const char *text)
{
	char allowed[256];

	settings_allowed(id, allowed, sizeof(allowed));
	if (table[id].kind == SETTING_KEY)
		return error_set(-EINVAL, "setting %s: the text given (not shown) is not %s",
				 table[id].name, allowed);
	return error_set(-EINVAL, "setting %s: \"%.*s\"%s is not %s", table[id].name, QUOTED_MAX,
			 text, strlen(text) > QUOTED_MAX ? "..." : "", allowed);
}

/* ---- values -------------------------------------------------------------------------------- */

static void store(struct setting_value *value, const char *text, uint64_t number,
		  enum setting_source source)
{
	ASSERT(strlen(text) < sizeof(value->text));
	memcpy(value->text, text, strlen(text) + 1);
	value->number = number;
	value->source = source;
}

static int set_by_id(struct settings *settings, enum setting_id id, const char *text,
		     enum setting_source source)
{
	uint64_t number;

	if (!parse_value(&table[id], text, &number))
		return refuse_text(id, text);
	if (source >= settings->values[id].source)
		store(&settings->values[id], text, number, source);
	return 0;
}

void settings_init_defaults(struct settings *settings)
{
	*settings = (struct settings){ 0 };
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++) {
		int error = set_by_id(settings, id, table[id].default_text, SOURCE_DEFAULT);

		ASSERT(error == 0);
	}
}

int settings_set(struct settings *settings, const char *name, const char *text,
		 enum setting_source source)
{
	if (name == NULL || text == NULL)
		return error_set(-EINVAL, "a setting needs a name and a value; one is NULL");
	enum setting_id id = find(name);
	if (id == SETTING_COUNT)
		return refuse_name(name);
	return set_by_id(settings, id, text, source);
}

static bool is_known_variable(const char *variable, size_t length)
{
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++) {
		if (strlen(table[id].environment) == length &&
		    strncmp(table[id].environment, variable, length) == 0)
			return true;
	}
	return false;
}

/* "PERGOLA_ON_LOSS" -> "on-loss". False: too long to be like any. */
static bool name_of_variable(const char *variable, size_t length, char *name, size_t name_bytes)
{
	size_t skip = strlen(ENVIRONMENT_PREFIX);

	if (length - skip >= name_bytes)
		return false;
	for (size_t i = skip; i < length; i++)
		name[i - skip] =
			variable[i] == '_' ? '-' : (char)tolower((unsigned char)variable[i]);
	name[length - skip] = '\0';
	return true;
}

static void warn_of_variable(const char *variable, size_t length)
{
	char name[NAME_MAX_COMPARED + 1];
	const char *meant = NULL;
	int shown = (int)least(length, QUOTED_MAX);

	if (name_of_variable(variable, length, name, sizeof(name)))
		meant = nearest(name);
	if (meant == NULL)
		log_line(LOG_WARNING, "%.*s in the environment is no setting; it has no effect",
			 shown, variable);
	else
		log_line(LOG_WARNING, "%.*s in the environment is no setting; did you mean %s?",
			 shown, variable, table[find(meant)].environment);
}

static void warn_of_unknown_variables(void)
{
	for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
		size_t length = strcspn(*entry, "=");

		if (strncmp(*entry, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) == 0 &&
		    !is_known_variable(*entry, length))
			warn_of_variable(*entry, length);
	}
}

/* One process of a job is enough to warn. Under PMIx its rank is not among the settings yet. */
static bool speaks_for_job(const struct settings *settings)
{
	const char *rank = getenv("PMIX_RANK");

	return settings_u64(settings, SETTING_RANK) == 0 &&
	       (rank == NULL || strcmp(rank, "0") == 0);
}

int settings_read_environment(struct settings *settings)
{
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++) {
		const char *text = getenv(table[id].environment);

		if (text == NULL)
			continue;
		int error = set_by_id(settings, id, text, SOURCE_ENVIRONMENT);
		if (error != 0)
			return error_prefix(error, "%s: ", table[id].environment);
	}
	if (speaks_for_job(settings))
		warn_of_unknown_variables();
	return 0;
}

unsigned int settings_choice(const struct settings *settings, enum setting_id id)
{
	ASSERT(settings_info(id)->kind == SETTING_CHOICE);
	return (unsigned int)settings->values[id].number;
}

uint64_t settings_u64(const struct settings *settings, enum setting_id id)
{
	enum setting_kind kind = settings_info(id)->kind;

	ASSERT(kind == SETTING_INTEGER || kind == SETTING_BYTES || kind == SETTING_DURATION ||
	       kind == SETTING_HEX);
	return settings->values[id].number;
}

const char *settings_text(const struct settings *settings, enum setting_id id)
{
	ASSERT(settings_info(id)->kind != SETTING_KEY);
	return settings->values[id].text;
}

static unsigned int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return (unsigned int)(digit - '0');
	return (unsigned int)(tolower((unsigned char)digit) - 'a') + 10;
}

bool settings_secret(const struct settings *settings, uint8_t out[SETTINGS_SECRET_BYTES])
{
	const char *text = settings->values[SETTING_SECRET].text;

	memset(out, 0, SETTINGS_SECRET_BYTES);
	if (*text == '\0')
		return false;
	for (size_t i = 0; i < SETTINGS_SECRET_BYTES; i++)
		out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
	return true;
}

enum setting_source settings_source(const struct settings *settings, enum setting_id id)
{
	ASSERT(id < SETTING_COUNT);
	return settings->values[id].source;
}

const char *settings_text_of(const struct settings *settings, const char *name)
{
	if (name == NULL)
		return NULL;
	enum setting_id id = find(name);
	if (id == SETTING_COUNT)
		return NULL;
	const char *text = settings->values[id].text;
	if (table[id].kind == SETTING_KEY)
		return *text == '\0' ? "" : "set";
	return text;
}

const struct setting_info *settings_info(enum setting_id id)
{
	ASSERT(id < SETTING_COUNT);
	return &table[id];
}

const char *settings_source_name(enum setting_source source)
{
	switch (source) {
	case SOURCE_DEFAULT:
		return "default";
	case SOURCE_PROGRAM:
		return "program";
	case SOURCE_LAUNCHER:
		return "launcher";
	case SOURCE_ENVIRONMENT:
		return "environment";
	}
	return "?";
}
