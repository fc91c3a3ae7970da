#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Inner loops of rounding. The BLAS products around them may differ between processors; these do not.
 *
 * A "level" is a code minus its zero point, kept as a float: lo = -zero point, lo + 1, ... hi = 2^bits - 1 - zero point; zero
 * points are integers, or halves between them. nearest(x, lo, hi) is the level nearest to x; ties go to the even one of the
 * integers, or of the integers plus one half where levels are such numbers. */

/* errors[c] = sum over i < n of (nearest(u, lo[c], hi[c]) - u)^2 with u = x[i] * inverse_scale[c]: the squared rounding
 * error of candidate grid c in units of its scale. `candidates` is a multiple of 16. */
void ck_grid_errors(const float *x, const float *inverse_scale, const float *lo, const float *hi, double *errors,
                    size_t candidates, size_t n);

/* level[i] = nearest(x[i] * inverse_scale, lo, hi); level may be x. */
void ck_round_levels(float inverse_scale, float lo, float hi, const float *x, float *level, size_t n);

/* One panel of GPTQ for `lanes` rows of weights at once (a multiple of 16). w, target, level and e are [columns][lanes], and
 * level may be target: the weights, and what they are to be after the errors of the columns before the panel. m is the panel's
 * diagonal block of a triangular factor, with what column k takes of error j < k at m[k * stride + j] and the root of its own
 * curvature at m[k * stride + k]; the grid arrays are [blocks][lanes] and block[k] is the scale block of panel column k.
 *   t = target_k + sum over j < k of m_kj e_j;  level = nearest(t / s, lo, hi);  e_k = w_k - level s;
 *   cost += (m_kk (t - level s))^2 */
void ck_gptq_panel(const float *w, const float *target, const float *m, size_t stride, const float *scale, const float *lo,
                   const float *hi, const int32_t *block, float *level, float *e, double *cost, size_t columns, size_t lanes);

/* One coordinate descent sweep over all columns of `rows` independent rows. level and r are [rows][columns],
 * r = (Q - W) H is kept up to date; h is [columns][columns]; the grid arrays are [blocks][stride] of which the
 * first `rows` are used; `block` maps a column to its scale block. Returns the number of changed codes.
 *   level_j <- nearest(level_j - r_j / (H_jj s), lo, hi) */
size_t ck_coordinate_sweep(const float *h, const float *inverse_diagonal, const float *scale, const float *lo,
                           const float *hi, size_t stride, const int32_t *block, float *level, float *r, size_t rows,
                           size_t columns);

/* Iterated local search on one row: the objective is sum of r[j] * (level[j] * scale[j] - w[j]) with
 * r = (Q - W) H. `kicks` times one to four levels move by one at random, coordinate descent follows (with one
 * scale it is refitted after each sweep), and the result stays when it is better. scale, lo and hi have one entry a
 * column, wh = W H. `work` has 3 * columns floats. level, r and scale are updated. */
void ck_perturbed_descent(size_t kicks, uint64_t seed, bool one_scale, const float *h, const float *inverse_diagonal,
                          const float *w, const float *wh, const float *lo, const float *hi, float *scale, float *level,
                          float *r, size_t columns, float *work);

/* d[j] = level[j] * scale[block[j] * stride] - w[j], one row of Q - W. */
void ck_level_error(const float *level, const float *scale, size_t stride, const int32_t *block, const float *w, float *d,
                    size_t n);

/* r = f * r + (f - 1) * wh: (Q - W) H after the scale was multiplied by f. */
void ck_rescale_residual(float f, const float *wh, float *r, size_t n);
