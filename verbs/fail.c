/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

static const char *remedy(const char *call, int error)
{
	if (error == ENOMEM && strstr(call, "reg_mr") != NULL)
		return "the limit of locked memory is too small (ulimit -l unlimited; for services "
		       "LimitMEMLOCK=infinity)";
	switch (error) {
	case ENOMEM:
		return "the device or the limit of locked memory is exhausted (ulimit -l "
		       "unlimited)";
	case ENODEV:
	case ENOENT:
		return "no RDMA device (modprobe rdma_ucm ib_uverbs; for Soft-RoCE: modprobe "
		       "rdma_rxe && "
		       "rdma link add rxe0 type rxe netdev IFACE)";
	case EACCES:
	case EPERM:
		return "no access to /dev/infiniband (give the user read and write access to "
		       "rdma_cm "
		       "and uverbs*)";
	case EMFILE:
		return "too many open files (ulimit -n)";
	case EADDRNOTAVAIL:
		return "the address belongs to no RDMA device (rdma link; ip address)";
	case EHOSTUNREACH:
	case ENETUNREACH:
		return "no route to the peer's address from this device (ip route get)";
	case EINVAL:
		return "the device refuses: a GID of the wrong type (RoCE v2 is needed), or an MTU "
		       "that "
		       "differs between the ends (rdma link; ip link)";
	}
	return "see dmesg and `pergola doctor`";
}

int verbs_fail(const char *call, int error)
{
	return error_set(-error, "%s: %s; %s", call, strerror(error), remedy(call, error));
}

int verbs_status(enum ibv_wc_status status)
{
	if (status == IBV_WC_SUCCESS)
		return 0;
	if (status == IBV_WC_REM_ACCESS_ERR || status == IBV_WC_LOC_PROT_ERR)
		return -EACCES;
	if (status == IBV_WC_REM_INV_REQ_ERR || status == IBV_WC_LOC_LEN_ERR)
		return -EINVAL;
	if (status == IBV_WC_RETRY_EXC_ERR || status == IBV_WC_RNR_RETRY_EXC_ERR)
		return -ETIMEDOUT;
	return -ECONNRESET;
}
