/* SPDX-License-Identifier: Apache-2.0 */
#include "kinds.h"

namespace bench
{

static bool possible(const Kind &kind, int nodes)
{
	if (kind.by_others > 0 && kind.by_others + 2 > nodes)
		return false;
	return kind.home < nodes && (kind.by_peer.empty() || nodes > 1);
}

std::vector<Kind> kinds_for(int nodes)
{
	const std::vector<Kind> all = {
		{ "first_touch/read/home_here", 0, {}, 0, false, false },
		{ "first_touch/write/home_here", 0, {}, 0, false, true },
		{ "first_touch/write/home_there", 1, {}, 0, false, true },
		{ "read/dirty_there/home_there", 1, { Step::write }, 0, false, false },
		{ "read/dirty_there/home_here", 0, { Step::write }, 0, false, false },
		{ "write/dirty_there/home_there", 1, { Step::write }, 0, false, true },
		{ "write/dirty_there/home_here", 0, { Step::write }, 0, false, true },
		{ "upgrade/nobody_else/home_here", 0, {}, 0, true, true },
		{ "upgrade/one_reader/home_there", 1, { Step::write }, 0, true, true },
		{ "upgrade/one_reader/home_here", 0, { Step::write }, 0, true, true },
		{ "read/clean_there/home_there", 1, { Step::write }, 1, false, false },
		{ "write/two_readers/home_there", 1, { Step::write }, 1, false, true },
		{ "read/dirty_there/home_third", 2, { Step::write }, 0, false, false },
		{ "read/clean_there/home_third", 2, { Step::write }, 1, false, false },
		{ "write/dirty_there/home_third", 2, { Step::write }, 0, false, true },
		{ "upgrade/one_reader/home_third", 2, { Step::write }, 0, true, true },
		{ "upgrade/seven_readers/home_here", 0, { Step::write }, 6, true, true },
		{ "upgrade/seven_readers/home_there", 1, { Step::write }, 6, true, true },
	};
	std::vector<Kind> kinds;

	for (const Kind &kind : all) {
		if (possible(kind, nodes))
			kinds.push_back(kind);
	}
	return kinds;
}

char *prepare(const Kind &kind, uint64_t page_count, char *again)
{
	const size_t bytes = page_count * DSM_PAGE_BYTES;
	char *pages =
		again != nullptr ? again : static_cast<char *>(dsm_malloc_at(bytes, kind.home));

	must(pages == nullptr ? -1 : 0);
	for (Step step : kind.by_peer)
		tell({ step, 1, pages, page_count });
	for (int node = 2; node < 2 + kind.by_others; node++)
		tell({ Step::read, node, pages, page_count });
	if (kind.read_here)
		tell({ Step::read, 0, pages, page_count });
	return pages;
}

} // namespace bench
