# Every third-party package, found once. Protobuf must be found through CMake's own
# module before gRPC: Debian ships no protobuf CONFIG package and gRPC's asks for one.
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(yaml-cpp CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(zstd CONFIG REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

find_package(Eigen3 CONFIG REQUIRED)
find_package(BLAS REQUIRED)

# LAPACK's C interface has no CMake package on Debian 12. It finds the LAPACK that goes with the BLAS.
find_path(TRIBUTARY_LAPACKE_INCLUDE lapacke.h REQUIRED)
find_library(TRIBUTARY_LAPACKE_LIBRARY lapacke REQUIRED)
add_library(tributary_lapacke INTERFACE)
target_include_directories(tributary_lapacke SYSTEM INTERFACE ${TRIBUTARY_LAPACKE_INCLUDE})
target_link_libraries(tributary_lapacke INTERFACE ${TRIBUTARY_LAPACKE_LIBRARY})

# The OpenMP runtime of GCC, on which Debian's OpenBLAS runs: to tell it to use one thread. Compilers
# find it in their own folders.
add_library(tributary_openmp_runtime INTERFACE)
target_link_libraries(tributary_openmp_runtime INTERFACE gomp)

# cpp-httplib is a header and a shared library without a CMake package on Debian 12.
find_path(TRIBUTARY_HTTPLIB_INCLUDE httplib.h REQUIRED)
find_library(TRIBUTARY_HTTPLIB_LIBRARY cpp-httplib REQUIRED)
add_library(tributary_httplib INTERFACE)
target_include_directories(tributary_httplib SYSTEM INTERFACE ${TRIBUTARY_HTTPLIB_INCLUDE})
target_link_libraries(tributary_httplib INTERFACE ${TRIBUTARY_HTTPLIB_LIBRARY} Threads::Threads)
# As the shared library was built: the layout of its classes depends on them.
target_compile_definitions(tributary_httplib INTERFACE
  CPPHTTPLIB_OPENSSL_SUPPORT CPPHTTPLIB_ZLIB_SUPPORT CPPHTTPLIB_BROTLI_SUPPORT)

if(TRIBUTARY_WITH_TORCH)
  find_package(Torch CONFIG REQUIRED)
  # One door to LibTorch: its headers are system headers (its warnings are not
  # ours), and -g1 keeps a file's debug information from doubling compile time.
  add_library(tributary_libtorch INTERFACE)
  target_include_directories(tributary_libtorch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  target_link_libraries(tributary_libtorch INTERFACE ${TORCH_LIBRARIES})
  target_compile_options(tributary_libtorch INTERFACE -g1)
endif()

if(TRIBUTARY_BUILD_TESTS)
  find_package(GTest CONFIG REQUIRED)
  # An oracle. It has a protobuf of its own inside, which cannot stand beside LibTorch's in a process.
  pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
endif()
