/* A forked process keeps the Swift runtime usable.
   Where two threads reach a lazily made value at once, the runtime's swift_once lets one wait for the other with a priority-inheriting
   futex, which holds the number of the thread that has it (futex(2), FUTEX_LOCK_PI). The runtime remembers each thread's number
   in a variable of the thread, 0 before the first use. fork copies the variable to a thread with another number: the kernel then
   refuses the lock and its release with EPERM, and both threads try for ever. So the variable is forgotten in every forked process.
   Its name is that of `ulock_get_tid` in the runtime's sources (include/swift/Threading/Impl/Linux/ulock.h). This definition
   takes the place of the static runtime's weak one, so it exists even where a runtime has none; Tests/Conformance/forks.c
   shows that it is the one in use. */
#include <pthread.h>
#include <stdint.h>

__attribute__((visibility("hidden"))) _Thread_local uint32_t cet_runtime_thread_number __asm__(
    "_ZZN5swift14threading_impl5linux13ulock_get_tidEvE3tid");

static void forget_thread_number(void) { cet_runtime_thread_number = 0; }

/* Registered for this library, so that the registration ends with it. Without memory for it the runtime's behaviour is left. */
__attribute__((constructor)) static void register_for_forks(void) { (void)pthread_atfork(NULL, NULL, forget_thread_number); }
