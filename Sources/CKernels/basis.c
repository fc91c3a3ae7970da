#include "basis.h"
#include "clones.h"

INLINE double dot(const float *a, const float *b, size_t n) {
  double sum[LANES] = {0};
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int k = 0; k < LANES; k++) sum[k] += (double)a[i + k] * (double)b[i + k];
  for (int k = 0; i < n; i++, k++) sum[k] += (double)a[i] * (double)b[i];
  return sum_lanes(sum);
}

CLONES void ck_basis_dots(const float *v, size_t stride, size_t count, const float *w, size_t n, double *h) {
  for (size_t i = 0; i < count; i++) h[i] = dot(v + i * stride, w, n);
}

CLONES void ck_basis_subtract(const float *v, size_t stride, size_t count, const double *h, float *w, size_t n) {
  enum { RUN = 512 };
  double sum[RUN];
  for (size_t start = 0; start < n; start += RUN) {
    size_t length = n - start < RUN ? n - start : RUN;
    for (size_t j = 0; j < length; j++) sum[j] = (double)w[start + j];
    for (size_t i = 0; i < count; i++) {
      const float *x = v + i * stride + start;
      double a = h[i];
      for (size_t j = 0; j < length; j++) sum[j] -= a * (double)x[j];
    }
    for (size_t j = 0; j < length; j++) w[start + j] = (float)sum[j];
  }
}

CLONES void ck_scale(double a, float *x, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = (float)(a * (double)x[i]);
}

CLONES double ck_residual_squares(const float *y, double a, const float *x, size_t n) {
  double sum[LANES] = {0};
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int k = 0; k < LANES; k++) {
      double d = (double)y[i + k] - a * (double)x[i + k];
      sum[k] += d * d;
    }
  for (int k = 0; i < n; i++, k++) {
    double d = (double)y[i] - a * (double)x[i];
    sum[k] += d * d;
  }
  return sum_lanes(sum);
}
