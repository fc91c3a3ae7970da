#include "ck_winograd.h"
#include "ck_internal.h"

/* F(4x4, 3x3) with the points 0, 1, -1, 2, -2 and infinity; vectors run over channels. Matrices as in the article. */

#if defined(__x86_64__) && defined(__clang__)

/* The products are fused multiply-adds: this file runs on one instruction set only. */
#pragma clang fp contract(fast)
#define TARGET __attribute__((target("avx512f")))
#define INNER TARGET CK_INLINE

enum { POINTS = 36 };
typedef float vector __attribute__((vector_size(64), aligned(4)));

bool ck_winograd_supported(void) { return __builtin_cpu_supports("avx512f") != 0; }

INNER vector load(const float *p) {
  vector v;
  memcpy(&v, p, sizeof v);
  return v;
}
INNER void store(float *p, vector v) { memcpy(p, &v, sizeof v); }
INNER vector splat(float x) { return x - (vector){0}; }

/* ---- the one-dimensional transforms ---- */

INNER void input_6(const vector *d, vector *r, int step) { /* B^T d */
  const vector a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
  r[0 * step] = 4 * d[0] - 5 * d[2] + d[4];
  r[1 * step] = a + b;
  r[2 * step] = a - b;
  r[3 * step] = c + e;
  r[4 * step] = c - e;
  r[5 * step] = 4 * d[1] - 5 * d[3] + d[5];
}

INNER void filter_3(vector x, vector y, vector z, vector *r, int step) { /* G g */
  const vector a = (x + z) * (-1.0f / 6), b = y * (-1.0f / 6), c = x * (1.0f / 24) + z * (1.0f / 6), d = y * (1.0f / 12);
  r[0 * step] = x * 0.25f;
  r[1 * step] = a + b;
  r[2 * step] = a - b;
  r[3 * step] = c + d;
  r[4 * step] = c - d;
  r[5 * step] = z;
}

INNER void gradient_4(const vector *g, vector *r, int step) { /* G for F(3x3, 4x4) */
  const vector a = (g[0] + g[2]) * (-1.0f / 6), b = (g[1] + g[3]) * (-1.0f / 6);
  const vector c = (g[0] + 4 * g[2]) * (1.0f / 24), d = (g[1] + 4 * g[3]) * (1.0f / 12);
  r[0 * step] = g[0] * 0.25f;
  r[1 * step] = a + b;
  r[2 * step] = a - b;
  r[3 * step] = c + d;
  r[4 * step] = c - d;
  r[5 * step] = g[3];
}

INNER void output_4(const vector *m, vector *r, int step) { /* A^T m */
  const vector s = m[1] + m[2], d = m[1] - m[2], t = m[3] + m[4], e = m[3] - m[4];
  r[0 * step] = m[0] + s + t;
  r[1 * step] = d + 2 * e;
  r[2 * step] = s + 4 * t;
  r[3 * step] = d + 8 * e + m[5];
}

INNER void output_3(const vector *m, vector *r, int step) { /* A^T for F(3x3, 4x4) */
  const vector s = m[1] + m[2], d = m[1] - m[2], t = m[3] + m[4], e = m[3] - m[4];
  r[0 * step] = m[0] + s + t;
  r[1 * step] = d + 2 * e;
  r[2 * step] = s + 4 * t + m[5];
}

/* ---- matrix product: c[r][n] (+)= sum over k of a[r * row + k * column] b[k * b_stride + n], n a multiple of 16 ---- */

