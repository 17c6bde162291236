/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker of histories: good and bad ones made by hand, a few lines each; and thousands of
 * small random ones, for which all orders of their operations are tried out.
 */
#include "history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct example {
	const char *name;
	const char *text;
	const char *wrong; /* what the verdict says, or NULL: nothing is wrong */
};

static const struct example examples[] = {
	{ "nothing", "", NULL },
	{ "comments", "# a\n\n# b\n", NULL },
	{ "overlapping store and loads",
	  "0.0 store x0 w=1 @10-50\n1.0 load x0 r=0 @20-30\n2.0 load x0 r=1 @20-25\n", NULL },
	{ "stale read", "0.0 store x0 w=1 @10-20\n1.0 load x0 r=0 @30-40\n", "stale value" },
	{ "stale read, where clocks do not compare",
	  "no-clock\n0.0 store x0 w=1 @10-20\n1.0 load x0 r=0 @30-40\n", NULL },
	{ "stale read of a store that may not have been",
	  "0.0 store x0 w=1 @10-\n1.0 load x0 r=0 @30-40\n", NULL },
	{ "stale read of a failed store",
	  "0.0 store x0 w=1 @10-20 failed\n1.0 load x0 r=0 @30-40\n", NULL },
	{ "a failed store takes effect late",
	  "0.0 store x0 w=1 @10-20 failed\n0.0 load x0 r=0 @21-22\n1.0 load x0 r=1 @30-40\n",
	  NULL },
	{ "a pending store takes effect, and not again",
	  "0.0 store x0 w=1 @10-\n1.0 load x0 r=1 @30-40\n2.0 load x0 r=0 @50-60\n",
	  "stale value" },
	{ "a value before its store", "0.0 load x0 r=1 @10-20\n1.0 store x0 w=1 @30-40\n",
	  "before it was written" },
	{ "a value before its pending store", "0.0 load x0 r=1 @10-20\n1.0 store x0 w=1 @30-\n",
	  "before it was written" },
	{ "a thread finds what it will write",
	  "no-clock\n0.0 load x0 r=1 @10-20\n0.0 store x0 w=1 @30-40\n",
	  "found a value before it was written" },
	{ "a value from nowhere", "0.0 load x0 r=7 @10-20\n", "nobody wrote the value 7" },
	{ "one value twice", "0.0 store x0 w=1 @10-20\n1.0 store x0 w=1 @30-40\n",
	  "written twice" },
	{ "another word's value", "0.0 store x0 w=1 @10-20\n1.0 load x1 r=1 @30-40\n",
	  "nobody wrote" },
	{ "back to an older value",
	  "no-clock\n0.0 xchg x0 w=1 r=0 @10-20\n1.0 xchg x0 w=2 r=1 @10-20\n"
	  "2.0 load x0 r=2 @10-20\n2.0 load x0 r=1 @30-40\n",
	  "an older value after a newer one" },
	{ "two readers, two orders",
	  "no-clock\n0.0 store x0 w=1 @10-20\n1.0 store x0 w=2 @10-20\n2.0 load x0 r=1 @10-20\n"
	  "2.0 load x0 r=2 @30-40\n3.0 load x0 r=2 @10-20\n3.0 load x0 r=1 @30-40\n",
	  "contradict each other" },
	{ "two readers at one time, two orders",
	  "0.0 store x0 w=1 @10-100\n1.0 store x0 w=2 @10-100\n2.0 load x0 r=1 @20-30\n"
	  "3.0 load x0 r=2 @40-50\n2.0 load x0 r=1 @60-70\n",
	  "stale value" },
	{ "a store within the time of another's value",
	  "0.0 store x0 w=1 @10-15\n1.0 store x0 w=2 @20-30\n2.0 load x0 r=1 @40-50\n",
	  "stale value" },
	{ "a store beside another's value",
	  "0.0 store x0 w=1 @10-35\n1.0 store x0 w=2 @20-30\n2.0 load x0 r=1 @40-50\n", NULL },

	/* atomic operations */
	{ "exchanges in turn",
	  "0.0 xchg e0 w=1 r=0 @10-20\n1.0 xchg e0 w=2 r=1 @15-40\n0.0 load e0 r=2 @50-60\n",
	  NULL },
	{ "lost update", "0.0 xchg e0 w=1 r=0 @10-20\n1.0 xchg e0 w=2 r=0 @15-40\n",
	  "replaced the same value 0" },
	{ "exchanges in a circle",
	  "no-clock\n0.0 xchg e0 w=1 r=2 @10-20\n1.0 xchg e0 w=2 r=1 @10-20\n", "in a circle" },
	{ "exchanges against time", "0.0 xchg e0 w=2 r=1 @10-20\n1.0 xchg e0 w=1 r=0 @30-40\n",
	  "before it was written" },
	{ "exchanges against time, far apart",
	  "0.0 xchg e0 w=1 r=0 @50-60\n1.0 xchg e0 w=2 r=1 @10-60\n2.0 xchg e0 w=3 r=2 @10-20\n",
	  "the first had ended before the second began" },
	{ "a store between a value and its replacement",
	  "0.0 store x0 w=1 @10-20\n1.0 store x0 w=2 @30-40\n2.0 xchg x0 w=3 r=1 @50-60\n",
	  "stale value" },
	{ "compare-exchanges",
	  "0.0 cas x0 w=1 e=0 r=0 @10-20\n1.0 cas x0 w=2 e=0 r=1 @30-40\n"
	  "1.0 cas x0 w=3 e=1 r=1 @50-60\n0.0 load x0 r=3 @70-80\n",
	  NULL },
	{ "two compare-exchanges succeed",
	  "0.0 cas x0 w=1 e=0 r=0 @10-20\n1.0 cas x0 w=2 e=0 r=0 @10-20\n",
	  "replaced the same value" },
	{ "a compare-exchange that failed wrote",
	  "0.0 cas x0 w=1 e=5 r=0 @10-20\n1.0 load x0 r=1 @30-40\n", "nobody wrote" },
	{ "a pending compare-exchange", "0.0 cas x0 w=1 e=0 @10-\n1.0 load x0 r=1 @30-40\n", NULL },
	{ "a pending compare-exchange of what another replaced",
	  "0.0 cas x0 w=1 e=0 @10-\n1.0 load x0 r=1 @30-40\n2.0 xchg x0 w=2 r=0 @10-20\n",
	  "replaced the same value" },
	{ "additions", "0.0 add a0 r=0 @10-20\n1.0 add a0 r=1 @10-20\n0.0 load a0 r=2 @30-40\n",
	  NULL },
	{ "additions that are not atomic",
	  "0.0 add a0 r=0 @10-20\n1.0 add a0 r=0 @10-20\n0.0 load a0 r=1 @30-40\n",
	  "two additions found the same value 0" },
	{ "a lost addition", "0.0 add a0 r=0 @10-20\n1.0 load a0 r=0 @30-40\n",
	  "had ended before" },
	{ "a pending addition", "0.0 add a0 @10-\n1.0 add a0 r=1 @30-40\n", NULL },
	{ "a pending addition that began later", "0.0 add a0 @50-\n1.0 add a0 r=1 @30-40\n",
	  "before it was written" },
	{ "more additions than there are", "0.0 add a0 @10-\n1.0 add a0 r=2 @30-40\n",
	  "nobody wrote" },

	/* several words; no times, so that the order alone decides */
	{ "store buffering",
	  "no-clock\n0.0 xchg e0 w=1 r=0 @10-20\n0.0 load e1 r=0 @30-40\n"
	  "1.0 xchg e1 w=2 r=0 @10-20\n1.0 load e0 r=0 @30-40\n",
	  "not sequentially consistent" },
	{ "store buffering, plain stores",
	  "no-clock\n0.0 store x0 w=1 @10-20\n0.0 load x1 r=0 @30-40\n"
	  "1.0 store x1 w=2 @10-20\n1.0 load x0 r=0 @30-40\n",
	  "not sequentially consistent" },
	{ "store buffering with one late",
	  "no-clock\n0.0 xchg e0 w=1 r=0 @10-20\n0.0 load e1 r=0 @30-40\n"
	  "1.0 xchg e1 w=2 r=0 @10-20\n1.0 load e0 r=1 @30-40\n",
	  NULL },
	{ "message passing",
	  "no-clock\n0.0 xchg e0 w=1 r=0 @10-20\n0.0 xchg e1 w=2 r=0 @30-40\n"
	  "1.0 load e1 r=2 @10-20\n1.0 load e0 r=0 @30-40\n",
	  "not sequentially consistent" },
	{ "load buffering",
	  "no-clock\n0.0 load e0 r=2 @10-20\n0.0 xchg e1 w=1 r=0 @30-40\n"
	  "1.0 load e1 r=1 @10-20\n1.0 xchg e0 w=2 r=0 @30-40\n",
	  "not sequentially consistent" },
	{ "independent reads of independent writes",
	  "no-clock\n0.0 xchg e0 w=1 r=0 @10-20\n1.0 xchg e1 w=2 r=0 @10-20\n"
	  "2.0 load e0 r=1 @10-20\n2.0 load e1 r=0 @30-40\n"
	  "3.0 load e1 r=2 @10-20\n3.0 load e0 r=0 @30-40\n",
	  "not sequentially consistent" },
	{ "independent reads that agree",
	  "no-clock\n0.0 xchg e0 w=1 r=0 @10-20\n1.0 xchg e1 w=2 r=0 @10-20\n"
	  "2.0 load e0 r=1 @10-20\n2.0 load e1 r=0 @30-40\n"
	  "3.0 load e1 r=2 @10-20\n3.0 load e0 r=1 @30-40\n",
	  NULL },
	{ "write-to-read causality",
	  "no-clock\n0.0 xchg e0 w=1 r=0 @10-20\n1.0 load e0 r=1 @10-20\n"
	  "1.0 add a0 r=0 @30-40\n2.0 load a0 r=1 @10-20\n2.0 load e0 r=0 @30-40\n",
	  "not sequentially consistent" },
	{ "2+2 writes",
	  "no-clock\n0.0 xchg e0 w=1 r=0 @10-20\n0.0 xchg e1 w=2 r=4 @30-40\n"
	  "1.0 xchg e1 w=4 r=0 @10-20\n1.0 xchg e0 w=3 r=1 @30-40\n",
	  NULL },
	{ "2+2 writes, crossed",
	  "no-clock\n0.0 xchg e0 w=1 r=3 @10-20\n0.0 xchg e1 w=2 r=0 @30-40\n"
	  "1.0 xchg e1 w=4 r=2 @10-20\n1.0 xchg e0 w=3 r=0 @30-40\n",
	  "not sequentially consistent" },
	{ "a failed store has no place in its thread's order",
	  "no-clock\n0.0 store x0 w=1 @10-20 failed\n0.0 load e1 r=0 @30-40\n"
	  "1.0 xchg e1 w=2 r=0 @10-20\n1.0 load x0 r=0 @30-40\n2.0 load x0 r=1 @10-20\n",
	  NULL },

	/* a node is lost: what it did last may be lost with it, what was seen may not */
	{ "a lost node's last store is undone",
	  "lost 0\n0.0 xchg e0 w=1 r=0 @10-20\n1.0 xchg e0 w=2 r=0 @30-40\n", NULL },
	{ "and what the node itself saw of it",
	  "lost 0\n0.0 xchg e0 w=1 r=0 @10-20\n0.1 load e0 r=1 @22-24\n"
	  "1.0 load e0 r=0 @30-40\n",
	  NULL },
	{ "but not when somebody has seen it",
	  "lost 0\n0.0 xchg e0 w=1 r=0 @10-20\n2.0 load e0 r=1 @22-24\n"
	  "1.0 xchg e0 w=2 r=0 @30-40\n",
	  "replaced the same value 0" },
	{ "nor one before another that somebody has seen",
	  "lost 0\n0.0 store x0 w=1 @10-20\n0.0 store x0 w=2 @25-30\n1.0 load x0 r=2 @40-50\n"
	  "2.0 load x0 r=0 @22-26\n",
	  "stale value" },
	{ "nor one before a later call",
	  "lost 0\nsettled\nset s0 1\n0.0 store x0 w=1 @10-20\n0.0 down s0 @22-24\n"
	  "1.0 load x0 r=0 @50-60\n",
	  "stale value" },
	{ "though one after the last call",
	  "lost 0\nsettled\nset s0 1\n0.0 down s0 @5-8\n0.0 store x0 w=1 @10-20\n"
	  "1.0 load x0 r=0 @50-60\n",
	  NULL },
	{ "a survivor's store is not undone",
	  "lost 0\n1.0 store x0 w=1 @10-20\n2.0 load x0 r=0 @30-40\n", "stale value" },
	{ "a lost node's addition is undone and done again",
	  "lost 0\n0.0 add a0 r=0 @10-20\n0.1 load a0 r=1 @22-24\n1.0 add a0 r=0 @30-40\n", NULL },
	{ "but not a survivor's",
	  "lost 0\n0.0 add a0 r=0 @10-20\n1.0 add a0 r=0 @30-40\n2.0 add a0 r=0 @50-60\n",
	  "two additions found the same value" },
	{ "an addition without a result after one that nobody saw",
	  "lost 0\n0.0 add a0 r=0 @10-20\n0.1 add a0 @15-\n1.0 load a0 r=2 @30-40\n", NULL },

	/* mutexes */
	{ "a counter and a queue",
	  "set m0 2\n0.0 put m0 w=7 r=0 g=1 @10-20 in=12-18\n"
	  "1.0 put m0 w=8 r=1 g=1 @11-30 in=21-28\n0.0 put m0 w=9 r=2 g=0 @25-40 in=30-35\n"
	  "1.0 get m0 r=3 g=7 @35-50 in=42-45\n0.0 count m0 r=4 @45-60 in=50-55\n"
	  "1.0 get m0 r=5 g=8 @55-70 in=60-65\n0.0 get m0 r=6 g=0 @65-80 in=70-75\n",
	  NULL },
	{ "reordered queue",
	  "set m0 4\n0.0 put m0 w=7 r=0 g=1 @10-20 in=12-18\n"
	  "1.0 put m0 w=8 r=1 g=1 @11-30 in=21-28\n0.0 get m0 r=2 g=8 @35-40 in=36-38\n",
	  "should have got 7" },
	{ "an element twice",
	  "set m0 4\n0.0 put m0 w=7 r=0 g=1 @10-20 in=12-18\n"
	  "1.0 get m0 r=1 g=7 @11-30 in=21-28\n0.0 get m0 r=2 g=7 @35-40 in=36-38\n",
	  "should have got 0" },
	{ "a lost element",
	  "set m0 4\n0.0 put m0 w=7 r=0 g=1 @10-20 in=12-18\n"
	  "1.0 get m0 r=1 g=0 @11-30 in=21-28\n",
	  "should have got 7" },
	{ "a full queue that took more",
	  "set m0 1\n0.0 put m0 w=7 r=0 g=1 @10-20 in=12-18\n"
	  "1.0 put m0 w=8 r=1 g=1 @11-30 in=21-28\n",
	  "should have got 0" },
	{ "a lost update under a lock",
	  "set m0 1\n0.0 count m0 r=0 @10-20 in=12-18\n1.0 count m0 r=0 @11-30 in=21-28\n",
	  "lost update" },
	{ "a number that nobody had", "set m0 1\n0.0 count m0 r=1 @10-20 in=12-18\n",
	  "nobody had the number before" },
	{ "two in the section",
	  "set m0 1\n0.0 count m0 r=0 @10-30 in=12-22\n1.0 count m0 r=1 @11-30 in=21-28\n",
	  "two held the lock at one time" },
	{ "numbers against time",
	  "set m0 1\n0.0 count m0 r=1 @10-20 in=12-18\n1.0 count m0 r=0 @25-30 in=26-28\n",
	  "two held the lock at one time" },
	{ "killed in the section",
	  "lost 0\nset m0 1\n0.0 count m0 @10- in=12-\n1.0 count m0 @11-30 failed\n", NULL },
	{ "killed in the section, and the lock given to another",
	  "lost 0\nset m0 1\n0.0 count m0 @10- in=12-\n1.0 count m0 r=1 @11-30 in=20-25\n",
	  "never gave the lock back" },
	{ "killed after the section",
	  "lost 0\nset m0 1\n0.0 count m0 r=0 @10- in=12-14\n"
	  "1.0 count m0 r=1 @11-30 in=20-25\n",
	  NULL },
	{ "a lost node's last sections undone",
	  "lost 0\nset m0 1\n0.0 count m0 r=0 @10-15 in=12-14\n"
	  "0.1 count m0 r=1 @10-18 in=16-17\n1.0 count m0 r=0 @11-30 in=20-25\n",
	  NULL },
	{ "a survivor's undone",
	  "lost 0\nset m0 1\n2.0 count m0 r=0 @10-15 in=12-14\n"
	  "1.0 count m0 r=0 @11-30 in=20-25\n",
	  "lost update" },

	/* reader-writer locks */
	{ "readers together",
	  "0.0 wrlock r0 r=0 @10-20 in=12-18\n1.0 rdlock r0 r=1 g=1 @11-40 in=20-35\n"
	  "2.0 rdlock r0 r=1 g=1 @11-45 in=22-40\n0.0 wrlock r0 r=1 @30-60 in=41-50\n",
	  NULL },
	{ "a writer among readers",
	  "0.0 wrlock r0 r=0 @10-20 in=12-18\n1.0 rdlock r0 r=1 g=1 @11-40 in=20-35\n"
	  "0.0 wrlock r0 r=1 @30-60 in=34-50\n",
	  "a writer was in while a reader was" },
	{ "a reader among writers",
	  "0.0 wrlock r0 r=0 @10-20 in=12-18\n1.0 rdlock r0 r=1 g=1 @11-40 in=16-35\n",
	  "before its version's writer was out" },
	{ "half of a writer's work",
	  "0.0 wrlock r0 r=0 @10-20 in=12-18\n1.0 rdlock r0 r=1 g=0 @11-40 in=20-35\n",
	  "half of a writer's work" },
	{ "an old version",
	  "0.0 wrlock r0 r=0 @10-20 in=12-18\n1.0 rdlock r0 r=0 g=0 @11-40 in=20-35\n",
	  "a writer was in while a reader was" },
	{ "a version that nobody made", "1.0 rdlock r0 r=1 g=1 @11-40 in=20-35\n",
	  "no writer made this version" },
	{ "two writers", "0.0 wrlock r0 r=0 @10-20 in=12-18\n1.0 wrlock r0 r=1 @11-40 in=17-35\n",
	  "two held the lock" },

	/* semaphores */
	{ "a semaphore of one",
	  "set s0 1\n0.0 down s0 @10-20\n1.0 trydown s0 r=0 @22-23\n0.0 up s0 @30-40\n"
	  "1.0 down s0 @25-35\n",
	  NULL },
	{ "two pass a semaphore of one", "set s0 1\n0.0 down s0 @10-20\n1.0 down s0 @10-21\n",
	  "more waits have returned" },
	{ "a wait before its post",
	  "set s0 1\n0.0 down s0 @10-20\n0.0 up s0 @30-40\n1.0 trydown s0 r=1 @21-29\n",
	  "more waits have returned" },
	{ "refused for no reason",
	  "set s0 1\n0.0 down s0 @10-20\n0.0 up s0 @30-40\n1.0 trydown s0 r=0 @41-45\n",
	  "refused" },
	{ "refused because of one who was killed",
	  "lost 0\nset s0 1\n0.0 down s0 @10-\n1.0 trydown s0 r=0 @41-45\n", NULL },

	/* barriers */
	{ "two rounds",
	  "set b0 2\n0.0 meet b0 r=1 @10-30\n1.0 meet b0 r=0 @20-25\n0.0 meet b0 r=0 @40-60\n"
	  "1.0 meet b0 r=1 @30-50\n",
	  NULL },
	{ "left before all had come", "set b0 2\n0.0 meet b0 r=1 @10-15\n1.0 meet b0 r=0 @20-25\n",
	  "left a round before" },
	{ "left, and one never came", "set b0 2\n0.0 meet b0 r=1 @10-15\n",
	  "not everybody had come" },
	{ "two are the one", "set b0 2\n0.0 meet b0 r=1 @10-25\n1.0 meet b0 r=1 @20-25\n",
	  "not exactly one" },
	{ "nobody is the one", "set b0 2\n0.0 meet b0 r=0 @10-25\n1.0 meet b0 r=0 @20-25\n",
	  "not exactly one" },
	{ "one failed because of a loss",
	  "lost 1\nset b0 2\n0.0 meet b0 @10-25 failed\n1.0 meet b0 @20-\n", NULL },

	/* not a history */
	{ "one thread, two operations at a time",
	  "0.0 load x0 r=0 @10-20\n0.0 load x0 r=0 @20-30\n", "not a history" },
};

