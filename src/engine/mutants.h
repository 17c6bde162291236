/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planted bugs, the tests of the tests. The library is built without any: MUTANT(name) is false. An
 * engine built with PERGOLA_MUTANTS has the one that `engine_mutant` says (tests/mutants/mutant.c
 * sets it), and tests/sim or tests/model must find it.
 */
#ifndef PERGOLA_ENGINE_MUTANTS_H
#define PERGOLA_ENGINE_MUTANTS_H

/* M(name, what is wrong) for each. */
#define MUTANTS(M)                                                                                 \
	M(EARLY_ACK, "an invalidation is acknowledged before the pager has done it")               \
	M(STALE_GRANT, "a frame one version behind is taken for current")                          \
	M(NO_VERSION, "a write does not count as a new version")                                   \
	M(EAGER_WRITE, "a write does not wait for readers that are still fetching")                \
	M(SHARED_WRITE, "a write does not wait for the last reader to go")                         \
	M(FIRST_WORD, "of a copy set, only the first word is looked at")                           \
	M(LOST_TAIL, "a queue forgets who came after its last was served")                         \
	M(FORGOTTEN_HOLD, "what waits for the hold time to end waits for ever")                    \
	M(OVERTAKING, "a pager command joins one before another about the page")                   \
	M(DEAF_HOME, "pages wait for a home that has become known otherwise")                      \
	M(DROPPED_WRITER, "an invalidation is forgotten when its writer is lost")                  \
	M(HASTY_REFUSAL, "a failed fetch is refused though there are other copies")                \
	M(OLD_SPARE, "a copy from before the latest write takes the owner's place")                \
	M(LOOSE_PIN, "a pinned page is taken away all the same")                                   \
	M(FORGOTTEN_PIN, "a recall that was put off by a pin is never carried out")                \
	M(DEAF_NOT_NOW, "who waits for a guess that is declined is forgotten")                     \
	M(SILENT_NOT_NOW, "a guess that is declined is not answered")                              \
	M(HASTY_LEAVER, "a recall is answered while the page is still being evicted")              \
	M(KEPT_EVICTED, "a frame that was given back keeps its version")                           \
	M(LOST_RETURN, "an owner goes before the page is back at home")                            \
	M(LATE_COLLECT, "the end of a collective call after a loss is taken for a breach")         \
	M(SECOND_GRANT, "a grant that is not waited for is taken for a breach")                    \
	M(TURNED_TO_READER, "a hint is turned to a reader too, whose request is sent on")          \
	M(DEAD_END, "a request that cannot be sent on is forgotten")                               \
	M(QUEUE_KEPT, "the requests that wait are not handed over with the page")                  \
	M(HASTY_HANDOVER, "a new manager serves others before the page is handed over")            \
	M(FORGETFUL_OWNER, "the old owner forgets the page before the new one has confirmed")      \
	M(DEAF_CENSUS, "a census does not ask whether a copy is still being fetched")              \
	M(NOT_ASKED_AGAIN, "what was asked for before a loss is not asked for again")              \
	M(EARLY_PUBLISH, "a release does not wait until its pages are published")                  \
	M(EARLY_UPDATED, "an update is acknowledged before it is in the frame")                    \
	M(STALE_UPGRADE, "who waits to write is left out of the update, and reads no bytes")       \
	M(FORGOTTEN_RECALL, "a page that was recalled is taken for published")                     \
	M(HASTY_RETURN, "an older version comes back though a holder has the new one")             \
	M(NO_RETURN, "an older version does not come back when its writer is lost")                \
	M(EARLY_DOWNGRADED, "a downgrade is acknowledged before the pager has done it")            \
	M(EARLY_CONFIRM, "a grant is confirmed before its bytes are here")                         \
	M(KEPT_VERSION, "a frame that a failed read left in pieces keeps its version")             \
	M(STICKY_READ, "an invalidation leaves a node that waits for an upgrade its copy")         \
	M(READ_BESIDE_WRITE, "a read is granted while the owner may be writing")                   \
	M(WRONG_SOURCE, "a grant names the manager's frame, whoever owns the page")                \
	M(UNSERVED_QUEUE, "who waits is not served after a confirmation")                          \
	M(ENDLESS_DOWNGRADE, "an owner that was downgraded is downgraded again")                   \
	M(VOID_STANDS, "a write granted to a lost node still counts")                              \
	M(LOST_HOLDER, "a lost node stays in copy sets")                                           \
	M(HASTY_HEIR, "a node that is still fetching takes a lost owner's place")                  \
	M(FICKLE_HOME, "a home goes to each node that claims it")                                  \
	M(LOST_WAKEUP, "the last reader to leave a lock wakes nobody")                             \
	M(DEAD_HOLDER, "a lock whose holder is lost goes to the next in the queue")                \
	M(LOOSE_LOCK, "a lock that is recalled is returned though a thread holds it")              \
	M(DEAF_HOLDER, "a recalled lock stays when its thread has released it")                    \
	M(FORGOTTEN_TRY, "who tries a lock is forgotten when it turns out to be held")             \
	M(SHORT_BARRIER, "a barrier opens when one thread is still missing")                       \
	M(OPEN_WHILE_WRITING, "the gate is open while the owner may be writing")                   \
	M(OPEN_FOR_GOOD, "the gate stays open when a write goes ahead")                            \
	M(LATE_CLOSE, "the gate is closed after its sharers were collected")                       \
	M(SILENT_CLEAR, "a sharer is not told that its bit was cleared")                           \
	M(HASTY_ANSWER, "a recall is answered while a fast read is under way")                     \
	M(MAPPED_LATE, "a fast read that a recall has met is shown all the same")                  \
	M(ADDED_TWICE, "a node adds its bit though it is set")                                     \
	M(FORGOTTEN_SHARERS, "a page is given up though it was read without a message")            \
	M(EMPTY_HEIR, "who had nothing to give up takes a lost owner's place")                     \
	M(OLD_GATE, "the gate names the lost owner when another has taken its place")              \
	M(GATE_AT_HOME, "the gate names the manager, whoever owns the page")

#ifdef PERGOLA_MUTANTS
#define MUTANT_ENUM(name, what) MUTANT_##name,
enum mutant { MUTANT_NONE = 0, MUTANTS(MUTANT_ENUM) MUTANT_END };
#undef MUTANT_ENUM

extern enum mutant engine_mutant;

#define MUTANT(name) (engine_mutant == MUTANT_##name)
#else
#define MUTANT(name) false
#endif

#endif
