#include "ck_trellis.h"
#include "ck_internal.h"

enum { BLOCK = CK_TRELLIS_BLOCK, PATHS = CK_TRELLIS_PATHS, BINS = CK_TRELLIS_BINS };

void ck_trellis_start(ck_trellis_paths *paths) {
  paths->count = 1;
  paths->state[0] = 0;
  paths->cost[0] = 0;
}

/* Where a weight of so many steps of 16 / BINS, counted from -8 scales, belongs. */
CK_INLINE size_t bin_of(float steps) { return steps >= 0 ? (steps < BINS ? (size_t)steps : BINS - 1) : 0; }

void ck_trellis_prepare(ck_trellis_values *values, int state_bits, int bits, const float *table) {
  const size_t children = (size_t)1 << bits, states = (size_t)1 << state_bits;
  const int window_bits = bits < CK_TRELLIS_WINDOW_BITS ? bits : CK_TRELLIS_WINDOW_BITS;
  const size_t window = (size_t)1 << window_bits;
  /* The largest r-th value of any state. */
  float highest[1 << CK_TRELLIS_BITS];
  values->state_bits = state_bits;
  values->bits = bits;
  values->window_bits = window_bits;
  for (size_t next = 0; next < states; next += children) {
    float *value = values->value + next;
    uint8_t *code = values->code + next;
    for (size_t c = 0; c < children; c++) {
      size_t r = c;
      for (; r > 0 && value[r - 1] > table[next + c]; r--) {
        value[r] = value[r - 1];
        code[r] = code[r - 1];
      }
      value[r] = table[next + c];
      code[r] = (uint8_t)c;
    }
    for (size_t r = 0; r < children; r++) highest[r] = next == 0 || value[r] > highest[r] ? value[r] : highest[r];
  }
  for (size_t bin = 0; bin < BINS; bin++) {
    const float middle = ((float)bin + 0.5f) * 16 / BINS - 8;
    size_t rank = 0;
    while (rank + 1 < children && highest[rank] < middle) rank++;
    const size_t first = rank < window / 2 ? 0 : rank - window / 2;
    values->first[bin] = (uint8_t)(first < children - window ? first : children - window);
  }
}

/* What the weights of a block are to be after the errors of the block before. Most of these are shared by all paths. */
CK_INLINE void take_over(ck_trellis_paths *paths, ck_trellis_work *work, size_t block, const float *targets,
                      const float *before, size_t width) {
  const size_t half = (block & 1) ^ 1, count = paths->count;
  if (before == NULL) {
    for (size_t p = 0; p < count; p++) paths->origin[p] = (uint8_t)p;
    return;
  }
  float shared[BLOCK];
  for (size_t k = 0; k < BLOCK; k++) shared[k] = k < width ? targets[k] : 0;
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
      const float *row = before + i * BLOCK;
      for (size_t k = 0; k < BLOCK; k++) shared[k] += e * row[k];
      at = paths->parent[half][i][at];
    }
  }
  for (size_t p = 0; p < count; p++) {
    float *target = work->target[0][p];
    for (size_t k = 0; k < BLOCK; k++) target[k] = shared[k];
    for (size_t i = split; block > 0 && i < BLOCK; i++) {
      const float e = paths->error[half][i][work->before[i][p]];
      const float *row = before + i * BLOCK;
      for (size_t k = 0; k < BLOCK; k++) target[k] += e * row[k];
    }
    paths->origin[p] = (uint8_t)p;
  }
}

/* Puts the paths into groups; how many. */
CK_INLINE size_t group(const ck_trellis_paths *paths, const ck_trellis_values *values, ck_trellis_work *work) {
  const uint32_t mask = (1u << values->state_bits) - 1;
  size_t groups = 0;
  for (size_t p = 0; p < paths->count; p++) {
    const uint32_t next = ((uint32_t)paths->state[p] << values->bits) & mask;
    const size_t known = work->group_of[next];
    if (known < groups && work->next[known] == next) {
      work->group[p] = (uint8_t)known;
      if (paths->cost[p] < paths->cost[work->cheapest[known]]) work->cheapest[known] = (uint8_t)p;
    } else {
      work->group_of[next] = work->group[p] = (uint8_t)groups;
      work->next[groups] = (uint16_t)next;
      work->cheapest[groups++] = (uint8_t)p;
    }
  }
  return groups;
}

/* Costs of what extends the paths by a column, `window` values of every group, each by the path that makes it cheapest;
 * how many. `target` is what the weight is to be on each path, `root` that of its curvature. */
