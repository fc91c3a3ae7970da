#include "ck_math.h"
#include "include/ck_vector.h"

CK_INLINE double sum(const float *x, size_t count) {
  double lane[CK_LANES] = {0};
  size_t i = 0;
  for (; i + CK_LANES <= count; i += CK_LANES)
    for (int j = 0; j < CK_LANES; j++) lane[j] += (double)x[i + j];
  for (int j = 0; i < count; i++, j++) lane[j] += (double)x[i];
  return ck_fold(lane);
}

/* NaN when there is one. */
CK_INLINE float largest(const float *x, size_t count) {
  float lane[CK_LANES];
  for (int j = 0; j < CK_LANES; j++) lane[j] = -INFINITY;
  size_t i = 0;
  for (; i + CK_LANES <= count; i += CK_LANES)
    for (int j = 0; j < CK_LANES; j++) {
      const float v = x[i + j];
      lane[j] = lane[j] > v || lane[j] != lane[j] ? lane[j] : v;
    }
  for (int j = 0; i < count; i++, j++) {
    const float v = x[i];
    lane[j] = lane[j] > v || lane[j] != lane[j] ? lane[j] : v;
  }
  float result = lane[0];
  for (int j = 1; j < CK_LANES; j++) result = result > lane[j] || result != result ? result : lane[j];
  return result;
}

CK_CLONES double ck_dot_f32(const float *x, const float *y, size_t count) {
  double lane[CK_LANES] = {0};
  size_t i = 0;
  for (; i + CK_LANES <= count; i += CK_LANES)
    for (int j = 0; j < CK_LANES; j++) lane[j] += (double)x[i + j] * (double)y[i + j];
  for (int j = 0; i < count; i++, j++) lane[j] += (double)x[i] * (double)y[i];
  return ck_fold(lane);
}

CK_CLONES int ck_finite_f32(const float *x, size_t count) {
  uint32_t largest = 0;
  for (size_t i = 0; i < count; i++) {
    const uint32_t magnitude = ck_bits(x[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest < 0x7f800000u;
}

CK_CLONES double ck_sum_f32(const float *x, size_t count) { return sum(x, count); }

CK_CLONES void ck_sum_rows_f32(const float *x, float *out, size_t rows, size_t n) {
  for (size_t r = 0; r < rows; r++) out[r] = (float)sum(x + r * n, n);
}

CK_CLONES void ck_sum_columns_f32(const float *x, size_t row_stride, float *out, size_t rows, size_t n) {
  enum { BLOCK = 128 };
  for (size_t first = 0; first < n; first += BLOCK) {
    const size_t width = n - first < BLOCK ? n - first : BLOCK;
    double total[BLOCK] = {0};
    for (size_t r = 0; r < rows; r++) {
      const float *row = x + r * row_stride + first;
      for (size_t j = 0; j < width; j++) total[j] += (double)row[j];
    }
    for (size_t j = 0; j < width; j++) out[first + j] = (float)total[j];
  }
}

CK_CLONES void ck_max_rows_f32(const float *x, float *out, size_t rows, size_t n) {
  for (size_t r = 0; r < rows; r++) out[r] = largest(x + r * n, n);
}

/* e^(x - top). The rounding error of the difference alone would cost |x - top| / 2 ulp: it is put back. */
CK_INLINE float exp_below(float x, float top) {
  const float d = x - top;
  const float back = x - d;
  const float error = (x - (d + back)) + (back - top);
  const float e = ck_exp1(d);
  return d > -104.5f ? e + e * error : e;
}

CK_CLONES void ck_softmax_rows_f32(const float *x, float *out, size_t rows, size_t n) {
  for (size_t r = 0; r < rows; r++) {
    const float *row = x + r * n;
    float *y = out + r * n;
    const float top = largest(row, n);
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) y[j] = exp_below(row[j], top);
    const double inverse = 1.0 / sum(y, n);
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) y[j] = (float)((double)y[j] * inverse);
  }
}

CK_CLONES void ck_standardize_rows_f32(const float *x, float *y, float *r, double epsilon, size_t rows, size_t n) {
  for (size_t i = 0; i < rows; i++) {
    const float *row = x + i * n;
    float *out = y + i * n;
    const double mean = sum(row, n) / (double)n;
    double lane[CK_LANES] = {0};
    size_t j = 0;
    for (; j + CK_LANES <= n; j += CK_LANES)
      for (int k = 0; k < CK_LANES; k++) {
        const double d = (double)row[j + k] - mean;
        lane[k] += d * d;
      }
    for (int k = 0; j < n; j++, k++) {
      const double d = (double)row[j] - mean;
      lane[k] += d * d;
    }
    const double inverse = 1.0 / __builtin_sqrt(ck_fold(lane) / (double)n + epsilon);
    r[i] = (float)inverse;
    CK_INDEPENDENT
    for (size_t k = 0; k < n; k++) out[k] = (float)(((double)row[k] - mean) * inverse);
  }
}

/* The exponentials of a row pass through this many floats of stack. */
enum { CHUNK = 256 };

CK_CLONES void ck_log_softmax_rows_f32(const float *x, float *out, size_t rows, size_t n) {
  for (size_t r = 0; r < rows; r++) {
    const float *row = x + r * n;
    float *y = out + r * n;
    const float top = largest(row, n);
    double total = 0;
    for (size_t first = 0; first < n; first += CHUNK) {
      const size_t width = n - first < CHUNK ? n - first : CHUNK;
      float e[CHUNK];
      for (size_t j = 0; j < width; j++) e[j] = exp_below(row[first + j], top);
      total += sum(e, width);
    }
    const double shift = (double)top + log(total);
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) y[j] = (float)((double)row[j] - shift);
  }
}

