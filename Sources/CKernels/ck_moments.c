#include "ck_moments.h"
#include "ck_internal.h"

#include <string.h>

CK_CLONES void ck_accumulate_columns_f32(const float *x, size_t stride, double *sum, size_t rows, size_t n) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++) sum[j] += (double)x[i * stride + j];
}

CK_CLONES void ck_sub_row_strided_f32(const float *x, size_t stride, const float *b, float *out, size_t rows, size_t n) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++) out[i * n + j] = x[i * stride + j] - b[j];
}

/* So many positions of so many patches are copied side by side: they stay in the nearest cache for all their products, while one patch
 * is thousands of bytes from the next. */
enum { CHANNEL_TILE = 9, CHANNEL_ROWS = 16 };

CK_INLINE void pack_channels(const float *x, float *packed, size_t rows, size_t positions, size_t k, size_t channels, size_t width) {
  for (size_t i = 0; i < positions; i++)
    for (size_t r = 0; r < rows; r++) {
      const float *source = x + (r * k + i) * channels;
      float *target = packed + (i * CHANNEL_ROWS + r) * CK_LANES;
      if (width == CK_LANES)
        for (int c = 0; c < CK_LANES; c++) target[c] = source[c];
      else
        for (size_t c = 0; c < width; c++) target[c] = source[c];
    }
}

/* total[j][c] += x[r][c] * y[j][r][c] for `count` j, a constant where this is inlined: sums that do not wait for one another. */
CK_INLINE void add_channel_products(const float *x, const float *y, float *total, size_t rows, int count) {
  float t[3][CK_LANES];
  for (int j = 0; j < count; j++)
    for (int c = 0; c < CK_LANES; c++) t[j][c] = total[j * CK_LANES + c];
  for (size_t r = 0; r < rows; r++)
    for (int j = 0; j < count; j++)
      for (int c = 0; c < CK_LANES; c++) t[j][c] += x[r * CK_LANES + c] * y[(j * CHANNEL_ROWS + r) * CK_LANES + c];
  for (int j = 0; j < count; j++)
    for (int c = 0; c < CK_LANES; c++) total[j * CK_LANES + c] = t[j][c];
}

CK_CLONES void ck_accumulate_channel_products_f32(bool symmetric, const float *a, const float *b, double *sum, size_t rows,
                                                  size_t k, size_t channels) {
  float left[CHANNEL_TILE * CHANNEL_ROWS * CK_LANES] = {0}, right[CHANNEL_TILE * CHANNEL_ROWS * CK_LANES] = {0};
  float totals[CHANNEL_TILE * CHANNEL_TILE * CK_LANES];
  for (size_t first = 0; first < channels; first += CK_LANES) {
    const size_t width = channels - first < CK_LANES ? channels - first : CK_LANES;
    for (size_t top = 0; top < k; top += CHANNEL_TILE)
      for (size_t start = 0; start < (symmetric ? top + 1 : k); start += CHANNEL_TILE) {
        const size_t height = k - top < CHANNEL_TILE ? k - top : CHANNEL_TILE;
        const size_t span = k - start < CHANNEL_TILE ? k - start : CHANNEL_TILE;
        const bool same = a == b && start == top;
        const float *others = same ? left : right;
        memset(totals, 0, sizeof totals);
        for (size_t row = 0; row < rows; row += CHANNEL_ROWS) {
          const size_t count = rows - row < CHANNEL_ROWS ? rows - row : CHANNEL_ROWS;
          pack_channels(a + (row * k + top) * channels + first, left, count, height, k, channels, width);
          if (!same) pack_channels(b + (row * k + start) * channels + first, right, count, span, k, channels, width);
          for (size_t i = 0; i < height; i++) {
            const size_t end = symmetric && start == top ? i + 1 : span;
            const float *x = left + i * CHANNEL_ROWS * CK_LANES;
            float *total = totals + i * CHANNEL_TILE * CK_LANES;
            size_t j = 0;
            for (; j + 3 <= end; j += 3) add_channel_products(x, others + j * CHANNEL_ROWS * CK_LANES, total + j * CK_LANES, count, 3);
            for (; j < end; j++) add_channel_products(x, others + j * CHANNEL_ROWS * CK_LANES, total + j * CK_LANES, count, 1);
          }
        }
        for (size_t i = 0; i < height; i++)
          for (size_t j = 0; j < (symmetric && start == top ? i + 1 : span); j++) {
            double *target = sum + ((top + i) * k + start + j) * channels + first;
            for (size_t c = 0; c < width; c++) target[c] += (double)totals[(i * CHANNEL_TILE + j) * CK_LANES + c];
          }
      }
  }
}
