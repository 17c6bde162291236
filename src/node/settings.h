/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of a job. One table in settings.c says of each its name, kind, range, default and
 * help; the environment (PERGOLA_<NAME>), dsm_option_set(), `pergola run --set` and `pergola info`
 * all read that table, and a test holds pergola(7) to it.
 *
 * Texts come from people: every one is checked here, so that whoever reads a value through a getter
 * may trust it. A value from the environment stands against one from the program, whichever came
 * first.
 */
#ifndef PERGOLA_NODE_SETTINGS_H
#define PERGOLA_NODE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest text of a value, with its end: a host name of 253 characters, a colon, a port. */
#define SETTINGS_TEXT_BYTES 264
#define SETTINGS_SECRET_BYTES 32

/* Longest SETTING_NAME, with its end. */
#define SETTINGS_NAME_BYTES 64

/* The u64 of a setting whose text is "auto". */
#define SETTINGS_AUTO UINT64_MAX

enum setting_id {
	SETTING_RANK = 0,
	SETTING_SIZE,
	SETTING_ROOT,
	SETTING_JOB,
	SETTING_SECRET,
	SETTING_FABRIC,
	SETTING_MANAGER,
	SETTING_PLACEMENT,
	SETTING_SPACE,
	SETTING_HOLD,
	SETTING_FAST_READ,
	SETTING_SPIN,
	SETTING_DELIVERY,
	SETTING_PIN_TIMEOUT,
	SETTING_CREDITS,
	SETTING_PAGE_REQUESTS,
	SETTING_READ_AHEAD,
	SETTING_CACHE,
	SETTING_SYNC_OBJECTS,
	SETTING_ON_LOSS,
	SETTING_CONNECT_TIMEOUT,
	SETTING_LOSS_TIMEOUT,
	SETTING_DEVICE,
	SETTING_INTERFACE,
	SETTING_ADDRESS,
	SETTING_LOG,
	SETTING_COUNT,
};

enum setting_kind {
	SETTING_CHOICE,	  /* one of a list; u64 is its place in the list */
	SETTING_INTEGER,  /* u64 */
	SETTING_BYTES,	  /* u64, bytes */
	SETTING_DURATION, /* u64, nanoseconds */
	SETTING_HEX,	  /* u64; 0 when empty */
	SETTING_ENDPOINT, /* text: "", "@name" or "host:port" */
	SETTING_NAME,	  /* text: a short name without blanks, or empty */
	SETTING_KEY,	  /* SETTINGS_SECRET_BYTES bytes in hex, never shown */
};

/* A later source stands against an earlier one. */
enum setting_source {
	SOURCE_DEFAULT = 0,
	SOURCE_PROGRAM,
	SOURCE_LAUNCHER, /* who started the process through PMIx (wireup.h) */
	SOURCE_ENVIRONMENT,
};

/* The values of SETTING_CHOICE settings, in the table's order. That of "log" is enum log_level. */
enum fabric_choice {
	FABRIC_CHOICE_AUTO = 0,
	FABRIC_CHOICE_SHM,
	FABRIC_CHOICE_VERBS,
};

enum manager_choice {
	MANAGER_CHOICE_FIXED = 0,
	MANAGER_CHOICE_CENTRAL,
	MANAGER_CHOICE_BROADCAST,
	MANAGER_CHOICE_DYNAMIC,
	MANAGER_CHOICES,
};

enum placement_choice {
	PLACEMENT_CHOICE_CYCLIC = 0,
	PLACEMENT_CHOICE_FIRST_TOUCH,
	PLACEMENT_CHOICE_LOCAL,
};

enum fast_read_choice {
	FAST_READ_CHOICE_OFF = 0,
	FAST_READ_CHOICE_ON,
};

enum delivery_choice {
	DELIVERY_CHOICE_INLINE = 0,
	DELIVERY_CHOICE_THREAD,
};

enum on_loss_choice {
	ON_LOSS_CHOICE_ABORT = 0,
	ON_LOSS_CHOICE_ERROR,
};

struct setting_info {
	const char *name;	    /* "connect-timeout" */
	const char *environment;    /* "PERGOLA_CONNECT_TIMEOUT" */
	const char *default_text;   /* "" when there is none */
	const char *help;	    /* one line */
	const char *const *choices; /* SETTING_CHOICE: ends with NULL */
	uint64_t minimum;
	uint64_t maximum;
	uint64_t multiple; /* the number must be a multiple of it; 0, 1: any */
	enum setting_kind kind;
	bool power_of_two;
	bool has_auto; /* "auto" is also allowed */
};

struct setting_value {
	char text[SETTINGS_TEXT_BYTES];
	uint64_t number;
	enum setting_source source;
};

/* All values of one process. In the caller's memory, who also serialises the calls. */
struct settings {
	struct setting_value values[SETTING_COUNT];
};

void settings_init_defaults(struct settings *settings);

/*
 * Checks `text` and sets the value; where a later source has set it already, only checks. -EINVAL,
 * with error_set(): no setting `name` (names the nearest), or `text` is not one of its values
 * (says what is).
 */
int settings_set(struct settings *settings, const char *name, const char *text,
		 enum setting_source source);

/*
 * Takes every PERGOLA_<NAME> of this process's environment. A PERGOLA_* that is no setting gives
 * a warning in the log, on rank 0 only. -EINVAL as settings_set(), the text names the variable.
 */
int settings_read_environment(struct settings *settings);

/* Getters. The id must be of the kind asked for. */
unsigned int settings_choice(const struct settings *settings, enum setting_id id);
uint64_t settings_u64(const struct settings *settings, enum setting_id id);
const char *settings_text(const struct settings *settings, enum setting_id id);

/* Fills `out` (zeros when the secret is not set) and says whether it is set. */
bool settings_secret(const struct settings *settings, uint8_t out[SETTINGS_SECRET_BYTES]);

enum setting_source settings_source(const struct settings *settings, enum setting_id id);

/*
 * The value as a person may see it (a secret shows as "set"), or NULL: no such name. Stays valid
 * until the setting is set again.
 */
const char *settings_text_of(const struct settings *settings, const char *name);

/* The table's row. */
const struct setting_info *settings_info(enum setting_id id);

/* Writes what a setting allows, in words: "one of fixed, central". Returns `text`. */
const char *settings_allowed(enum setting_id id, char *text, size_t text_bytes);

/* "default", "program", "launcher", "environment". */
const char *settings_source_name(enum setting_source source);

#endif
