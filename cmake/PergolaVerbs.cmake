# The fabric on RDMA: option PERGOLA_VERBS, and target pergola_verbs where it can be built.
set(PERGOLA_VERBS AUTO CACHE STRING
	"Build the fabric on libibverbs and librdmacm: AUTO (if they are there), ON or OFF")
set_property(CACHE PERGOLA_VERBS PROPERTY STRINGS AUTO ON OFF)

if(PERGOLA_VERBS)
	find_library(IBVERBS_LIBRARY ibverbs)
	find_library(RDMACM_LIBRARY rdmacm)
	find_path(IBVERBS_INCLUDE infiniband/verbs.h)
	find_path(RDMACM_INCLUDE rdma/rdma_cma.h)
	mark_as_advanced(IBVERBS_LIBRARY RDMACM_LIBRARY IBVERBS_INCLUDE RDMACM_INCLUDE)
	if(IBVERBS_LIBRARY AND RDMACM_LIBRARY AND IBVERBS_INCLUDE AND RDMACM_INCLUDE)
		add_subdirectory(verbs)
		message(STATUS "Fabric on RDMA: ${RDMACM_LIBRARY}")
	elseif(PERGOLA_VERBS STREQUAL "AUTO")
		message(STATUS "Fabric on RDMA: not built (no libibverbs-dev, librdmacm-dev)")
	else()
		message(FATAL_ERROR "PERGOLA_VERBS=ON needs libibverbs and librdmacm with their "
			"headers (Debian: libibverbs-dev librdmacm-dev)")
	endif()
endif()
