/* A mutator for the library's own files: 8 bytes of magic, the length of a header, the header, contents. */
#ifndef FUZZ_RECORD_H
#define FUZZ_RECORD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* Half of the time the header alone, with its length after it (docs/spectrum-file.md). */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  uint64_t length = 0;
  uint8_t *rest;
  size_t left, most;
  if (size > 16) memcpy(&length, data + 8, sizeof length);
  if (seed % 2 || size <= 16 || length > size - 16) return LLVMFuzzerMutate(data, size, max_size);
  left = size - 16 - length, most = max_size - 16 - left;
  if ((rest = malloc(left + 1)) == NULL) abort();
  memcpy(rest, data + 16 + length, left);
  length = LLVMFuzzerMutate(data + 16, length, most);
  memcpy(data + 8, &length, sizeof length);
  memcpy(data + 16 + length, rest, left);
  free(rest);
  return 16 + length + left;
}

#endif
