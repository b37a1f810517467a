# How each part of the house is built: warnings, sanitizers, and the functions that the parts' CMakeLists.txt use.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)

add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Werror -fstack-protector-strong)
# g++ 12 warns falsely about std::string concatenation at -O2 (GCC bug 105651).
add_compile_options($<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
add_compile_definitions($<$<CONFIG:RelWithDebInfo>:_FORTIFY_SOURCE=2>)
add_link_options(-Wl,-z,relro,-z,now)
find_program(LATCHKEY_LLD ld.lld)
if(LATCHKEY_LLD)
    add_link_options(-fuse-ld=lld)
endif()

# What the static helper links must come without sanitizers: a static program cannot carry them.
set(LATCHKEY_SANITIZE_FLAGS "")
if(LATCHKEY_SANITIZE)
    set(LATCHKEY_SANITIZE_FLAGS -fsanitize=${LATCHKEY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    if(CMAKE_CXX_COMPILER_ID STREQUAL Clang AND LATCHKEY_SANITIZE MATCHES undefined)
        list(APPEND LATCHKEY_SANITIZE_FLAGS -fno-sanitize=function) # clang 14 cannot emit it for coroutines
    endif()
    add_compile_options(${LATCHKEY_SANITIZE_FLAGS})
    add_link_options(${LATCHKEY_SANITIZE_FLAGS})
endif()

if(LATCHKEY_TESTS)
    enable_testing()
    include(GoogleTest)
    find_package(GTest REQUIRED)
endif()

# Every include is written from the top of the tree: "core/base/result.h".
include_directories(${CMAKE_SOURCE_DIR})

# With LATCHKEY_UNITY a room's sources are compiled as one (CMake's UNITY_BUILD): our headers are read once a room, not once
# a file, so a whole build takes a third. So two files of a room cannot have two private things of one name.
# lk_as_one(TARGET [APART FILE…]): those files alone, where one name in several of them reads best.
function(lk_as_one target)
    cmake_parse_arguments(ARG "" "" "APART" ${ARGN})
    set_target_properties(${target} PROPERTIES UNITY_BUILD ${LATCHKEY_UNITY} UNITY_BUILD_BATCH_SIZE 0)
    if(ARG_APART)
        set_source_files_properties(${ARG_APART} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endif()
    if(LATCHKEY_UNITY) # it asks whether the one file that is compiled is the type's own: it is not
        target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
    endif()
endfunction()

# lk_room(NAME SOURCES … [LINK …] [APART …]): static library lk_NAME.
function(lk_room name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK;APART" ${ARGN})
    add_library(lk_${name} STATIC ${ARG_SOURCES})
    lk_as_one(lk_${name} APART ${ARG_APART})
    target_link_libraries(lk_${name} PUBLIC ${ARG_LINK})
endfunction()

# lk_test(NAME SOURCES … [LINK …]): GoogleTest program NAME_test with each case known to ctest by its sentence.
function(lk_test name)
    if(NOT LATCHKEY_TESTS)
        return()
    endif()
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name}_test ${ARG_SOURCES})
    target_link_libraries(${name}_test PRIVATE ${ARG_LINK} GTest::gmock GTest::gtest_main)
    # What a test itself says is not what is measured or shipped: unoptimized it compiles in half the time.
    target_compile_options(${name}_test PRIVATE $<$<CONFIG:RelWithDebInfo>:-O0 -g1 -U_FORTIFY_SOURCE>)
    set_target_properties(${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/unit)
    if(LATCHKEY_TESTED AND NOT name IN_LIST LATCHKEY_TESTED)
        set_target_properties(${name}_test PROPERTIES EXCLUDE_FROM_ALL ON)
        return()
    endif()
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 120)
endfunction()

# lk_test_on_postgres(NAME [OPTION…]): all of NAME_test, or what its options say, once more, in one process beside a PostgreSQL of its own.
function(lk_test_on_postgres name)
    if(LATCHKEY_TESTED AND NOT name IN_LIST LATCHKEY_TESTED)
        return()
    endif()
    add_test(NAME ${name}.OnPostgreSQL COMMAND ${CMAKE_SOURCE_DIR}/tests/support/with_postgres $<TARGET_FILE:${name}_test>
        ${ARGN})
    set_tests_properties(${name}.OnPostgreSQL PROPERTIES TIMEOUT 280 SKIP_RETURN_CODE 77)
endfunction()

# lk_plugin(NAME SOURCES … [LINK …]): plugins/NAME.so, with the one exported symbol of the seam.
function(lk_plugin name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_library(plugin-${name} MODULE ${ARG_SOURCES})
    lk_as_one(plugin-${name})
    target_link_libraries(plugin-${name} PRIVATE ${ARG_LINK})
    set_target_properties(plugin-${name} PROPERTIES
        PREFIX "" OUTPUT_NAME ${name} LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins)
endfunction()
