/* A limit on the process's addresses (RLIMIT_AS), from next to nothing to plenty: every call ends with a status, and the
   process ends as it wants to. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "model.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { samples = 64, columns = 12, classes = 5, deadline = 120 };
static float x[samples * columns];
static const int64_t x_shape[2] = {samples, columns};

static rlim_t addresses(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%lu", &pages) != 1) pages = 0;
  if (file != NULL) fclose(file);
  return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* The whole path; the first status that is not CET_OK. */
static cet_status run(const buffer *bytes) {
  cet_model *model = NULL;
  cet_calibration *data = NULL;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_plan_options options;
  cet_tensor tensor;
  char *json = NULL;
  void *file = NULL;
  size_t size = 0;
  cet_status status = cet_plan_options_init(&options, sizeof options);
  options.target_ratio = 8, options.threads = 2;
  if (status == CET_OK) status = cet_model_load_memory(bytes->bytes, bytes->size, &model);
  if (status == CET_OK) status = cet_model_inspect_json(model, &json);
  if (status == CET_OK) status = cet_calibration_create(&data);
  memset(&tensor, 0, sizeof tensor);
  tensor.name = "x", tensor.data = x, tensor.byte_size = sizeof x, tensor.shape = x_shape, tensor.rank = 2;
  tensor.element_type = CET_FLOAT32;
  if (status == CET_OK) status = cet_calibration_add_batch(data, &tensor, 1, NULL);
  if (status == CET_OK) status = cet_plan(model, data, &options, &plan);
  if (status == CET_OK) status = cet_quantize(model, data, plan, NULL, &quantized);
  if (status == CET_OK) status = cet_quantized_save_memory(quantized, NULL, &file, &size);
  if (status != CET_OK && cet_last_error_message()[0] == '\0') status = CET_INTERNAL;
  cet_free(json), cet_free(file);
  cet_quantized_free(quantized), cet_plan_free(plan), cet_calibration_free(data), cet_model_free(model);
  return status;
}

/* The status of a process that has so many MB more; positive: how it ended otherwise. */
static int limited(const buffer *bytes, int megabytes) {
  int result = 0;
  pid_t child;
  fflush(stdout);
  child = fork();
  if (child == 0) {
    struct rlimit limit;
    limit.rlim_cur = limit.rlim_max = addresses() + ((rlim_t)megabytes << 20);
    alarm(deadline);
    exit(setrlimit(RLIMIT_AS, &limit) == 0 ? -run(bytes) : 100);
  }
  if (waitpid(child, &result, 0) != child) return 1000;
  return WIFEXITED(result) ? -WEXITSTATUS(result) : WTERMSIG(result);
}

int main(void) {
  static buffer bytes;
  uint32_t state = 3;
  int megabytes, status = 0;
  size_t i;
  make_model(&bytes);
  for (i = 0; i < sizeof x / sizeof *x; i++) x[i] = next_number(&state);
  for (megabytes = 1; megabytes <= 901; megabytes += megabytes < 60 ? 4 : 60) {
    status = limited(&bytes, megabytes);
    if (status != CET_OK && status != CET_OUT_OF_MEMORY) printf("with %d MB: %d\n", megabytes, status);
    CHECK(status == CET_OK || status == CET_OUT_OF_MEMORY);
    if (megabytes == 1) CHECK(status == CET_OUT_OF_MEMORY);
  }
  CHECK(status == CET_OK);
  return check_result("addresses");
}
