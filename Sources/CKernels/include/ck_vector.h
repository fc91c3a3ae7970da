#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Arithmetic of arrays. An output may be the very array of an operand of its element type, but for those of ck_sum_rows_f32,
 * ck_sum_columns_f32 and ck_small_matmul_f32. Matrices are [rows][n]. */

/* out[i] = a[i] op b[i]; max and min give NaN when either operand is NaN. */
void ck_add_f32(const float *a, const float *b, float *out, size_t count);
void ck_sub_f32(const float *a, const float *b, float *out, size_t count);
void ck_mul_f32(const float *a, const float *b, float *out, size_t count);
void ck_div_f32(const float *a, const float *b, float *out, size_t count);
void ck_max_f32(const float *a, const float *b, float *out, size_t count);
void ck_min_f32(const float *a, const float *b, float *out, size_t count);

/* out[r][j] = a[r][j] op b[j]; the reversed forms rsub and rdiv compute b op a. */
void ck_add_row_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_sub_row_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_rsub_row_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_mul_row_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_div_row_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_rdiv_row_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_max_row_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_min_row_f32(const float *a, const float *b, float *out, size_t rows, size_t n);

/* out[r][j] = a[r][j] op b[r]; with rows = 1 the second operand is a scalar. */
void ck_add_column_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_sub_column_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_rsub_column_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_mul_column_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_div_column_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_rdiv_column_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_max_column_f32(const float *a, const float *b, float *out, size_t rows, size_t n);
void ck_min_column_f32(const float *a, const float *b, float *out, size_t rows, size_t n);

/* out[i] = f(x[i]) */
void ck_neg_f32(const float *x, float *out, size_t count);
void ck_abs_f32(const float *x, float *out, size_t count);
void ck_sqrt_f32(const float *x, float *out, size_t count);
void ck_reciprocal_f32(const float *x, float *out, size_t count);
void ck_relu_f32(const float *x, float *out, size_t count); /* keeps NaN */
void ck_exp_f32(const float *x, float *out, size_t count);
void ck_log_f32(const float *x, float *out, size_t count);
void ck_tanh_f32(const float *x, float *out, size_t count);
void ck_sigmoid_f32(const float *x, float *out, size_t count);
void ck_erf_f32(const float *x, float *out, size_t count);

/* out[i] = a[i] relation b[i], 0 or 1; any relation with NaN is 0 */
void ck_equal_f32(const float *a, const float *b, uint8_t *out, size_t count);
void ck_less_f32(const float *a, const float *b, uint8_t *out, size_t count);
void ck_less_equal_f32(const float *a, const float *b, uint8_t *out, size_t count);
void ck_greater_f32(const float *a, const float *b, uint8_t *out, size_t count);
void ck_greater_equal_f32(const float *a, const float *b, uint8_t *out, size_t count);
void ck_equal_scalar_f32(const float *a, float b, uint8_t *out, size_t count);
void ck_less_scalar_f32(const float *a, float b, uint8_t *out, size_t count);
void ck_less_equal_scalar_f32(const float *a, float b, uint8_t *out, size_t count);
void ck_greater_scalar_f32(const float *a, float b, uint8_t *out, size_t count);
void ck_greater_equal_scalar_f32(const float *a, float b, uint8_t *out, size_t count);

/* out[i] = condition[i] ? a[i] : b[i] */
void ck_select_f32(const uint8_t *condition, const float *a, const float *b, float *out, size_t count);
/* out[i] = condition[i] ? x[i] : 0 */
void ck_mask_f32(const uint8_t *condition, const float *x, float *out, size_t count);
void ck_and_u8(const uint8_t *a, const uint8_t *b, uint8_t *out, size_t count);

/* out[i] = x[i] > 0 ? g[i] : 0, the derivative of relu with the value 0 at the kink. */
void ck_relu_mask_f32(const float *x, const float *g, float *out, size_t count);

/* y[i] = y[i] + x[i] */
void ck_accumulate_f32(const float *x, float *y, size_t count);
void ck_accumulate_f64(const double *x, double *y, size_t count);
void ck_accumulate_wide_f32(const float *x, double *y, size_t count);
/* y[i] = y[i] + factor * x[i] */
void ck_axpy_f32(float factor, const float *x, float *y, size_t count);
void ck_axpy_f64(double factor, const double *x, double *y, size_t count);
void ck_axpy_wide_f32(double factor, const float *x, float *y, size_t count);
/* x[i] = factor * x[i] */
void ck_scale_wide_f32(double factor, float *x, size_t count);
/* out[i] = 0 + x[i]: never -0 */
void ck_widen_f32(const float *x, double *out, size_t count);
/* out[i] = factor * x[i], rounded once */
void ck_narrow_f32(double factor, const double *x, float *out, size_t count);

/* Whether no number is NaN or infinite. */
bool ck_finite_f32(const float *x, size_t count);
/* When all are finite, *minimum and *maximum become theirs (0 where there are none); else false. */
bool ck_range_f32(const float *x, float *minimum, float *maximum, size_t count);

/* sum over i of x[i] * y[i]; products are exact in double, the sum runs in 16 lanes of double. */
double ck_dot_f32(const float *x, const float *y, size_t count);
/* out[r] = sum over j of x[r][j], in double. */
void ck_sum_rows_f32(const float *x, float *out, size_t rows, size_t n);
/* out[j] = sum over r of x[r * stride + j], in double and in ascending r. */
void ck_sum_columns_f32(const float *x, size_t stride, float *out, size_t rows, size_t n);

/* Over each row: e^(x - max) / sum, and x - max - ln(sum); sums in double. */
void ck_softmax_rows_f32(const float *x, float *out, size_t rows, size_t n);
void ck_log_softmax_rows_f32(const float *x, float *out, size_t rows, size_t n);
/* Of each row y = (x - mean) r and inverse_deviation[row] = r, with r = 1 / sqrt(variance + epsilon); in double. */
void ck_standardize_rows_f32(double epsilon, const float *x, float *y, float *inverse_deviation, size_t rows, size_t n);

/* c = op(a) op(b) (+ c when accumulate) for products too small for a library call: op(a) is [m][k], op(b) [k][n]. */
void ck_small_matmul_f32(bool accumulate, const float *a, bool transpose_a, const float *b, bool transpose_b, float *c,
                         size_t m, size_t n, size_t k);
