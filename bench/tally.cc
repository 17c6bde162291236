/* SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"

namespace bench
{

void publish_times(benchmark::State &state, std::vector<double> &samples, const std::string &unit)
{
	static const struct {
		const char *name;
		double q;
	} columns[] = { { "min", 0 },	   { "p10", 0.1 },    { "p25", 0.25 },
			{ "median", 0.5 }, { "p75", 0.75 },   { "p90", 0.9 },
			{ "p99", 0.99 },   { "p999", 0.999 }, { "max", 1 } };

	const double count = static_cast<double>(samples.size());

	state.counters["count"] = count;
	for (const auto &column : columns) {
		/* Of fewer times this is the longest, whatever it is called. */
		if (column.q > 0.9 && column.q < 1 && count * (1 - column.q) < 0.999)
			continue;
		state.counters[column.name + ("_" + unit)] = quantile(samples, column.q);
	}
}

void Tally::begin()
{
	before_ = count();
}

void Tally::end()
{
	Counts since = count_since(before_);

	total_.sent += since.sent;
	total_.received += since.received;
	total_.fetched += since.fetched;
	total_.work_requests += since.work_requests;
	total_.completions += since.completions;
	total_.remote += since.remote;
	counted_ = true;
}

void Tally::add_ns(uint64_t taken_ns)
{
	samples_us.push_back(static_cast<double>(taken_ns) / 1e3);
}

void Tally::publish(benchmark::State &state, double floor_us, uint64_t operations)
{
	publish_times(state, samples_us, "us");
	if (floor_us > 0)
		state.counters["floors"] = quantile(samples_us, 0.5) / floor_us;
	if (operations == 0)
		operations = samples_us.size();
	if (!counted_ || operations == 0)
		return;
	auto each = [&](const char *name, uint64_t value) {
		state.counters[name] = static_cast<double>(value) / static_cast<double>(operations);
	};

	each("messages", total_.sent + total_.received);
	each("round_trips", total_.received + total_.fetched);
	each("remote_events", total_.remote);
	if (total_.work_requests > 0) { /* a node on RDMA */
		each("work_requests", total_.work_requests);
		each("completions", total_.completions);
	}
}

} // namespace bench
