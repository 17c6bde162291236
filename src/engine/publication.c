/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's side of pages under write-update. A writer leaves the copies of the others as they
 * are, one version behind; when it stops writing, because it was asked to or by itself, they are
 * all told to read its frame, and it is told when they have. Invariants:
 *   - EXCLUSIVE: every holder but the owner has the version before the entry's, mapped for reading;
 *   - UPDATING: nobody has the page mapped for writing. The stale holders have the version before,
 *     or the entry's and have not said so yet. Of those the failed could not read the owner's
 *     frame, and are asked nothing at present; the other stale ones will answer;
 *   - otherwise every holder whose grant is confirmed has the entry's version.
 * So while the owner's version has not come to anybody, what was published before it is still
 * there, whole, in every other holder's frame; and if the owner is lost it is the version again.
 */
#include "engine/directory.h"

/* Holders that are not known to have the entry's version. */
static uint64_t *stale_of(const struct engine *engine, struct page_id page)
{
	return engine->publications + page.value * 2 * engine->set_words;
}

/* Those of the stale that could not read it. */
static uint64_t *failed_of(const struct engine *engine, struct page_id page)
{
	return stale_of(engine, page) + engine->set_words;
}

static void tell(struct engine *engine, struct directory_entry *entry, struct page_id page,
		 size_t node)
{
	emit_grant(engine, node_id((unsigned int)node), MSG_UPDATE, page, owner_of(engine, entry),
		   entry->version);
}

static void over_if_none_stale(struct engine *engine, struct directory_entry *entry,
			       struct page_id page)
{
	if (!bitset_empty(stale_of(engine, page), engine->set_words))
		return;
	ROW("publication over");
	entry->state = DIRECTORY_QUIET;
	if (!flag(entry, DIRECTORY_ORPHANED))
		emit_run(engine, owner_of(engine, entry), MSG_PUBLISHED, page, node_id(0));
	set_flag(entry, DIRECTORY_ORPHANED, false);
}

/* The copies of the others are older now. */
void publication_begin(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	uint64_t *stale = stale_of(engine, page);

	ROW("update downgraded");
	entry->state = DIRECTORY_UPDATING;
	set_flag(entry, DIRECTORY_EXCLUSIVE, false);
	memcpy(stale, holders_of(entry), engine->set_words * sizeof(*stale));
	bitset_zero(failed_of(engine, page), engine->set_words);
	bitset_clear(stale, owner_of(engine, entry).value);
	if (MUTANT(STALE_UPGRADE) && entry->waiting_head != 0)
		bitset_clear(stale, engine->requests[entry->waiting_head - 1].node.value);
	for (size_t node = bitset_next(stale, engine->set_words, 0); node != BITSET_NONE;
	     node = bitset_next(stale, engine->set_words, node + 1))
		tell(engine, entry, page, node);
	over_if_none_stale(engine, entry, page);
}

/* Has the node been told something that it has not answered yet? */
static bool awaited(const struct engine *engine, const struct directory_entry *entry,
		    struct page_id page, size_t node)
{
	return entry->state == DIRECTORY_UPDATING && bitset_test(stale_of(engine, page), node) &&
	       !bitset_test(failed_of(engine, page), node);
}

/*
 * The owner is there, so who cannot read its frame has no connection to it:
 * such copies go.
 */
static void drop_failed(struct engine *engine, struct page_id page)
{
	uint64_t *failed = failed_of(engine, page);

	for (size_t node = bitset_next(failed, engine->set_words, 0); node != BITSET_NONE;
	     node = bitset_next(failed, engine->set_words, node + 1)) {
		ROW("owner answers");
		emit_run(engine, node_id((unsigned int)node), MSG_INVALIDATE, page, node_id(0));
	}
	bitset_zero(failed, engine->set_words);
}

int publication_updated(struct engine *engine, struct node_id from, const struct message_run *run)
{
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);
		struct directory_entry *entry = entry_of(engine, page);

		if (!awaited(engine, entry, page, from.value))
			return -EPROTO;
		ROW("updated");
		bitset_clear(stale_of(engine, page), from.value);
		if (node_equal(from, owner_of(engine, entry)))
			drop_failed(engine, page);
		over_if_none_stale(engine, entry, page);
		directory_pump(engine, entry, page);
	}
	return 0;
}

/*
 * The owner is mostly lost, and this node is about to hear of it; it is asked,
 * and either it answers or its loss does. Until then the copy that could not be updated is kept: it
 * may be the version to go back to.
 */