static const char *const malformed[] = {
	"hello",
	"0.0 load",
	"0.0 load x0 @10-20",
	"0.0 load x0 r=0",
	"0.0 load x0 r=0 @10",
	"0.0 load x0 r=0 @20-10",
	"0.0 load x0 r=a @10-20",
	"0.0 load x0 r=0 @10-20x",
	"0.0 load x0 r=0 @10-20 q=1",
	"0.0 load x64 r=0 @10-20",
	"0.0 load m0 r=0 @10-20",
	"0.0 add x0 r=0 @10-20",
	"0.0 store e0 w=1 @10-20",
	"0.0 store x0 w=0 @10-20",
	"0.0 take x0 r=0 @10-20",
	"0.8 load x0 r=0 @10-20",
	"16.0 load x0 r=0 @10-20",
	"0.0x load x0 r=0 @10-20",
	"0.0 count m0 r=0 @10-20",
	"0.0 count m0 r=0 @10-20 in=12-",
	"0.0 load x0 @10- failed",
	"lost 16",
	"lost",
	"set x 5",
	"set x0",
	"a b c d e f g h i j k l m n o p q",
};

static bool parse_all(struct history *history, const char *text, const char **reason)
{
	char *copy = strdup(text);
	char *rest;
	bool good = true;

	history_init(history);
	for (char *line = strtok_r(copy, "\n", &rest); line != NULL && good;
	     line = strtok_r(NULL, "\n", &rest))
		good = history_parse(history, line, reason);
	free(copy);
	return good;
}

