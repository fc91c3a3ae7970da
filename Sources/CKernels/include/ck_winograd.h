#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Convolution with 3x3 kernels and unit strides by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray,
 * "Fast Algorithms for Convolutional Neural Networks", 2015): a quarter of the multiplications, with rounding errors that
 * are some ten times those of the direct sum. Activations are channels-last, weights plain (out, in, 3, 3), channel counts
 * multiples of 16. Nothing overlaps. Call nothing but ck_winograd_supported where that is false.
 * Bits: the products are fused multiply-adds of one instruction set. */
typedef struct {
  size_t batch, height, width, in;   /* of the input */
  size_t out_height, out_width, out; /* of the output */
  ptrdiff_t pad_top, pad_left;
} ck_winograd;

bool ck_winograd_supported(void);

/* The transform of weights w[out][in][3][3]: u[36][in][out] for the forward convolution, with `gradient` u[36][out][in] for
 * the convolution that the input gradient is. */
void ck_winograd_filter_f32(bool gradient, const float *w, float *u, size_t out, size_t in);

/* Floats of scratch memory that a convolution needs. */
size_t ck_winograd_scratch(const ck_winograd *g);

/* y[batch][out_height][out_width][out] (+)= x * w, with x[batch][height][width][in] and the transform u of w. */
void ck_winograd_forward_f32(const ck_winograd *g, bool accumulate, const float *x, const float *u, float *y, float *scratch);

/* w[out][in][3][3] (+)= the gradient of the weights for the output gradient dy; sums holds 36 * in * out floats. */
void ck_winograd_weight_gradient_f32(const ck_winograd *g, bool accumulate, const float *x, const float *dy, float *w,
                                     float *sums, float *scratch);
