/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mapping peers' regions. The line in the peer's table is looked at on every operation (its cache
 * line stays here until the peer changes it), so a region is refused as soon as it is deregistered;
 * its mapping goes when the line is used again or at the next sweep.
 */
#include "shm/view.h"

#include "base/error.h"
#include "base/log.h"
#include "shm/peer.h"
#include "shm/region.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VIEWS_MIN 16u

/* A line of the peer's table, copied. */
struct entry {
	uint64_t file;
	uint64_t offset;
	uint64_t bytes;
	unsigned int access;
};

static void view_drop(struct shm_view *view)
{
	if (view->key != 0)
		munmap(view->base, view->bytes);
	view->key = 0;
}

static void file_drop(struct shm_file_view *file)
{
	if (file->id != 0)
		close(file->fd);
	file->id = 0;
}

/* False: the line does not stand for the key, or changed under the eyes. */
static bool entry_read(const struct shm_region_entry *line, uint64_t key, struct entry *out)
{
	/* Acquire: the fields come after. Partner: entry_publish(). */
	if (atomic_load_explicit(&line->key, memory_order_acquire) != key)
		return false;
	out->file = atomic_load_explicit(&line->file, memory_order_relaxed);
	out->offset = atomic_load_explicit(&line->offset, memory_order_relaxed);
	out->bytes = atomic_load_explicit(&line->bytes, memory_order_relaxed);
	out->access = atomic_load_explicit(&line->access, memory_order_relaxed);
	/* The fields before the second look. Partner: shm_region_deregister(). */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&line->key, memory_order_relaxed) == key;
}

static int key_unknown(struct fabric *fabric, struct shm_peer *peer)
{
	shm_peer_drain(fabric, peer);
	if (peer->state != SHM_PEER_CONNECTED)
		return error_set(-EHOSTDOWN, "node %u is gone",
				 (unsigned int)(peer - fabric->peers));
	return error_set(-EACCES, "node %u has no region with that key",
			 (unsigned int)(peer - fabric->peers));
}

static int views_grow(struct shm_peer *peer, unsigned int index)
{
	unsigned int count = peer->view_count > 0 ? peer->view_count : VIEWS_MIN;

	if (index < peer->view_count)
		return 0;
	while (count <= index)
		count *= 2;
	struct shm_view *views = realloc(peer->views, count * sizeof(*views));
	if (views == NULL)
		return error_set(-ENOMEM, "no memory for a table of %u mappings", count);
	memset(views + peer->view_count, 0, (count - peer->view_count) * sizeof(*views));
	peer->views = views;
	peer->view_count = count;
	return 0;
}

static int file_wait(struct fabric *fabric, struct shm_peer *peer, uint64_t id, int *fd)
{
	struct shm_file_view *file = &peer->files[shm_file_index(id)];

	if (id == 0 || file->id != id)
		shm_peer_drain(fabric, peer);
	if (peer->state != SHM_PEER_CONNECTED)
		return -EHOSTDOWN;
	if (id == 0 || file->id != id)
		return -EAGAIN;
	*fd = file->fd;
	return 0;
}

/* Whether the peer's words about a region fit its file. */
static int entry_check(const struct fabric *fabric, const struct shm_peer *peer,
		       const struct entry *entry, int fd)
{
	struct stat file;

	if (fstat(fd, &file) == 0 && file.st_size >= 0) {
		uint64_t size = (uint64_t)file.st_size;

		if (entry->bytes > 0 && entry->offset % PAGE_BYTES == 0 && entry->offset <= size &&
		    entry->bytes <= size - entry->offset)
			return 0;
	}
	log_line(LOG_ERROR, "node %u registered a region that its file does not hold",
		 (unsigned int)(peer - fabric->peers));
	return error_set(-EACCES, "a region of node %u is not in its file",
			 (unsigned int)(peer - fabric->peers));
}

static int view_map(struct fabric *fabric, struct shm_peer *peer, uint64_t key)
{
	unsigned int index = shm_key_index(key);
	struct entry entry;
	int fd;

	if (!entry_read(&peer->inbox->regions[index], key, &entry))
		return key_unknown(fabric, peer);
	int error = file_wait(fabric, peer, entry.file, &fd);
	if (error == 0)
		error = entry_check(fabric, peer, &entry, fd);
	if (error == 0)
		error = views_grow(peer, index);
	if (error != 0)
		return error;
	int protection = entry.access == FABRIC_REMOTE_READ ? PROT_READ : PROT_READ | PROT_WRITE;
	void *base = mmap(NULL, entry.bytes, protection, MAP_SHARED, fd, (off_t)entry.offset);
	if (base == MAP_FAILED)
		return error_set(-ENOMEM, "cannot map %llu bytes of node %u: %s",
				 (unsigned long long)entry.bytes,
				 (unsigned int)(peer - fabric->peers), strerror(errno));
	view_drop(&peer->views[index]);
	peer->views[index] = (struct shm_view){
		.key = key,
		.base = base,
		.bytes = entry.bytes,
		.access = entry.access,
	};
	return 0;
}

int shm_view_find(struct fabric *fabric, struct shm_peer *peer, const struct fabric_remote *remote,
		  uint32_t bytes, unsigned int access, unsigned char **at)
{
	uint64_t key = remote->key.key;
	unsigned int index = shm_key_index(key);

	/* Relaxed: a key that matches is of a region this process has read under acquire before. */
	if (key == 0 ||
	    atomic_load_explicit(&peer->inbox->regions[index].key, memory_order_relaxed) != key)
		return key_unknown(fabric, peer);
	if (index >= peer->view_count || peer->views[index].key != key) {
		int error = view_map(fabric, peer, key);

		if (error != 0)
			return error;
	}
	const struct shm_view *view = &peer->views[index];
	int error = shm_span_check(view->bytes, view->access, remote->offset, bytes, access);
	if (error == 0)
		*at = view->base + remote->offset;
	return error;
}

void shm_view_file(struct shm_peer *peer, uint64_t id, int fd)
{
	struct shm_file_view *file = &peer->files[shm_file_index(id)];

	file_drop(file);
	/* It may be gone again by now, and then no sweep would find it. */
	if (id == 0 || atomic_load_explicit(&peer->inbox->files[shm_file_index(id)],
					    memory_order_relaxed) != id)
		close(fd);
	else
		*file = (struct shm_file_view){ .id = id, .fd = fd };
}

void shm_view_sweep(struct shm_peer *peer)
{
	/* Acquire: what is gone is seen gone. Partner: shm_region_deregister(). */
	uint64_t epoch = atomic_load_explicit(&peer->inbox->epoch, memory_order_acquire);

	if (epoch == peer->epoch)
		return;
	peer->epoch = epoch;
	for (unsigned int i = 0; i < peer->view_count; i++) {
		struct shm_view *view = &peer->views[i];

		if (view->key != 0 && atomic_load_explicit(&peer->inbox->regions[i].key,
							   memory_order_relaxed) != view->key)
			view_drop(view);
	}
	for (unsigned int i = 0; i < SHM_FILES_MAX; i++) {
		struct shm_file_view *file = &peer->files[i];

		if (file->id != 0 &&
		    atomic_load_explicit(&peer->inbox->files[i], memory_order_relaxed) != file->id)
			file_drop(file);
	}
}

void shm_view_drop_all(struct shm_peer *peer)
{
	for (unsigned int i = 0; i < peer->view_count; i++)
		view_drop(&peer->views[i]);
	for (unsigned int i = 0; i < SHM_FILES_MAX; i++)
		file_drop(&peer->files[i]);
	free(peer->views);
	peer->views = NULL;
	peer->view_count = 0;
}