static void test_examples(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		const struct example *example = &examples[i];
		struct history history;
		struct verdict verdict;
		const char *reason = "";

		if (!parse_all(&history, example->text, &reason))
			fail_msg("%s: %s", example->name, reason);
		history_check(&history, &verdict);
		if (example->wrong == NULL && verdict.wrong)
			fail_msg("%s: good, but: %s", example->name, verdict.text);
		if (example->wrong != NULL && strstr(verdict.text, example->wrong) == NULL)
			fail_msg("%s: \"%s\" expected, not: %s", example->name, example->wrong,
				 verdict.text);
		history_fini(&history);
	}
}

static void test_malformed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		struct history history;
		const char *reason = NULL;

		history_init(&history);
		if (history_parse(&history, malformed[i], &reason))
			fail_msg("accepted: %s", malformed[i]);
		assert_non_null(reason);
		history_fini(&history);
	}
}

static char *written(const struct history *history)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *file = open_memstream(&text, &bytes);

	history_write(history, file);
	fclose(file);
	return text;
}

/* What is written is read again as the same, and the line of a mistake is told. */
static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		struct history history;
		struct history again;
		const char *reason = "";
		size_t line;

		assert_true(parse_all(&history, examples[i].text, &reason));
		char *text = written(&history);
		FILE *file = fmemopen(text, strlen(text) + 1, "r");

		history_init(&again);
		if (!history_read(&again, file, &reason, &line))
			fail_msg("%s: line %zu: %s\n%s", examples[i].name, line, reason, text);
		fclose(file);
		char *twice = written(&again);

		assert_string_equal(text, twice);
		assert_int_equal(history.count, again.count);
		free(text);
		free(twice);
		history_fini(&history);
		history_fini(&again);
	}
}

