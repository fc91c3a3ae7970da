/* Of the ONNX Runtime C API, what serve.c needs; every failure is told on standard error. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct OrtSession runtime_model;

/* Once, before everything else. */
bool runtime_open(void);

/* A model of one input and one output of float32; NULL when it cannot be loaded. The bytes may be freed then. */
runtime_model *runtime_load(const void *bytes, size_t size);

/* The output for one input, `*count` numbers to be freed; NULL when it did not run. */
float *runtime_run(runtime_model *model, const char *input, const float *values, const int64_t *shape, size_t rank, size_t *count);

void runtime_free(runtime_model *model); /* NULL is allowed */

/* Once, after everything else. */
void runtime_close(void);

#endif
