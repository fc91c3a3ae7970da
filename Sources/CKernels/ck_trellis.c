#include "ck_trellis.h"
#include "ck_internal.h"

enum { BLOCK = CK_TRELLIS_BLOCK, PATHS = CK_TRELLIS_PATHS };

void ck_trellis_start(ck_trellis_paths *paths) {
  paths->count = 1;
  paths->state[0] = 0;
  paths->cost[0] = 0;
}

/* A path that a column leads to, in one number that is ordered by cost, then by state. */
CK_INLINE uint64_t key_of(float cost, uint32_t state, size_t parent, size_t code) {
  /* Costs are not negative: their bits have their order. */
  return (uint64_t)ck_bits(cost) << 32 | (uint64_t)state << 16 | (uint64_t)parent << 8 | code;
}
CK_INLINE float cost_of(uint64_t key) { return ck_float((uint32_t)(key >> 32)); }
CK_INLINE uint16_t state_of(uint64_t key) { return (uint16_t)(key >> 16); }
CK_INLINE uint8_t parent_of(uint64_t key) { return (uint8_t)(key >> 8); }
CK_INLINE uint8_t code_of(uint64_t key) { return (uint8_t)key; }

/* Moves the `most` smallest of n different keys to the front (quickselect with the median of three). */
static void select_smallest(uint64_t *keys, size_t n, size_t most) {
  size_t low = 0, high = n - 1;
  while (low < high) {
    const uint64_t a = keys[low], b = keys[low + (high - low) / 2], c = keys[high];
    const uint64_t pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
    size_t i = low, j = high;
    for (;;) {
      while (keys[i] < pivot) i++;
      while (keys[j] > pivot) j--;
      if (i >= j) break;
      const uint64_t other = keys[i];
      keys[i++] = keys[j];
      keys[j--] = other;
    }
    /* Keys up to j are at most the pivot, those behind it at least. */
    if (j + 1 == most) return;
    if (j >= most) high = j;
    else low = j + 1;
  }
}

/* Residuals of a block: the weights without the errors of the block before. Most of these are shared by all paths. */
CK_INLINE void take_over(ck_trellis_paths *paths, ck_trellis_work *work, size_t block, const float *weights,
                      const float *u_before, size_t width) {
  const size_t half = (block & 1) ^ 1, count = paths->count;
  if (u_before == NULL) {
    for (size_t p = 0; p < count; p++) {
      work->residual[0][p][0] = weights[0];
      paths->origin[p] = (uint8_t)p;
    }
    return;
  }
  float shared[BLOCK];
  for (size_t k = 0; k < BLOCK; k++) shared[k] = k < width ? weights[k] : 0;
  size_t split = block > 0 ? BLOCK : 0; /* columns from here on differ between the paths */
  if (block > 0) {
    for (size_t p = 0; p < count; p++) work->before[BLOCK - 1][p] = (uint8_t)p;
    while (split > 0) {
      const uint8_t *at = work->before[split - 1];
      int differ = 0;
      for (size_t p = 1; p < count; p++) differ |= at[p] != at[0];
      if (!differ) break;
      split--;
      if (split > 0)
        for (size_t p = 0; p < count; p++) work->before[split - 1][p] = paths->parent[half][split][at[p]];
    }
    size_t at = split > 0 ? work->before[split - 1][0] : 0;
    for (size_t i = split; i-- > 0;) {
      const float e = paths->error[half][i][at];
      const float *row = u_before + i * BLOCK;
      for (size_t k = 0; k < BLOCK; k++) shared[k] -= e * row[k];
      at = paths->parent[half][i][at];
    }
  }
  for (size_t p = 0; p < count; p++) {
    float *residual = work->residual[0][p];
    for (size_t k = 0; k < BLOCK; k++) residual[k] = shared[k];
    for (size_t i = split; block > 0 && i < BLOCK; i++) {
      const float e = paths->error[half][i][work->before[i][p]];
      const float *row = u_before + i * BLOCK;
      for (size_t k = 0; k < BLOCK; k++) residual[k] -= e * row[k];
    }
    paths->origin[p] = (uint8_t)p;
  }
}

/* The extended paths that may be among the `most` cheapest, each state once; how many. */
CK_INLINE size_t extend(const ck_trellis_paths *paths, ck_trellis_work *work, size_t side, size_t j, const float *table,
                     uint32_t mask, int bits, size_t most, float scale, float inverse) {
  const size_t children = (size_t)1 << bits, count = paths->count;
  const float largest = 3.4e38f;
  /* Every path has a child of at most this cost: enough of them when there are `most` paths. */
  float limit = 0;
  for (size_t p = 0; p < count; p++) {
    const float w = work->residual[side][p][j], past = paths->cost[p];
    const float *values = table + (((uint32_t)paths->state[p] << bits) & mask);
    float *costs = work->costs + p * children;
    float least = largest;
    for (size_t c = 0; c < children; c++) {
      const float e = (w - scale * values[c]) * inverse;
      costs[c] = past + e * e;
    }
    for (size_t c = 0; c < children; c++) least = costs[c] < least ? costs[c] : least;
    limit = least > limit ? least : limit;
  }
  if (count < most) limit = largest;
  size_t n = 0;
  for (size_t p = 0; p < count; p++) {
    const uint32_t next = ((uint32_t)paths->state[p] << bits) & mask;
    const float *costs = work->costs + p * children;
    for (size_t c = 0; c < children; c++) {
      if (!(costs[c] <= limit)) continue;
      const uint32_t state = next | (uint32_t)c;
      const uint64_t key = key_of(costs[c], state, p, c);
      const size_t place = work->place[state];
      if (place < n && state_of(work->keys[place]) == state) {
        if (key < work->keys[place]) work->keys[place] = key;
      } else {
        work->place[state] = (uint16_t)n;
        work->keys[n++] = key;
      }
    }
  }
  return n;
}

