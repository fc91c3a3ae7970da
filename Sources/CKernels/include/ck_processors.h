#pragma once
#include <stddef.h>

/* Processors that this process may run on, at least 1. */
size_t ck_processor_count(void);

/* The instruction set whose clones of the kernels run: "avx512f", "avx2" or "default". */
const char *ck_instruction_set(void);

/* Name and version of the compiler of the kernels. */
const char *ck_compiler(void);

/* Has the C library look for what unwinds stacks, which it else does when a thread first ends by pthread_exit. */
void ck_find_unwinder(void);
