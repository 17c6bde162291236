/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node of a recorded job: history_job DESCRIPTOR, which is that of the records (records.h). Its
 * threads do what the plan's seed says to shared words and to data under locks, and note each
 * operation before it begins and when it has ended. `history run` starts the nodes, judges what
 * they noted, and may stop or kill some meanwhile.
 */
#include "check.h"
#include "records.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define WINDOW_STEPS 16u /* so long a thread stays with a few words, the same for all threads */
#define WINDOW_WORDS 5u
#define ROUND_STEPS 32u /* then all threads meet */
#define LEAVE_S 60u
#define NAMES_PAGE (RECORDS_WORDS + 2 * RECORDS_MUTEXES + 2 * RECORDS_RWLOCKS)

struct worker {
	unsigned int thread;
	uint64_t random;
	uint64_t last_ns;      /* the latest time noted */
	uint64_t value_count;  /* values made so far */
	uint64_t window;       /* the first of the words in use */
	struct history_op *op; /* the one under way */
	uint64_t seen[RECORDS_WORDS];
	bool given_up[26][HISTORY_NUMBERS_MAX]; /* objects that a loss has made unusable */
	pthread_t handle;
};

/* Under a mutex; with `spread` the queue's copy on the next page is the one in use. */
struct guarded {
	uint64_t number;
	uint64_t put_count;
	uint64_t get_count;
	uint64_t slots[RECORDS_QUEUE];
};

static struct records *records;
static const struct records_plan *plan;
static unsigned char *blocks[HISTORY_NODES_MAX]; /* one homed on each node */
static unsigned char *private_words;
static unsigned int self;

static _Thread_local sigjmp_buf jump;
static _Thread_local volatile sig_atomic_t may_jump;

/* ---- where things are ---- */

static void *page(unsigned int number)
{
	return blocks[number % plan->node_count] +
	       (size_t)(number / plan->node_count) * DSM_PAGE_BYTES;
}

static uint64_t *word_at(unsigned int index)
{
	unsigned char *base = page(index % plan->word_pages);

	if (private_words != NULL)
		base = private_words + (size_t)(index % plan->word_pages) * DSM_PAGE_BYTES;
	return (uint64_t *)base + 8 * (size_t)(index / plan->word_pages);
}

static struct history_object word_object(unsigned int index)
{
	if (index < RECORDS_MIXED)
		return (struct history_object){ 'x', index };
	if (index < RECORDS_MIXED + RECORDS_EXCHANGED)
		return (struct history_object){ 'e', index - RECORDS_MIXED };
	return (struct history_object){ 'a', index - RECORDS_MIXED - RECORDS_EXCHANGED };
}

static struct guarded *mutex_data(unsigned int number, bool second)
{
	return page(RECORDS_WORDS + 2 * number + second);
}

static uint64_t *version_at(unsigned int number, bool second)
{
	uint64_t *words =
		page(RECORDS_WORDS + 2 * RECORDS_MUTEXES + 2 * number + (second && plan->spread));

	return second ? words + 64 : words;
}

static unsigned char *semaphore_name(unsigned int number)
{
	return (unsigned char *)page(NAMES_PAGE) + 16 + 16 * number;
}

static void *barrier_name(void)
{
	return page(NAMES_PAGE);
}

/* ---- noting ---- */

