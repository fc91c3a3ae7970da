#include "ck_window.h"
#include "ck_internal.h"

/* The part of the taps of one axis that lies inside the input when the window starts at `start`: [low, high). */
CK_INLINE void inside(const ck_axis *axis, ptrdiff_t start, ptrdiff_t *low, ptrdiff_t *high) {
  const ptrdiff_t d = axis->dilation;
  *low = start >= 0 ? 0 : (-start + d - 1) / d;
  const ptrdiff_t room = axis->input - start;
  ptrdiff_t end = room <= 0 ? 0 : (room + d - 1) / d;
  if (end > axis->kernel) end = axis->kernel;
  *high = end;
  if (*low > end) *low = end;
}

/* Window starts and valid taps of one output position. */
typedef struct {
  ptrdiff_t start[3], low[3], high[3];
} place;

CK_INLINE void locate(const ck_window *w, ptrdiff_t a, ptrdiff_t b, ptrdiff_t c, place *p) {
  p->start[0] = a * w->a.stride - w->a.pad_begin;
  p->start[1] = b * w->b.stride - w->b.pad_begin;
  p->start[2] = c * w->c.stride - w->c.pad_begin;
  inside(&w->a, p->start[0], &p->low[0], &p->high[0]);
  inside(&w->b, p->start[1], &p->low[1], &p->high[1]);
  inside(&w->c, p->start[2], &p->low[2], &p->high[2]);
}

CK_INLINE void locate_flat(const ck_window *w, ptrdiff_t position, place *p) {
  const ptrdiff_t c = position % w->c.output;
  const ptrdiff_t rest = position / w->c.output;
  locate(w, rest / w->b.output, rest % w->b.output, c, p);
}

/* Pixel under tap (i, j, k), and the number of the tap. */
CK_INLINE ptrdiff_t pixel(const ck_window *w, const place *p, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k) {
  return ((p->start[0] + i * w->a.dilation) * w->b.input + p->start[1] + j * w->b.dilation) * w->c.input +
         p->start[2] + k * w->c.dilation;
}

CK_INLINE ptrdiff_t tap(const ck_window *w, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k) {
  return (i * w->b.kernel + j) * w->c.kernel + k;
}

#define FOR_TAPS(p)                                      \
  for (ptrdiff_t i = (p).low[0]; i < (p).high[0]; i++)     \
    for (ptrdiff_t j = (p).low[1]; j < (p).high[1]; j++)   \
      for (ptrdiff_t k = (p).low[2]; k < (p).high[2]; k++)

#define FOR_POSITIONS(w)                              \
  for (ptrdiff_t a = 0; a < (w)->a.output; a++)         \
    for (ptrdiff_t b = 0; b < (w)->b.output; b++)       \
      for (ptrdiff_t c = 0; c < (w)->c.output; c++)

/* Channels are processed in blocks whose sums stay in registers. */
enum { BLOCK = 64 };
#define FOR_BLOCKS(channels)                                                                            \
  for (size_t first = 0, width = 0; width = (channels) - first < BLOCK ? (channels) - first : BLOCK, first < (channels); \
       first += BLOCK)

CK_CLONES void ck_im2col_f32(const ck_window *w, const float *x, float *columns, size_t channels, size_t group,
                             ptrdiff_t first, ptrdiff_t count) {
  const size_t taps = (size_t)(w->a.kernel * w->b.kernel * w->c.kernel);
  /* Neighbouring taps of the innermost axis are neighbours in memory. */
  const bool runs = group == channels && w->c.dilation == 1;
  for (ptrdiff_t position = first; position < first + count; position++) {
    float *row = columns + (size_t)(position - first) * taps * group;
    place p;
    locate_flat(w, position, &p);
    const ptrdiff_t valid = (p.high[0] - p.low[0]) * (p.high[1] - p.low[1]) * (p.high[2] - p.low[2]);
    if ((size_t)valid < taps) memset(row, 0, taps * group * sizeof(float));
    if (valid == 0) continue;
    if (runs) {
      for (ptrdiff_t i = p.low[0]; i < p.high[0]; i++)
        for (ptrdiff_t j = p.low[1]; j < p.high[1]; j++)
          memcpy(row + (size_t)tap(w, i, j, p.low[2]) * group, x + (size_t)pixel(w, &p, i, j, p.low[2]) * channels,
                 (size_t)(p.high[2] - p.low[2]) * group * sizeof(float));
    } else {
      FOR_TAPS(p)
      memcpy(row + (size_t)tap(w, i, j, k) * group, x + (size_t)pixel(w, &p, i, j, k) * channels,
             group * sizeof(float));
    }
  }
}

