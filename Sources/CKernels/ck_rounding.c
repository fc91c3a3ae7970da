#include "ck_rounding.h"
#include "ck_internal.h"
#include <math.h>

/* Round to nearest, ties to even, for |x| < 2^22; the callers have clamped to the code range first, which
 * gives the same as clamping afterwards because the bounds are integers. */
CK_INLINE float round_level(float x) {
  const float magic = 12582912.0f; /* 1.5 * 2^23 */
  return (x + magic) - magic;
}

CK_INLINE float clamp(float x, float lo, float hi) {
  x = x > lo ? x : lo;
  return x < hi ? x : hi;
}

/* The level nearest to x in lo, lo + 1, ... hi. Ties go to the even one of the integers, or of the integers plus one
 * half where lo is such a number. */
CK_INLINE float nearest_level(float x, float lo, float hi) {
  float part = lo - floorf(lo);
  return round_level(clamp(x, lo, hi) - part) + part;
}

CK_CLONES void ck_grid_errors(const float *x, const float *inverse_scale, const float *lo, const float *hi, double *errors,
                              size_t candidates, size_t n) {
  for (size_t c = 0; c < candidates; c++) errors[c] = 0;
  for (size_t c = 0; c < candidates; c += CK_LANES) {
    float f[CK_LANES], l[CK_LANES], h[CK_LANES];
    for (int k = 0; k < CK_LANES; k++) f[k] = inverse_scale[c + k], l[k] = lo[c + k], h[k] = hi[c + k];
    /* Short runs in float, their sums in double: the error of a long float sum would grow with n. */
    for (size_t start = 0; start < n; start += 512) {
      size_t end = start + 512 < n ? start + 512 : n;
      float sum[CK_LANES] = {0};
      for (size_t i = start; i < end; i++) {
        float value = x[i];
        for (int k = 0; k < CK_LANES; k++) {
          float u = value * f[k];
          float d = nearest_level(u, l[k], h[k]) - u;
          sum[k] += d * d;
        }
      }
      for (int k = 0; k < CK_LANES; k++) errors[c + k] += sum[k];
    }
  }
}

CK_CLONES void ck_round_levels(float inverse_scale, float lo, float hi, const float *x, float *level, size_t n) {
  for (size_t i = 0; i < n; i++) level[i] = nearest_level(x[i] * inverse_scale, lo, hi);
}

CK_CLONES void ck_gptq_panel(const float *w, const float *target, const float *m, size_t stride, const float *scale, const float *lo,
                             const float *hi, const int32_t *block, float *level, float *e, double *cost, size_t columns, size_t lanes) {
  for (size_t lane = 0; lane < lanes; lane += CK_LANES) {
    for (size_t k = 0; k < columns; k++) {
      float value[CK_LANES];
      const float *row = m + k * stride;
      const size_t grid = (size_t)block[k] * lanes + lane;
      for (int l = 0; l < CK_LANES; l++) value[l] = target[k * lanes + lane + l];
      for (size_t j = 0; j < k; j++) {
        const float *ej = e + j * lanes + lane;
        float share = row[j];
        for (int l = 0; l < CK_LANES; l++) value[l] += ej[l] * share;
      }
      for (int l = 0; l < CK_LANES; l++) {
        float s = scale[grid + l];
        float v = nearest_level(value[l] / s, lo[grid + l], hi[grid + l]);
        float miss = (value[l] - v * s) * row[k];
        e[k * lanes + lane + l] = w[k * lanes + lane + l] - v * s;
        level[k * lanes + lane + l] = v;
        cost[lane + l] += (double)miss * miss;
      }
    }
  }
}

CK_CLONES size_t ck_coordinate_sweep(const float *h, const float *inverse_diagonal, const float *scale, const float *lo,
                                     const float *hi, size_t stride, const int32_t *block, float *level, float *r, size_t rows,
                                     size_t columns) {
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
        ck_axpy((v - old) * s, h + j * columns, r + i * columns, columns);
        changed++;
      }
    }
  }
  return changed;
}

CK_INLINE double row_objective(const float *level, const float *r, const float *w, const float *scale, size_t n) {
  double sum;
  CK_SUM(sum, j, n, (double)r[j] * ((double)level[j] * scale[j] - (double)w[j]));
  return sum;
}

/* One pass over the columns of a row; step[j] = 1 / (H_jj s_j). Columns that stay are seen many at a time. */
CK_INLINE size_t row_sweep(const float *h, const float *scale, const float *step, const float *lo, const float *hi,
                           float *level, float *r, size_t n) {
  size_t changed = 0;
  for (size_t start = 0; start < n; start += CK_LANES) {
    size_t end = start + CK_LANES < n ? start + CK_LANES : n;
    if (end - start == CK_LANES) {
      float moves = 0;
      for (int k = 0; k < CK_LANES; k++) {
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
      ck_axpy(move, h + j * n, r, n);
      changed++;
    }
  }
  return changed;
}

CK_INLINE uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t x = (*state += 0x9e3779b97f4a7c15ull);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

CK_CLONES void ck_perturbed_descent(size_t kicks, uint64_t seed, bool one_scale, const float *h,
                                    const float *inverse_diagonal, const float *w, const float *wh, const float *lo,
                                    const float *hi, float *scale, float *level, float *r, size_t columns, float *work) {
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
      ck_axpy((v - level[j]) * scale[j], h + j * columns, r, columns);
      level[j] = v;
    }
    for (int sweep = 0; sweep < 4; sweep++) {
      size_t changed = row_sweep(h, scale, step, lo, hi, level, r, columns);
      if (one_scale) {
        double a = ck_dot(wh, level, columns), c = ck_dot(r, level, columns);
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

CK_CLONES void ck_level_error(const float *level, const float *scale, size_t stride, const int32_t *block, const float *w,
                              float *d, size_t n) {
  for (size_t j = 0; j < n; j++) d[j] = level[j] * scale[(size_t)block[j] * stride] - w[j];
}

CK_CLONES void ck_rescale_residual(float f, const float *wh, float *r, size_t n) {
  float g = f - 1.0f;
  for (size_t i = 0; i < n; i++) r[i] = f * r[i] + g * wh[i];
}
