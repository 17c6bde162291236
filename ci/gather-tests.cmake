# SPDX-License-Identifier: Apache-2.0
#
# Writes OUT/CTestTestfile.cmake: the tests of several build trees as one suite, so that one ctest
# runs them and counts them.
#
#   cmake -DOUT=DIR -DTREES="BUILD_DIR;..." [-DONLY_<tree>=LABEL_REGEX] [-DNOT_<tree>=LABEL_REGEX]
#         [-DWRAP_<tree>="command;argument"] [-DPATIENCE_<tree>=FACTOR] [-DBESIDE=ON]
#         -P gather-tests.cmake
#
# <tree> is the last part of BUILD_DIR and is put before the names of its tests, the first tree
# apart. ONLY_ and NOT_ choose tests by label; WRAP_ goes before each command; PATIENCE_ multiplies
# the time that a test may take. BESIDE: of the tests that want to run alone (RUN_SERIAL) one runs
# at a time, and one of label softroce, beside others.
cmake_minimum_required(VERSION 3.25)
cmake_policy(VERSION 3.25)

# The list of strings that a JSON array (or a single value) holds.
function(json_list out text)
	string(JSON kind TYPE "${text}" ${ARGN})
	if(NOT kind STREQUAL "ARRAY")
		string(JSON values GET "${text}" ${ARGN})
	else()
		set(values)
		string(JSON count LENGTH "${text}" ${ARGN})
		if(count GREATER 0)
			math(EXPR last "${count} - 1")
			foreach(i RANGE ${last})
				string(JSON value GET "${text}" ${ARGN} ${i})
				list(APPEND values "${value}")
			endforeach()
		endif()
	endif()
	set(${out} "${values}" PARENT_SCOPE)
endfunction()

# Appends to `suite` the line of one test, given as its object in ctest's list. (With the whole list
# each look into it would parse all of it.)
function(append_test test tree prefix)
	string(JSON name GET "${test}" name)
	string(JSON missing ERROR_VARIABLE no_command GET "${test}" command)
	if(no_command)
		message(FATAL_ERROR "${tree}: the program of test ${name} is not built")
	endif()
	string(JSON all GET "${test}" properties)
	# Begun first: those that take longest one after another, then the others that are alone.
	set(lock nodes)
	set(cost 500)
	set(nice nice -n 5) # all wait for the machines in the end
	if(all MATCHES "\"softroce\"")
		set(lock machines)
		set(cost 1000)
		set(nice)
	endif()
	if(NOT BESIDE)
		set(nice)
	endif()
	json_list(command "${test}" command)
	set(line "add_test([==[${prefix}${name}]==]")
	foreach(word IN LISTS nice WRAP_${tree} command)
		string(APPEND line " [==[${word}]==]")
	endforeach()
	string(APPEND line ")\nset_tests_properties([==[${prefix}${name}]==] PROPERTIES")
	string(JSON count LENGTH "${test}" properties)
	math(EXPR last "${count} - 1")
	if(BESIDE AND all MATCHES "\"RUN_SERIAL\"")
		string(APPEND line " COST ${cost}")
	endif()
	foreach(i RANGE ${last})
		string(JSON property GET "${test}" properties ${i} name)
		json_list(value "${test}" properties ${i} value)
		if(property STREQUAL "TIMEOUT" AND PATIENCE_${tree})
			string(REGEX REPLACE "\\..*" "" value "${value}")
			math(EXPR value "${value} * ${PATIENCE_${tree}}")
		endif()
		if(property STREQUAL "RUN_SERIAL" AND BESIDE)
			set(property RESOURCE_LOCK)
			set(value ${lock})
		endif()
		# Names that must not meet another tree's.
		if(property MATCHES "^(FIXTURES_.*|DEPENDS)$")
			list(TRANSFORM value PREPEND "${prefix}")
		endif()
		string(APPEND line " ${property} [==[${value}]==]")
	endforeach()
	set(suite "${suite}${line})\n" PARENT_SCOPE)
endfunction()

set(suite "")
set(first ON)
foreach(directory IN LISTS TREES)
	cmake_path(GET directory FILENAME tree)
	set(choice)
	if(ONLY_${tree})
		list(APPEND choice -L "${ONLY_${tree}}")
	endif()
	if(NOT_${tree})
		list(APPEND choice -LE "${NOT_${tree}}")
	endif()
	execute_process(COMMAND ${CMAKE_CTEST_COMMAND} --test-dir ${directory}
		--show-only=json-v1 ${choice}
		OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
	string(JSON count LENGTH "${text}" tests)
	if(count EQUAL 0)
		message(FATAL_ERROR "${directory} has no tests")
	endif()
	set(prefix "${tree}.")
	if(first)
		set(prefix "")
		set(first OFF)
	endif()
	math(EXPR last "${count} - 1")
	foreach(index RANGE ${last})
		string(JSON test GET "${text}" tests ${index})
		append_test("${test}" ${tree} "${prefix}")
	endforeach()
	message(STATUS "${tree}: ${count} tests")
endforeach()
file(WRITE ${OUT}/CTestTestfile.cmake "${suite}")
