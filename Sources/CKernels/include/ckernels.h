#pragma once
#include <stddef.h>
#include <stdint.h>

#include "basis.h"
#include "ck_vector.h"
#include "ck_window.h"
#include "ck_winograd.h"
#include "rounding.h"
#include "trellis.h"

/* Processors that this process may run on, at least 1. */
int ck_processor_count(void);