CK_INLINE size_t extend(const ck_trellis_paths *paths, const ck_trellis_values *values, ck_trellis_work *work,
                        size_t window, const float *target, float scale, float root) {
  const size_t groups = group(paths, values, work);
  const float steps = scale > 0 ? BINS / 16 / scale : 0;
  for (size_t g = 0; g < groups; g++) {
    const size_t p = work->cheapest[g];
    const float w = target[p], past = paths->cost[p];
    const size_t first = work->next[g] + values->first[bin_of(w * steps + BINS / 2)];
    const float *value = values->value + first;
    float *cost = work->cost + g * window;
    uint8_t *parent = work->parent + g * window;
    work->first[g] = (uint16_t)first;
    for (size_t r = 0; r < window; r++) {
      const float e = (w - scale * value[r]) * root;
      cost[r] = past + e * e;
      parent[r] = (uint8_t)p;
    }
  }
  for (size_t p = 0; p < paths->count && groups < paths->count; p++) {
    const size_t g = work->group[p];
    if (work->cheapest[g] == p) continue;
    const float w = target[p], past = paths->cost[p];
    const float *value = values->value + work->first[g];
    float *cost = work->cost + g * window;
    uint8_t *parent = work->parent + g * window;
    for (size_t r = 0; r < window; r++) {
      const float e = (w - scale * value[r]) * root, own = past + e * e;
      parent[r] = own < cost[r] ? (uint8_t)p : parent[r];
      cost[r] = own < cost[r] ? own : cost[r];
    }
  }
  return groups * window;
}

/* Indices of the `most` smallest of n > most costs in their order; the first of equals. The array has room for one more. */
CK_INLINE void select_smallest(const float *cost, size_t n, size_t most, uint16_t *index) {
  /* Costs are not negative: their bits have their order. */
  uint32_t low = UINT32_MAX, high = 0;
  for (size_t i = 0; i < n; i++) {
    const uint32_t bits = ck_bits(cost[i]);
    low = bits < low ? bits : low;
    high = bits > high ? bits : high;
  }
  /* Fewer than `most` are below `low`, and at least `most` are at most `high`. */
  size_t within = n;
  while (low < high && within != most) {
    const uint32_t middle = low + (high - low) / 2;
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) count += ck_bits(cost[i]) <= middle;
    if (count >= most) {
      high = middle;
      within = count;
    } else {
      low = middle + 1;
    }
  }
  size_t found = 0;
  if (within == most) {
    for (size_t i = 0; i < n; i++) {
      index[found] = (uint16_t)i;
      found += ck_bits(cost[i]) <= high;
    }
    return;
  }
  size_t equals = most;
  for (size_t i = 0; i < n; i++) equals -= ck_bits(cost[i]) < high;
  for (size_t i = 0; i < n; i++) {
    const uint32_t bits = ck_bits(cost[i]);
    const size_t takes = bits < high || (bits == high && equals > 0);
    equals -= bits == high && equals > 0;
    index[found] = (uint16_t)i;
    found += takes;
  }
}

CK_CLONES void ck_trellis_columns(ck_trellis_paths *paths, size_t block, const ck_trellis_values *values, size_t most,
                                  const float *weights, const float *targets, const float *scale, const float *root,
                                  const float *within, const float *before, size_t width, ck_trellis_work *work) {
  const size_t half = block & 1;
  const int shift = values->window_bits;
  size_t side = 0;
  take_over(paths, work, block, targets, before, width);
  for (size_t j = 0; j < width; j++) {
    float target[PATHS];
    for (size_t p = 0; p < paths->count; p++) target[p] = within != NULL ? work->target[side][p][j] : weights[j];
    size_t n;
    switch (shift) { /* Loops of a known length are unrolled. */
      case 1: n = extend(paths, values, work, 2, target, scale[j], root[j]); break;
      case 2: n = extend(paths, values, work, 4, target, scale[j], root[j]); break;
      default: n = extend(paths, values, work, CK_TRELLIS_WINDOW, target, scale[j], root[j]);
    }
    uint16_t index[PATHS + 1];
    if (n > most) {
      select_smallest(work->cost, n, most, index);
      n = most;
    } else {
      for (size_t q = 0; q < n; q++) index[q] = (uint16_t)q;
    }
    uint8_t origin[PATHS];
    uint16_t state[PATHS];
    for (size_t q = 0; q < n; q++) {
      const size_t at = index[q], g = at >> shift;
      const size_t entry = work->first[g] + (at & (((size_t)1 << shift) - 1));
      const uint8_t p = work->parent[at];
      const float e = weights[j] - scale[j] * values->value[entry];
      if (within != NULL) {
        const float *restrict old = work->target[side][p], *restrict row = within + j * BLOCK;
        float *restrict new = work->target[side ^ 1][q];
        /* Whole runs of lanes: what lies before column j is read no more. */
        CK_INDEPENDENT
        for (size_t k = j / CK_LANES * CK_LANES; k < BLOCK; k++) new[k] = old[k] + e * row[k];
      }
      origin[q] = paths->origin[p];
      state[q] = work->next[g] | values->code[entry];
      paths->parent[half][j][q] = p;
      paths->code[half][j][q] = values->code[entry];
      paths->error[half][j][q] = e;
    }
    for (size_t q = 0; q < n; q++) {
      paths->origin[q] = origin[q];
      paths->state[q] = state[q];
      paths->cost[q] = work->cost[index[q]];
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
