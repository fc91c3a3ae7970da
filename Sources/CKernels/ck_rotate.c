#include "ck_rotate.h"
#include "ck_internal.h"
#include <math.h>

CK_CLONES void ck_rotate_f32(float *x, size_t run, size_t n) {
  const float factor = 1 / sqrtf((float)run);
  for (size_t start = 0; start + run <= n; start += run) {
    float *at = x + start;
    for (size_t half = 1; half < run; half *= 2)
      for (size_t i = 0; i < run; i += 2 * half)
        for (size_t k = i; k < i + half; k++) {
          const float a = at[k], b = at[k + half];
          at[k] = a + b;
          at[k + half] = a - b;
        }
    for (size_t k = 0; k < run; k++) at[k] *= factor;
  }
}

CK_CLONES void ck_rotate_f64(double *x, size_t run, size_t stride, size_t n) {
  const double factor = 1 / sqrt((double)run);
  for (size_t start = 0; start + run * stride <= n; start += run * stride) {
    for (size_t half = 1; half < run; half *= 2)
      for (size_t i = 0; i < run; i += 2 * half)
        for (size_t k = i; k < i + half; k++) {
          double *a = x + start + k * stride, *b = a + half * stride;
          CK_INDEPENDENT
          for (size_t c = 0; c < stride; c++) {
            const double sum = a[c] + b[c], difference = a[c] - b[c];
            a[c] = sum;
            b[c] = difference;
          }
        }
    for (size_t k = 0; k < run * stride; k++) x[start + k] *= factor;
  }
}
