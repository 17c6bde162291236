/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registering memory. A line of the region table is published by its key, stored last; a key is
 * never used again, so that a peer that still holds an old one finds out. A file is known by device
 * and inode and lives as long as a region in it.
 */
#include "shm/region.h"

#include "base/assert.h"
#include "shm/peer.h"
#include "shm/socket.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCESS_ALL (FABRIC_REMOTE_READ | FABRIC_REMOTE_WRITE | FABRIC_REMOTE_ATOMIC)
#define ACCESS_CHANGES (FABRIC_REMOTE_WRITE | FABRIC_REMOTE_ATOMIC)

static int memory_check(const struct fabric_memory *memory)
{
	if (memory->addr == NULL || memory->bytes == 0 ||
	    (uintptr_t)memory->addr % PAGE_BYTES != 0 || memory->bytes % PAGE_BYTES != 0 ||
	    memory->fd_offset % PAGE_BYTES != 0)
		return error_set(-EINVAL, "memory to register must be whole pages");
	if ((memory->access & ~(unsigned int)ACCESS_ALL) != 0)
		return error_set(-EINVAL, "unknown access bits 0x%x", memory->access);
	return 0;
}

/* Whether peers can map the memory from its file. */
static int file_check(const struct fabric_memory *memory, struct stat *file)
{
	int flags = fcntl(memory->fd, F_GETFL);

	if (flags < 0 || fstat(memory->fd, file) != 0)
		return error_set(-EINVAL, "descriptor %d of memory to register: %s", memory->fd,
				 strerror(errno));
	uint64_t size = (uint64_t)file->st_size;
	if (memory->fd_offset > size || memory->bytes > size - memory->fd_offset)
		return error_set(-EINVAL, "the file has %llu bytes, the region ends beyond",
				 (unsigned long long)size);
	if ((flags & O_ACCMODE) == O_WRONLY ||
	    ((memory->access & ACCESS_CHANGES) != 0 && (flags & O_ACCMODE) != O_RDWR))
		return error_set(-EINVAL, "descriptor %d is not open for what peers may do",
				 memory->fd);
	return 0;
}

/* Sends one file to one peer, or notes that it is still to be sent. */
static void file_send(struct fabric *fabric, struct shm_file *file, struct shm_peer *peer)
{
	size_t p = (size_t)(peer - fabric->peers);
	struct shm_record record = {
		.magic = SHM_MAGIC,
		.version = SHM_VERSION,
		.kind = SHM_FILE,
		.file = file->id,
	};
	int error = shm_socket_send(peer->socket, &record, &file->fd, 1);

	if (error == -EAGAIN)
		bitset_set(file->unsent, p);
	else
		bitset_clear(file->unsent, p); /* sent, or the peer is going: poll() finds out */
}

static struct shm_file *file_find(struct fabric *fabric, const struct stat *wanted)
{
	for (unsigned int i = 0; i < SHM_FILES_MAX; i++) {
		struct shm_file *file = &fabric->files[i];

		if (file->id != 0 && file->device == wanted->st_dev &&
		    file->inode == wanted->st_ino)
			return file;
	}
	return NULL;
}

static void file_announce(struct fabric *fabric, struct shm_file *file)
{
	for (unsigned int p = 0; p < fabric->node_count; p++) {
		struct shm_peer *peer = &fabric->peers[p];

		if (peer->state != SHM_PEER_CONNECTED)
			continue;
		file_send(fabric, file, peer);
		if (bitset_test(file->unsent, p))
			shm_peer_watch_room(fabric, peer, true);
	}
}

static int file_add(struct fabric *fabric, int fd, const struct stat *wanted, struct shm_file **out)
{
	unsigned int i = 0;

	while (i < SHM_FILES_MAX && fabric->files[i].id != 0)
		i++;
	if (i == SHM_FILES_MAX)
		return error_set(-ENOSPC, "regions in more than %u different files", SHM_FILES_MAX);
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return error_set(-errno, "cannot keep a memory file open (see ulimit -n): %s",
				 strerror(errno));
	struct shm_file *file = &fabric->files[i];
	*file = (struct shm_file){
		.id = shm_file_make(++fabric->numbers, i),
		.fd = copy,
		.device = wanted->st_dev,
		.inode = wanted->st_ino,
	};
	/* Relaxed: the key that leads here is published later, with release. */
	atomic_store_explicit(&fabric->inbox->files[i], file->id, memory_order_relaxed);
	file_announce(fabric, file);
	*out = file;
	return 0;
}

static int file_get(struct fabric *fabric, const struct fabric_memory *memory,
		    struct shm_file **out)
{
	struct stat wanted;
	int error = file_check(memory, &wanted);

	if (error != 0)
		return error;
	struct shm_file *file = file_find(fabric, &wanted);
	if (file == NULL) {
		error = file_add(fabric, memory->fd, &wanted, &file);
		if (error != 0)
			return error;
	}
	ASSERT(file != NULL);
	file->region_count++;
	*out = file;
	return 0;
}

