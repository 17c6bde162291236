include(PergolaPmix)

# One module of the library: a static archive of position-independent objects that a test can link
# without the modules above it. The shared library is made of all of them (pergola_library below).
function(pergola_module name)
	add_library(pergola_${name} STATIC ${ARGN})
	target_include_directories(pergola_${name} PUBLIC
		${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
	target_compile_options(pergola_${name} PRIVATE ${PERGOLA_WARNINGS})
	set_target_properties(pergola_${name} PROPERTIES
		POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
endfunction()

# The shared library, of those modules named that are targets. Its symbols are what
# src/libpergola.map names; -z defs makes a symbol that no module has an error here and not in the
# program that uses it (not under a sanitizer, whose run-time library the program brings). The
# modules' objects are linked, not their archives, so that none is left out and none shows in the
# exported target.
function(pergola_library)
	set(objects)
	foreach(module IN LISTS ARGN)
		if(TARGET ${module})
			list(APPEND objects $<TARGET_OBJECTS:${module}>)
		endif()
	endforeach()
	add_library(pergola SHARED ${objects})
	add_library(pergola::pergola ALIAS pergola)
	target_include_directories(pergola INTERFACE
		$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
		$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
	target_link_libraries(pergola PRIVATE Threads::Threads)
	if(PERGOLA_PMIX_FOUND)
		target_link_libraries(pergola PRIVATE ${PMIX_LINK_LIBRARIES})
	endif()
	target_link_options(pergola PRIVATE
		-Wl,--version-script=${PROJECT_SOURCE_DIR}/src/libpergola.map)
	if(NOT PERGOLA_SANITIZE)
		target_link_options(pergola PRIVATE -Wl,-z,defs)
	endif()
	set_target_properties(pergola PROPERTIES
		LINKER_LANGUAGE C SOVERSION 0 VERSION ${PROJECT_VERSION}
		LINK_DEPENDS ${PROJECT_SOURCE_DIR}/src/libpergola.map)
endfunction()
