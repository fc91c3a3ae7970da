/* A folder in memory with one file, which holds the fuzzer's input. */
#ifndef FUZZ_FOLDER_H
#define FUZZ_FOLDER_H

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* mkdtemp */
#endif
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char fuzz_folder[] = "/dev/shm/cet-fuzz-XXXXXX";
static char fuzz_path[64];

static void fuzz_clean(void) {
  unlink(fuzz_path);
  rmdir(fuzz_folder);
}

static inline void fuzz_make_folder(const char *name) {
  if (mkdtemp(fuzz_folder) == NULL) abort();
  snprintf(fuzz_path, sizeof fuzz_path, "%s/%s", fuzz_folder, name);
  atexit(fuzz_clean);
}

static inline void fuzz_write(const uint8_t *data, size_t size) {
  int file = open(fuzz_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || write(file, data, size) != (ssize_t)size) abort();
  close(file);
}

#endif
