# PMIx, through which mpirun, prterun and srun tell a process who it is. Sets PERGOLA_PMIX_FOUND,
# and then PMIX_INCLUDE_DIRS and PMIX_LINK_LIBRARIES. pkg-config finds it; PKG_CONFIG_PATH says
# where else to look.
set(PERGOLA_PMIX AUTO CACHE STRING
	"Start under mpirun, prterun and srun through PMIx (needs libpmix): AUTO, ON or OFF")
set_property(CACHE PERGOLA_PMIX PROPERTY STRINGS AUTO ON OFF)

set(PERGOLA_PMIX_FOUND OFF)
if(PERGOLA_PMIX)
	find_package(PkgConfig QUIET)
	if(PkgConfig_FOUND)
		pkg_check_modules(PMIX QUIET pmix>=3)
	endif()
	if(PMIX_FOUND)
		set(PERGOLA_PMIX_FOUND ON)
		message(STATUS "PMIx ${PMIX_VERSION}")
	elseif(PERGOLA_PMIX STREQUAL "AUTO")
		message(STATUS "PMIx not found: no start by mpirun, prterun or srun without flags")
	else()
		message(FATAL_ERROR "PERGOLA_PMIX is ON and pkg-config does not find pmix >= 3 "
			"(Debian: libpmix-dev pkg-config)")
	endif()
endif()
