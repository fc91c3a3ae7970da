#pragma once
#include <stddef.h>

/* Convolution with 3x3 kernels and unit strides by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray,
 * "Fast Algorithms for Convolutional Neural Networks", 2015): a quarter of the multiplications, with rounding errors that
 * are some ten times those of the direct sum. Activations are channels-last, weights plain (out, in, 3, 3), channel counts
 * multiples of 16. Call nothing but ck_winograd_supported when that is 0. */
typedef struct ck_winograd {
  size_t batch, height, width, in;     /* of the input */
  size_t out_height, out_width, out;   /* of the output */
  ptrdiff_t pad_top, pad_left;
} ck_winograd;

int ck_winograd_supported(void);

/* u[36][in][out] of a forward convolution; with `gradient` u[36][out][in] of the convolution that the input gradient is. */
void ck_winograd_filter_f32(const float *w, size_t out, size_t in, int gradient, float *u);

/* Floats of scratch memory that a convolution needs. */
size_t ck_winograd_scratch(const ck_winograd *g);

/* y (+)= x * w */
void ck_winograd_forward_f32(const ck_winograd *g, const float *x, const float *u, float *y, int accumulate, float *scratch);

/* w (+)= the gradient of the weights for the output gradient dy; sums holds 36 * in * out floats. */
void ck_winograd_weight_gradient_f32(const ck_winograd *g, const float *x, const float *dy, float *sums, float *w,
                                     int accumulate, float *scratch);
