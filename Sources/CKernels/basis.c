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

/* Rows that are read together, so that w is read and widened once for all of them. */
enum { ROWS = 4 };

/* Inner products of ROWS vectors with w. The order of every sum is that of `dot`. */
#define DOTS(ELEMENT, VALUE)                                                                          \
  for (; i + ROWS <= count; i += ROWS) {                                                              \
    const ELEMENT *x = v + i * stride;                                                                \
    double sum[ROWS][LANES] = {{0}};                                                                  \
    size_t j = 0;                                                                                     \
    for (; j + LANES <= n; j += LANES)                                                                \
      for (int k = 0; k < LANES; k++) {                                                               \
        double b = (double)w[j + k];                                                                  \
        for (int r = 0; r < ROWS; r++) sum[r][k] += (double)VALUE(x[r * stride + j + k]) * b;         \
      }                                                                                               \
    for (int k = 0; j < n; j++, k++)                                                                  \
      for (int r = 0; r < ROWS; r++) sum[r][k] += (double)VALUE(x[r * stride + j]) * (double)w[j];    \
    for (int r = 0; r < ROWS; r++) h[i + r] = sum_lanes(sum[r]);                                      \
  }

/* w -= sum over i of h[i] v_i in double precision, i ascending. */
#define SUBTRACT(ELEMENT, VALUE)                                                                      \
  enum { RUN = 512 };                                                                                 \
  double sum[RUN];                                                                                    \
  for (size_t start = 0; start < n; start += RUN) {                                                   \
    size_t length = n - start < RUN ? n - start : RUN;                                                \
    for (size_t j = 0; j < length; j++) sum[j] = (double)w[start + j];                                \
    size_t i = 0;                                                                                     \
    for (; i + ROWS <= count; i += ROWS) {                                                            \
      const ELEMENT *x = v + i * stride + start;                                                      \
      double a0 = h[i], a1 = h[i + 1], a2 = h[i + 2], a3 = h[i + 3];                                  \
      for (size_t j = 0; j < length; j++) {                                                           \
        double s = sum[j] - a0 * (double)VALUE(x[j]);                                                 \
        s -= a1 * (double)VALUE(x[stride + j]);                                                       \
        s -= a2 * (double)VALUE(x[2 * stride + j]);                                                   \
        sum[j] = s - a3 * (double)VALUE(x[3 * stride + j]);                                           \
      }                                                                                               \
    }                                                                                                 \
    for (; i < count; i++) {                                                                          \
      const ELEMENT *x = v + i * stride + start;                                                      \
      double a = h[i];                                                                                \
      for (size_t j = 0; j < length; j++) sum[j] -= a * (double)VALUE(x[j]);                          \
    }                                                                                                 \
    for (size_t j = 0; j < length; j++) w[start + j] = (float)sum[j];                                 \
  }

CLONES void ck_basis_dots(const float *v, size_t stride, size_t count, const float *w, size_t n, double *h) {
  size_t i = 0;
  DOTS(float, )
  for (; i < count; i++) h[i] = dot(v + i * stride, w, n);
}

CLONES void ck_basis_subtract(const float *v, size_t stride, size_t count, const double *h, float *w, size_t n) {
  SUBTRACT(float, )
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

/* A bfloat16 is the upper half of a float. */
INLINE float widened(uint16_t x) {
  union { uint32_t bits; float value; } u = {(uint32_t)x << 16};
  return u.value;
}

CLONES void ck_basis_dots_bf16(
    const uint16_t *v, size_t stride, size_t count, const float *w, size_t n, double *h) {
  size_t i = 0;
  DOTS(uint16_t, widened)
  for (; i < count; i++) {
    const uint16_t *a = v + i * stride;
    double sum[LANES] = {0};
    size_t j = 0;
    for (; j + LANES <= n; j += LANES)
      for (int k = 0; k < LANES; k++) sum[k] += (double)widened(a[j + k]) * (double)w[j + k];
    for (int k = 0; j < n; j++, k++) sum[k] += (double)widened(a[j]) * (double)w[j];
    h[i] = sum_lanes(sum);
  }
}

CLONES void ck_basis_subtract_bf16(
    const uint16_t *v, size_t stride, size_t count, const double *h, float *w, size_t n) {
  SUBTRACT(uint16_t, widened)
}

CLONES void ck_bf16_widen(const uint16_t *x, float *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = widened(x[i]);
}

CLONES void ck_bf16_round(const float *x, uint16_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) {
    union { float value; uint32_t bits; } u = {x[i]};
    out[i] = (uint16_t)((u.bits + 0x7fffu + (u.bits >> 16 & 1u)) >> 16);
  }
}

CLONES void ck_block_combine(float *w, size_t stride, size_t count, const double *m, size_t n) {
  enum { RUN = 256 };
  double sum[RUN];
  /* Column c reads columns up to c only: the last goes first. */
  for (size_t start = 0; start < n; start += RUN) {
    size_t length = n - start < RUN ? n - start : RUN;
    for (size_t c = count; c-- > 0;) {
      for (size_t j = 0; j < length; j++) sum[j] = 0;
      for (size_t d = 0; d <= c; d++) {
        const float *x = w + d * stride + start;
        double a = m[d * count + c];
        for (size_t j = 0; j < length; j++) sum[j] += a * (double)x[j];
      }
      for (size_t j = 0; j < length; j++) w[c * stride + start + j] = (float)sum[j];
    }
  }
}