CK_CLONES void ck_trellis_columns(ck_trellis_paths *paths, size_t block, int state_bits, int bits, size_t most,
                                  const float *table, const float *weights, const float *scale, const float *inverse,
                                  const float *u, const float *u_before, size_t width, ck_trellis_work *work) {
  const uint32_t mask = (1u << state_bits) - 1;
  const size_t half = block & 1;
  size_t side = 0;
  take_over(paths, work, block, weights, u_before, width);
  for (size_t j = 0; j < width; j++) {
    size_t n = extend(paths, work, side, j, table, mask, bits, most, scale[j], inverse[j]);
    if (n == 0) { /* Costs beyond all numbers: the first path goes on, by the first code. */
      work->keys[0] = key_of(paths->cost[0], ((uint32_t)paths->state[0] << bits) & mask, 0, 0);
      n = 1;
    }
    if (n > most) {
      select_smallest(work->keys, n, most);
      n = most;
    }
    uint8_t origin[PATHS];
    for (size_t q = 0; q < n; q++) {
      const uint64_t key = work->keys[q];
      const uint8_t p = parent_of(key);
      const float *old = work->residual[side][p];
      const float e = (old[j] - scale[j] * table[state_of(key)]) * inverse[j];
      float *new = work->residual[side ^ 1][q];
      if (u != NULL) {
        const float *row = u + j * BLOCK;
        /* Whole runs of lanes: what lies before column j is read no more. */
        for (size_t k = j / CK_LANES * CK_LANES; k < BLOCK; k += CK_LANES)
          for (size_t lane = 0; lane < CK_LANES; lane++) new[k + lane] = old[k + lane] - e * row[k + lane];
      } else if (j + 1 < width) {
        new[j + 1] = weights[j + 1];
      }
      origin[q] = paths->origin[p];
      paths->parent[half][j][q] = p;
      paths->code[half][j][q] = code_of(key);
      paths->error[half][j][q] = e;
    }
    for (size_t q = 0; q < n; q++) {
      paths->origin[q] = origin[q];
      paths->state[q] = state_of(work->keys[q]);
      paths->cost[q] = cost_of(work->keys[q]);
    }
    paths->count = n;
    side ^= 1;
  }
}

static size_t best_path(const ck_trellis_paths *paths) {
  size_t best = 0;
  for (size_t p = 1; p < paths->count; p++)
    if (paths->cost[p] < paths->cost[best] ||
        (paths->cost[p] == paths->cost[best] && paths->state[p] < paths->state[best]))
      best = p;
  return best;
}

void ck_trellis_settle(ck_trellis_paths *paths, size_t block, uint8_t *codes, float *errors, size_t width) {
  const size_t half = block & 1, best = best_path(paths), last = width - 1;
  const uint8_t origin = paths->origin[best];
  size_t at = origin;
  for (size_t i = BLOCK; i-- > 0 && block > 0;) {
    codes[i] = paths->code[half ^ 1][i][at];
    errors[i] = paths->error[half ^ 1][i][at];
    at = paths->parent[half ^ 1][i][at];
  }
  /* Costs count from the best: they stay small, and differences exact. */
  const float least = paths->cost[best];
  size_t n = 0;
  for (size_t p = 0; p < paths->count; p++) {
    if (paths->origin[p] != origin) continue;
    paths->state[n] = paths->state[p];
    paths->cost[n] = paths->cost[p] - least;
    paths->parent[half][last][n] = paths->parent[half][last][p];
    paths->code[half][last][n] = paths->code[half][last][p];
    paths->error[half][last][n] = paths->error[half][last][p];
    n++;
  }
  paths->count = n;
}

void ck_trellis_finish(const ck_trellis_paths *paths, size_t block, uint8_t *codes, size_t width) {
  const size_t half = block & 1;
  size_t at = best_path(paths);
  for (size_t i = width; i-- > 0;) {
    codes[i] = paths->code[half][i][at];
    at = paths->parent[half][i][at];
  }
}

void ck_trellis_levels(int state_bits, int bits, const float *table, const uint8_t *codes, float *level, size_t n) {
  const uint32_t mask = (1u << state_bits) - 1;
  uint32_t state = 0;
  for (size_t j = 0; j < n; j++) {
    state = ((state << bits) | codes[j]) & mask;
    level[j] = table[state];
  }
}