CK_CLONES void ck_col2im_f32(const ck_window *w, const float *columns, float *x, size_t channels, size_t group,
                             ptrdiff_t first, ptrdiff_t count) {
  const size_t taps = (size_t)(w->a.kernel * w->b.kernel * w->c.kernel);
  for (ptrdiff_t position = first; position < first + count; position++) {
    const float *row = columns + (size_t)(position - first) * taps * group;
    place p;
    locate_flat(w, position, &p);
    FOR_TAPS(p) {
      const float *source = row + (size_t)tap(w, i, j, k) * group;
      float *target = x + (size_t)pixel(w, &p, i, j, k) * channels;
      CK_INDEPENDENT
      for (size_t m = 0; m < group; m++) target[m] += source[m];
    }
  }
}

CK_CLONES void ck_depthwise_f32(const ck_window *w, const float *x, const float *weight, float *y, size_t channels) {
  FOR_POSITIONS(w) {
    place p;
    locate(w, a, b, c, &p);
    FOR_BLOCKS(channels) {
      float sum[BLOCK];
      memcpy(sum, y + first, width * sizeof(float));
      FOR_TAPS(p) {
        const float *source = x + (size_t)pixel(w, &p, i, j, k) * channels + first;
        const float *factor = weight + (size_t)tap(w, i, j, k) * channels + first;
        for (size_t m = 0; m < width; m++) sum[m] += source[m] * factor[m];
      }
      memcpy(y + first, sum, width * sizeof(float));
    }
    y += channels;
  }
}

CK_CLONES void ck_depthwise_input_gradient_f32(const ck_window *w, const float *g, const float *weight, float *x,
                                               size_t channels) {
  FOR_POSITIONS(w) {
    place p;
    locate(w, a, b, c, &p);
    FOR_TAPS(p) {
      const float *factor = weight + (size_t)tap(w, i, j, k) * channels;
      float *target = x + (size_t)pixel(w, &p, i, j, k) * channels;
      CK_INDEPENDENT
      for (size_t m = 0; m < channels; m++) target[m] += g[m] * factor[m];
    }
    g += channels;
  }
}

CK_CLONES void ck_depthwise_weight_gradient_f32(const ck_window *w, const float *x, const float *g, double *weight,
                                                size_t channels) {
  for (ptrdiff_t a = 0; a < w->a.output; a++)
    for (ptrdiff_t b = 0; b < w->b.output; b++) {
      place p;
      locate(w, a, b, 0, &p);
      const float *line = g + (size_t)((a * w->b.output + b) * w->c.output) * channels;
      for (ptrdiff_t i = p.low[0]; i < p.high[0]; i++)
        for (ptrdiff_t j = p.low[1]; j < p.high[1]; j++)
          for (ptrdiff_t k = 0; k < w->c.kernel; k++)
            FOR_BLOCKS(channels) {
              /* Floats along one line of outputs, doubles across lines. */
              float sum[BLOCK] = {0};
              for (ptrdiff_t c = 0; c < w->c.output; c++) {
                const ptrdiff_t at = c * w->c.stride - w->c.pad_begin + k * w->c.dilation;
                if (at < 0 || at >= w->c.input) continue;
                const float *source =
                    x + (size_t)(pixel(w, &p, i, j, 0) - p.start[2] + at) * channels + first;
                const float *gradient = line + (size_t)c * channels + first;
                for (size_t m = 0; m < width; m++) sum[m] += source[m] * gradient[m];
              }
              double *target = weight + (size_t)tap(w, i, j, k) * channels + first;
              for (size_t m = 0; m < width; m++) target[m] += (double)sum[m];
            }
    }
}

