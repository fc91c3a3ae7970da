#define _GNU_SOURCE
#include "ck_processors.h"
#include "ck_internal.h"
#include <execinfo.h>
#include <sched.h>

size_t ck_processor_count(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? (size_t)count : 1;
}

const char *ck_instruction_set(void) {
#if defined(__x86_64__) && !defined(CK_NO_CLONES)
  if (__builtin_cpu_supports("avx512f")) return "avx512f";
  if (__builtin_cpu_supports("avx2")) return "avx2";
#endif
  return "default";
}

const char *ck_compiler(void) { return __VERSION__; }

void ck_find_unwinder(void) {
  void *frame[1];
  backtrace(frame, 1);
}
