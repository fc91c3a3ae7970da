/* Sessions: batches by callback, many budgets, threads that share one, files. argv[2]: a folder for files. */
#include "check.h"
#include "model.h"

#include <pthread.h>
#include <stdlib.h>

enum { samples = 64, columns = 12, step = 16, budgets = 4 };
static float x[samples * columns];

typedef struct {
  int64_t shape[2];
  cet_tensor tensor;
  int first, fail_at;
} source;

static int32_t next(cet_batch *batch, void *user_data) {
  source *s = user_data;
  CHECK(batch->inputs == NULL && batch->input_count == 0 && batch->labels == NULL);
  if (s->first == s->fail_at) return -7;
  if (s->first == samples) return 0;
  s->shape[0] = step, s->shape[1] = columns;
  s->tensor.name = "x", s->tensor.data = x + s->first * columns, s->tensor.byte_size = step * columns * sizeof(float);
  s->tensor.shape = s->shape, s->tensor.rank = 2, s->tensor.element_type = CET_FLOAT32;
  s->first += step;
  batch->inputs = &s->tensor, batch->input_count = 1;
  return 1;
}

static cet_bit_plan *plan_of(cet_session *session, double ratio) {
  cet_plan_options o;
  cet_bit_plan *plan = NULL;
  CHECK_STATUS(CET_OK, cet_plan_options_init(&o, sizeof o));
  o.target_ratio = ratio;
  CHECK_STATUS(CET_OK, cet_session_plan(session, &o, &plan));
  return plan;
}

/* The codes' bytes, added up, and the weights: two runs that agree in both have the same codes. */
static double quantized_sum(cet_session *session, double ratio) {
  cet_bit_plan *plan = plan_of(session, ratio);
  cet_quantized *quantized = NULL;
  cet_initializer_view view;
  double sum = 0;
  size_t i;
  uint64_t k;
  CHECK_STATUS(CET_OK, cet_session_quantize(session, plan, NULL, &quantized));
  CHECK(cet_quantized_initializer_count(quantized) == 2);
  for (i = 0; i < cet_quantized_initializer_count(quantized); i++) {
    float *weights;
    CHECK_STATUS(CET_OK, cet_initializer_view_init(&view, sizeof view));
    CHECK_STATUS(CET_OK, cet_quantized_get_initializer(quantized, i, &view));
    weights = malloc(view.parameter_count * sizeof *weights);
    CHECK_STATUS(CET_OK, cet_quantized_dequantize(quantized, i, weights, view.parameter_count));
    for (k = 0; k < view.parameter_count; k++) sum += weights[k] * (double)(k % 17 + 1);
    for (k = 0; k < view.code_bytes; k++) sum += view.codes[k] * (double)(k % 13 + 1);
    free(weights);
  }
  cet_quantized_free(quantized);
  cet_plan_free(plan);
  return sum;
}

static const double ratios[budgets] = {4, 5, 6.4, 8};

typedef struct {
  cet_session *session;
  int number;
  double sum;
} worker;

static void *work(void *argument) {
  worker *w = argument;
  w->sum = quantized_sum(w->session, ratios[w->number % budgets]);
  return NULL;
}

static void threads(const cet_model *model, const cet_calibration *data) {
  cet_session *session = NULL;
  pthread_t thread[2 * budgets];
  worker w[2 * budgets];
  int i;
  CHECK_STATUS(CET_OK, cet_session_create(model, data, NULL, &session));
  for (i = 0; i < 2 * budgets; i++) {
    w[i].session = session, w[i].number = i, w[i].sum = 0;
    CHECK(pthread_create(&thread[i], NULL, work, &w[i]) == 0);
  }
  for (i = 0; i < 2 * budgets; i++) CHECK(pthread_join(thread[i], NULL) == 0);
  for (i = 0; i < budgets; i++) CHECK(w[i].sum == w[i + budgets].sum && w[i].sum != 0);
  cet_session_free(session);
}