static void test_mistake(void **state)
{
	char text[] = "# first\n0.0 load x0 r=0 @10-20\n\nnonsense\n";
	FILE *file = fmemopen(text, strlen(text), "r");
	struct history history;
	const char *reason = NULL;
	size_t line = 0;

	(void)state;
	history_init(&history);
	assert_false(history_read(&history, file, &reason, &line));
	assert_int_equal(line, 4);
	fclose(file);
	history_fini(&history);
}

/* ---- small random histories against all orders ---- */

#define THREADS 3u
#define OPS_MAX 8u
#define WORDS 2u
#ifndef CASES
#define CASES 20000
#endif

/* Which words a random history has. */
enum mix { ONE_MIXED, EXCHANGED, ADDED, MIXED };

struct world {
	struct history history;
	struct history_op *by_thread[THREADS][OPS_MAX];
	unsigned int counts[THREADS];
};

struct place {
	unsigned int next[THREADS];
	uint64_t memory[WORDS];
};

static uint64_t random_state;

static unsigned int below(unsigned int limit)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned int)((random_state * UINT64_C(2685821657736338717) >> 33) % limit);
}

/* Carries the operation out. False: it cannot have found what it did. */
static bool carry_out(const struct history_op *op, uint64_t *word)
{
	bool known = op->state == HISTORY_DONE;
	uint64_t value = *word;

	switch ((unsigned int)op->kind) {
	case HISTORY_LOAD:
		return !known || value == op->result;
	case HISTORY_STORE:
		*word = op->written;
		return true;
	case HISTORY_EXCHANGE:
		*word = op->written;
		return !known || value == op->result;
	case HISTORY_COMPARE:
		if (value == op->expected)
			*word = op->written;
		return !known || value == op->result;
	default:
		*word = value + 1;
		return !known || value == op->result;
	}
}

