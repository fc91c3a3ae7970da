#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One function per instruction set, chosen when the library is loaded. Sanitizers are not ready at that time.
 * Every clone computes the same bits: no contraction (-ffp-contract=off), and sums have a fixed lane count. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CK_NO_CLONES 1
#endif
#endif
#if defined(__x86_64__) && !defined(CK_NO_CLONES)
#define CK_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CK_CLONES
#endif

#define CK_INLINE static inline __attribute__((always_inline))

/* An output may be the very array of an operand: iterations are independent, but pointers are not `restrict`. */
#if defined(__clang__)
#define CK_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define CK_INDEPENDENT _Pragma("GCC ivdep")
#endif

/* Lanes of every sum and maximum over floats. */
#define CK_LANES 16

CK_INLINE uint32_t ck_bits(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

CK_INLINE float ck_float(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

/* Lanes added in a tree: the same order for every length and instruction set. */
CK_INLINE double ck_fold(double *lane) {
  for (int width = CK_LANES / 2; width > 0; width /= 2)
    for (int j = 0; j < width; j++) lane[j] += lane[j + width];
  return lane[0];
}
