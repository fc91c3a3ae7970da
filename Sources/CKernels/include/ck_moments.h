#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Parts of first and second moments. Sums are added to what `sum` holds, in ascending rows. */

/* sum[j] += sum over r of x[r * stride + j], in double. */
void ck_accumulate_columns_f32(const float *x, size_t stride, double *sum, size_t rows, size_t n);

/* out[r][j] = x[r * stride + j] - b[j]; out is [rows][n]. */
void ck_sub_row_strided_f32(const float *x, size_t stride, const float *b, float *out, size_t rows, size_t n);

/* sum[i][j][c] += sum over r of a[r][i][c] * b[r][j][c]: in single precision over the at most 512 rows, then in double.
 * a and b are [rows][k][channels] and may be the same; with `symmetric` only j <= i. */
void ck_accumulate_channel_products_f32(bool symmetric, const float *a, const float *b, double *sum, size_t rows, size_t k,
                                        size_t channels);