/* Taps that the mean divides by. */
CK_INLINE ptrdiff_t divisor(const ck_window *w, const place *p, bool include_pad) {
  if (!include_pad) return (p->high[0] - p->low[0]) * (p->high[1] - p->low[1]) * (p->high[2] - p->low[2]);
  const ck_axis *axes[3] = {&w->a, &w->b, &w->c};
  ptrdiff_t count = 1;
  for (int n = 0; n < 3; n++) {
    /* No tap starts before the padding, and with rounding up the last ones may lie behind it. */
    const ptrdiff_t room = axes[n]->input + axes[n]->pad_end - p->start[n];
    ptrdiff_t end = room <= 0 ? 0 : (room + axes[n]->dilation - 1) / axes[n]->dilation;
    count *= end < axes[n]->kernel ? end : axes[n]->kernel;
  }
  return count;
}

CK_CLONES void ck_average_pool_f32(const ck_window *w, bool include_pad, const float *x, float *y, size_t channels) {
  FOR_POSITIONS(w) {
    place p;
    locate(w, a, b, c, &p);
    const ptrdiff_t count = divisor(w, &p, include_pad);
    const double factor = count > 0 ? 1.0 / (double)count : 0.0;
    FOR_BLOCKS(channels) {
      double sum[BLOCK] = {0};
      FOR_TAPS(p) {
        const float *source = x + (size_t)pixel(w, &p, i, j, k) * channels + first;
        for (size_t m = 0; m < width; m++) sum[m] += (double)source[m];
      }
      for (size_t m = 0; m < width; m++) y[first + m] = (float)(sum[m] * factor);
    }
    y += channels;
  }
}

CK_CLONES void ck_average_pool_transpose_f32(const ck_window *w, bool include_pad, const float *g, float *x,
                                             size_t channels) {
  FOR_POSITIONS(w) {
    place p;
    locate(w, a, b, c, &p);
    const ptrdiff_t count = divisor(w, &p, include_pad);
    const float factor = count > 0 ? (float)(1.0 / (double)count) : 0.0f;
    FOR_TAPS(p) {
      float *target = x + (size_t)pixel(w, &p, i, j, k) * channels;
      CK_INDEPENDENT
      for (size_t m = 0; m < channels; m++) target[m] += g[m] * factor;
    }
    g += channels;
  }
}

CK_CLONES void ck_max_pool_f32(const ck_window *w, const float *x, float *y, int32_t *index, size_t channels) {
  FOR_POSITIONS(w) {
    place p;
    locate(w, a, b, c, &p);
    FOR_BLOCKS(channels) {
      float top[BLOCK];
      int32_t where[BLOCK];
      for (size_t m = 0; m < width; m++) {
        top[m] = -3.4028234663852886e38f;
        where[m] = -1;
      }
      FOR_TAPS(p) {
        const size_t offset = (size_t)pixel(w, &p, i, j, k) * channels + first;
        const float *source = x + offset;
        for (size_t m = 0; m < width; m++) {
          const float v = source[m];
          /* Larger, or NaN where there was none, or the first tap: bitwise, so that the loop has no branch. */
          const int wins = (v > top[m]) | ((v != v) & (top[m] == top[m])) | (where[m] < 0);
          top[m] = wins ? v : top[m];
          where[m] = wins ? (int32_t)(offset + m) : where[m];
        }
      }
      memcpy(y + first, top, width * sizeof(float));
      memcpy(index + first, where, width * sizeof(int32_t));
    }
    y += channels;
    index += channels;
  }
}

void ck_take_f32(const float *x, const int32_t *index, float *out, size_t size, size_t count) {
  for (size_t i = 0; i < count; i++) out[i] = index[i] >= 0 && (size_t)index[i] < size ? x[index[i]] : 0.0f;
}

void ck_scatter_add_f32(const float *g, const int32_t *index, float *x, size_t size, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (index[i] >= 0 && (size_t)index[i] < size) x[index[i]] += g[i];
}