static bool may_be_next(const struct world *world, const struct place *place, unsigned int thread)
{
	const struct history_op *op = world->by_thread[thread][place->next[thread]];

	for (unsigned int i = 0; i < THREADS && !world->history.no_clock; i++) {
		for (unsigned int k = place->next[i]; k < world->counts[i]; k++) {
			const struct history_op *other = world->by_thread[i][k];

			if (other->state == HISTORY_DONE && other->end_ns < op->begin_ns)
				return false;
		}
	}
	return true;
}

/* Is there an order of what is left? A pending operation, its thread's last, may be left out. */
static bool explains(const struct world *world, struct place place)
{
	bool done = true;

	for (unsigned int i = 0; i < THREADS; i++) {
		if (place.next[i] < world->counts[i] &&
		    world->by_thread[i][place.next[i]]->state == HISTORY_DONE)
			done = false;
	}
	if (done)
		return true;
	for (unsigned int i = 0; i < THREADS; i++) {
		struct place after = place;

		if (place.next[i] == world->counts[i] || !may_be_next(world, &place, i))
			continue;
		const struct history_op *op = world->by_thread[i][after.next[i]++];

		if (carry_out(op, &after.memory[op->object.number]) && explains(world, after))
			return true;
	}
	return false;
}

static char letter_of(enum mix mix)
{
	switch (mix) {
	case EXCHANGED:
		return 'e';
	case ADDED:
		return 'a';
	case ONE_MIXED:
	case MIXED:
		break;
	}
	return 'x';
}

