#include "ck_moments.h"
#include "ck_internal.h"

CK_CLONES void ck_accumulate_column_squares_f32(const float *x, double *sum, size_t rows, size_t n) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++) sum[j] += (double)x[i * n + j] * (double)x[i * n + j];
}

CK_CLONES void ck_accumulate_columns_f32(const float *x, size_t stride, double *sum, size_t rows, size_t n) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++) sum[j] += (double)x[i * stride + j];
}

CK_CLONES void ck_sub_row_strided_f32(const float *x, size_t stride, const float *b, float *out, size_t rows, size_t n) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++) out[i * n + j] = x[i * stride + j] - b[j];
}

CK_CLONES void ck_accumulate_channel_products_f32(bool symmetric, const float *a, const float *b, double *sum, size_t rows,
                                                  size_t k, size_t channels) {
  for (size_t first = 0; first < channels; first += CK_LANES) {
    size_t width = channels - first < CK_LANES ? channels - first : CK_LANES;
    for (size_t i = 0; i < k; i++)
      for (size_t j = 0; j < (symmetric ? i + 1 : k); j++) {
        const float *x = a + i * channels + first, *y = b + j * channels + first;
        float total[CK_LANES] = {0};
        if (width == CK_LANES)
          for (size_t r = 0; r < rows; r++, x += k * channels, y += k * channels)
            for (int c = 0; c < CK_LANES; c++) total[c] += x[c] * y[c];
        else
          for (size_t r = 0; r < rows; r++, x += k * channels, y += k * channels)
            for (size_t c = 0; c < width; c++) total[c] += x[c] * y[c];
        double *target = sum + (i * k + j) * channels + first;
        for (size_t c = 0; c < width; c++) target[c] += (double)total[c];
      }
  }
}
