/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pergola: distributed shared memory. The whole public interface.
 *
 * Nodes are processes, usually one per host, numbered 0 .. dsm_node_count() - 1. A region
 * opened with dsm_open() or dsm_reserve() stands at the same virtual address on every node,
 * and every thread of every node loads and stores it directly. Memory is sequentially
 * consistent, page by page (4096 bytes): at any time a page has one writer or many readers
 * (Li and Hudak, "Memory coherence in shared virtual memory systems", ACM TOCS 7(4), 1989). A
 * region of dsm_reserve_as() may have weaker rules.
 *
 * Conventions
 *   - A function that returns int returns 0 or a count, or a negative errno value; functions
 *     that return a pointer return NULL on failure. dsm_error() then has the sentence that says
 *     what failed, which setting or limit it hit, and how to mend it.
 *   - Every function but dsm_init(), dsm_finish() and the ones marked "collective" may be called
 *     by any thread of any node at any time between dsm_init() and dsm_finish().
 *   - "Collective" means: one thread of every node calls it, in the same order on all nodes,
 *     with the same arguments; it returns when all have.
 *   - When a node is lost, the process ends with a message that names it, unless the option
 *     "on-loss" is "error": then blocked and later calls that need it return -EHOSTDOWN
 *     (-EOWNERDEAD for a lock it had), and a load or store that needs it raises SIGBUS.
 */
#ifndef PERGOLA_DSM_H
#define PERGOLA_DSM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define DSM_VERSION_MAJOR 0
#define DSM_VERSION_MINOR 1
#define DSM_VERSION_PATCH 0

/* Bytes in a page, the unit of coherence. */
#define DSM_PAGE_BYTES 4096

/* Nodes a job may have at most. */
#define DSM_NODES_MAX 1024

/* Bytes that dsm_bcast() carries at most in one call. */
#define DSM_BCAST_MAX 128

/* Placements of dsm_malloc_at() other than a node id. */
#define DSM_PLACE_CYCLIC (-1)	   /* 256 KiB units dealt round the nodes */
#define DSM_PLACE_FIRST_TOUCH (-2) /* each 256 KiB unit: the node that touches it first */

/* Protocols of dsm_reserve_as(): what becomes of other nodes' copies of a page that is stored to.
 */
#define DSM_INVALIDATE 0 /* they are taken away before the store */
#define DSM_UPDATE 1	 /* they stay, and get what was stored when it is published */

/* Access modes of dsm_prefetch() and dsm_pin(). */
#define DSM_READ 0
#define DSM_WRITE 1

/* Advice of dsm_advise(). */
#define DSM_ADVICE_NORMAL 0	/* read-ahead where faults come in equal steps */
#define DSM_ADVICE_SEQUENTIAL 1 /* they will be read in ascending order: read-ahead at once */
#define DSM_ADVICE_RANDOM 2	/* no read-ahead */
#define DSM_ADVICE_WILLNEED 3	/* bring them, but for pages that another node is writing */
#define DSM_ADVICE_DONE 4	/* they will not be needed soon: this node's copies may go */

/* ---- joining and leaving ------------------------------------------------------------------ */

/*
 * Joins the job as node `id`; a negative id is taken from the launcher (`pergola run`, mpirun,
 * srun --mpi=pmix, or PERGOLA_RANK). Without a launcher the process is a job of one node. Returns
 * when every node has joined. Errors: -EALREADY called twice; -EINVAL an id or setting out of
 * range, or one of several processes that have no way to meet; -ETIMEDOUT a node did not come;
 * -ENOSYS, -EPERM this kernel or container cannot do it (dsm_error() names the sysctl, device or
 * rule; so does `pergola doctor`); -ENOMEM, -EPROTO.
 */
int dsm_init(int id);

/*
 * Leaves the job. Collective. All regions are unmapped: no thread may touch shared memory any
 * more. Errors: -ENOTCONN not joined; -EHOSTDOWN a node was lost.
 */
int dsm_finish(void);

