/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_options.h"

#include "base/error.h"
#include "base/id.h"
#include "base/log.h"
#include "cli/cli.h"
#include "node/settings.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)
#define TIMEOUT_MAX_S UINT64_C(31536000) /* a year */

enum long_option {
	OPTION_TIMEOUT = 256,
	OPTION_FABRIC,
	OPTION_SET,
};

static const struct option long_options[] = {
	{ "ranks", required_argument, NULL, 'n' },
	{ "label", no_argument, NULL, 'l' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "fabric", required_argument, NULL, OPTION_FABRIC },
	{ "set", required_argument, NULL, OPTION_SET },
	{ NULL, 0, NULL, 0 },
};

static int parse_count(const char *text, struct run_options *options)
{
	char *end;

	errno = 0;
	unsigned long count = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 || count < 1 ||
	    count > NODES_MAX)
		return cli_usage_error("run: -n \"%.64s\" is not a number of nodes from 1 to %u",
				       text, NODES_MAX);
	options->rank_count = (unsigned int)count;
	return 0;
}

static int parse_timeout(const char *text, struct run_options *options)
{
	static const struct {
		const char *suffix;
		uint64_t ns;
	} units[] = {
		{ "", NS_PER_S },	{ "s", NS_PER_S },	  { "ms", NS_PER_S / 1000 },
		{ "m", 60 * NS_PER_S }, { "h", 3600 * NS_PER_S },
	};
	char *end;

	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!isdigit((unsigned char)*text) || errno != 0 || number < 1 ||
		    strcmp(end, units[i].suffix) != 0)
			continue;
		if (number > TIMEOUT_MAX_S * NS_PER_S / units[i].ns)
			break;
		options->timeout_ns = number * units[i].ns;
		return 0;
	}
	return cli_usage_error("run: --timeout \"%.64s\" is not a time: a whole number of seconds, "
			       "or with a suffix ms, s, m, h, at most a year",
			       text);
}

static bool launcher_sets(const char *name)
{
	static const char *const names[] = { "rank", "size", "root", "job", "secret" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static int set_option(struct settings *settings, const char *name, const char *value)
{
	if (launcher_sets(name))
		return cli_usage_error("run: setting %s is the launcher's own; it cannot be given",
				       name);
	if (settings_set(settings, name, value, SOURCE_ENVIRONMENT) != 0)
		return cli_usage_error("run: %s", error_text());
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++) {
		const struct setting_info *info = settings_info(id);

		if (strcmp(info->name, name) == 0 && setenv(info->environment, value, 1) != 0)
			return cli_usage_error("run: --set %s: %s", name, strerror(errno));
	}
	return 0;
}

static int parse_set(struct settings *settings, const char *text)
{
	char name[64];
	const char *equals = strchr(text, '=');

	if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof(name))
		return cli_usage_error("run: --set \"%.64s\" is not NAME=VALUE", text);
	memcpy(name, text, (size_t)(equals - text));
	name[equals - text] = '\0';
	return set_option(settings, name, equals + 1);
}

static int parse_one(int option, const char *word, struct settings *settings,
		     struct run_options *options)
{
	switch (option) {
	case 'n':
		return parse_count(optarg, options);
	case 'l':
		options->label = true;
		return 0;
	case 'v':
		options->verbose = true;
		return 0;
	case 'h':
		return RUN_OPTIONS_HELP;
	case OPTION_TIMEOUT:
		return parse_timeout(optarg, options);
	case OPTION_FABRIC:
		return set_option(settings, "fabric", optarg);
	case OPTION_SET:
		return parse_set(settings, optarg);
	case ':':
		return cli_usage_error("run: %.64s needs a value", word);
	default:
		return cli_usage_error("run: there is no option %.64s", word);
	}
}

/* Values that would fail every rank fail here, once. Those that the launcher sets do not matter. */
static int check_environment(struct settings *settings)
{
	/* Rank 0 warns of unknown variables; twice would be once too often. */
	log_setup(LOG_ERROR, -1);
	for (enum setting_id id = SETTING_RANK; id < SETTING_COUNT; id++) {
		if (launcher_sets(settings_info(id)->name))
			unsetenv(settings_info(id)->environment);
	}
	if (settings_read_environment(settings) != 0)
		return cli_usage_error("run: %s", error_text());
	return 0;
}

int run_options_parse(int argc, char **argv, struct run_options *options)
{
	struct settings settings;
	int result = 0;

	*options = (struct run_options){ 0 };
	settings_init_defaults(&settings);
	opterr = 0;
	while (result == 0) {
		/* The word a complaint is about: getopt moves on before it is done with it. */
		const char *word = optind < argc ? argv[optind] : "";
		int option = getopt_long(argc, argv, "+:n:lvh", long_options, NULL);

		if (option == -1)
			break;
		result = parse_one(option, word, &settings, options);
	}
	if (result != 0)
		return result;
	if (options->rank_count == 0)
		return cli_usage_error("run: -n N, the number of nodes to start, is missing");
	if (optind == argc)
		return cli_usage_error("run: the program to start is missing");
	options->command = argv + optind;
	result = check_environment(&settings);
	options->goes_on = settings_choice(&settings, SETTING_ON_LOSS) == ON_LOSS_CHOICE_ERROR;
	return result;
}