static void files(const cet_model *model, const cet_model *other, cet_session *session, const char *folder) {
  char path[4096];
  cet_session *loaded = NULL;
  snprintf(path, sizeof path, "%s/session", folder);
  CHECK_STATUS(CET_OK, cet_session_save(session, path));
  CHECK_STATUS(CET_OK, cet_session_load(model, path, &loaded));
  CHECK(cet_session_sample_count(loaded) == samples);
  CHECK(quantized_sum(loaded, 6.4) == quantized_sum(session, 6.4));
  cet_session_free(loaded);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "SHA-256", cet_session_load(other, path, &loaded));
  CHECK(loaded == NULL);
  CHECK_STATUS(CET_IO, cet_session_load(model, "/nonexistent", &loaded));
  CHECK_STATUS(CET_IO, cet_session_save(session, "/nonexistent/folder/session"));
}

int main(int argc, char **argv) {
  cet_model *model = NULL, *other = NULL;
  cet_calibration *data = NULL;
  cet_session *session = NULL, *none = NULL;
  cet_bit_plan *plan = NULL;
  cet_plan_options o;
  source all = {{0, 0}, {0}, 0, -1}, failing = {{0, 0}, {0}, 0, 2 * step};
  uint64_t before = cet_live_handle_count();
  static const unsigned char producer[] = {0x12, 1, 'z'};
  buffer bytes = {{0}, 0};
  int i;
  CHECK(argc == 3);
  srand(1);
  for (i = 0; i < samples * columns; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
  make_model(&bytes);
  CHECK_STATUS(CET_OK, cet_model_load_memory(bytes.bytes, bytes.size, &model));
  /* The same with a producer's name: another file. */
  memcpy(bytes.bytes + bytes.size, producer, sizeof producer);
  CHECK_STATUS(CET_OK, cet_model_load_memory(bytes.bytes, bytes.size + sizeof producer, &other));

  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_session_create(NULL, NULL, NULL, &none));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_session_create(model, NULL, NULL, NULL));
  CHECK_STATUS(CET_OK, cet_plan_options_init(&o, sizeof o));
  o.target_ratio = 8, o.target_bits = 4;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "exactly one", cet_session_create(model, NULL, &o, &none));

  CHECK_STATUS(CET_OK, cet_session_create(model, NULL, NULL, &session));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_session_pull_batches(session, NULL, NULL));
  CHECK_MESSAGE(CET_CANCELLED, "-7", cet_session_pull_batches(session, next, &failing));
  CHECK(cet_session_sample_count(session) == 2 * step);
  cet_session_free(session);
  CHECK_STATUS(CET_OK, cet_session_create(model, NULL, NULL, &session));
  o.target_bits = 0;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "no samples", cet_session_plan(session, &o, &plan));
  CHECK_STATUS(CET_OK, cet_session_pull_batches(session, next, &all));
  CHECK_STATUS(CET_OK, cet_session_prepare(session, NULL, NULL, NULL));
  all.first = 0;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "no batch can be added", cet_session_pull_batches(session, next, &all));
  o.target_ratio = 0;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "exactly one", cet_session_plan(session, &o, &plan));
  o.target_ratio = 1000;
  CHECK_STATUS(CET_INFEASIBLE_BUDGET, cet_session_plan(session, &o, &plan));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_session_quantize(session, NULL, NULL, NULL));
  for (i = 0; i < budgets; i++) CHECK(quantized_sum(session, ratios[i]) != 0);

  /* Batches of a calibration and those that were pulled are the same samples. */
  CHECK_STATUS(CET_OK, cet_calibration_create(&data));
  all.first = 0;
  for (i = 0; i < samples / step; i++) {
    cet_batch batch = {NULL, 0, NULL};
    CHECK(next(&batch, &all) == 1);
    CHECK_STATUS(CET_OK, cet_calibration_add_batch(data, batch.inputs, batch.input_count, batch.labels));
  }
  threads(model, data);
  files(model, other, session, argv[2]);
  cet_session_free(NULL);
  cet_session_free(session);
  cet_calibration_free(data);
  cet_model_free(other);
  cet_model_free(model);
  CHECK(cet_live_handle_count() == before);
  return check_result("session");
}
