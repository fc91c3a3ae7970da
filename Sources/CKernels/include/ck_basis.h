#pragma once
#include <stddef.h>
#include <stdint.h>

/* Orthogonalisation against the `count` vectors v[i * stride ...] of a basis, of n floats or bfloat16 each. Sums are in
 * double, and nothing overlaps. */

/* h[i] = sum over j of v_i[j] * w[j] */
void ck_basis_dots_f32(const float *v, size_t stride, const float *w, double *h, size_t count, size_t n);
void ck_basis_dots_bf16(const uint16_t *v, size_t stride, const float *w, double *h, size_t count, size_t n);

/* w = w - sum over i of h[i] v_i, i ascending, rounded once. */
void ck_basis_subtract_f32(const float *v, size_t stride, const double *h, float *w, size_t count, size_t n);
void ck_basis_subtract_bf16(const uint16_t *v, size_t stride, const double *h, float *w, size_t count, size_t n);

/* w_c = sum over d <= c of m[d * count + c] w_d, in place, for the vectors w_c = w[c * stride ...], rounded once. */
void ck_basis_combine_f32(const double *m, float *w, size_t stride, size_t count, size_t n);

/* sum over i of (y[i] - factor * x[i])^2 */
double ck_residual_squares_f32(double factor, const float *x, const float *y, size_t count);

/* Between float and bfloat16, the upper half of a float: to the nearest, ties to even, of finite values. */
void ck_narrow_bf16(const float *x, uint16_t *out, size_t count);
void ck_widen_bf16(const uint16_t *x, float *out, size_t count);
