#pragma once
#include <stddef.h>
#include <stdint.h>

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

/* The same for a basis of bfloat16 vectors. */
void ck_basis_dots_bf16(const uint16_t *v, size_t stride, size_t count, const float *w, size_t n, double *h);
void ck_basis_subtract_bf16(const uint16_t *v, size_t stride, size_t count, const double *h, float *w, size_t n);

/* To nearest even; finite values only. */
void ck_bf16_round(const float *x, uint16_t *out, size_t n);
void ck_bf16_widen(const uint16_t *x, float *out, size_t n);

/* w_c = sum over d <= c of m[d * count + c] w_d, in place, for c < count vectors w[c * stride ..] */
void ck_block_combine(float *w, size_t stride, size_t count, const double *m, size_t n);
