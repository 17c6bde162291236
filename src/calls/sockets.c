/* SPDX-License-Identifier: Apache-2.0 */
/* recv(2), send(2) and their kin. Addresses and control data may be shared memory too. */
#include "calls/calls.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* More control data than the kernel gives or takes in one message. */
#define CONTROL_MAX ((size_t)1 << 18)

/* ---- one buffer ---- */

struct address_call {
	struct sockaddr *address; /* private */
	socklen_t *address_bytes;
	int flags;
};

static ssize_t attempt_recvfrom(const struct transfer *transfer, const struct iovec *parts,
				int count, size_t done)
{
	const struct address_call *call = transfer->call;

	(void)count;
	(void)done;
	return calls_real()->recvfrom(transfer->fd, parts->iov_base, parts->iov_len, call->flags,
				      call->address, call->address_bytes);
}

static ssize_t attempt_sendto(const struct transfer *transfer, const struct iovec *parts, int count,
			      size_t done)
{
	const struct address_call *call = transfer->call;

	(void)count;
	(void)done;
	return calls_real()->sendto(transfer->fd, parts->iov_base, parts->iov_len, call->flags,
				    call->address,
				    call->address == NULL ? 0 : *call->address_bytes);
}

CALLS_API ssize_t recvfrom(int fd, void *restrict buffer, size_t bytes, int flags,
			   struct sockaddr *restrict address, socklen_t *restrict address_bytes)
{
	struct sockaddr_storage sender;
	socklen_t room = address == NULL ? 0 : *address_bytes;
	socklen_t got = room < sizeof(sender) ? room : (socklen_t)sizeof(sender);
	struct address_call call = { NULL, NULL, flags };
	const struct transfer transfer = { attempt_recvfrom, &call, fd };
	const struct iovec part = { buffer, bytes };

	if (!may_be_shared(buffer, bytes) && !may_be_shared(address, room) &&
	    !may_be_shared(address_bytes, sizeof(*address_bytes)))
		return calls_real()->recvfrom(fd, buffer, bytes, flags, address, address_bytes);
	if (address != NULL) {
		call.address = (struct sockaddr *)&sender;
		call.address_bytes = &got;
	}
	ssize_t result = transfer_in(&transfer, &part, 1);

	if (result < 0 || address == NULL)
		return result;
	memcpy(address, &sender, got < room ? got : room);
	*address_bytes = got;
	return result;
}

CALLS_API ssize_t recv(int fd, void *buffer, size_t bytes, int flags)
{
	return recvfrom(fd, buffer, bytes, flags, NULL, NULL);
}

CALLS_API ssize_t sendto(int fd, const void *buffer, size_t bytes, int flags,
			 const struct sockaddr *address, socklen_t address_bytes)
{
	struct sockaddr_storage receiver;
	struct address_call call = { NULL, &address_bytes, flags };
	const struct transfer transfer = { attempt_sendto, &call, fd };
	const struct iovec part = { (void *)buffer, bytes };
	ssize_t result = calls_real()->sendto(fd, buffer, bytes, flags, address, address_bytes);

	if (result == (ssize_t)bytes ||
	    (!may_be_shared(buffer, bytes) && !may_be_shared(address, address_bytes)) ||
	    address_bytes > sizeof(receiver))
		return result;
	if (address != NULL) {
		memcpy(&receiver, address, address_bytes);
		call.address = (struct sockaddr *)&receiver;
	}
	return transfer_out(&transfer, &part, 1, result);
}

CALLS_API ssize_t send(int fd, const void *buffer, size_t bytes, int flags)
{
	return sendto(fd, buffer, bytes, flags, NULL, 0);
}

/* ---- messages ---- */

struct message_call {
	struct msghdr *message; /* private, but for its parts */
	int flags;
};

static bool message_covered(const struct msghdr *message)
{
	return may_be_shared(message, sizeof(*message)) ||
	       may_be_shared(message->msg_name, message->msg_namelen) ||
	       may_be_shared(message->msg_control, message->msg_controllen) ||
	       (message->msg_iovlen <= IOV_MAX &&
		transfer_covered(message->msg_iov, (int)message->msg_iovlen));
}

