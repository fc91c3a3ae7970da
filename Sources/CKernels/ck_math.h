#pragma once
#include "ck_internal.h"
#include <math.h>

/* Branch-free float functions that loops vectorise. Errors are in units in the last place of the true value. */

/* e^x, below 2 ulp; subnormal results included. */
CK_INLINE float ck_exp1(float x) {
  /* Comparisons keep NaN. Beyond the limits the result is 0 or infinity anyway. */
  float c = x > 89.0f ? 89.0f : x;
  c = c < -104.5f ? -104.5f : c;
  /* Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits. */
  const float magic = 12582912.0f;
  float t = c * 1.44269504088896341f + magic;
  uint32_t n = ck_bits(t) - ck_bits(magic);
  float k = t - magic;
  /* k * 0.693359375 is exact: the constant has 10 bits. */
  float r = (c - k * 0.693359375f) + k * 2.12194440054690583e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * (r * r) + r) + 1.0f;
  /* 2^n in two factors, so that both are normal numbers. */
  uint32_t half = (uint32_t)((int32_t)n >> 1);
  return p * ck_float((half + 127u) << 23) * ck_float((n - half + 127u) << 23);
}

/* ln x, below 2 ulp. */
CK_INLINE float ck_log1(float x) {
  int tiny = x < 1.17549435e-38f;
  float scaled = tiny ? x * 8388608.0f : x;
  uint32_t bits = ck_bits(scaled);
  /* Mantissa in [sqrt(1/2), sqrt(2)). */
  uint32_t shifted = bits - 0x3f3504f3u;
  float e = (float)((int32_t)shifted >> 23) - (tiny ? 23.0f : 0.0f);
  float f = ck_float((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  float z = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  float y = f * z * p;
  y += e * -2.12194440e-4f;
  y -= 0.5f * z;
  float result = (f + y) + e * 0.693359375f;
  result = x > 3.4028234663852886e38f ? x : result;
  result = x == 0.0f ? -INFINITY : result;
  return x >= 0.0f ? result : NAN;
}

/* tanh x, below 3 ulp. */
CK_INLINE float ck_tanh1(float x) {
  float a = ck_float(ck_bits(x) & 0x7fffffffu);
  float z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  float small = p * z * x + x;
  float large = 1.0f - 2.0f / (ck_exp1(a + a) + 1.0f);
  large = ck_float(ck_bits(large) | (ck_bits(x) & 0x80000000u));
  return a < 0.625f ? small : large;
}

/* 1 / (1 + e^-x), below 4 ulp, also where the result is subnormal. */
CK_INLINE float ck_sigmoid1(float x) {
  float e = ck_exp1(-ck_float(ck_bits(x) & 0x7fffffffu));
  float s = 1.0f / (1.0f + e);
  return x < 0.0f ? e * s : s;
}

/* erf x, below 3 ulp: an odd polynomial near 0, 1 - e^polynomial(|x|) beyond. */
CK_INLINE float ck_erf1(float x) {
  float s = x * x;
  float a = ck_float(ck_bits(x) & 0x7fffffffu);
  /* erf is 1 in float from 3.92 on; the polynomial is not meant for larger arguments. */
  float t = a > 4.0f ? 4.0f : a;
  float q = t * t;
  float r = -1.72853470e-5f * t + 3.83197126e-4f;
  float u = -3.88396438e-3f * t + 2.42546219e-2f;
  r = r * q + u;
  r = r * t - 1.06777877e-1f;
  r = r * t - 6.34846687e-1f;
  r = r * t - 1.28717512e-1f;
  r = r * t - t;
  float large = 1.0f - ck_exp1(r);
  large = ck_float(ck_bits(large) | (ck_bits(x) & 0x80000000u));
  float p = -5.96761703e-4f;
  p = p * s + 4.99119423e-3f;
  p = p * s - 2.67681349e-2f;
  p = p * s + 1.12819925e-1f;
  p = p * s - 3.76125336e-1f;
  p = p * s + 1.28379166e-1f;
  float small = p * x + x;
  return a > 0.927734375f ? large : small;
}
