#pragma once
#include <stddef.h>
#include <stdint.h>

/* Inner loops of rounding. Each is compiled for several instruction sets and picked at load time. None of
 * them reorders a sum by vector width (lanes are independent, reductions use a fixed number of explicit
 * accumulators, no contraction to fused multiply-add), so their bits do not depend on the processor; the
 * BLAS products around them may differ between processors. Nothing here knows about threads.
 *
 * A "level" is a code minus its zero point, kept as a float: lo = -zero point, lo + 1, ...
 * hi = 2^bits - 1 - zero point; zero points are integers, or halves between them. */

/* 1 when all n values are finite; then *minimum and *maximum are theirs (0 for n = 0). */
int ck_range(const float *x, size_t n, float *minimum, float *maximum);

/* errors[c] = sum over i of (level - u)^2 with u = x[i] * inverse_scale[c] and level = clamp(round(u), lo[c], hi[c]):
 * the squared rounding error of candidate grid c in units of its scale. `candidates` is a multiple of 16. */
void ck_grid_errors(const float *x, size_t n, const float *inverse_scale, const float *lo, const float *hi,
                    size_t candidates, double *errors);

/* level[i] = clamp(round(x[i] * inverse_scale), lo, hi). */
void ck_round_levels(const float *x, size_t n, float inverse_scale, float lo, float hi, float *level);

/* One panel of GPTQ for `lanes` rows of weights at once (a multiple of 16). w, level and e are [columns][lanes];
 * ut is the panel's diagonal block of U transposed, ut[k * stride + j] = U[j][k]; the grid arrays are
 * [blocks][lanes] and block[k] is the scale block of panel column k.
 *   level = clamp(round(w_k / s), lo, hi);  e_k = (w_k - level s) / U_kk;  w_k' -= e_k U[k][k'] for k' > k */
void ck_gptq_panel(const float *w, const float *ut, size_t stride, const float *scale, const float *lo,
                   const float *hi, const int32_t *block, size_t columns, size_t lanes, float *level, float *e);

/* One coordinate descent sweep over all columns of `rows` independent rows. level and r are [rows][columns],
 * r = (Q - W) H is kept up to date; h is [columns][columns]; the grid arrays are [blocks][stride] of which the
 * first `rows` are used; `block` maps a column to its scale block. Returns the number of changed codes.
 *   level_j <- clamp(round(level_j - r_j / (H_jj s)), lo, hi) */
size_t ck_coordinate_sweep(float *level, float *r, const float *h, const float *inverse_diagonal, const float *scale,
                           const float *lo, const float *hi, const int32_t *block, size_t stride, size_t rows,
                           size_t columns);

/* Iterated local search on one row: the objective is sum of r[j] * (level[j] * scale[j] - w[j]) with
 * r = (Q - W) H. `kicks` times one to four levels move by one at random, coordinate descent follows (with one
 * scale it is refitted after each sweep), and the result stays when it is better. scale, lo and hi have one entry a
 * column, wh = W H. `work` has 3 * columns floats. level, r and scale are updated. */
void ck_perturbed_descent(float *level, float *r, const float *h, const float *inverse_diagonal, const float *w,
                          const float *wh, float *scale, const float *lo, const float *hi, size_t columns,
                          int one_scale, size_t kicks, uint64_t seed, float *work);

/* sum of a[i] * b[i] in double. */
double ck_dot(const float *a, const float *b, size_t n);

/* d[j] = level[j] * scale[block[j] * stride] - w[j], one row of Q - W. */
void ck_level_error(const float *level, const float *scale, const int32_t *block, size_t stride, const float *w,
                    size_t n, float *d);

/* y += a * x */
void ck_axpy(float a, const float *x, float *y, size_t n);

/* r = f * r + (f - 1) * wh: (Q - W) H after the scale was multiplied by f. */
void ck_rescale_residual(float f, const float *wh, float *r, size_t n);

/* sum[j] += the sum of squares of column j of the dense x of [rows][n], in double. */
void ck_column_squares(const float *x, size_t rows, size_t n, double *sum);

/* sum[j] += the column sums of x in double; x has `rows` rows of n at the given stride. */
void ck_column_sums(const float *x, size_t rows, size_t n, size_t stride, double *sum);

/* out[i][j] = x[i][j] - shift[j], out dense. */
void ck_subtract_row(const float *x, size_t rows, size_t n, size_t stride, const float *shift, float *out);

/* sum[i][j][c] += sum over r of a[r][i][c] * b[r][j][c]: in single precision over at most 512 rows, then in double.
 * a and b are [rows][k][channels]; with `symmetric` only j <= i. */
void ck_channel_products(const float *a, const float *b, size_t rows, size_t k, size_t channels, int symmetric,
                         double *sum);

/* sum[i] += x[i] */
void ck_add_to_double(const float *x, size_t n, double *sum);

/* y += a * x */
void ck_daxpy(double a, const double *x, double *y, size_t n);

/* Bit planes: planes[k][i / 8] bit i % 8 = bit k of codes[i], for k < bits; each plane has (n + 7) / 8 bytes. */
void ck_pack_planes(const uint8_t *codes, size_t n, int bits, uint8_t *planes);