static enum history_kind random_kind(char letter)
{
	static const enum history_kind mixed[] = {
		HISTORY_LOAD,  HISTORY_LOAD,	 HISTORY_STORE,
		HISTORY_STORE, HISTORY_EXCHANGE, HISTORY_COMPARE
	};

	if (letter == 'x')
		return mixed[below(6)];
	if (below(2) == 0)
		return HISTORY_LOAD;
	return letter == 'e' ? HISTORY_EXCHANGE : HISTORY_ADD;
}

/*
 * Carries random operations out one after the other, at 100, 200, ..., and then makes some find
 * what was there before. Their times reach out from there, so that some overlap.
 */
static void make_history(struct world *world, enum mix mix)
{
	uint64_t memory[WORDS] = { 0 };
	uint64_t older[WORDS] = { 0 };
	uint64_t ends[THREADS] = { 0 };
	unsigned int count = 3 + below(OPS_MAX - 2);

	history_init(&world->history);
	for (unsigned int i = 0; i < count; i++) {
		struct history_op op = { .node = below(THREADS), .state = HISTORY_DONE };
		uint64_t now = 100 * (i + 1);
		uint64_t earliest = ends[op.node] + 1;

		op.object = (struct history_object){ letter_of(mix),
						     mix == ONE_MIXED ? 0 : below(WORDS) };
		uint64_t *word = &memory[op.object.number];

		op.kind = random_kind(op.object.letter);
		op.written = i + 1;
		op.expected = below(3) == 0 ? older[op.object.number] : *word;
		op.result = below(5) == 0 ? older[op.object.number] : *word;
		op.begin_ns = now - below(350);
		if ((int64_t)op.begin_ns < (int64_t)earliest)
			op.begin_ns = earliest;
		op.end_ns = now + below(90);
		if (op.end_ns <= op.begin_ns)
			op.end_ns = op.begin_ns + 1;
		ends[op.node] = op.end_ns;
		uint64_t before = *word;
		struct history_op blind = op;

		blind.state = HISTORY_PENDING;
		carry_out(&blind, word);
		if (*word != before)
			older[op.object.number] = before;
		history_add(&world->history, &op);
	}
}