static void file_put(struct fabric *fabric, struct shm_file *file)
{
	ASSERT(file->region_count > 0);
	if (--file->region_count > 0)
		return;
	atomic_store_explicit(&fabric->inbox->files[file - fabric->files], 0, memory_order_relaxed);
	close(file->fd);
	file->id = 0;
}

static int index_take(struct fabric *fabric, unsigned int *out)
{
	for (unsigned int i = 0; i < SHM_REGIONS_MAX / 64; i++) {
		uint64_t free = ~fabric->regions_used[i];

		if (free == 0)
			continue;
		*out = i * 64 + (unsigned int)__builtin_ctzll(free);
		bitset_set(fabric->regions_used, *out);
		return 0;
	}
	return error_set(-ENOSPC, "more than %u regions", SHM_REGIONS_MAX);
}

static void entry_publish(struct fabric *fabric, const struct fabric_region *region,
			  const struct fabric_memory *memory)
{
	struct shm_region_entry *entry = &fabric->inbox->regions[region - fabric->regions];

	atomic_store_explicit(&entry->file, fabric->files[region->file].id, memory_order_relaxed);
	atomic_store_explicit(&entry->offset, memory->fd_offset, memory_order_relaxed);
	atomic_store_explicit(&entry->bytes, memory->bytes, memory_order_relaxed);
	atomic_store_explicit(&entry->access, memory->access, memory_order_relaxed);
	/* Release: after the fields. Partner: entry_read() in view.c. */
	atomic_store_explicit(&entry->key, region->key, memory_order_release);
}

int shm_region_register(struct fabric *fabric, const struct fabric_memory *memory,
			struct fabric_region **out, struct fabric_key *key)
{
	struct shm_file *file = NULL;
	unsigned int index = 0;
	int error = memory_check(memory);

	if (error == 0)
		error = index_take(fabric, &index);
	if (error != 0)
		return error;
	if (memory->access != 0) {
		error = file_get(fabric, memory, &file);
		if (error != 0) {
			bitset_clear(fabric->regions_used, index);
			return error;
		}
	}
	struct fabric_region *region = &fabric->regions[index];
	*region = (struct fabric_region){
		.key = shm_key_make(++fabric->numbers, index),
		.addr = memory->addr,
		.bytes = memory->bytes,
		.access = memory->access,
		.file = file != NULL ? (unsigned int)(file - fabric->files) : SHM_FILES_MAX,
	};
	if (file != NULL)
		entry_publish(fabric, region, memory);
	*key = (struct fabric_key){ .addr = (uintptr_t)memory->addr, .key = region->key };
	*out = region;
	return 0;
}

void shm_region_deregister(struct fabric *fabric, struct fabric_region *region)
{
	size_t index = (size_t)(region - fabric->regions);

	ASSERT(index < SHM_REGIONS_MAX && region->key != 0);
	if (region->file != SHM_FILES_MAX) {
		/* Before the line can be used again. Partner: the second look of entry_read(). */
		atomic_store_explicit(&fabric->inbox->regions[index].key, 0, memory_order_seq_cst);
		file_put(fabric, &fabric->files[region->file]);
		/* Release: a peer that sees it sees what is gone. Partner: shm_view_sweep(). */
		atomic_fetch_add_explicit(&fabric->inbox->epoch, 1, memory_order_release);
	}
	region->key = 0;
	bitset_clear(fabric->regions_used, index);
}

void shm_region_flush(struct fabric *fabric, struct shm_peer *peer)
{
	size_t p = (size_t)(peer - fabric->peers);
	bool waiting = false;

	if (peer->state != SHM_PEER_CONNECTED)
		return;
	for (unsigned int i = 0; i < SHM_FILES_MAX && !waiting; i++) {
		struct shm_file *file = &fabric->files[i];

		if (file->id == 0 || !bitset_test(file->unsent, p))
			continue;
		file_send(fabric, file, peer);
		waiting = bitset_test(file->unsent, p);
	}
	shm_peer_watch_room(fabric, peer, waiting);
}

void shm_region_introduce(struct fabric *fabric, struct shm_peer *peer)
{
	for (unsigned int i = 0; i < SHM_FILES_MAX; i++)
		bitset_set(fabric->files[i].unsent, (size_t)(peer - fabric->peers));
	shm_region_flush(fabric, peer);
}

void shm_region_fini(struct fabric *fabric)
{
	for (unsigned int i = 0; i < SHM_FILES_MAX; i++) {
		if (fabric->files[i].id != 0)
			close(fabric->files[i].fd);
	}
}

int shm_region_find(struct fabric *fabric, const struct fabric_remote *remote, uint32_t bytes,
		    unsigned int access, unsigned char **at)
{
	struct fabric_region *region = &fabric->regions[shm_key_index(remote->key.key)];

	if (remote->key.key == 0 || region->key != remote->key.key)
		return error_set(-EACCES, "no region of this node has that key");
	int error = shm_span_check(region->bytes, region->access, remote->offset, bytes, access);
	if (error == 0)
		*at = region->addr + remote->offset;
	return error;
}