/* What stands before the call has happened by the time that it returns; nothing after it has. */
static void order_time(void)
{
#if defined(__x86_64__)
	__builtin_ia32_lfence();
#elif defined(__aarch64__)
	__asm__ volatile("dsb ish\n\tisb" ::: "memory");
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Later than the thread's last time, so that its operations do not touch each other. */
static uint64_t stamp(struct worker *worker)
{
	uint64_t now;

	order_time();
	do
		now = check_now_ns() - plan->zero_ns;
	while (now <= worker->last_ns);
	order_time();
	worker->last_ns = now;
	return now;
}

static struct history_op *begin(struct worker *worker, enum history_kind kind,
				struct history_object object)
{
	struct records_thread *thread = records_thread(records, self, worker->thread);
	uint32_t count = __atomic_load_n(&thread->count, __ATOMIC_RELAXED);

	CHECK(count < records_capacity(plan));
	worker->op = &records_ops(records, self, worker->thread)[count];
	*worker->op = (struct history_op){
		.node = self, .thread = worker->thread, .kind = kind, .object = object
	};
	worker->op->begin_ns = stamp(worker);
	__atomic_store_n(&thread->count, count + 1, __ATOMIC_RELEASE);
	return worker->op;
}

static void end(struct worker *worker, bool done)
{
	worker->op->end_ns = stamp(worker);
	__atomic_store_n(&worker->op->state, done ? HISTORY_DONE : HISTORY_FAILED,
			 __ATOMIC_RELEASE);
}

/* A value that nobody else writes. */
static uint64_t fresh_value(struct worker *worker)
{
	uint64_t thread = (uint64_t)self * plan->thread_count + worker->thread + 1;

	return thread * 1000000 + ++worker->value_count;
}

/* ---- losses ---- */

static void on_bus_error(int number)
{
	if (may_jump)
		siglongjmp(jump, 1);
	signal(number, SIG_DFL);
}

/* False: SIGBUS, since what it touched is lost. */
static bool attempt(struct worker *worker, void (*act)(struct worker *worker))
{
	if (sigsetjmp(jump, 1) != 0) {
		may_jump = 0;
		return false;
	}
	may_jump = 1;
	act(worker);
	may_jump = 0;
	return true;
}

/* True: done. False: not, because of a loss; the object is not used any more. */
static bool succeeded(struct worker *worker, int status)
{
	const struct history_object *object = &worker->op->object;

	if (status >= 0)
		return true;
	if (!plan->loses || (status != -EHOSTDOWN && status != -EOWNERDEAD))
		check_fail(__FILE__, __LINE__, "an operation of the history", status);
	worker->given_up[object->letter - 'a'][object->number] = true;
	return false;
}

static bool given_up(const struct worker *worker, char letter, unsigned int number)
{
	return worker->given_up[letter - 'a'][number];
}

/* ---- words ---- */

static void delay(struct worker *worker)
{
	switch (check_below(&worker->random, 24)) {
	case 0:
		sched_yield();
		break;
	case 1:
		usleep((useconds_t)check_below(&worker->random, 200));
		break;
	default:
		break;
	}
}

static unsigned int word_index(struct history_object object)
{
	switch (object.letter) {
	case 'x':
		return object.number;
	case 'e':
		return RECORDS_MIXED + object.number;
	default:
		return RECORDS_MIXED + RECORDS_EXCHANGED + object.number;
	}
}

/*
 * Not instrumented: ThreadSanitizer carries atomic operations out under a lock of its own, which
 * one that ends in SIGBUS would keep for ever.
 */
__attribute__((noinline, no_sanitize("thread"))) static uint64_t
touch_word(uint64_t *word, const struct history_op *op)
{
	uint64_t value = op->expected;

	if (op->kind == HISTORY_LOAD)
		return __atomic_load_n(word, __ATOMIC_SEQ_CST);
	if (op->kind == HISTORY_ADD)
		return __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
	if (op->kind == HISTORY_EXCHANGE)
		return __atomic_exchange_n(word, op->written, __ATOMIC_SEQ_CST);
	if (op->kind == HISTORY_STORE) {
		__atomic_store_n(word, op->written, __ATOMIC_SEQ_CST);
		return op->written;
	}
	__atomic_compare_exchange_n(word, &value, op->written, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	return value;
}

static uint64_t add_in_parts(struct worker *worker, uint64_t *word)
{
	uint64_t value = __atomic_load_n(word, __ATOMIC_SEQ_CST);

	delay(worker);
	__atomic_store_n(word, value + 1, __ATOMIC_SEQ_CST);
	return value;
}

static void act_on_word(struct worker *worker)
{
	struct history_op *op = worker->op;
	uint64_t *word = word_at(word_index(op->object));

	if (op->kind == HISTORY_ADD && plan->fault == FAULT_SPLIT)
		op->result = add_in_parts(worker, word);
	else
		op->result = touch_word(word, op);
}

static enum history_kind choose_kind(struct worker *worker, char letter)
{
	static const enum history_kind mixed[] = { HISTORY_LOAD, HISTORY_LOAD, HISTORY_STORE,
						   HISTORY_EXCHANGE, HISTORY_COMPARE };
	bool loads = check_below(&worker->random, 2) == 0;

	if (letter == 'x')
		return mixed[check_below(&worker->random, 5)];
	if (loads)
		return HISTORY_LOAD;
	return letter == 'e' ? HISTORY_EXCHANGE : HISTORY_ADD;
}

static void do_word(struct worker *worker, unsigned int index, enum history_kind kind)
{
	struct history_op *op = begin(worker, kind, word_object(index));

	if (kind == HISTORY_STORE || kind == HISTORY_EXCHANGE || kind == HISTORY_COMPARE)
		op->written = fresh_value(worker);
	op->expected = worker->seen[index];
	bool done = attempt(worker, act_on_word);

	CHECK(done || plan->loses);
	end(worker, done);
	bool swapped = kind == HISTORY_COMPARE && op->result == op->expected;

	if (done)
		worker->seen[index] =
			swapped || kind == HISTORY_EXCHANGE ? op->written : op->result;
}

/* As a processor with a store buffer would do it. */
static void load_early(struct worker *worker, unsigned int index, unsigned int other)
{
	uint64_t value = __atomic_load_n(word_at(other), __ATOMIC_SEQ_CST);

	do_word(worker, index, HISTORY_EXCHANGE);
	begin(worker, HISTORY_LOAD, word_object(other))->result = value;
	end(worker, true);
}

static unsigned int window_word(struct worker *worker)
{
	return (unsigned int)((worker->window + check_below(&worker->random, WINDOW_WORDS)) %
			      RECORDS_WORDS);
}

static void step_words(struct worker *worker)
{
	unsigned int index = window_word(worker);
	enum history_kind kind = choose_kind(worker, word_object(index).letter);
	unsigned int other = window_word(worker);

	if (plan->fault == FAULT_EARLY && kind == HISTORY_EXCHANGE && other != index)
		load_early(worker, index, other);
	else
		do_word(worker, index, kind);
}

/* ---- under locks ---- */

static void act_in_mutex(struct worker *worker)
{
	struct history_op *op = worker->op;
	struct guarded *data = mutex_data(op->object.number, false);
	struct guarded *queue = mutex_data(op->object.number, plan->spread);

	op->result = data->number;
	data->number = op->result + 1;
	delay(worker);
	if (op->kind == HISTORY_PUT) {
		op->got = queue->put_count - queue->get_count < RECORDS_QUEUE;
		if (op->got == 1)
			queue->slots[queue->put_count++ % RECORDS_QUEUE] = op->written;
	} else if (op->kind == HISTORY_GET) {
		op->got = 0;
		if (queue->put_count != queue->get_count)
			op->got = queue->slots[queue->get_count++ % RECORDS_QUEUE];
	}
}

static void act_in_rwlock(struct worker *worker)
{
	struct history_op *op = worker->op;
	uint64_t *version = version_at(op->object.number, false);
	uint64_t *copy = version_at(op->object.number, true);

	op->result = *version;
	if (op->kind == HISTORY_WRITE_LOCKED) {
		*version = op->result + 1;
		delay(worker);
		*copy = op->result + 1;
	} else {
		delay(worker);
		op->got = *copy;
	}
}

/* First a try, at times; then waiting. */
static int take(struct worker *worker, int (*try)(void *name), int (*lock)(void *name), void *name)
{
	int status = -EBUSY;

	if (plan->fault == FAULT_UNLOCKED)
		return 0;
	if (check_below(&worker->random, 3) == 0)
		status = try(name);
	return status == -EBUSY ? lock(name) : status;
}

static int release(int (*unlock)(void *name), void *name)
{
	return plan->fault == FAULT_UNLOCKED ? 0 : unlock(name);
}

static void end_section(struct worker *worker, void (*act)(struct worker *worker),
			int (*unlock)(void *name), void *name)
{
	worker->op->entered_ns = stamp(worker);
	bool done = attempt(worker, act);

	CHECK(done || plan->loses);
	if (done)
		worker->op->left_ns = stamp(worker);
	else
		worker->given_up[worker->op->object.letter - 'a'][worker->op->object.number] = true;
	done = succeeded(worker, release(unlock, name)) && done;
	end(worker, done);
}

static void step_mutex(struct worker *worker)
{
	static const enum history_kind kinds[] = { HISTORY_COUNT, HISTORY_PUT, HISTORY_PUT,
						   HISTORY_GET, HISTORY_GET };
	unsigned int number = (unsigned int)check_below(&worker->random, RECORDS_MUTEXES);
	enum history_kind kind = kinds[check_below(&worker->random, 5)];
	void *name = mutex_data(number, false);

	if (given_up(worker, 'm', number))
		return;
	struct history_op *op = begin(worker, kind, (struct history_object){ 'm', number });

	if (kind == HISTORY_PUT)
		op->written = fresh_value(worker);
	if (succeeded(worker, take(worker, dsm_trylock, dsm_lock, name)))
		end_section(worker, act_in_mutex, dsm_unlock, name);
	else
		end(worker, false);
}

static void step_rwlock(struct worker *worker)
{
	unsigned int number = (unsigned int)check_below(&worker->random, RECORDS_RWLOCKS);
	bool writes = check_below(&worker->random, 3) == 0;
	void *name = version_at(number, false);

	if (given_up(worker, 'r', number))
		return;
	begin(worker, writes ? HISTORY_WRITE_LOCKED : HISTORY_READ_LOCKED,
	      (struct history_object){ 'r', number });
	if (succeeded(worker, take(worker, writes ? dsm_rwlock_trywrlock : dsm_rwlock_tryrdlock,
				   writes ? dsm_rwlock_wrlock : dsm_rwlock_rdlock, name)))
		end_section(worker, act_in_rwlock, dsm_rwlock_unlock, name);
	else
		end(worker, false);
}

static bool take_down(struct worker *worker, unsigned int number, bool try)
{
	void *name = semaphore_name(number);

	begin(worker, try ? HISTORY_TRY_DOWN : HISTORY_DOWN,
	      (struct history_object){ 's', number });
	int status = try ? dsm_sem_trywait(name) : dsm_sem_wait(name);
	bool refused = try && status == -EAGAIN;

	worker->op->result = !refused;
	bool done = refused || succeeded(worker, status);

	end(worker, done);
	return done && !refused;
}

static void step_semaphore(struct worker *worker)
{
	unsigned int number = (unsigned int)check_below(&worker->random, RECORDS_SEMAPHORES);
	bool try = check_below(&worker->random, 2) == 0;

	if (given_up(worker, 's', number) || !take_down(worker, number, try))
		return;
	delay(worker);
	begin(worker, HISTORY_UP, (struct history_object){ 's', number });
	end(worker, succeeded(worker, dsm_sem_post(semaphore_name(number))));
}

static void meet(struct worker *worker)
{
	if (given_up(worker, 'b', 0))
		return;
	begin(worker, HISTORY_MEET, (struct history_object){ 'b', 0 });
	int status = dsm_barrier_wait(barrier_name());
	bool done = succeeded(worker, status);

	worker->op->result = status == 1;
	end(worker, done);
}

/* ---- a thread ---- */

static void prefetch(struct worker *worker)
{
	unsigned int number = (unsigned int)check_below(&worker->random, plan->word_pages);
	int mode = check_below(&worker->random, 2) == 0 ? DSM_READ : DSM_WRITE;
	int status = dsm_prefetch(page(number), DSM_PAGE_BYTES, mode);

	CHECK(status == 0 || (plan->loses && status == -EHOSTDOWN));
}

/* Some of a page's words while the page cannot be taken away; loads only where it could be shared.
 */
static void touch_pinned(struct worker *worker)
{
	unsigned int number = (unsigned int)check_below(&worker->random, plan->word_pages);
	int mode = check_below(&worker->random, 2) == 0 ? DSM_READ : DSM_WRITE;
	void *start = page(number);
	int status = dsm_pin(start, DSM_PAGE_BYTES, mode);

	CHECK(status == 0 || (plan->loses && status == -EHOSTDOWN));
	if (status != 0)
		return;
	for (unsigned int index = number; index < RECORDS_WORDS; index += plan->word_pages) {
		enum history_kind kind = choose_kind(worker, word_object(index).letter);

		do_word(worker, index, mode == DSM_READ ? HISTORY_LOAD : kind);
	}
	CHECK_OK(dsm_unpin(start, DSM_PAGE_BYTES, mode));
}

static void step(struct worker *worker, unsigned int number)
{
	uint64_t choice = check_below(&worker->random, 100);

	if (number % WINDOW_STEPS == 0) {
		uint64_t state = plan->seed * 1000003 + number + 1;

		worker->window = check_below(&state, RECORDS_WORDS);
	}
	delay(worker);
	if (number % ROUND_STEPS == ROUND_STEPS - 1)
		meet(worker);
	else if (choice < 72)
		step_words(worker);
	else if (choice < 84)
		step_mutex(worker);
	else if (choice < 92)
		step_rwlock(worker);
	else if (choice < 96)
		step_semaphore(worker);
	else if (choice < 98)
		prefetch(worker);
	else
		touch_pinned(worker);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (unsigned int i = 0; i < plan->step_count; i++)
		step(worker, i);
	return NULL;
}

static void look_at_all(struct worker *worker)
{
	for (unsigned int i = 0; i < RECORDS_WORDS; i++)
		do_word(worker, i, HISTORY_LOAD);
}

/* ---- the node ---- */

static void map_records(const char *descriptor)
{
	int fd = atoi(descriptor);
	off_t bytes = lseek(fd, 0, SEEK_END);

	CHECK(bytes > 0);
	records = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(records != MAP_FAILED);
	plan = &records->plan;
}

static void make_blocks(void)
{
	for (unsigned int node = 0; node < plan->node_count; node++) {
		void *block = NULL;

		if (self == 0) {
			block = dsm_malloc_at(CHECK_UNIT_BYTES, (int)node);
			CHECK(block != NULL);
			memset(block, 0, CHECK_UNIT_BYTES);
		}
		blocks[node] = check_share(block);
	}
}

static void make_objects(void)
{
	for (unsigned int i = 0; i < RECORDS_MUTEXES; i++)
		CHECK_OK(dsm_lock_init(mutex_data(i, false)));
	for (unsigned int i = 0; i < RECORDS_RWLOCKS; i++)
		CHECK_OK(dsm_rwlock_init(version_at(i, false)));
	for (unsigned int i = 0; i < RECORDS_SEMAPHORES; i++)
		CHECK_OK(dsm_sem_init(semaphore_name(i), i + 1));
	CHECK_OK(dsm_barrier_init(barrier_name(), plan->node_count * plan->thread_count));
}

static void make_private_words(void)
{
	private_words = calloc(plan->word_pages, DSM_PAGE_BYTES);
	CHECK(private_words != NULL);
}

/* Whoever leaves takes its pages along, so with a loss all go together: the driver knows when. */
static void leave(void)
{
	uint64_t deadline_ns = check_now_ns() + LEAVE_S * UINT64_C(1000000000);

	__atomic_store_n(&records->over[self], 1, __ATOMIC_SEQ_CST);
	if (!plan->loses) {
		CHECK_OK(dsm_barrier());
		CHECK_OK(dsm_finish());
		return;
	}
	while (__atomic_load_n(&records->leave, __ATOMIC_SEQ_CST) == 0) {
		CHECK(check_now_ns() < deadline_ns);
		check_sleep_ms(1);
	}
	int status = dsm_finish();

	CHECK(status == 0 || status == -EHOSTDOWN);
}

int main(int argc, char **argv)
{
	static struct worker workers[HISTORY_THREADS_MAX];
	struct sigaction action = { .sa_handler = on_bus_error };

	CHECK(argc == 2);
	map_records(argv[1]);
	sigaction(SIGBUS, &action, NULL);
	check_start(64 << 20);
	self = (unsigned int)dsm_node_id();
	CHECK_IS(dsm_node_count(), plan->node_count);
	make_blocks();
	if (self == 0)
		make_objects();
	if (plan->fault == FAULT_PRIVATE)
		make_private_words();
	CHECK_OK(dsm_barrier());
	for (unsigned int i = 0; i < plan->thread_count; i++) {
		workers[i].thread = i;
		workers[i].random = (plan->seed * 2 + 1) * UINT64_C(0x9e3779b97f4a7c15) ^
				    (uint64_t)(self * plan->thread_count + i + 1) << 20;
		CHECK_OK(pthread_create(&workers[i].handle, NULL, work, &workers[i]));
	}
	for (unsigned int i = 0; i < plan->thread_count; i++)
		CHECK_OK(pthread_join(workers[i].handle, NULL));
	if (!plan->loses)
		CHECK_OK(dsm_barrier());
	look_at_all(&workers[0]);
	leave();
	return 0;
}
