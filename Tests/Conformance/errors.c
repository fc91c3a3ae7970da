/* Errors as objects with details, arguments that are refused, the process's log. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "model.h"

#include <pthread.h>
#include <stdlib.h>

enum { samples = 40, columns = 12, classes = 5, weights = 12 * 16 + 16 * 5 };
static float x[samples * columns];
static const int64_t x_shape[2] = {samples, columns};

#define CHECK_TEXT(expected, found) CHECK((found) != NULL && strcmp(expected, found) == 0)

static void details_of_a_mismatch(const cet_model *model) {
  static const int64_t wrong[2] = {samples, columns - 1};
  cet_tensor in = {"x", x, sizeof(float) * samples * (columns - 1), wrong, 2, CET_FLOAT32};
  cet_outputs *outputs = NULL;
  cet_error *error;
  char message[256];
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_run(model, &in, 1, NULL, &outputs));
  error = cet_error_copy_last();
  CHECK(error != NULL);
  strncpy(message, cet_last_error_message(), sizeof message - 1);
  message[sizeof message - 1] = '\0';
  CHECK(cet_error_status(error) == CET_SHAPE_MISMATCH);
  CHECK_TEXT("x", cet_error_get(error, CET_ERROR_INPUT));
  CHECK_TEXT("[batch\303\22712]", cet_error_get(error, CET_ERROR_EXPECTED));
  CHECK_TEXT("[40\303\22711]", cet_error_get(error, CET_ERROR_GOT));
  CHECK(cet_error_get(error, CET_ERROR_NODE) == NULL && cet_error_get(error, 99) == NULL);
  CHECK(cet_error_bytes_needed(error) == 0);
  /* Looking at it leaves the thread's message alone, and later calls leave it. */
  CHECK_TEXT(message, cet_last_error_message());
  in.byte_size -= 4;
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_run(model, &in, 1, NULL, &outputs));
  CHECK(strcmp(message, cet_last_error_message()) != 0);
  CHECK_TEXT(message, cet_error_message(error));
  cet_error_free(error);
}

static void node_and_bytes(void) {
  static const char *const two[] = {"x", "w", NULL}, *const unknown[] = {"x", NULL};
  static const int64_t shape[] = {3, 2};
  buffer graph = {{0}, 0}, opset = {{0}, 0}, bytes = {{0}, 0};
  cet_model *model = NULL;
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32};
  cet_outputs *outputs = NULL;
  cet_error *error;
  put_node(&graph, "MatMul", "product", two, "h");
  put_node(&graph, "Relu", "relu", unknown, "unused");
  put_text(&graph, 2, "wrong");
  put_initializer(&graph, "w", shape, 2, 1, 1);
  put_value(&graph, 11, "x", columns);
  put_value(&graph, 12, "h", 2);
  put_number(&opset, 2, 17);
  put_number(&bytes, 1, 8);
  put_message(&bytes, 7, &graph);
  put_message(&bytes, 8, &opset);
  CHECK_STATUS(CET_OK, cet_model_load_memory(bytes.bytes, bytes.size, &model));
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_run(model, &in, 1, NULL, &outputs));
  error = cet_error_copy_last();
  CHECK_TEXT("product", cet_error_get(error, CET_ERROR_NODE));
  CHECK(strstr(cet_error_message(error), "node 'product' (MatMul): ") == cet_error_message(error));
  cet_error_free(error);
  cet_model_free(model);
}

static void bytes_needed(const cet_model *model, const cet_calibration *data) {
  cet_plan_options options;
  cet_bit_plan *plan = NULL;
  cet_error *error;
  char digits[32];
  CHECK_STATUS(CET_OK, cet_plan_options_init(&options, sizeof options));
  options.target_ratio = 8;
  options.max_memory = 1;
  CHECK_STATUS(CET_OUT_OF_MEMORY, cet_plan(model, data, &options, &plan));
  error = cet_error_copy_last();
  sprintf(digits, " %llu bytes", (unsigned long long)cet_error_bytes_needed(error));
  CHECK(cet_error_bytes_needed(error) > 1 && strstr(cet_error_message(error), digits) != NULL);
  /* With as much as that it is enough. */
  options.max_memory = cet_error_bytes_needed(error);
  options.threads = 1;
  CHECK_STATUS(CET_OK, cet_plan(model, data, &options, &plan));
  cet_error_free(error);
  cet_plan_free(plan);
}

static void *look(void *error) {
  CHECK(cet_error_status(error) == CET_INVALID_ARGUMENT);
  CHECK(strstr(cet_error_message(error), "NULL") != NULL);
  CHECK(strcmp(cet_last_error_message(), "") == 0 && cet_error_copy_last() == NULL);
  cet_error_free(error);
  return NULL;
}

static void error_objects(void) {
  cet_calibration *calibration = NULL;
  cet_error *error;
  pthread_t thread;
  CHECK(cet_error_status(NULL) == CET_OK && cet_error_bytes_needed(NULL) == 0 && cet_error_get(NULL, CET_ERROR_NODE) == NULL);
  CHECK_TEXT("", cet_error_message(NULL));
  cet_error_free(NULL);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_create(NULL));
  error = cet_error_copy_last();
  CHECK(error != NULL && cet_live_handle_count() >= 1);
  CHECK(pthread_create(&thread, NULL, look, error) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK_STATUS(CET_OK, cet_calibration_create(&calibration));
  CHECK(cet_error_copy_last() == NULL);
  cet_calibration_free(calibration);
}

