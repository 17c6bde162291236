/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page faults and signals, whichever way faults are delivered: a program's own handler of SIGBUS
 * gets what is not the library's, set before or after joining; faults in signal handlers, with
 * every signal blocked, on an alternate stack, on many threads at once; a handler that jumps out of
 * a fault; errno; a real SIGBUS that nobody handles.
 */
#include "check.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGES 256
#define THREADS 48
#define STACK_BYTES ((size_t)64 << 10)

static unsigned char *pages;
static unsigned char *beyond; /* mapped, and behind the end of its file */
static int self;
static int count;
static int next_page;

static void meet(void)
{
	CHECK_OK(dsm_barrier());
}

/*
 * A page that the node before this one has written: a fault here. All nodes call it alike, and each
 * page only once.
 */
static volatile unsigned char *strange_page(void)
{
	volatile unsigned char *page = pages + (size_t)next_page * DSM_PAGE_BYTES;
	int writer = (next_page + 1) % count;

	CHECK(next_page < PAGES - count);
	if (self == writer) {
		for (int i = 0; i < count; i++)
			page[i * DSM_PAGE_BYTES] = (unsigned char)(next_page + 1);
	}
	meet();
	next_page += count;
	return page + (size_t)self * DSM_PAGE_BYTES;
}

static unsigned char value_of_page(void)
{
	return (unsigned char)(next_page - count + 1);
}

/* ---- a handler of the program ---- */

static sigjmp_buf jump;
static void *volatile bus_addr;
static volatile int bus_count;

static void on_bus(int number, siginfo_t *info, void *context)
{
	(void)context;
	CHECK_IS(number, SIGBUS);
	bus_addr = info->si_addr;
	bus_count = bus_count + 1;
	siglongjmp(jump, 1);
}

static void on_bus_plain(int number)
{
	CHECK_IS(number, SIGBUS);
	bus_count = bus_count + 100;
	siglongjmp(jump, 1);
}

static void on_bus_sent(int number)
{
	CHECK_IS(number, SIGBUS);
	bus_count = bus_count + 1000;
}

static void raise_bus(int handled)
{
	int before = bus_count;

	if (sigsetjmp(jump, 1) == 0) {
		(void)*(volatile unsigned char *)beyond;
		check_fail(__FILE__, __LINE__, "a load behind the file's end", 0);
	}
	CHECK_IS(bus_count, before + handled);
}

static void set_handler(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };

	action.sa_sigaction = on_bus;
	CHECK_OK(sigaction(SIGBUS, &action, NULL));
}

/* Set before joining; faults of both kinds by turns. */
static void handler_of_before(void)
{
	for (int i = 0; i < 3; i++) {
		volatile unsigned char *page = strange_page();

		raise_bus(1);
		CHECK(bus_addr == beyond);
		CHECK_IS(*page, value_of_page());
		*page = 1;
		raise_bus(1);
	}
}

static void handler_of_after(void)
{
	struct sigaction action = { .sa_handler = on_bus_plain };
	struct sigaction before;
	volatile unsigned char *page = strange_page();

	CHECK_OK(sigaction(SIGBUS, &action, &before));
	CHECK(before.sa_sigaction == on_bus && (before.sa_flags & SA_SIGINFO) != 0);
	CHECK_IS(*page, value_of_page());
	raise_bus(100);
	CHECK_OK(sigaction(SIGBUS, NULL, &before));
	CHECK(before.sa_handler == on_bus_plain);
	page = strange_page();
	CHECK(signal(SIGBUS, on_bus_sent) == on_bus_plain);
	CHECK_IS(*page, value_of_page());
	CHECK_OK(raise(SIGBUS));
	CHECK_IS(bus_count % 10000, bus_count);
	CHECK(bus_count >= 1000);
	CHECK(signal(SIGBUS, SIG_IGN) == on_bus_sent);
	CHECK_OK(raise(SIGBUS));
	page = strange_page();
	CHECK_IS(*page, value_of_page());
	set_handler();
	raise_bus(1);
}

/* ---- faults in handlers, and with signals blocked ---- */

static volatile unsigned char *wanted;
static volatile int seen;

static void on_signal(int number)
{
	(void)number;
	seen = *wanted;
	*wanted = 200;
}

static void in_handler(int flags)
{
	struct sigaction action = { .sa_flags = flags, .sa_handler = on_signal };

	sigfillset(&action.sa_mask);
	CHECK_OK(sigaction(SIGUSR1, &action, NULL));
	wanted = strange_page();
	seen = 0;
	CHECK_OK(pthread_kill(pthread_self(), SIGUSR1));
	CHECK_IS(seen, value_of_page());
	CHECK_IS(*wanted, 200);
}

static void *on_other_stack(void *unused)
{
	static _Alignas(16) unsigned char stack[STACK_BYTES];
	stack_t other = { .ss_sp = stack, .ss_size = sizeof(stack) };

	(void)unused;
	CHECK_OK(sigaltstack(&other, NULL));
	in_handler(SA_ONSTACK);
	other.ss_flags = SS_DISABLE;
	CHECK_OK(sigaltstack(&other, NULL));
	return NULL;
}

