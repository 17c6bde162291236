/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include "chart.h"
#include "table.h"

#include <string.h>

static const char style[] =
	":root{color-scheme:light dark;--fg:#1b1f24;--bg:#ffffff;--dim:#656d76;--grid:#d9dee3;\n"
	"--s0:#2f6fb7;--s1:#c2571a;--s2:#3a8a4d;--s3:#8453b5;--s4:#b3901a;--s5:#b23a5d;\n"
	"--s6:#2a8d92;--s7:#6d6d6d}\n"
	"@media(prefers-color-scheme:dark){:root{--fg:#e2e6ea;--bg:#15181c;--dim:#98a1ab;\n"
	"--grid:#333a42;--s0:#6fa8e8;--s1:#ee9460;--s2:#77c48a;--s3:#b893e0;--s4:#dcc05c;\n"
	"--s5:#e57f9d;--s6:#6cc7cc;--s7:#a8a8a8}}\n"
	"body{margin:2rem auto;padding:0 1rem;max-width:66rem;background:var(--bg);"
	"color:var(--fg);\nfont:15px/1.5 system-ui,sans-serif}\n"
	"a{color:inherit}h2{margin-top:3rem}h3{margin:1.5rem 0 .3rem;font-size:1rem}\n"
	"p.note{color:var(--dim);margin:.2rem 0}.wide{overflow-x:auto}\n"
	"table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}\n"
	"td{padding:.15rem .6rem;border-bottom:1px solid var(--grid);white-space:nowrap}\n"
	"tr:first-child td{font-weight:600}td:not(:first-child){text-align:right}\n"
	"svg{width:100%;min-width:46rem;height:auto;font:12px system-ui,sans-serif}\n"
	"svg text{fill:var(--fg)}text.label{text-anchor:end;font-size:11px}\n"
	"text.tick{text-anchor:middle;fill:var(--dim)}text.unit{fill:var(--dim)}\n"
	"line.grid{stroke:var(--grid)}line.whisker{stroke:var(--dim)}\n"
	"line.median{stroke:var(--fg);stroke-width:2}\n"
	"line.one{stroke:var(--fg);stroke-dasharray:4 3}circle.p999{fill-opacity:0}\n"
	".s0{fill:var(--s0);stroke:var(--s0)}.s1{fill:var(--s1);stroke:var(--s1)}\n"
	".s2{fill:var(--s2);stroke:var(--s2)}.s3{fill:var(--s3);stroke:var(--s3)}\n"
	".s4{fill:var(--s4);stroke:var(--s4)}.s5{fill:var(--s5);stroke:var(--s5)}\n"
	".s6{fill:var(--s6);stroke:var(--s6)}.s7{fill:var(--s7);stroke:var(--s7)}\n"
	".key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}\n"
	".key.s0{background:var(--s0)}.key.s1{background:var(--s1)}\n"
	".key.s2{background:var(--s2)}.key.s3{background:var(--s3)}\n"
	".key.s4{background:var(--s4)}.key.s5{background:var(--s5)}\n"
	".key.s6{background:var(--s6)}.key.s7{background:var(--s7)}\n";

static void write_title(FILE *out, const struct section *section)
{
	html_text(out, section->program);
	fputs(", ", out);
	html_text(out, section->nodes);
	fputs(strcmp(section->nodes, "1") == 0 ? " node" : " nodes", out);
}

static void write_contents(FILE *out, const struct section *sections, size_t count)
{
	fputs("<ul>\n", out);
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "<li><a href=\"#section%zu\">", i);
		write_title(out, &sections[i]);
		fputs("</a></li>\n", out);
	}
	fputs("</ul>\n", out);
}

static const struct result *row_of(const struct section *section, size_t config)
{
	size_t i = 0;

	while (section->rows[i]->config != config)
		i++;
	return section->rows[i];
}

/* Which colour is which configuration, where a section has several. */
static void write_key(FILE *out, const struct section *section)
{
	char label[64];

	if (section->config_count < 2)
		return;
	fputs("<p class=\"note\">", out);
	for (size_t i = 0; i < section->config_count; i++) {
		fprintf(out, "<span class=\"key s%zu\"></span>", i % CHART_SERIES);
		html_text(out, row_label(section, row_of(section, section->configs[i]), label,
					 sizeof(label)));
	}
	fputs("</p>\n", out);
}

static void write_parts_key(FILE *out)
{
	fputs("<p class=\"note\">", out);
	for (unsigned int p = 0; p < CHART_PART_COUNT; p++)
		fprintf(out, "<span class=\"key s%u\"></span>%s", p, chart_parts[p]);
	fputs("</p>\n", out);
}

static void write_section(FILE *out, const struct section *section, size_t index)
{
	const struct choice all = { 0 };

	fprintf(out, "<h2 id=\"section%zu\">", index);
	write_title(out, section);
	fputs("</h2>\n", out);
	write_key(out, section);
	if (chart_distributions(out, section))
		fputs("<p class=\"note\">Line: 10th to 90th percentile; box: 25th to 75th; bar: "
		      "median; full circle: 99th; open circle: 99.9th.</p>\n",
		      out);
	if (chart_parts_of_faults(out, section))
		write_parts_key(out);
	if (chart_floors(out, section))
		fputs("<p class=\"note\">Median, in medians of the floor of the same run.</p>\n",
		      out);
	table_html(out, section, &all);
}

void page_write(FILE *out, const struct results *results)
{
	char machine[256];
	size_t count;
	struct section *sections = sections_make(results, &count);

	fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width\">\n"
	      "<title>Pergola: measurements</title>\n<style>\n",
	      out);
	fputs(style, out);
	fputs("</style>\n</head>\n<body>\n<h1>Pergola: measurements</h1>\n<p>", out);
	html_text(out, machine_text(results, machine, sizeof(machine)));
	fputs(".</p>\n<p class=\"note\">Each value is the median of the runs, with the lowest and "
	      "the highest run in brackets; docs/performance.md says what each name means.</p>\n",
	      out);
	write_contents(out, sections, count);
	for (size_t i = 0; i < count; i++)
		write_section(out, &sections[i], i);
	fputs("</body>\n</html>\n", out);
	sections_free(sections, count);
}
