# The language, where binaries go, and the optional accelerators of the build itself.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(TRIBUTARY_CCACHE ccache)
if(TRIBUTARY_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${TRIBUTARY_CCACHE})
endif()

find_program(TRIBUTARY_MOLD mold)
if(TRIBUTARY_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# Sources and results must not depend on where the tree stands, and a
# floating-point result must not depend on whether the compiler fused it:
# aggregation asks for std::fma by name where it wants it.
add_compile_options(-ffp-contract=off)

# What finds the library's defects: our libraries and programs are compiled with tributary_sanitized,
# the tests with tributary_sanitized_tests. Of UndefinedBehaviorSanitizer stay out what
# AddressSanitizer sees as well (null) and what this code cannot do wrong (no RTTI casts); tests
# need only the addresses, unoptimised. Together this halves the compile time.
add_library(tributary_sanitized INTERFACE)
add_library(tributary_sanitized_tests INTERFACE)
if(TRIBUTARY_SANITIZE STREQUAL "address")
  target_compile_options(tributary_sanitized INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
    -fno-sanitize=null,vptr,object-size,return,nonnull-attribute,returns-nonnull-attribute)
  target_compile_options(tributary_sanitized_tests INTERFACE -fsanitize=address -O0)
  add_compile_options(-fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(TRIBUTARY_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(TRIBUTARY_SANITIZE)
  message(FATAL_ERROR "TRIBUTARY_SANITIZE is '${TRIBUTARY_SANITIZE}'; allowed: empty, address, thread")
endif()

add_library(tributary_warnings INTERFACE)
target_compile_options(tributary_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-missing-field-initializers -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # GCC 12 takes the inactive members of a std::variant for uninitialised ones, and at -O3
  # sees overlaps in `"literal" + string` that cannot be (GCC bug 105329).
  target_compile_options(tributary_warnings INTERFACE -Wno-maybe-uninitialized
                         $<$<CONFIG:Release>:-Wno-restrict>)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(tributary_warnings INTERFACE -Wthread-safety -Wno-gnu-zero-variadic-macro-arguments)
endif()
