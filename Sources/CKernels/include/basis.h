#pragma once
#include <stddef.h>

/* Orthogonalisation against a basis of float vectors v[i * stride ..], sums in double. Like rounding.h: fixed
 * explicit accumulators, no fused multiply-add, the same bits on every processor. */

/* h[i] = <v_i, w> for i < count */
void ck_basis_dots(const float *v, size_t stride, size_t count, const float *w, size_t n, double *h);

/* w = w - sum over i < count of h[i] v_i, rounded to float once */
void ck_basis_subtract(const float *v, size_t stride, size_t count, const double *h, float *w, size_t n);

/* x *= a */
void ck_scale(double a, float *x, size_t n);

/* sum of (y - a x)^2 */
double ck_residual_squares(const float *y, double a, const float *x, size_t n);