static void limits(const cet_model *model, const cet_calibration *data) {
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32};
  cet_plan_options p;
  cet_quantize_options q;
  cet_run_options r;
  cet_curvature_options c;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_outputs *outputs = NULL;
  cet_curvature *curvature = NULL;
  CHECK_STATUS(CET_OK, cet_plan_options_init(&p, sizeof p));
  CHECK_STATUS(CET_OK, cet_quantize_options_init(&q, sizeof q));
  CHECK_STATUS(CET_OK, cet_run_options_init(&r, sizeof r));
  CHECK_STATUS(CET_OK, cet_curvature_options_init(&c, sizeof c));
  p.target_ratio = 8;
  p.method = CET_METHOD_UNIFORM;
  p.rounding = CET_ROUNDING_NEAREST;
  CHECK_STATUS(CET_OK, cet_plan(model, data, &p, &plan));
  r.threads = q.threads = c.threads = CET_MAX_THREADS + 1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "expected at most 1024, got 1025", cet_run(model, &in, 1, &r, &outputs));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "expected at most 1024, got 1025", cet_quantize(model, data, plan, &q, &quantized));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "expected at most 1024, got 1025", cet_curvature_create(model, data, &c, &curvature));
  r.threads = CET_MAX_THREADS;
  CHECK_STATUS(CET_OK, cet_run(model, &in, 1, &r, &outputs));
  cet_outputs_free(outputs);
  cet_plan_free(plan);
  p.threads = UINT32_MAX;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "threads", cet_plan(model, data, &p, &plan));
  p.threads = 0;
  p.samples = UINT64_MAX;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'samples' is too large", cet_plan(model, data, &p, &plan));
  p.samples = 0;
  p.max_memory = (uint64_t)INT64_MAX + 1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'max_memory' is too large", cet_plan(model, data, &p, &plan));
  p.max_memory = 0;
  p.target_ratio = 0;
  p.target_size = UINT64_MAX;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'target_size' is too large", cet_plan(model, data, &p, &plan));
}

static void overlaps(const cet_model *model, const cet_calibration *data) {
  static float memory[2 * weights];
  double numbers[16];
  cet_curvature *curvature = NULL;
  cet_estimate_options e;
  int i;
  CHECK_STATUS(CET_OK, cet_curvature_create(model, data, NULL, &curvature));
  CHECK(cet_curvature_dimension(curvature) == weights);
  for (i = 0; i < 2 * weights; i++) memory[i] = 1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'v' and 'hv' overlap", cet_curvature_apply(curvature, memory, memory, weights));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "overlap", cet_curvature_apply(curvature, memory, memory + weights - 1, weights));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "overlap", cet_curvature_apply(curvature, memory + weights - 1, memory, weights));
  CHECK(memory[0] == 1 && memory[weights - 1] == 1);
  CHECK_STATUS(CET_OK, cet_curvature_apply(curvature, memory, memory + weights, weights));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "overlap", cet_diagonal_estimate_curvature(curvature, NULL, memory, memory, weights));
  CHECK_STATUS(CET_OK, cet_estimate_options_init(&e, sizeof e));
  e.samples = e.steps = 2;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "overlap", cet_spectral_density_curvature(curvature, &e, numbers, numbers + 3, 4));
  CHECK_STATUS(CET_OK, cet_spectral_density_curvature(curvature, &e, numbers, numbers + 4, 4));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "overlap",
                cet_spectral_density_evaluate(numbers, numbers + 4, 2, 2, 0.1, numbers, numbers + 1, NULL, 2));
  cet_curvature_free(curvature);
}

static int lines, wrong_thread;
static pthread_t caller;

static void count_line(cet_log_level level, const char *message, void *user_data) {
  CHECK(level == CET_LOG_INFO || level == CET_LOG_WARNING);
  CHECK(message[0] != '\0' && user_data == &lines);
  if (!pthread_equal(caller, pthread_self())) wrong_thread++;
  lines++;
}

static void other_line(cet_log_level level, const char *message, void *user_data) {
  (void)level;
  (void)message;
  ++*(int *)user_data;
}

static void process_log(const cet_model *model, const cet_calibration *data) {
  cet_plan_options p;
  cet_bit_plan *plan = NULL;
  int own = 0, before;
  caller = pthread_self();
  CHECK_STATUS(CET_OK, cet_plan_options_init(&p, sizeof p));
  p.target_ratio = 8;
  cet_set_log(count_line, &lines);
  CHECK_STATUS(CET_OK, cet_plan(model, data, &p, &plan)); /* few samples: a warning */
  CHECK(lines > 0 && wrong_thread == 0);
  cet_plan_free(plan);
  before = lines;
  p.log = other_line;
  p.user_data = &own;
  CHECK_STATUS(CET_OK, cet_plan(model, data, &p, &plan));
  CHECK(own == before && lines == before);
  cet_plan_free(plan);
  cet_set_log(NULL, NULL);
  p.log = NULL;
  CHECK_STATUS(CET_OK, cet_plan(model, data, &p, &plan));
  CHECK(lines == before);
  cet_plan_free(plan);
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
  error_objects();
  details_of_a_mismatch(model);
  node_and_bytes();
  bytes_needed(model, data);
  limits(model, data);
  overlaps(model, data);
  process_log(model, data);
  cet_calibration_free(data);
  cet_model_free(model);
  CHECK(cet_live_handle_count() == 0);
  return check_result("errors");
}