/* This node's id, 0 .. dsm_node_count() - 1, or -ENOTCONN. */
int dsm_node_id(void);

/* Nodes in the job, 1 .. DSM_NODES_MAX, or -ENOTCONN. */
int dsm_node_count(void);

/* ---- regions and the shared heap ---------------------------------------------------------- */

/*
 * Opens a region of `size` bytes (rounded up to whole pages; at least 256 KiB) that the shared
 * heap allocates from. `addr` is page-aligned and free on every node, or NULL: an address free
 * on all nodes is negotiated. Contents start as zeros. Collective. Returns the region's address,
 * the same on every node. Errors (errno too): EINVAL bad or differing arguments; EEXIST a node has
 * something mapped there (dsm_error() says which node, and what stands there); ENOMEM the space
 * (option "space") or the region table is full; EHOSTDOWN.
 */
void *dsm_open(void *addr, size_t size);

/*
 * As dsm_open(), for a region that the heap does not touch: the program lays it out itself. At
 * least one page.
 */
void *dsm_reserve(void *addr, size_t size);

/*
 * As dsm_reserve(), with the protocol given, DSM_INVALIDATE or DSM_UPDATE. Under DSM_UPDATE a page
 * has one writer at a time beside any number of readers. The readers keep their copies, and see
 * what was stored once it is published: at the latest when a thread of the writer's node next calls
 * dsm_unlock(), dsm_rwlock_unlock(), dsm_sem_post(), dsm_cond_wait(), _signal() or _broadcast(),
 * dsm_barrier_wait(), a collective function, or dsm_publish(), before that call has any effect on
 * others. So programs whose conflicting accesses are ordered by such calls find memory sequentially
 * consistent. Others are promised only that no thread sees an aligned 8-byte word go back to an
 * older value, or in part: a thread that polls a word may wait for ever unless the one that
 * stores calls dsm_publish(). After a loss, what the lost node had not published is undone where
 * another node has a copy from before it.
 */
void *dsm_reserve_as(void *addr, size_t size, int protocol);

/*
 * Allocates `size` bytes of contiguous shared memory, aligned to 16 bytes (to a page from 4096
 * bytes on); contents are undefined. The address means the same on every node; any node may free
 * it. Up to 128 KiB a block is near the calling node; a larger one is placed as option
 * "placement" says. Returns NULL with errno EINVAL (size 0), ENOMEM (regions exhausted),
 * ENOTCONN, EHOSTDOWN.
 */
void *dsm_malloc(size_t size);

/*
 * As dsm_malloc(), with the home given: a node id, DSM_PLACE_CYCLIC or DSM_PLACE_FIRST_TOUCH. A
 * placement is a wish: when no free unit of that home is left another is taken.
 */
void *dsm_malloc_at(size_t size, int placement);

/*
 * Frees `size` bytes at `addr`, as allocated: the size must be the one that was asked for. Errors:
 * -EINVAL not the start of a live block of that size (found here when this node allocated it;
 * otherwise found and logged by the node that did); -ENOTCONN.
 */
int dsm_free(void *addr, size_t size);

/*
 * The node that is home to `addr`: it manages the page and guarantees it a frame. Errors: -EFAULT
 * not shared; -ENOENT placed by first touch and not touched yet; -ENOTCONN, -EHOSTDOWN.
 */
int dsm_home(const void *addr);

/*
 * Asks for the pages of [addr, addr + size) to be brought here for DSM_READ or DSM_WRITE. Returns
 * when the requests are under way; the pages come while the program goes on, many for the price
 * of one fault. A hint: it changes nothing but time. Errors: -EFAULT not shared, -EINVAL mode.
 */
int dsm_prefetch(const void *addr, size_t size, int mode);

/*
 * Says how this node's threads will use the pages of [addr, addr + size). Advice changes nothing
 * but time. DSM_ADVICE_NORMAL, _SEQUENTIAL and _RANDOM stay until others are given, and hold for
 * whole units of 256 KiB, those that the range touches; they matter only with option "read-ahead".
 * Errors: -EFAULT not shared, -EINVAL advice, -ENOTCONN.
 */
