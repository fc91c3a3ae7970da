/* Work on the host's threads: the same bits as on the library's own, however the host runs the bodies. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "model.h"

#include <pthread.h>

enum { samples = 40, columns = 12 };
static float x[samples * columns];
static const int64_t x_shape[2] = {samples, columns};

typedef struct {
  size_t calls, bodies;
  int reversed, threaded;
} pool;

typedef struct {
  cet_body_fn body;
  void *data;
  size_t index;
} task;

static void *run_task(void *context) {
  task *t = context;
  t->body(t->index, t->data);
  return NULL;
}

static void parallel_for(size_t count, cet_body_fn body, void *body_data, void *user_data) {
  pool *p = user_data;
  size_t i;
  p->calls++;
  p->bodies += count;
  if (p->threaded) {
    pthread_t ids[8];
    task tasks[8];
    for (i = 0; i < count; i++) {
      tasks[i].body = body;
      tasks[i].data = body_data;
      tasks[i].index = i;
      CHECK(pthread_create(&ids[i], NULL, run_task, &tasks[i]) == 0);
    }
    for (i = 0; i < count; i++) CHECK(pthread_join(ids[i], NULL) == 0);
  } else {
    for (i = 0; i < count; i++) body(p->reversed ? count - 1 - i : i, body_data);
  }
}

static int32_t go_on(cet_phase phase, uint64_t done, uint64_t total, void *user_data) {
  CHECK(done <= total);
  ((uint64_t *)user_data)[phase]++;
  return 0;
}

/* The plan's text and the file's bytes, with the threads of `executor`. */
static char *planned(const cet_model *model, const cet_calibration *data, const cet_executor *executor, int heard,
                     void **bytes, size_t *size) {
  cet_plan_options p;
  cet_quantize_options q;
  cet_save_options s;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  uint64_t phases[10] = {0};
  char *json = NULL;
  CHECK_STATUS(CET_OK, cet_plan_options_init(&p, sizeof p));
  CHECK_STATUS(CET_OK, cet_quantize_options_init(&q, sizeof q));
  CHECK_STATUS(CET_OK, cet_save_options_init(&s, sizeof s));
  p.target_ratio = 8;
  p.threads = q.threads = 4;
  p.executor = q.executor = executor;
  p.batch_size = q.batch_size = 5;
  if (heard) p.progress = q.progress = s.progress = go_on;
  p.user_data = q.user_data = s.user_data = phases;
  CHECK_STATUS(CET_OK, cet_plan(model, data, &p, &plan));
  CHECK_STATUS(CET_OK, cet_plan_to_json(plan, &json));
  CHECK_STATUS(CET_OK, cet_quantize(model, data, plan, &q, &quantized));
  CHECK_STATUS(CET_OK, cet_quantized_save_memory(quantized, &s, bytes, size));
  if (heard) {
    CHECK(phases[CET_PHASE_PREPARE] && phases[CET_PHASE_STATISTICS] && phases[CET_PHASE_SENSITIVITY]);
    CHECK(phases[CET_PHASE_ALLOCATE] && phases[CET_PHASE_ROUNDING] && phases[CET_PHASE_MEASURE] && phases[CET_PHASE_WRITE]);
  }
  cet_quantized_free(quantized);
  cet_plan_free(plan);
  return json;
}

static void host_threads(const cet_model *model, const cet_calibration *data) {
  pool p = {0, 0, 0, 0};
  cet_executor executor;
  cet_curvature_options c;
  cet_curvature *curvature = NULL;
  static float v[272], expected[272], found[272];
  void *bytes = NULL, *others = NULL;
  size_t size = 0, other_size = 0;
  char *json = planned(model, data, NULL, 0, &bytes, &size);
  int way;
  CHECK_STATUS(CET_OK, cet_executor_init(&executor, sizeof executor));
  for (way = 0; way < 4; way++) {
    char *text;
    executor.parallel_for = parallel_for;
    executor.user_data = &p;
    p.calls = p.bodies = 0;
    p.reversed = way & 1;
    p.threaded = way >> 1;
    text = planned(model, data, &executor, way & 1, &others, &other_size);
    CHECK(p.calls > 0 && p.bodies > p.calls);
    CHECK(strcmp(json, text) == 0);
    CHECK(size == other_size && memcmp(bytes, others, size) == 0);
    cet_free(text);
    cet_free(others);
  }
  cet_free(json);
  cet_free(bytes);
  CHECK_STATUS(CET_OK, cet_curvature_options_init(&c, sizeof c));
  c.threads = 4;
  c.batch_size = 5;
  for (way = 0; way < 272; way++) v[way] = (float)way / 272;
  CHECK_STATUS(CET_OK, cet_curvature_create(model, data, &c, &curvature));
  CHECK_STATUS(CET_OK, cet_curvature_apply(curvature, v, expected, 272));
  cet_curvature_free(curvature);
  c.executor = &executor;
  CHECK_STATUS(CET_OK, cet_curvature_create(model, data, &c, &curvature));
  p.calls = 0;
  memset(&executor, 0, sizeof executor); /* only its function and user data are kept */
  CHECK_STATUS(CET_OK, cet_curvature_apply(curvature, v, found, 272));
  CHECK(p.calls > 0 && memcmp(expected, found, sizeof found) == 0);
  cet_curvature_free(curvature);
  executor.struct_size = sizeof executor;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "parallel_for is NULL", cet_curvature_create(model, data, &c, &curvature));
}

int main(void) {
  buffer bytes = {{0}, 0};
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32};
  cet_model *model = NULL;
  cet_calibration *data = NULL;
  uint32_t seed = 7;
  int i;
  for (i = 0; i < samples * columns; i++) x[i] = next_number(&seed);
  make_model(&bytes);
  CHECK_STATUS(CET_OK, cet_model_load_memory(bytes.bytes, bytes.size, &model));
  CHECK_STATUS(CET_OK, cet_calibration_create(&data));
  CHECK_STATUS(CET_OK, cet_calibration_add_batch(data, &in, 1, NULL));
  host_threads(model, data);
  cet_calibration_free(data);
  cet_model_free(model);
  CHECK(cet_live_handle_count() == 0);
  return check_result("executor");
}
