#pragma once
#include <stddef.h>
#include <stdint.h>

/* Processors that this process may run on, at least 1. */
int ck_processor_count(void);
#include "rounding.h"
#include "basis.h"
