# tributary_library(NAME tributary_x SRCS a.cc HDRS a.h DEPS … PRIVATE_DEPS …)
#   Our own static library: warnings are errors, headers are included from the root of
#   the tree. DEPS are what its headers need, PRIVATE_DEPS what only its sources need.
# tributary_binary(NAME tributaryd SRCS … DEPS …)
# tributary_test(NAME x_test SRCS … DEPS … [LABELS …] [TIMEOUT s])
#   A GoogleTest program registered as one ctest entry; the default label is `unit`.
#   Label `torch` marks programs that link LibTorch: the sanitizer runs leave them out. Label
#   `threads` marks programs in which our own threads meet and gRPC's do not: ThreadSanitizer runs
#   over these, see .ci/run. Target `tributary_thread_tests` builds them.
include_guard(GLOBAL)
add_custom_target(tributary_thread_tests)

function(tributary_library)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;HDRS;DEPS;PRIVATE_DEPS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "tributary_library(${ARG_NAME}): unknown arguments: ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(ARG_SRCS)
    add_library(${ARG_NAME} STATIC ${ARG_SRCS} ${ARG_HDRS})
    target_include_directories(${ARG_NAME} PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(${ARG_NAME} PUBLIC ${ARG_DEPS}
      PRIVATE ${ARG_PRIVATE_DEPS} $<BUILD_INTERFACE:tributary_warnings> $<BUILD_INTERFACE:tributary_sanitized>)
  else()
    add_library(${ARG_NAME} INTERFACE ${ARG_HDRS})
    target_include_directories(${ARG_NAME} INTERFACE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${ARG_NAME} INTERFACE ${ARG_DEPS})
  endif()
endfunction()

function(tributary_binary)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS} tributary_warnings tributary_sanitized)
endfunction()

function(tributary_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main tributary_warnings
    tributary_sanitized_tests)
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if("threads" IN_LIST ARG_LABELS)
    add_dependencies(tributary_thread_tests ${ARG_NAME})
  endif()
  # One BLAS thread everywhere: we go parallel over clients, never inside an operator.
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT "OMP_NUM_THREADS=1;TRIBUTARY_SOURCE_DIR=${PROJECT_SOURCE_DIR};TRIBUTARY_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
endfunction()