#define BLOCK(ROWS, WIDTH)                                                                                              \
  TARGET static void block_##ROWS##_##WIDTH(const float *a, size_t row, size_t column, const float *b, size_t b_stride, \
                                            float *c, size_t c_stride, size_t k_count, bool accumulate) {                \
    vector sum[ROWS][WIDTH];                                                                                            \
    _Pragma("clang loop unroll(full)") for (int r = 0; r < ROWS; r++)                                                   \
        _Pragma("clang loop unroll(full)") for (int n = 0; n < WIDTH; n++)                                              \
            sum[r][n] = accumulate ? load(c + (size_t)r * c_stride + CK_LANES * n) : (vector){0};                          \
    for (size_t k = 0; k < k_count; k++) {                                                                              \
      vector other[WIDTH];                                                                                              \
      _Pragma("clang loop unroll(full)") for (int n = 0; n < WIDTH; n++) other[n] = load(b + k * b_stride + CK_LANES * n); \
      _Pragma("clang loop unroll(full)") for (int r = 0; r < ROWS; r++) {                                               \
        const vector one = splat(a[(size_t)r * row + k * column]);                                                      \
        _Pragma("clang loop unroll(full)") for (int n = 0; n < WIDTH; n++) sum[r][n] += one * other[n];                 \
      }                                                                                                                 \
    }                                                                                                                   \
    _Pragma("clang loop unroll(full)") for (int r = 0; r < ROWS; r++)                                                   \
        _Pragma("clang loop unroll(full)") for (int n = 0; n < WIDTH; n++)                                              \
            store(c + (size_t)r * c_stride + CK_LANES * n, sum[r][n]);                                                     \
  }

BLOCK(6, 4)
BLOCK(1, 4)
BLOCK(12, 2)
BLOCK(4, 2)
BLOCK(1, 2)
BLOCK(12, 1)
BLOCK(4, 1)
BLOCK(1, 1)

typedef void block_function(const float *, size_t, size_t, const float *, size_t, float *, size_t, size_t, bool);

/* The columns [first, first + width * 16) for all rows, with the largest block of rows first. */
static void columns(const float *a, size_t rows, size_t row, size_t column, const float *b, size_t b_stride, float *c,
                    size_t c_stride, size_t k_count, bool accumulate, const size_t *sizes, block_function *const *blocks) {
  size_t r = 0;
  for (int kind = 0; sizes[kind]; kind++) {
    for (; r + sizes[kind] <= rows; r += sizes[kind])
      blocks[kind](a + r * row, row, column, b, b_stride, c + r * c_stride, c_stride, k_count, accumulate);
  }
}

static void product(const float *a, size_t rows, size_t row, size_t column, const float *b, float *c, size_t n,
                    size_t k_count, bool accumulate) {
  static const size_t wide[] = {6, 1, 0}, narrow[] = {12, 4, 1, 0};
  static block_function *const four[] = {block_6_4, block_1_4};
  static block_function *const two[] = {block_12_2, block_4_2, block_1_2};
  static block_function *const one[] = {block_12_1, block_4_1, block_1_1};
  size_t j = 0;
  for (; j + 64 <= n; j += 64) columns(a, rows, row, column, b + j, n, c + j, n, k_count, accumulate, wide, four);
  for (; j + 32 <= n; j += 32) columns(a, rows, row, column, b + j, n, c + j, n, k_count, accumulate, narrow, two);
  for (; j + 16 <= n; j += 16) columns(a, rows, row, column, b + j, n, c + j, n, k_count, accumulate, narrow, one);
}

/* ---- tiles ---- */

/* Tile number `tile` of the batch: image, and the first output row and column. */
static void place(const ck_winograd *g, size_t tile, size_t *image, ptrdiff_t *y, ptrdiff_t *x) {
  const size_t across = (g->out_width + 3) / 4, down = (g->out_height + 3) / 4;
  *image = tile / (across * down);
  *y = 4 * (ptrdiff_t)(tile / across % down);
  *x = 4 * (ptrdiff_t)(tile % across);
}

/* v[point][tile][channel] of the tiles from `first` on. */
TARGET static void transform_input(const ck_winograd *g, const float *x, size_t first, size_t count, float *v) {
  for (size_t t = 0; t < count; t++) {
    size_t image;
    ptrdiff_t top, left;
    place(g, first + t, &image, &top, &left);
    top -= g->pad_top;
    left -= g->pad_left;
    const float *base = x + image * g->height * g->width * g->in;
    for (size_t c = 0; c < g->in; c += CK_LANES) {
      vector half[36], d[6], r[6];
      for (int j = 0; j < 6; j++) {
        const ptrdiff_t column = left + j;
        for (int i = 0; i < 6; i++) {
          const ptrdiff_t line = top + i;
          const bool inside = line >= 0 && line < (ptrdiff_t)g->height && column >= 0 && column < (ptrdiff_t)g->width;
          d[i] = inside ? load(base + ((size_t)line * g->width + (size_t)column) * g->in + c) : (vector){0};
        }
        input_6(d, half + j, 6);
      }
      for (int i = 0; i < 6; i++) {
        input_6(half + 6 * i, r, 1);
        for (int j = 0; j < 6; j++) store(v + ((size_t)(6 * i + j) * count + t) * g->in + c, r[j]);
      }
    }
  }
}

