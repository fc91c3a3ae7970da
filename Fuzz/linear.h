/* The model of fuzzers whose inputs belong to one, loaded once: Tests/Fixtures/onnx/linear.onnx. */
#ifndef FUZZ_LINEAR_H
#define FUZZ_LINEAR_H

#include "fuzz.h"

static cet_model *model;

/* A model that lives as long as the process is no leak; the sanitizer does not see pointers whose spare bits hold an enum's case. */
__attribute__((weak)) void __lsan_disable(void);
__attribute__((weak)) void __lsan_enable(void);

static inline void fuzz_load_model(void) {
  if (__lsan_disable != NULL) __lsan_disable();
  if (FUZZ(cet_model_load_file("Tests/Fixtures/onnx/linear.onnx", &model)) != CET_OK) abort();
  if (__lsan_enable != NULL) __lsan_enable();
}

#endif
