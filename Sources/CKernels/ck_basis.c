#include "ck_basis.h"
#include "ck_internal.h"

/* Rows that are read together, so that w is read and widened once for all of them. */
enum { ROWS = 4 };

/* Inner products with w of ROWS vectors at a time, then of the others. The order of every sum is that of CK_SUM. */
#define DOTS(ELEMENT, VALUE)                                                                          \
  size_t i = 0;                                                                                       \
  for (; i + ROWS <= count; i += ROWS) {                                                              \
    const ELEMENT *x = v + i * stride;                                                                \
    double lane[ROWS][CK_LANES] = {{0}};                                                              \
    size_t j = 0;                                                                                     \
    for (; j + CK_LANES <= n; j += CK_LANES)                                                          \
      for (int k = 0; k < CK_LANES; k++) {                                                            \
        double b = (double)w[j + k];                                                                  \
        for (int r = 0; r < ROWS; r++) lane[r][k] += (double)VALUE(x[r * stride + j + k]) * b;        \
      }                                                                                               \
    for (int k = 0; j < n; j++, k++)                                                                  \
      for (int r = 0; r < ROWS; r++) lane[r][k] += (double)VALUE(x[r * stride + j]) * (double)w[j];   \
    for (int r = 0; r < ROWS; r++) h[i + r] = ck_fold(lane[r]);                                       \
  }                                                                                                   \
  for (; i < count; i++) {                                                                            \
    const ELEMENT *x = v + i * stride;                                                                \
    CK_SUM(h[i], j, n, (double)VALUE(x[j]) * (double)w[j]);                                           \
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

/* A bfloat16 is the upper half of a float. */
CK_INLINE float widened(uint16_t x) { return ck_float((uint32_t)x << 16); }

CK_CLONES void ck_basis_dots_f32(const float *v, size_t stride, const float *w, double *h, size_t count, size_t n) {
  DOTS(float, )
}

CK_CLONES void ck_basis_dots_bf16(const uint16_t *v, size_t stride, const float *w, double *h, size_t count, size_t n) {
  DOTS(uint16_t, widened)
}

CK_CLONES void ck_basis_subtract_f32(const float *v, size_t stride, const double *h, float *w, size_t count, size_t n) {
  SUBTRACT(float, )
}

CK_CLONES void ck_basis_subtract_bf16(const uint16_t *v, size_t stride, const double *h, float *w, size_t count, size_t n) {
  SUBTRACT(uint16_t, widened)
}

CK_CLONES void ck_basis_combine_f32(const double *m, float *w, size_t stride, size_t count, size_t n) {
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

CK_CLONES double ck_residual_squares_f32(double factor, const float *x, const float *y, size_t count) {
  double sum;
  CK_SUM(sum, i, count, ((double)y[i] - factor * (double)x[i]) * ((double)y[i] - factor * (double)x[i]));
  return sum;
}

CK_CLONES void ck_narrow_bf16(const float *x, uint16_t *out, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const uint32_t bits = ck_bits(x[i]);
    out[i] = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
  }
}

CK_CLONES void ck_widen_bf16(const uint16_t *x, float *out, size_t count) {
  for (size_t i = 0; i < count; i++) out[i] = widened(x[i]);
}