static void *with_all_blocked(void *unused)
{
	volatile unsigned char *page = strange_page();
	sigset_t all;

	(void)unused;
	sigfillset(&all);
	CHECK_OK(pthread_sigmask(SIG_BLOCK, &all, NULL));
	CHECK_IS(*page, value_of_page());
	*page = 9;
	CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
	page = strange_page();
	CHECK_IS(*page, value_of_page());
	return NULL;
}

static void on_thread(void *(*body)(void *))
{
	pthread_t thread;

	CHECK_OK(pthread_create(&thread, NULL, body, NULL));
	CHECK_OK(pthread_join(thread, NULL));
}

/* ---- many threads ---- */

static unsigned char *crowd_pages;
static pthread_barrier_t crowd_gate;

static void *one_of_crowd(void *argument)
{
	size_t number = (size_t)argument;
	volatile uint32_t *shared = (volatile uint32_t *)crowd_pages;
	volatile unsigned char *own = crowd_pages + (1 + number) * DSM_PAGE_BYTES;

	pthread_barrier_wait(&crowd_gate);
	errno = 4321;
	for (int i = 0; i < 20; i++) {
		__atomic_fetch_add(shared + i * 40, 1, __ATOMIC_RELAXED);
		own[self * 8 + i % 8] = (unsigned char)i;
		CHECK_IS(own[self * 8 + i % 8], i);
	}
	CHECK_IS(errno, 4321);
	return NULL;
}

static void crowd(void)
{
	pthread_t threads[THREADS];

	crowd_pages = pages + (size_t)PAGES * DSM_PAGE_BYTES;
	CHECK_OK(pthread_barrier_init(&crowd_gate, NULL, THREADS));
	for (size_t i = 0; i < THREADS; i++)
		CHECK_OK(pthread_create(&threads[i], NULL, one_of_crowd, (void *)i));
	for (int i = 0; i < THREADS; i++)
		CHECK_OK(pthread_join(threads[i], NULL));
	meet();
	for (int i = 0; i < 20; i++)
		CHECK_IS(((uint32_t *)crowd_pages)[i * 40], THREADS * count);
	meet();
}

/* ---- jumping out of a fault ---- */

static sigjmp_buf alarm_jump;

static void on_alarm(int number)
{
	(void)number;
	siglongjmp(alarm_jump, 1);
}

/* ThreadSanitizer delivers a signal when the thread next calls something: not amid a load. */
#ifdef __SANITIZE_THREAD__
#define SIGNALS_INTERRUPT_LOADS (strcmp(dsm_option_get("delivery"), "inline") == 0)
#else
#define SIGNALS_INTERRUPT_LOADS true
#endif

/* Node 0 keeps the page; the others lose patience, do something else, and have it in the end. */
static void jump_out(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	unsigned char *page = pages + (size_t)(PAGES - 1) * DSM_PAGE_BYTES;
	volatile unsigned char *other = strange_page();
	volatile bool jumped = false;

	CHECK_OK(sigaction(SIGALRM, &action, NULL));
	if (self == 0)
		CHECK_OK(dsm_pin(page, 1, DSM_WRITE)); /* nobody has touched it */
	meet();
	if (self != 0) {
		jumped = sigsetjmp(alarm_jump, 1) != 0;
		if (!jumped) {
			ualarm(100000, 0);
			*(volatile unsigned char *)page = 5;
		}
		CHECK(jumped);
		CHECK_IS(*other, value_of_page());
	}
	meet();
	if (self == 0)
		CHECK_OK(dsm_unpin(page, 1, DSM_WRITE));
	meet();
	*(volatile unsigned char *)(page + self) = 6;
	meet();
	CHECK_IS(*page, 6);
	meet();
}

/* ---- nobody handles it ---- */

static void unhandled(void)
{
	int status = 0;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		signal(SIGBUS, SIG_DFL);
		(void)*(volatile unsigned char *)beyond;
		_exit(0);
	}
	CHECK_IS(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	meet();
}

int main(void)
{
	int fd = memfd_create("empty", MFD_CLOEXEC);

	CHECK(fd >= 0);
	beyond = mmap(NULL, DSM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(beyond != MAP_FAILED);
	set_handler();
	check_start(8 << 20);
	pages = dsm_reserve(NULL, (size_t)(PAGES + THREADS + 1) * DSM_PAGE_BYTES);
	CHECK(pages != NULL);
	self = dsm_node_id();
	count = dsm_node_count();
	handler_of_before();
	handler_of_after();
	in_handler(0);
	on_thread(on_other_stack);
	on_thread(with_all_blocked);
	crowd();
	if (SIGNALS_INTERRUPT_LOADS)
		jump_out();
	unhandled();
	CHECK_OK(dsm_finish());
	raise_bus(1); /* the program's again */
	return 0;
}