int publication_failed(struct engine *engine, struct node_id from, const struct message_run *run)
{
	for (uint32_t i = 0; i < run->page_count; i++) {
		struct page_id page = page_id(run->page + i);
		struct directory_entry *entry = entry_of(engine, page);
		struct node_id owner = owner_of(engine, entry);

		if (!awaited(engine, entry, page, from.value) || run->node != owner.value ||
		    node_equal(from, owner))
			return -EPROTO;
		ROW("update failed");
		bitset_set(failed_of(engine, page), from.value);
		if (!engine_down(engine, owner) &&
		    !bitset_test(stale_of(engine, page), owner.value)) {
			bitset_set(stale_of(engine, page), owner.value);
			tell(engine, entry, page, owner.value);
		}
		directory_pump(engine, entry, page);
	}
	return 0;
}

int publication_dropped(struct engine *engine, struct node_id from, struct page_id page)
{
	struct directory_entry *entry = entry_of(engine, page);

	if (!awaited(engine, entry, page, from.value))
		return -EPROTO;
	ROW("copy dropped");
	bitset_clear(holders_of(entry), from.value);
	bitset_clear(stale_of(engine, page), from.value);
	over_if_none_stale(engine, entry, page);
	directory_pump(engine, entry, page);
	return 0;
}

/* ---- loss ---- */

/*
 * The owner's version went down with it, and nobody has it; what was published before
 * is the version again. Version 0 is in every fresh frame, this node's own among them.
 */
static void go_back(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	size_t heir = bitset_next(holders_of(entry), engine->set_words, 0);

	ROW("return");
	bitset_zero(stale_of(engine, page), 2 * (size_t)engine->set_words);
	entry->state = DIRECTORY_QUIET;
	set_flag(entry, DIRECTORY_EXCLUSIVE, false);
	set_flag(entry, DIRECTORY_ORPHANED, false);
	ASSERT(entry->version > 0);
	if (entry->version == 1)
		entry->owner = 0;
	else if (heir != BITSET_NONE)
		entry->owner = (uint16_t)(heir + 1);
	else
		set_flag(entry, DIRECTORY_LOST, true);
	if (!flag(entry, DIRECTORY_LOST))
		entry->version--;
}

static bool any_awaited(const struct engine *engine, struct page_id page)
{
	const uint64_t *stale = stale_of(engine, page);
	const uint64_t *failed = failed_of(engine, page);

	for (size_t i = 0; i < engine->set_words; i++) {
		if ((stale[i] & ~failed[i]) != 0)
			return true;
	}
	return false;
}

/* The first holder that has the entry's version for certain; BITSET_NONE: none has. */
static size_t updated_holder(const struct engine *engine, struct directory_entry *entry,
			     struct page_id page)
{
	const uint64_t *holders = holders_of(entry);
	size_t node = bitset_next(holders, engine->set_words, 0);

	while (node != BITSET_NONE && bitset_test(stale_of(engine, page), node))
		node = bitset_next(holders, engine->set_words, node + 1);
	return node;
}

/*
 * Those who were in time have its version, which is published to the others
 * from one of them; if nobody was it has disappeared.
 */
static void adopt(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	uint64_t *failed = failed_of(engine, page);
	size_t heir = updated_holder(engine, entry, page);

	if (any_awaited(engine, page) && !MUTANT(HASTY_RETURN))
		return;
	if (heir == BITSET_NONE || MUTANT(HASTY_RETURN)) {
		go_back(engine, entry, page);
		return;
	}
	ROW("publisher lost");
	entry->owner = (uint16_t)(heir + 1);
	set_flag(entry, DIRECTORY_ORPHANED, true);
	for (size_t node = bitset_next(failed, engine->set_words, 0); node != BITSET_NONE;
	     node = bitset_next(failed, engine->set_words, node + 1))
		tell(engine, entry, page, node);
	bitset_zero(failed, engine->set_words);
	over_if_none_stale(engine, entry, page);
}

/* The lost have left the copy set already. Idempotent, as all mending. */
void publication_mend(struct engine *engine, struct directory_entry *entry, struct page_id page)
{
	uint64_t *sets = stale_of(engine, page);
	bool owner_lost = engine_down(engine, owner_of(engine, entry));

	if (flag(entry, DIRECTORY_LOST))
		return;
	if (flag(entry, DIRECTORY_EXCLUSIVE)) {
		if (owner_lost && !MUTANT(NO_RETURN)) {
			ROW("writer lost");
			go_back(engine, entry, page);
		}
		return;
	}
	if (entry->state != DIRECTORY_UPDATING)
		return;
	for (size_t i = 0; i < 2 * (size_t)engine->set_words; i++)
		sets[i] &= ~engine->down[i % engine->set_words];
	if (owner_lost)
		adopt(engine, entry, page);
	else
		over_if_none_stale(engine, entry, page);
}
