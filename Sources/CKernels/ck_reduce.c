#include "ck_math.h"
#include "ck_vector.h"

CK_INLINE double total(const float *x, size_t n) {
  double sum;
  CK_SUM(sum, i, n, (double)x[i]);
  return sum;
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

CK_CLONES double ck_dot_f32(const float *x, const float *y, size_t count) { return ck_dot(x, y, count); }

CK_INLINE bool all_finite(const float *x, size_t n) {
  uint32_t largest = 0;
  for (size_t i = 0; i < n; i++) {
    const uint32_t magnitude = ck_bits(x[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest < 0x7f800000u;
}

CK_CLONES bool ck_finite_f32(const float *x, size_t count) { return all_finite(x, count); }

CK_CLONES bool ck_range_f32(const float *x, float *minimum, float *maximum, size_t count) {
  if (!all_finite(x, count)) return false;
  float low = count > 0 ? x[0] : 0.0f, high = low;
  for (size_t i = 0; i < count; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  *minimum = low;
  *maximum = high;
  return true;
}

CK_CLONES void ck_sum_rows_f32(const float *x, float *out, size_t rows, size_t n) {
  for (size_t r = 0; r < rows; r++) out[r] = (float)total(x + r * n, n);
}

CK_CLONES void ck_sum_columns_f32(const float *x, size_t stride, float *out, size_t rows, size_t n) {
  enum { BLOCK = 128 };
  for (size_t first = 0; first < n; first += BLOCK) {
    const size_t width = n - first < BLOCK ? n - first : BLOCK;
    double sum[BLOCK] = {0};
    for (size_t r = 0; r < rows; r++) {
      const float *row = x + r * stride + first;
      for (size_t j = 0; j < width; j++) sum[j] += (double)row[j];
    }
    for (size_t j = 0; j < width; j++) out[first + j] = (float)sum[j];
  }
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
    const double inverse = 1.0 / total(y, n);
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) y[j] = (float)((double)y[j] * inverse);
  }
}

CK_CLONES void ck_standardize_rows_f32(double epsilon, const float *x, float *y, float *inverse_deviation, size_t rows,
                                       size_t n) {
  for (size_t r = 0; r < rows; r++) {
    const float *row = x + r * n;
    float *out = y + r * n;
    const double mean = total(row, n) / (double)n;
    double squares;
    CK_SUM(squares, j, n, ((double)row[j] - mean) * ((double)row[j] - mean));
    const double inverse = 1.0 / __builtin_sqrt(squares / (double)n + epsilon);
    inverse_deviation[r] = (float)inverse;
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) out[j] = (float)(((double)row[j] - mean) * inverse);
  }
}

/* The exponentials of a row pass through this many floats of stack. */
enum { CHUNK = 256 };

CK_CLONES void ck_log_softmax_rows_f32(const float *x, float *out, size_t rows, size_t n) {
  for (size_t r = 0; r < rows; r++) {
    const float *row = x + r * n;
    float *y = out + r * n;
    const float top = largest(row, n);
    double sum = 0;
    for (size_t first = 0; first < n; first += CHUNK) {
      const size_t width = n - first < CHUNK ? n - first : CHUNK;
      float e[CHUNK];
      for (size_t j = 0; j < width; j++) e[j] = exp_below(row[first + j], top);
      sum += total(e, width);
    }
    const double shift = (double)top + log(sum);
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) y[j] = (float)((double)row[j] - shift);
  }
}

/* op(b) is read in strips of rows of 16 floats: in place where it has such rows, else from a copy. */
enum { DEPTH = 32, ROWS = 4 };

CK_CLONES void ck_small_matmul_f32(bool accumulate, const float *a, bool transpose_a, const float *b, bool transpose_b,
                                   float *c, size_t m, size_t n, size_t k) {
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
