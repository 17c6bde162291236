# One module of the library: a static archive of position-independent objects that a test can link
# without the modules above it. The shared library is made of all of them.
function(pergola_module name)
	add_library(pergola_${name} STATIC ${ARGN})
	target_include_directories(pergola_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
	target_compile_options(pergola_${name} PRIVATE ${PERGOLA_WARNINGS})
	set_target_properties(pergola_${name} PROPERTIES
		POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
endfunction()
