/* Eight threads at once, on one model and one set of samples and on ones of their own: all get the same bytes. */
#include "check.h"
#include "model.h"

#include <pthread.h>
#include <stdlib.h>

enum { threads = 8, rounds = 2, samples = 48, columns = 12 };
static float x[samples * columns];
static const int64_t x_shape[2] = {samples, columns};
static buffer bytes;
static cet_model *shared_model;
static cet_calibration *shared_data;

typedef struct {
  int own; /* handles of its own */
  int failures;
  void *file;
  size_t size;
} job;

static int load(cet_model **model, cet_calibration **data) {
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32};
  return cet_model_load_memory(bytes.bytes, bytes.size, model) != CET_OK || cet_calibration_create(data) != CET_OK ||
         cet_calibration_add_batch(*data, &in, 1, NULL) != CET_OK;
}

/* Everything that reads a model and samples. */
static int compress(const cet_model *model, const cet_calibration *data, void **file, size_t *size) {
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32};
  cet_plan_options options;
  cet_curvature_options curvature_options;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_outputs *outputs = NULL;
  cet_curvature *curvature = NULL;
  char *json = NULL;
  int failures = 0;
  size_t i, n;
  float *v, *hv;
  cet_plan_options_init(&options, sizeof options);
  options.target_bits = 4, options.threads = 2;
  cet_curvature_options_init(&curvature_options, sizeof curvature_options);
  curvature_options.threads = 2;
  failures += cet_model_inspect_json(model, &json) != CET_OK;
  failures += cet_run(model, &in, 1, NULL, &outputs) != CET_OK;
  failures += cet_plan(model, data, &options, &plan) != CET_OK;
  failures += cet_quantize(model, data, plan, NULL, &quantized) != CET_OK;
  failures += cet_quantized_save_memory(quantized, NULL, file, size) != CET_OK;
  failures += cet_curvature_create(model, data, &curvature_options, &curvature) != CET_OK;
  n = cet_curvature_dimension(curvature);
  v = calloc(n + 1, sizeof *v), hv = calloc(n + 1, sizeof *hv);
  for (i = 0; i < n; i++) v[i] = (float)(i % 7);
  failures += cet_curvature_apply(curvature, v, hv, n) != CET_OK;
  free(v), free(hv);
  cet_curvature_free(curvature);
  cet_free(json);
  cet_outputs_free(outputs);
  cet_quantized_free(quantized);
  cet_plan_free(plan);
  return failures;
}

static void *work(void *context) {
  job *own = context;
  int round;
  for (round = 0; round < rounds; round++) {
    cet_model *model = NULL;
    cet_calibration *data = NULL;
    void *file = NULL;
    size_t size = 0;
    if (own->own) own->failures += load(&model, &data);
    own->failures += compress(own->own ? model : shared_model, own->own ? data : shared_data, &file, &size);
    own->failures += round > 0 && (size != own->size || memcmp(file, own->file, size) != 0);
    cet_free(own->file);
    own->file = file, own->size = size;
    cet_calibration_free(data);
    cet_model_free(model);
  }
  return NULL;
}

int main(void) {
  pthread_t ids[threads];
  job jobs[threads];
  uint32_t state = 11;
  size_t i;
  for (i = 0; i < samples * columns; i++) x[i] = next_number(&state);
  make_model(&bytes);
  CHECK(load(&shared_model, &shared_data) == 0);
  memset(jobs, 0, sizeof jobs);
  for (i = 0; i < threads; i++) {
    jobs[i].own = i % 2 == 1;
    CHECK(pthread_create(&ids[i], NULL, work, &jobs[i]) == 0);
  }
  for (i = 0; i < threads; i++) CHECK(pthread_join(ids[i], NULL) == 0);
  for (i = 0; i < threads; i++) {
    CHECK(jobs[i].failures == 0);
    CHECK(jobs[i].file != NULL && jobs[i].size == jobs[0].size && memcmp(jobs[i].file, jobs[0].file, jobs[0].size) == 0);
  }
  for (i = 0; i < threads; i++) cet_free(jobs[i].file);
  cet_calibration_free(shared_data);
  cet_model_free(shared_model);
  CHECK(cet_live_handle_count() == 0);
  return check_result("threads");
}
