// TRIB_VECTOR_CLONES before a function whose loop the compiler vectorises: it is compiled for AVX2
// too, and the processor decides at start. The same bits either way: one operation a lane, and no
// fused multiply-add (-ffp-contract=off). With GCC for x86-64 on Linux; elsewhere it does nothing,
// nor with sanitizers, whose runtime is not there yet when the choice is made.
#ifndef TRIBUTARY_COMMON_VECTOR_CLONES_H_
#define TRIBUTARY_COMMON_VECTOR_CLONES_H_

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TRIB_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define TRIB_VECTOR_CLONES
#endif

#endif  // TRIBUTARY_COMMON_VECTOR_CLONES_H_
