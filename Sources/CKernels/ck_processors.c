#define _GNU_SOURCE
#include "ck_processors.h"
#include <execinfo.h>
#include <sched.h>

size_t ck_processor_count(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? (size_t)count : 1;
}

void ck_find_unwinder(void) {
  void *frame[1];
  backtrace(frame, 1);
}
