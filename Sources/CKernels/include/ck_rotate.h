#pragma once
#include <stddef.h>

/* x becomes H x / sqrt(run), H the Hadamard matrix of Sylvester's construction, for every run of so many entries; `run` is a
 * power of two that divides n. Doing it twice changes nothing. */
void ck_rotate_f32(float *x, size_t run, size_t n);

/* The same where entry i of a run is `stride` entries long and what is rotated is the entries' first elements, their
 * second ones and so on; run * stride divides n. */
void ck_rotate_f64(double *x, size_t run, size_t stride, size_t n);
