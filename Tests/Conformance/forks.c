/* Processes forked from one that has the library loaded, before it has used it and after: in each, two threads make their first
   calls at the same moment, and all get the same bytes as every other. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "model.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { children = 40, samples = 48, columns = 12, deadline = 60 };
static float x[samples * columns];
static const int64_t x_shape[2] = {samples, columns};
static buffer bytes;
static pthread_barrier_t barrier;

/* The file of the model at an eighth of its size. */
typedef struct {
  void *file;
  size_t size;
  cet_status status;
} result;

static void *compress(void *argument) {
  result *out = argument;
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32};
  cet_model *model = NULL;
  cet_calibration *data = NULL;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_plan_options options;
  cet_status status;
  pthread_barrier_wait(&barrier);
  status = cet_plan_options_init(&options, sizeof options);
  options.target_ratio = 8, options.threads = 2;
  if (status == CET_OK) status = cet_model_load_memory(bytes.bytes, bytes.size, &model);
  if (status == CET_OK) status = cet_calibration_create(&data);
  if (status == CET_OK) status = cet_calibration_add_batch(data, &in, 1, NULL);
  if (status == CET_OK) status = cet_plan(model, data, &options, &plan);
  if (status == CET_OK) status = cet_quantize(model, data, plan, NULL, &quantized);
  if (status == CET_OK) status = cet_quantized_save_memory(quantized, NULL, &out->file, &out->size);
  out->status = status;
  cet_quantized_free(quantized), cet_plan_free(plan), cet_calibration_free(data), cet_model_free(model);
  return NULL;
}

static int compress_twice(result *first) {
  result second = {NULL, 0, CET_INTERNAL};
  pthread_t thread;
  int same;
  pthread_barrier_init(&barrier, NULL, 2);
  if (pthread_create(&thread, NULL, compress, &second) != 0) return 0;
  compress(first);
  pthread_join(thread, NULL);
  same = first->status == CET_OK && second.status == CET_OK && first->size == second.size &&
         memcmp(first->file, second.file, first->size) == 0;
  cet_free(second.file);
  return same;
}

/* Forks the processes, two at a time, and waits for them. */
static void fork_all(const char *name, const result *expected) {
  pid_t pids[children];
  int i, status;
  for (i = 0; i < children; i++) {
    fflush(stdout);
    pids[i] = fork();
    if (pids[i] == 0) {
      result file = {NULL, 0, CET_INTERNAL};
      int same;
      alarm(deadline);
      same = compress_twice(&file);
      if (same && expected != NULL) same = file.size == expected->size && memcmp(file.file, expected->file, file.size) == 0;
      exit(same ? 0 : 1);
    }
    if (i % 2 == 1) {
      int j;
      for (j = i - 1; j <= i; j++) {
        status = -1;
        CHECK(waitpid(pids[j], &status, 0) == pids[j]);
        if (status != 0) printf("%s, process %d: status %d, signal %d\n", name, j, WEXITSTATUS(status), WTERMSIG(status));
        CHECK(status == 0);
      }
    }
  }
}

int main(void) {
  result file = {NULL, 0, CET_INTERNAL};
  uint32_t state = 3;
  size_t i;
  make_model(&bytes);
  for (i = 0; i < sizeof x / sizeof *x; i++) x[i] = next_number(&state);
  fork_all("before any use", NULL);
  CHECK(compress_twice(&file));
  fork_all("after use", &file);
  cet_free(file.file);
  return check_result("forks");
}
