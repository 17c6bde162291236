# What `cmake --install` lays down: the header; and, as far as this build has them, the library with
# its pkg-config file and CMake package, the command, and the man pages.
include(CMakePackageConfigHelpers)

install(FILES include/pergola/dsm.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/pergola)

foreach(section 1 3 7)
	file(GLOB pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.${section})
	install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

if(TARGET pergola_command)
	install(TARGETS pergola_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

if(TARGET pergola)
	install(TARGETS pergola EXPORT pergola_targets
		LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
	set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pergola)
	install(EXPORT pergola_targets NAMESPACE pergola:: FILE pergolaTargets.cmake
		DESTINATION ${package_dir})
	configure_package_config_file(cmake/pergolaConfig.cmake.in
		${PROJECT_BINARY_DIR}/pergolaConfig.cmake INSTALL_DESTINATION ${package_dir})
	write_basic_package_version_file(${PROJECT_BINARY_DIR}/pergolaConfigVersion.cmake
		COMPATIBILITY SameMinorVersion)
	install(FILES ${PROJECT_BINARY_DIR}/pergolaConfig.cmake
		${PROJECT_BINARY_DIR}/pergolaConfigVersion.cmake DESTINATION ${package_dir})

	# pkg-config --define-prefix and a later `cmake --install --prefix` both move the tree, so
	# the file names its own place; absolute install directories are taken as they are.
	cmake_path(IS_ABSOLUTE CMAKE_INSTALL_LIBDIR libdir_is_absolute)
	if(libdir_is_absolute)
		set(pc_prefix ${CMAKE_INSTALL_PREFIX})
	else()
		file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
		string(REGEX REPLACE "/$" "" up ${up})
		set(pc_prefix "\${pcfiledir}/${up}")
	endif()
	cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY "\${prefix}"
		OUTPUT_VARIABLE pc_libdir)
	cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY "\${prefix}"
		OUTPUT_VARIABLE pc_includedir)
	configure_file(cmake/pergola.pc.in ${PROJECT_BINARY_DIR}/pergola.pc @ONLY)
	install(FILES ${PROJECT_BINARY_DIR}/pergola.pc
		DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