static struct msghdr with_parts(const struct transfer *transfer, const struct iovec *parts,
				int count)
{
	const struct message_call *call = transfer->call;
	struct msghdr message = *call->message;

	message.msg_iov = (struct iovec *)parts;
	message.msg_iovlen = (size_t)count;
	return message;
}

static ssize_t attempt_recvmsg(const struct transfer *transfer, const struct iovec *parts,
			       int count, size_t done)
{
	const struct message_call *call = transfer->call;
	struct msghdr message = with_parts(transfer, parts, count);
	ssize_t result = calls_real()->recvmsg(transfer->fd, &message, call->flags);

	(void)done;
	*call->message = message;
	return result;
}

/* Addresses and control data go with the first part of what is sent. */
static ssize_t attempt_sendmsg(const struct transfer *transfer, const struct iovec *parts,
			       int count, size_t done)
{
	const struct message_call *call = transfer->call;
	struct msghdr message = with_parts(transfer, parts, count);

	if (done > 0) {
		message.msg_control = NULL;
		message.msg_controllen = 0;
	}
	return calls_real()->sendmsg(transfer->fd, &message, call->flags);
}

/* Private places for a message's address and control data. */
struct message_copy {
	struct msghdr message;
	struct sockaddr_storage name;
	struct bounce control;
};

static bool message_copy_open(struct message_copy *copy, const struct msghdr *message)
{
	copy->message = *message;
	if (copy->message.msg_namelen > sizeof(copy->name))
		copy->message.msg_namelen = sizeof(copy->name);
	if (copy->message.msg_controllen > CONTROL_MAX)
		copy->message.msg_controllen = CONTROL_MAX;
	if (!bounce_open(&copy->control, copy->message.msg_controllen))
		return false;
	copy->message.msg_name = message->msg_name == NULL ? NULL : &copy->name;
	copy->message.msg_control = message->msg_control == NULL ? NULL : copy->control.bytes;
	return true;
}

static ssize_t receive_copied(int fd, struct msghdr *message, int flags)
{
	struct message_copy copy;
	const struct message_call call = { &copy.message, flags };
	const struct transfer transfer = { attempt_recvmsg, &call, fd };

	if (!message_copy_open(&copy, message))
		return -1;
	socklen_t name_room = copy.message.msg_namelen;
	ssize_t result = transfer_in(&transfer, message->msg_iov, (int)message->msg_iovlen);
	socklen_t got = copy.message.msg_namelen;

	if (result >= 0) {
		if (message->msg_name != NULL)
			memcpy(message->msg_name, &copy.name, got < name_room ? got : name_room);
		if (message->msg_control != NULL)
			memcpy(message->msg_control, copy.control.bytes,
			       copy.message.msg_controllen);
		message->msg_namelen = got;
		message->msg_controllen = copy.message.msg_controllen;
		message->msg_flags = copy.message.msg_flags;
	}
	bounce_close(&copy.control);
	return result;
}

CALLS_API ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	if (!message_covered(message))
		return calls_real()->recvmsg(fd, message, flags);
	return receive_copied(fd, message, flags);
}

static ssize_t send_copied(int fd, const struct msghdr *message, int flags, ssize_t result)
{
	struct message_copy copy;
	const struct message_call call = { &copy.message, flags };
	const struct transfer transfer = { attempt_sendmsg, &call, fd };
	int error = errno;

	if (!message_copy_open(&copy, message))
		return -1;
	if (message->msg_name != NULL)
		memcpy(&copy.name, message->msg_name, copy.message.msg_namelen);
	if (message->msg_control != NULL)
		memcpy(copy.control.bytes, message->msg_control, copy.message.msg_controllen);
	errno = error;
	result = transfer_out(&transfer, message->msg_iov, (int)message->msg_iovlen, result);
	bounce_close(&copy.control);
	return result;
}

CALLS_API ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	ssize_t result = calls_real()->sendmsg(fd, message, flags);

	if ((result < 0 && errno != EFAULT) || !message_covered(message))
		return result;
	return send_copied(fd, message, flags, result);
}