/* op(b) is read in strips of rows of 16 floats: in place where it has such rows, else from a copy. */
enum { DEPTH = 32, ROWS = 4 };

CK_CLONES void ck_small_matmul_f32(const float *a, int transpose_a, const float *b, int transpose_b, float *c,
                                   int accumulate, size_t m, size_t n, size_t k) {
  const size_t row_a = transpose_a ? 1 : k, column_a = transpose_a ? m : 1;
  const size_t row_b = transpose_b ? 1 : n, column_b = transpose_b ? k : 1;
  float strip[DEPTH * CK_LANES];
  for (size_t first = 0; first < n; first += CK_LANES) {
    const size_t width = n - first < CK_LANES ? n - first : CK_LANES;
    for (size_t start = 0; start < k; start += DEPTH) {
      const size_t depth = k - start < DEPTH ? k - start : DEPTH;
      const float *y = b + start * row_b + first * column_b;
      size_t pitch = row_b;
      if (column_b != 1 || width < CK_LANES) {
        for (size_t l = 0; l < depth; l++)
          for (size_t j = 0; j < CK_LANES; j++)
            strip[l * CK_LANES + j] = j < width ? y[l * row_b + j * column_b] : 0.0f;
        y = strip;
        pitch = CK_LANES;
      }
      for (size_t i = 0; i < m; i += ROWS) {
        const size_t rows = m - i < ROWS ? m - i : ROWS;
        float lane[ROWS][CK_LANES];
        /* Missing rows repeat the last one and are not stored. */
        const float *x[ROWS];
        for (size_t r = 0; r < ROWS; r++) {
          x[r] = a + (i + (r < rows ? r : rows - 1)) * row_a + start * column_a;
          for (size_t j = 0; j < CK_LANES; j++) lane[r][j] = 0.0f;
        }
        if (accumulate || start > 0)
          for (size_t r = 0; r < rows; r++) memcpy(lane[r], c + (i + r) * n + first, width * sizeof(float));
        for (size_t l = 0; l < depth; l++)
          for (size_t r = 0; r < ROWS; r++) {
            const float v = x[r][l * column_a];
            for (size_t j = 0; j < CK_LANES; j++) lane[r][j] += v * y[l * pitch + j];
          }
        for (size_t r = 0; r < rows; r++) memcpy(c + (i + r) * n + first, lane[r], width * sizeof(float));
      }
    }
  }
}
