#pragma once

/* Compiles a function for several instruction sets and picks one at load time. Not under the sanitizers, which
 * run before that choice could be made. Bits stay the same between the clones as long as lanes are explicit
 * and contraction to fused multiply-add is off (Package.swift). */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CK_NO_CLONES 1
#endif
#endif
#if defined(__x86_64__) && !defined(CK_NO_CLONES)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif
/* Helpers must be inlined into each clone to be compiled for its instruction set. */
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };

/* Lanes added in a tree, as `ck_fold` does. */
INLINE double sum_lanes(double *lane) {
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int j = 0; j < width; j++) lane[j] += lane[j + width];
  return lane[0];
}