/* y (+)= the outputs of the tiles from `first` on, from m[point][tile][channel]. */
TARGET static void transform_output(const ck_winograd *g, const float *m, size_t first, size_t count, float *y,
                                    bool accumulate) {
  for (size_t t = 0; t < count; t++) {
    size_t image;
    ptrdiff_t top, left;
    place(g, first + t, &image, &top, &left);
    float *base = y + image * g->out_height * g->out_width * g->out;
    const int lines = (int)(g->out_height - (size_t)top < 4 ? g->out_height - (size_t)top : 4);
    const int across = (int)(g->out_width - (size_t)left < 4 ? g->out_width - (size_t)left : 4);
    for (size_t c = 0; c < g->out; c += CK_LANES) {
      vector half[24], d[6], r[4];
      for (int j = 0; j < 6; j++) {
        for (int i = 0; i < 6; i++) d[i] = load(m + ((size_t)(6 * i + j) * count + t) * g->out + c);
        output_4(d, half + j, 6);
      }
      for (int i = 0; i < lines; i++) {
        output_4(half + 6 * i, r, 1);
        for (int j = 0; j < across; j++) {
          float *p = base + ((size_t)(top + i) * g->out_width + (size_t)(left + j)) * g->out + c;
          store(p, accumulate ? load(p) + r[j] : r[j]);
        }
      }
    }
  }
}

/* z[point][tile][channel] of output gradients; what lies beyond the border is zero. */
TARGET static void transform_gradient(const ck_winograd *g, const float *y, size_t first, size_t count, float *z) {
  for (size_t t = 0; t < count; t++) {
    size_t image;
    ptrdiff_t top, left;
    place(g, first + t, &image, &top, &left);
    const float *base = y + image * g->out_height * g->out_width * g->out;
    for (size_t c = 0; c < g->out; c += CK_LANES) {
      vector half[24], d[4], r[6];
      for (int j = 0; j < 4; j++) {
        for (int i = 0; i < 4; i++) {
          const size_t line = (size_t)(top + i), column = (size_t)(left + j);
          const bool inside = line < g->out_height && column < g->out_width;
          d[i] = inside ? load(base + (line * g->out_width + column) * g->out + c) : (vector){0};
        }
        gradient_4(d, half + j, 4);
      }
      for (int i = 0; i < 6; i++) {
        gradient_4(half + 4 * i, r, 1);
        for (int j = 0; j < 6; j++) store(z + ((size_t)(6 * i + j) * count + t) * g->out + c, r[j]);
      }
    }
  }
}

/* ---- filters ---- */

TARGET void ck_winograd_filter_f32(bool gradient, const float *w, float *u, size_t out, size_t in) {
  /* u[point][row][column]: rows are what is summed over, columns what comes out. */
  const size_t rows = gradient ? out : in, columns = gradient ? in : out;
  const size_t row_step = gradient ? in * 9 : 9, column_step = gradient ? 9 : in * 9;
  for (size_t row = 0; row < rows; row++) {
    for (size_t c = 0; c < columns; c += CK_LANES) {
      const float *p = w + row * row_step + c * column_step;
      float plain[9][CK_LANES];
      for (int lane = 0; lane < CK_LANES; lane++) {
        for (int k = 0; k < 9; k++) plain[gradient ? 8 - k : k][lane] = p[(size_t)lane * column_step + (size_t)k];
      }
      vector half[18], r[6];
      for (int j = 0; j < 3; j++) filter_3(load(plain[j]), load(plain[3 + j]), load(plain[6 + j]), half + j, 3);
      for (int i = 0; i < 6; i++) {
        filter_3(half[3 * i], half[3 * i + 1], half[3 * i + 2], r, 1);
        for (int j = 0; j < 6; j++) store(u + ((size_t)(6 * i + j) * rows + row) * columns + c, r[j]);
      }
    }
  }
}