/* Sometimes a thread's last operation has no end. */
static void sort_by_thread(struct world *world)
{
	memset(world->counts, 0, sizeof(world->counts));
	for (size_t i = 0; i < world->history.count; i++) {
		struct history_op *op = &world->history.ops[i];

		world->by_thread[op->node][world->counts[op->node]++] = op;
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		if (world->counts[i] == 0 || below(4) != 0)
			continue;
		struct history_op *op = world->by_thread[i][world->counts[i] - 1];

		op->state = HISTORY_PENDING;
		op->end_ns = 0;
	}
}

struct tally {
	unsigned int good;
	unsigned int bad;
	unsigned int missed; /* bad, and the checker does not say so */
};

/* The checker must never call a history bad that some order explains. */
static void compare(const struct world *world, struct tally *tally, bool exact)
{
	static const struct place start;
	struct verdict verdict = { .wrong = false };
	bool good = explains(world, start);

	history_check_words(&world->history, &verdict);
	tally->good += good;
	tally->bad += !good;
	tally->missed += !good && !verdict.wrong;
	if (good == !verdict.wrong || (!good && !exact))
		return;
	char *text = written(&world->history);

	fail_msg("%s by all orders, %s by the checker: %s\n%s", good ? "good" : "bad",
		 verdict.wrong ? "bad" : "good", verdict.text, text);
}

