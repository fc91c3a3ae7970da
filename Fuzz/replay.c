/* Gives files to a fuzzer's calls, without libFuzzer: linked with one of the fuzzers (Tests/python/test_fuzz_findings.py).
   arguments: the files. Prints each name before it starts and the milliseconds after it. */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *count, char ***arguments);

/* Of libFuzzer; only mutators call it. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) {
  (void)data, (void)max_size;
  return size;
}

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

int main(int count, char **arguments) {
  int i;
  if (LLVMFuzzerInitialize != NULL) LLVMFuzzerInitialize(&count, &arguments);
  for (i = 1; i < count; i++) {
    FILE *file = fopen(arguments[i], "rb");
    uint8_t *data;
    size_t size;
    double started;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) return 2;
    size = (size_t)ftell(file);
    rewind(file);
    data = malloc(size + 1);
    if (data == NULL || fread(data, 1, size, file) != size) return 2;
    fclose(file);
    printf("%s", arguments[i]);
    fflush(stdout);
    started = milliseconds();
    LLVMFuzzerTestOneInput(data, size);
    printf(" %.0f\n", milliseconds() - started);
    fflush(stdout);
    free(data);
  }
  puts("done");
  return 0;
}