TARGET static void filter_gradient(const ck_winograd *g, const float *m, float *w, bool accumulate) {
  for (size_t row = 0; row < g->in; row++) {
    for (size_t c = 0; c < g->out; c += CK_LANES) {
      vector half[18], d[6], r[3];
      float plain[9][CK_LANES];
      for (int j = 0; j < 6; j++) {
        for (int i = 0; i < 6; i++) d[i] = load(m + ((size_t)(6 * i + j) * g->in + row) * g->out + c);
        output_3(d, half + j, 6);
      }
      for (int i = 0; i < 3; i++) {
        output_3(half + 6 * i, r, 1);
        for (int j = 0; j < 3; j++) store(plain[3 * i + j], r[j]);
      }
      for (int lane = 0; lane < CK_LANES; lane++) {
        float *p = w + ((c + (size_t)lane) * g->in + row) * 9;
        for (int k = 0; k < 9; k++) p[k] = accumulate ? p[k] + plain[k][lane] : plain[k][lane];
      }
    }
  }
}

/* ---- convolutions ---- */

static size_t tile_count(const ck_winograd *g) {
  return g->batch * ((g->out_height + 3) / 4) * ((g->out_width + 3) / 4);
}

/* As many tiles at a time as keep their transforms in the second-level cache. */
static size_t tile_block(const ck_winograd *g) {
  const size_t fit = (size_t)196608 / (POINTS * (g->in + g->out)), least = 48, all = tile_count(g);
  const size_t block = fit < least ? least : fit;
  return block < all ? block : all;
}

size_t ck_winograd_scratch(const ck_winograd *g) { return POINTS * tile_block(g) * (g->in + g->out); }

void ck_winograd_forward_f32(const ck_winograd *g, bool accumulate, const float *x, const float *u, float *y,
                             float *scratch) {
  const size_t all = tile_count(g), block = tile_block(g);
  for (size_t first = 0; first < all; first += block) {
    const size_t count = all - first < block ? all - first : block;
    float *v = scratch, *m = scratch + POINTS * count * g->in;
    transform_input(g, x, first, count, v);
    for (size_t p = 0; p < POINTS; p++)
      product(v + p * count * g->in, count, g->in, 1, u + p * g->in * g->out, m + p * count * g->out, g->out, g->in, 0);
    transform_output(g, m, first, count, y, accumulate);
  }
}

void ck_winograd_weight_gradient_f32(const ck_winograd *g, bool accumulate, const float *x, const float *dy, float *w,
                                     float *sums, float *scratch) {
  const size_t all = tile_count(g), block = tile_block(g);
  for (size_t first = 0; first < all; first += block) {
    const size_t count = all - first < block ? all - first : block;
    float *v = scratch, *z = scratch + POINTS * count * g->in;
    transform_input(g, x, first, count, v);
    transform_gradient(g, dy, first, count, z);
    for (size_t p = 0; p < POINTS; p++)
      product(v + p * count * g->in, g->in, 1, g->in, z + p * count * g->out, sums + p * g->in * g->out, g->out, count,
              first > 0);
  }
  filter_gradient(g, sums, w, accumulate);
}

#else

bool ck_winograd_supported(void) { return false; }
void ck_winograd_filter_f32(bool gradient, const float *w, float *u, size_t out, size_t in) {}
size_t ck_winograd_scratch(const ck_winograd *g) { return 0; }
void ck_winograd_forward_f32(const ck_winograd *g, bool accumulate, const float *x, const float *u, float *y,
                             float *scratch) {}
void ck_winograd_weight_gradient_f32(const ck_winograd *g, bool accumulate, const float *x, const float *dy, float *w,
                                     float *sums, float *scratch) {}

#endif