static void try_many(enum mix mix, bool no_clock, bool exact)
{
	struct tally tally = { 0, 0, 0 };
	struct world world;

	random_state = 12345 + mix;
	for (int i = 0; i < CASES; i++) {
		make_history(&world, mix);
		sort_by_thread(&world);
		world.history.no_clock = no_clock;
		compare(&world, &tally, exact);
		history_fini(&world.history);
	}
	print_message("%u good, %u bad, %u of these missed\n", tally.good, tally.bad, tally.missed);
	assert_true(tally.good > CASES / 20 && tally.bad > CASES / 20);
	assert_true(tally.missed < tally.bad / 10);
}

/* With times: exact, whatever the words. */
static void test_linearizability(void **state)
{
	(void)state;
	try_many(ONE_MIXED, false, true);
	try_many(MIXED, false, true);
	try_many(EXCHANGED, false, true);
	try_many(ADDED, false, true);
}

/* Without: exact for one word, and for several where all writes are atomic operations. */
static void test_orders(void **state)
{
	(void)state;
	try_many(ONE_MIXED, true, true);
	try_many(EXCHANGED, true, true);
	try_many(ADDED, true, true);
	try_many(MIXED, true, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),	cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_files),		cmocka_unit_test(test_mistake),
		cmocka_unit_test(test_linearizability), cmocka_unit_test(test_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
