#include "rounding.h"
#include "clones.h"
#include <math.h>
#include <string.h>

/* Round to nearest, ties to even, for |x| < 2^22; the callers have clamped to the code range first, which
 * gives the same as clamping afterwards because the bounds are integers. */
INLINE float round_level(float x) {
  const float magic = 12582912.0f; /* 1.5 * 2^23 */
  return (x + magic) - magic;
}

INLINE float clamp(float x, float lo, float hi) {
  x = x > lo ? x : lo;
  return x < hi ? x : hi;
}

/* The level nearest to x in lo, lo + 1, ... hi. Ties go to the even one of the integers, or of the integers plus one
 * half where lo is such a number. */
INLINE float nearest_level(float x, float lo, float hi) {
  float part = lo - floorf(lo);
  return round_level(clamp(x, lo, hi) - part) + part;
}

CLONES int ck_range(const float *x, size_t n, float *minimum, float *maximum) {
  if (n == 0) {
    *minimum = *maximum = 0;
    return 1;
  }
  float low = x[0], high = x[0];
  uint32_t bad = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    bad |= (uint32_t)((bits & 0x7f800000u) == 0x7f800000u);
  }
  if (bad) return 0;
  for (size_t i = 0; i < n; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  *minimum = low;
  *maximum = high;
  return 1;
}

CLONES void ck_grid_errors(const float *x, size_t n, const float *inverse_scale, const float *lo, const float *hi,
                           size_t candidates, double *errors) {
  for (size_t c = 0; c < candidates; c++) errors[c] = 0;
  for (size_t c = 0; c < candidates; c += LANES) {
    float f[LANES], l[LANES], h[LANES];
    for (int k = 0; k < LANES; k++) f[k] = inverse_scale[c + k], l[k] = lo[c + k], h[k] = hi[c + k];
    /* Short runs in float, their sums in double: the error of a long float sum would grow with n. */
    for (size_t start = 0; start < n; start += 512) {
      size_t end = start + 512 < n ? start + 512 : n;
      float sum[LANES] = {0};
      for (size_t i = start; i < end; i++) {
        float value = x[i];
        for (int k = 0; k < LANES; k++) {
          float u = value * f[k];
          float d = nearest_level(u, l[k], h[k]) - u;
          sum[k] += d * d;
        }
      }
      for (int k = 0; k < LANES; k++) errors[c + k] += sum[k];
    }
  }
}

CLONES void ck_round_levels(const float *x, size_t n, float inverse_scale, float lo, float hi, float *level) {
  for (size_t i = 0; i < n; i++) level[i] = nearest_level(x[i] * inverse_scale, lo, hi);
}

CLONES void ck_gptq_panel(const float *w, const float *ut, size_t stride, const float *scale, const float *lo,
                          const float *hi, const int32_t *block, size_t columns, size_t lanes, float *level, float *e) {
  for (size_t lane = 0; lane < lanes; lane += LANES) {
    for (size_t k = 0; k < columns; k++) {
      float value[LANES];
      const float *row = ut + k * stride;
      const size_t grid = (size_t)block[k] * lanes + lane;
      for (int l = 0; l < LANES; l++) value[l] = w[k * lanes + lane + l];
      for (size_t j = 0; j < k; j++) {
        const float *ej = e + j * lanes + lane;
        float u = row[j];
        for (int l = 0; l < LANES; l++) value[l] -= ej[l] * u;
      }
      float inverse = 1.0f / row[k];
      for (int l = 0; l < LANES; l++) {
        float s = scale[grid + l];
        float v = nearest_level(value[l] / s, lo[grid + l], hi[grid + l]);
        level[k * lanes + lane + l] = v;
        e[k * lanes + lane + l] = (value[l] - v * s) * inverse;
      }
    }
  }
}

