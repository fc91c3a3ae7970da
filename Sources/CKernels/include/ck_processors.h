#pragma once
#include <stddef.h>

/* Processors that this process may run on, at least 1. */
size_t ck_processor_count(void);
