/* A process with a limit on its addresses ends.
   OpenBLAS starts threads when it is loaded, each of which first takes a buffer of 128 MB of addresses and tries for ever where the limit
   leaves none. Its destructor waits for these threads, so that exit never returns, in any program that is linked with it. Where there
   is a limit, it is told before that there are none: they end with the process. Destructors of a library run before those of the
   libraries that it needs; this one is never unloaded before (NODELETE). A build without threads, or a copy that hides the variable,
   has nothing to tell. */
#include <sys/resource.h>

extern int blas_server_avail __attribute__((weak));

__attribute__((destructor)) static void leave_threads(void) {
  struct rlimit limit;
  if (&blas_server_avail != 0 && getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) blas_server_avail = 0;
}