int dsm_advise(const void *addr, size_t size, int advice);

/* Bytes that a node may have pinned at a time. */
#define DSM_PIN_MAX ((size_t)16 << 20)

/*
 * Brings the pages of [addr, addr + size) here for DSM_READ or DSM_WRITE and keeps them until
 * dsm_unpin(): for system calls and devices, which do not wait for a page as a load or store does.
 * Other nodes that want to write them (or, for DSM_WRITE, to read them) wait meanwhile: make the
 * system call and unpin; between the two touch no other shared memory, call no other dsm function
 * and do not wait for another node. Pages are pinned in ascending order, so that nodes which pin
 * overlapping ranges cannot wait for each other; pin what one call needs by one dsm_pin(), or in
 * ascending order. A page may be pinned by several threads.
 * Errors, with nothing pinned: -EFAULT not shared; -EINVAL mode; -ENOMEM more than DSM_PIN_MAX
 * bytes pinned on this node; -ETIMEDOUT a page did not come in time (option "pin-timeout");
 * -EHOSTDOWN a page is lost; -ENOTCONN.
 */
int dsm_pin(const void *addr, size_t size, int mode);

/* Undoes one dsm_pin(). Errors: -EINVAL the range is not pinned so; -EFAULT, -ENOTCONN. */
int dsm_unpin(const void *addr, size_t size, int mode);

/* ---- synchronisation ---------------------------------------------------------------------- */

/*
 * Synchronisation objects are named by a shared address. Their state is kept by the library, not
 * in the bytes at that address, which stay the program's. An address names one object at a time.
 * Any node may initialise it, once, before any node uses it.
 *
 * Errors of all: -EFAULT the address is not shared; -ENOENT no such object there (initialise it
 * first); -EEXIST one is there already; -EINVAL a bad count, or another kind of object; -EBUSY
 * destroyed while in use; -ENOMEM option "sync-objects" is too small; -EHOSTDOWN a node that was
 * needed is lost; -ENOTCONN.
 */

/*
 * A mutual-exclusion lock, used as a pthread mutex is: not recursive, unlocked by the thread that
 * locked it. -EDEADLK: this thread holds it already. -EPERM: unlocked by another. -EBUSY: trylock,
 * and it is held. -EOWNERDEAD: the node that held it, or held it last, is lost. First come, first
 * served. The node that held it last has it at hand: as long as no other node asks for it, its
 * threads lock and unlock it without a message.
 */
int dsm_lock_init(void *addr);
int dsm_lock(void *addr);
int dsm_trylock(void *addr);
int dsm_unlock(void *addr);
int dsm_lock_destroy(void *addr);

/* A reader-writer lock, first come, first served: a waiting writer holds back later readers. */
int dsm_rwlock_init(void *addr);
int dsm_rwlock_rdlock(void *addr);
int dsm_rwlock_tryrdlock(void *addr);
int dsm_rwlock_wrlock(void *addr);
int dsm_rwlock_trywrlock(void *addr);
int dsm_rwlock_unlock(void *addr);
int dsm_rwlock_destroy(void *addr);

/*
 * A condition variable. dsm_cond_wait() releases `lock`, waits for a signal and takes `lock` again;
 * a signal sent while `lock` is held is not missed. Wake-ups may be spurious: wait in a loop.
 */
int dsm_cond_init(void *addr);
int dsm_cond_wait(void *addr, void *lock);
int dsm_cond_signal(void *addr);
int dsm_cond_broadcast(void *addr);
int dsm_cond_destroy(void *addr);

/* A counting semaphore. -EAGAIN: trywait, and the count is zero. -EOVERFLOW: past INT32_MAX. */
int dsm_sem_init(void *addr, unsigned int value);
int dsm_sem_wait(void *addr);
int dsm_sem_trywait(void *addr);
int dsm_sem_post(void *addr);
int dsm_sem_destroy(void *addr);

