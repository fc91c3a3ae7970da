#pragma once
#include <stdbool.h>
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

/* What clones call is inlined into each, to be compiled for its instruction set. */
#define CK_INLINE static inline __attribute__((always_inline))

/* An output may be the very array of an operand: iterations are independent, but pointers are not `restrict`. */
#if defined(__clang__)
#define CK_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define CK_INDEPENDENT _Pragma("GCC ivdep")
#endif

/* Lanes of every sum and maximum over floats. */
enum { CK_LANES = 16 };

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
    for (int k = 0; k < width; k++) lane[k] += lane[k + width];
  return lane[0];
}

/* `sum` becomes the sum of TERM, a double made of the index i, over i < n. Term i goes to lane i mod 16. */
#define CK_SUM(sum, i, n, TERM)                             \
  do {                                                      \
    double lane_[CK_LANES] = {0};                           \
    size_t start_ = 0;                                      \
    for (; start_ + CK_LANES <= (n); start_ += CK_LANES)    \
      for (size_t k_ = 0; k_ < CK_LANES; k_++) {            \
        const size_t i = start_ + k_;                       \
        lane_[k_] += (TERM);                                \
      }                                                     \
    for (size_t i = start_; i < (n); i++) lane_[i - start_] += (TERM); \
    (sum) = ck_fold(lane_);                                 \
  } while (0)

/* sum over i of x[i] * y[i]; products of floats are exact in double. */
CK_INLINE double ck_dot(const float *x, const float *y, size_t n) {
  double sum;
  CK_SUM(sum, i, n, (double)x[i] * (double)y[i]);
  return sum;
}

/* y[i] = y[i] + factor * x[i] */
CK_INLINE void ck_axpy(float factor, const float *x, float *y, size_t n) {
  CK_INDEPENDENT
  for (size_t i = 0; i < n; i++) y[i] += factor * x[i];
}
