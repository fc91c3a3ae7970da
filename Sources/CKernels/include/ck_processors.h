#pragma once
#include <stddef.h>

/* Processors that this process may run on, at least 1. */
size_t ck_processor_count(void);

/* Has the C library look for what unwinds stacks, which it else does when a thread first ends by pthread_exit. */
void ck_find_unwinder(void);