/*
 * A barrier of `count` threads on any nodes, reusable. dsm_barrier_wait() returns 1 to one of the
 * threads and 0 to the others.
 */
int dsm_barrier_init(void *addr, unsigned int count);
int dsm_barrier_wait(void *addr);
int dsm_barrier_destroy(void *addr);

/* A barrier of all nodes: collective. Errors: -EPROTO nodes are in different collective calls. */
int dsm_barrier(void);

/*
 * Copies `bytes` (1 .. DSM_BCAST_MAX) from `value` on node `root` to `value` on all others: a
 * pointer, a size, a small struct. Collective; also a barrier. Errors: -EINVAL, -EPROTO nodes
 * disagree on root or bytes.
 */
int dsm_bcast(void *value, size_t bytes, int root);

/*
 * Shows all nodes what threads of this node have stored in regions under DSM_UPDATE: returns when
 * every copy has it. Locks, barriers and the like do so by themselves. Errors: -EHOSTDOWN the home
 * of a changed page is lost: other nodes' copies stay as they were, stores to the page raise
 * SIGBUS from now on (a release says so too, once, and is carried out all the same); -ENOTCONN.
 */
int dsm_publish(void);

/* ---- settings, statistics, errors --------------------------------------------------------- */

/*
 * Sets option `name` (see pergola(7), or `pergola info`) to the text `value` for this process,
 * before dsm_init(). The environment (PERGOLA_<NAME>) overrides it. Errors: -EINVAL no such option,
 * or not one of its values; -EALREADY after dsm_init().
 */
int dsm_option_set(const char *name, const char *value);

/* The value of option `name` in force, as text, or NULL: no such option. Never freed. */
const char *dsm_option_get(const char *name);

/* Counts since dsm_init() on this node. Faults are those delivered to this node's threads. */
struct dsm_stats {
	uint64_t read_faults;	/* faults by a load */
	uint64_t write_faults;	/* faults by a store to a page not held */
	uint64_t upgrades;	/* faults by a store to a page held for reading */
	uint64_t pages_fetched; /* pages whose bytes came from another node */
	uint64_t pages_granted; /* pages granted without bytes */
	uint64_t prefetches;	/* pages asked for by dsm_prefetch() */
	uint64_t invalidations; /* pages taken from this node */
	uint64_t downgrades;	/* pages this node had to stop writing */
	uint64_t messages_sent; /* to other nodes */
	uint64_t messages_received;
	uint64_t bytes_fetched;	  /* by one-sided reads */
	uint64_t sync_calls;	  /* operations on locks, semaphores, ... */
	uint64_t heap_units;	  /* 256 KiB units this node took from the heap */
	uint64_t pages_resident;  /* frames this node has allocated */
	uint64_t work_requests;	  /* given to RDMA devices: sends, receives, one-sided operations */
	uint64_t completions;	  /* that RDMA devices have told of */
	uint64_t pages_published; /* changed pages of DSM_UPDATE, shown to all */
	uint64_t pages_updated;	  /* pages that got another node's changes and stayed mapped */
	uint64_t pages_evicted;	  /* copies given up for their memory */
	uint64_t pages_cached;	  /* copies that count against option "cache", now */
	uint64_t pages_ahead;	  /* pages asked for by read-ahead and DSM_ADVICE_WILLNEED ... */
	uint64_t pages_ahead_had; /* ... and of those, that came */
};

/* Fills `out`. Errors: -EINVAL out is NULL, -ENOTCONN. */
int dsm_stats_get(struct dsm_stats *out);

/* A short sentence for a value that a dsm function returned (0, a negative errno). Never NULL. */
const char *dsm_strerror(int error);

/*
 * What the last failing dsm call of this thread ran into, in full: the call, the limit or setting,
 * the remedy. "" when none has failed. Valid until this thread's next dsm call.
 */
const char *dsm_error(void);

/* "0.1.0": the library's version, which may differ from the header's DSM_VERSION_*. */
const char *dsm_version(void);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
