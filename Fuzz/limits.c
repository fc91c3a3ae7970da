/* Every fuzzer runs as if its addresses were limited to what it has and a gigabyte (ulimit -v): calls without an option for
   their memory take theirs from that. A true limit leaves no room for AddressSanitizer's shadow. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int started;

__attribute__((constructor)) static void start(void) { started = 1; }

/* In the place of the C library's; the sanitizer's run time calls it before anything else runs. */
__attribute__((no_sanitize("address", "coverage"))) int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) {
  unsigned long pages = 0;
  FILE *file;
  if (syscall(SYS_prlimit64, 0, resource, NULL, limit) != 0) return -1;
  if (resource != RLIMIT_AS || !started || (file = fopen("/proc/self/statm", "r")) == NULL) return 0;
  if (fscanf(file, "%lu", &pages) == 1) limit->rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + (1ul << 30);
  fclose(file);
  return 0;
}