INLINE void axpy(float a, const float *restrict x, float *restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

CLONES size_t ck_coordinate_sweep(float *level, float *r, const float *h, const float *inverse_diagonal,
                                  const float *scale, const float *lo, const float *hi, const int32_t *block,
                                  size_t stride, size_t rows, size_t columns) {
  size_t changed = 0;
  /* Columns outside: a row of H is read once for all rows that change there. */
  for (size_t j = 0; j < columns; j++) {
    const size_t grid = (size_t)block[j] * stride;
    const float inverse = inverse_diagonal[j];
    for (size_t i = 0; i < rows; i++) {
      float s = scale[grid + i];
      float old = level[i * columns + j];
      float x = old - r[i * columns + j] * inverse / s;
      float v = nearest_level(x, lo[grid + i], hi[grid + i]);
      if (v != old) {
        level[i * columns + j] = v;
        axpy((v - old) * s, h + j * columns, r + i * columns, columns);
        changed++;
      }
    }
  }
  return changed;
}

INLINE double dot(const float *a, const float *b, size_t n) {
  double sum[LANES] = {0};
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int k = 0; k < LANES; k++) sum[k] += (double)a[i + k] * (double)b[i + k];
  for (int k = 0; i < n; i++, k++) sum[k] += (double)a[i] * (double)b[i];
  return sum_lanes(sum);
}

INLINE double row_objective(const float *level, const float *r, const float *w, const float *scale, size_t n) {
  double sum[LANES] = {0};
  size_t j = 0;
  for (; j + LANES <= n; j += LANES)
    for (int k = 0; k < LANES; k++)
      sum[k] += (double)r[j + k] * ((double)level[j + k] * scale[j + k] - (double)w[j + k]);
  for (int k = 0; j < n; j++, k++) sum[k] += (double)r[j] * ((double)level[j] * scale[j] - (double)w[j]);
  return sum_lanes(sum);
}

/* One pass over the columns of a row; step[j] = 1 / (H_jj s_j). Columns that stay are seen many at a time. */
INLINE size_t row_sweep(float *level, float *r, const float *h, const float *scale, const float *step,
                        const float *lo, const float *hi, size_t n) {
  size_t changed = 0;
  for (size_t start = 0; start < n; start += LANES) {
    size_t end = start + LANES < n ? start + LANES : n;
    if (end - start == LANES) {
      float moves = 0;
      for (int k = 0; k < LANES; k++) {
        size_t j = start + k;
        float move = nearest_level(level[j] - r[j] * step[j], lo[j], hi[j]) - level[j];
        moves += move * move;
      }
      if (moves == 0) continue;
    }
    for (size_t j = start; j < end; j++) {
      float v = nearest_level(level[j] - r[j] * step[j], lo[j], hi[j]);
      if (v == level[j]) continue;
      float move = (v - level[j]) * scale[j];
      level[j] = v;
      axpy(move, h + j * n, r, n);
      changed++;
    }
  }
  return changed;
}

INLINE uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t x = (*state += 0x9e3779b97f4a7c15ull);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

CLONES void ck_perturbed_descent(float *level, float *r, const float *h, const float *inverse_diagonal, const float *w,
                                 const float *wh, float *scale, const float *lo, const float *hi, size_t columns,
                                 int one_scale, size_t kicks, uint64_t seed, float *work) {
  float *best_level = work, *best_r = work + columns, *step = work + 2 * columns;
  double best = row_objective(level, r, w, scale, columns);
  float factor = 1; /* of the scale since the best one */
  memcpy(best_level, level, columns * sizeof *level);
  memcpy(best_r, r, columns * sizeof *r);
  for (size_t j = 0; j < columns; j++) step[j] = inverse_diagonal[j] / scale[j];
  for (size_t kick = 0; kick < kicks; kick++) {
    for (size_t moves = 1 + next_random(&seed) % 4; moves > 0; moves--) {
      uint64_t random = next_random(&seed);
      size_t j = (size_t)((random >> 32) * columns >> 32);
      float v = level[j] + ((random & 1) ? 1.0f : -1.0f);
      if (v < lo[j] || v > hi[j]) continue;
      axpy((v - level[j]) * scale[j], h + j * columns, r, columns);
      level[j] = v;
    }
    for (int sweep = 0; sweep < 4; sweep++) {
      size_t changed = row_sweep(level, r, h, scale, step, lo, hi, columns);
      if (one_scale) {
        double a = dot(wh, level, columns), c = dot(r, level, columns);
        float f = (float)(a / (a + c));
        if (f > 0.5f && f < 2.0f) {
          float g = f - 1.0f, back = 1.0f / f;
          for (size_t j = 0; j < columns; j++) {
            r[j] = f * r[j] + g * wh[j];
            scale[j] *= f;
            step[j] *= back;
          }
          factor *= f;
        }
      }
      if (changed == 0) break;
    }
    double value = row_objective(level, r, w, scale, columns);
    if (value < best * (1 - 1e-6)) {
      best = value;
      factor = 1;
      memcpy(best_level, level, columns * sizeof *level);
      memcpy(best_r, r, columns * sizeof *r);
    } else {
      memcpy(level, best_level, columns * sizeof *level);
      memcpy(r, best_r, columns * sizeof *r);
      if (factor != 1) {
        for (size_t j = 0; j < columns; j++) {
          scale[j] /= factor;
          step[j] *= factor;
        }
        factor = 1;
      }
    }
  }
}

