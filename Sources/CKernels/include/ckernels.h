#pragma once

/* Loops over arrays that Swift calls. What is said here holds for all of them.
 *
 * Names: ck_<what>_<element>, the type of the elements that a kernel is about; without it where a kernel belongs to one
 * method (GPTQ, trellis codes), whose arrays have the types of its declaration. `wide`: computed in double, rounded once.
 * Arguments: a struct of shapes or state; numbers of the operation; arrays that are read, each followed by its stride or
 * transposition; arrays that are changed or written; counts, the outermost first; scratch memory.
 * Types: counts, strides and offsets are size_t or, where they may be negative, ptrdiff_t; indices that are stored int32_t;
 * a number of bits int; yes or no bool.
 * Arrays: row-major, and dense where no stride is named; strides count elements. What is changed or written may be the very
 * array of an operand where a header says so, never a shifted part of it, and overlaps nothing otherwise.
 * Checks: none. Sizes and pointers were validated by the caller; counts may be 0.
 * Threads: none, and no state but the arrays.
 * Bits: a result depends on values and sizes alone, never on the processor or on alignment. Loops are compiled for several
 * instruction sets, none of which reorders a sum: what a vector holds are independent results, or the 16 lanes of one sum,
 * and products are not contracted to fused multiply-adds (Package.swift). The one exception is ck_winograd.h. */

#include "ck_basis.h"
#include "ck_moments.h"
#include "ck_processors.h"
#include "ck_rounding.h"
#include "ck_rotate.h"
#include "ck_trellis.h"
#include "ck_vector.h"
#include "ck_window.h"
#include "ck_winograd.h"
