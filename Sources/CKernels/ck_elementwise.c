#include "ck_math.h"
#include "ck_vector.h"

#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define RSUB(a, b) ((b) - (a))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define RDIV(a, b) ((b) / (a))
/* a when it is larger or NaN, else b, which may be NaN. */
#define MAX(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define MIN(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))

#define BINARY(name, OP)                                                              \
  CK_CLONES void ck_##name##_f32(const float *a, const float *b, float *out, size_t count) { \
    CK_INDEPENDENT                                                                    \
    for (size_t i = 0; i < count; i++) out[i] = OP(a[i], b[i]);                       \
  }

#define BROADCAST(name, OP)                                                           \
  CK_CLONES void ck_##name##_row_f32(const float *a, const float *b, float *out, size_t rows, size_t n) { \
    for (size_t r = 0; r < rows; r++) {                                               \
      const float *x = a + r * n;                                                     \
      float *y = out + r * n;                                                         \
      CK_INDEPENDENT                                                                  \
      for (size_t j = 0; j < n; j++) y[j] = OP(x[j], b[j]);                           \
    }                                                                                 \
  }                                                                                   \
  CK_CLONES void ck_##name##_column_f32(const float *a, const float *b, float *out, size_t rows, size_t n) { \
    for (size_t r = 0; r < rows; r++) {                                               \
      const float *x = a + r * n;                                                     \
      float *y = out + r * n;                                                         \
      const float s = b[r];                                                           \
      CK_INDEPENDENT                                                                  \
      for (size_t j = 0; j < n; j++) y[j] = OP(x[j], s);                              \
    }                                                                                 \
  }

#define UNARY(name, EXPRESSION)                                                       \
  CK_CLONES void ck_##name##_f32(const float *x, float *out, size_t count) {          \
    CK_INDEPENDENT                                                                    \
    for (size_t i = 0; i < count; i++) {                                              \
      const float v = x[i];                                                           \
      out[i] = (EXPRESSION);                                                          \
    }                                                                                 \
  }

BINARY(add, ADD)
BINARY(sub, SUB)
BINARY(mul, MUL)
BINARY(div, DIV)
BINARY(max, MAX)
BINARY(min, MIN)

BROADCAST(add, ADD)
BROADCAST(sub, SUB)
BROADCAST(rsub, RSUB)
BROADCAST(mul, MUL)
BROADCAST(div, DIV)
BROADCAST(rdiv, RDIV)
BROADCAST(max, MAX)
BROADCAST(min, MIN)

UNARY(neg, -v)
UNARY(abs, ck_float(ck_bits(v) & 0x7fffffffu))
UNARY(sqrt, __builtin_sqrtf(v))
UNARY(reciprocal, 1.0f / v)
UNARY(relu, v < 0.0f ? 0.0f : v)
UNARY(exp, ck_exp1(v))
UNARY(log, ck_log1(v))
UNARY(tanh, ck_tanh1(v))
UNARY(sigmoid, ck_sigmoid1(v))
UNARY(erf, ck_erf1(v))

/* The byte is 0 or 1; a comparison with NaN is 0. */
#define RELATION(name, OP)                                                            \
  CK_CLONES void ck_##name##_f32(const float *a, const float *b, uint8_t *out, size_t count) { \
    CK_INDEPENDENT                                                                    \
    for (size_t i = 0; i < count; i++) out[i] = a[i] OP b[i];                         \
  }                                                                                   \
  CK_CLONES void ck_##name##_scalar_f32(const float *a, float b, uint8_t *out, size_t count) { \
    CK_INDEPENDENT                                                                    \
    for (size_t i = 0; i < count; i++) out[i] = a[i] OP b;                            \
  }

RELATION(equal, ==)
RELATION(less, <)
RELATION(less_equal, <=)
RELATION(greater, >)
RELATION(greater_equal, >=)

CK_CLONES void ck_select_f32(const uint8_t *condition, const float *a, const float *b, float *out, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) {
    const float x = a[i], y = b[i];
    out[i] = condition[i] ? x : y;
  }
}

CK_CLONES void ck_mask_f32(const uint8_t *condition, const float *x, float *out, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) {
    const float v = x[i];
    out[i] = condition[i] ? v : 0.0f;
  }
}

CK_CLONES void ck_and_u8(const uint8_t *a, const uint8_t *b, uint8_t *out, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) out[i] = a[i] & b[i];
}

CK_CLONES void ck_relu_mask_f32(const float *x, const float *g, float *out, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) {
    /* Both are read whatever the comparison says, so that the loop has no branch. */
    const float v = g[i];
    out[i] = x[i] > 0.0f ? v : 0.0f;
  }
}

CK_CLONES void ck_accumulate_f32(const float *x, float *y, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) y[i] += x[i];
}

CK_CLONES void ck_accumulate_f64(const double *x, double *y, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) y[i] += x[i];
}

CK_CLONES void ck_accumulate_wide_f32(const float *x, double *y, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) y[i] += (double)x[i];
}

CK_CLONES void ck_axpy_f32(float factor, const float *x, float *y, size_t count) { ck_axpy(factor, x, y, count); }

CK_CLONES void ck_axpy_f64(double factor, const double *x, double *y, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) y[i] += factor * x[i];
}

CK_CLONES void ck_axpy_wide_f32(double factor, const float *x, float *y, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) y[i] = (float)((double)y[i] + factor * (double)x[i]);
}

CK_CLONES void ck_scale_wide_f32(double factor, float *x, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) x[i] = (float)(factor * (double)x[i]);
}

CK_CLONES void ck_widen_f32(const float *x, double *out, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) out[i] = 0.0 + (double)x[i];
}

CK_CLONES void ck_narrow_f32(double factor, const double *x, float *out, size_t count) {
  CK_INDEPENDENT
  for (size_t i = 0; i < count; i++) out[i] = (float)(x[i] * factor);
}