CLONES double ck_dot(const float *a, const float *b, size_t n) {
  return dot(a, b, n);
}

CLONES void ck_level_error(const float *level, const float *scale, const int32_t *block, size_t stride,
                           const float *w, size_t n, float *d) {
  for (size_t j = 0; j < n; j++) d[j] = level[j] * scale[(size_t)block[j] * stride] - w[j];
}

CLONES void ck_axpy(float a, const float *x, float *y, size_t n) { axpy(a, x, y, n); }

CLONES void ck_rescale_residual(float f, const float *wh, float *r, size_t n) {
  float g = f - 1.0f;
  for (size_t i = 0; i < n; i++) r[i] = f * r[i] + g * wh[i];
}

CLONES void ck_column_squares(const float *x, size_t rows, size_t n, double *sum) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++) sum[j] += (double)x[i * n + j] * (double)x[i * n + j];
}

CLONES void ck_column_sums(const float *x, size_t rows, size_t n, size_t stride, double *sum) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++) sum[j] += (double)x[i * stride + j];
}

CLONES void ck_subtract_row(const float *x, size_t rows, size_t n, size_t stride, const float *shift, float *out) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++) out[i * n + j] = x[i * stride + j] - shift[j];
}

CLONES void ck_channel_products(const float *a, const float *b, size_t rows, size_t k, size_t channels, int symmetric,
                                double *sum) {
  for (size_t first = 0; first < channels; first += LANES) {
    size_t width = channels - first < LANES ? channels - first : LANES;
    for (size_t i = 0; i < k; i++)
      for (size_t j = 0; j < (symmetric ? i + 1 : k); j++) {
        const float *x = a + i * channels + first, *y = b + j * channels + first;
        float total[LANES] = {0};
        if (width == LANES)
          for (size_t r = 0; r < rows; r++, x += k * channels, y += k * channels)
            for (int c = 0; c < LANES; c++) total[c] += x[c] * y[c];
        else
          for (size_t r = 0; r < rows; r++, x += k * channels, y += k * channels)
            for (size_t c = 0; c < width; c++) total[c] += x[c] * y[c];
        double *target = sum + (i * k + j) * channels + first;
        for (size_t c = 0; c < width; c++) target[c] += (double)total[c];
      }
  }
}

CLONES void ck_add_to_double(const float *x, size_t n, double *sum) {
  for (size_t i = 0; i < n; i++) sum[i] += (double)x[i];
}

CLONES void ck_daxpy(double a, const double *x, double *y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

CLONES void ck_pack_planes(const uint8_t *codes, size_t n, int bits, uint8_t *planes) {
  size_t bytes = (n + 7) / 8;
  for (int k = 0; k < bits; k++) {
    uint8_t *plane = planes + (size_t)k * bytes;
    for (size_t b = 0; b < n / 8; b++) {
      const uint8_t *c = codes + 8 * b;
      unsigned byte = 0;
      for (int i = 0; i < 8; i++) byte |= (unsigned)((c[i] >> k) & 1) << i;
      plane[b] = (uint8_t)byte;
    }
    if (n % 8) {
      unsigned byte = 0;
      for (size_t i = 0; i < n % 8; i++) byte |= (unsigned)((codes[n / 8 * 8 + i] >> k) & 1) << i;
      plane[bytes - 1] = (uint8_t)byte;
    }
  }
}
