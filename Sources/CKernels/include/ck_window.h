#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Windows that slide over channels-last samples with up to three spatial axes; missing leading axes have
 * size, kernel and stride 1. A sample is [input...][channels] or [output...][channels]. Nothing overlaps. */
typedef struct {
  ptrdiff_t input, kernel, output, stride, dilation, pad_begin, pad_end;
} ck_axis;

typedef struct {
  ck_axis a, b, c; /* outermost first */
} ck_window;

/* Writes `count` output positions from `first` on as columns[count][kernel...][group]. `x` points at the first of `group`
 * channels of the group in one sample. Padding gives zeros. */
void ck_im2col_f32(const ck_window *w, const float *x, float *columns, size_t channels, size_t group, ptrdiff_t first,
                   ptrdiff_t count);
/* The transpose: adds such rows to the sample. */
void ck_col2im_f32(const ck_window *w, const float *columns, float *x, size_t channels, size_t group, ptrdiff_t first,
                   ptrdiff_t count);

/* Depthwise convolution of one sample, one output channel per input channel, weights as [kernel...][channels].
 * Each adds to its result; the weight gradient is in double. */
void ck_depthwise_f32(const ck_window *w, const float *x, const float *weight, float *y, size_t channels);
void ck_depthwise_input_gradient_f32(const ck_window *w, const float *g, const float *weight, float *x,
                                     size_t channels);
void ck_depthwise_weight_gradient_f32(const ck_window *w, const float *x, const float *g, double *weight,
                                      size_t channels);

/* Mean of each window of one sample, and the transpose of it, which adds to `x`. The divisor counts the taps inside
 * the input, or with include_pad those inside the padded input. A window without taps gives 0. */
void ck_average_pool_f32(const ck_window *w, bool include_pad, const float *x, float *y, size_t channels);
void ck_average_pool_transpose_f32(const ck_window *w, bool include_pad, const float *g, float *x, size_t channels);

/* Largest value of each window of one sample and its offset in the sample. The first one wins; NaN counts as
 * largest. A window without taps gives the lowest float and offset -1. */
void ck_max_pool_f32(const ck_window *w, const float *x, float *y, int32_t *index, size_t channels);

/* out[i] = x[index[i]], and x[index[i]] += g[i] in ascending i, with x[size]. Offsets outside it read as 0 and are not
 * written. */
void ck_take_f32(const float *x, const int32_t *index, float *out, size_t size, size_t count);
void ck_scatter_add_f32(const float *g, const int32_t *index, float *x, size_t size, size_t count);
