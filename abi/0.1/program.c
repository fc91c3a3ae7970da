/*
 * A program of 0.1: compiled with the header beside it and run with the newest library of this interface, it must go on
 * working as it stands here. What a later header adds is not in it; it is changed only when the baseline of 0.1 is.
 * arguments: the folder of fixtures, a folder to write to
 */
#include <cet/cet.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                            \
  do {                                                                                              \
    if (!(condition)) {                                                                             \
      printf("%s:%d: %s   [\"%s\"]\n", __FILE__, __LINE__, #condition, cet_last_error_message());   \
      exit(1);                                                                                      \
    }                                                                                               \
  } while (0)

enum { N = 40 };

static int32_t diagonal(const float *v, float *result, size_t n, void *user_data) {
  size_t i;
  for (i = 0; i < n; i++) result[i] = (float)(i + 1) * v[i];
  ++*(int *)user_data;
  return 0;
}

static int32_t count_progress(cet_phase phase, uint64_t done, uint64_t total, void *user_data) {
  CHECK(phase >= CET_PHASE_PREPARE && done <= total);
  ++*(int *)user_data;
  return 0;
}

static int32_t stop(cet_phase phase, uint64_t done, uint64_t total, void *user_data) {
  (void)phase, (void)done, (void)total, (void)user_data;
  return 1;
}

static void eigenpairs(void) {
  cet_eigensolve_options options;
  cet_spectrum_info info;
  cet_spectrum *spectrum = NULL;
  double values[2], trace = 0, deviation = -1;
  float vector[N];
  int applies = 0;
  CHECK(cet_eigensolve_options_init(&options, sizeof options) == CET_OK);
  options.count = 2;
  options.which = CET_WHICH_LARGEST;
  CHECK(cet_eigensolve(diagonal, &applies, N, &options, &spectrum) == CET_OK);
  CHECK(cet_spectrum_info_init(&info, sizeof info) == CET_OK && cet_spectrum_get_info(spectrum, &info) == CET_OK);
  CHECK(info.count == 2 && info.dimension == N && info.applies == (uint64_t)applies && info.converged_count == 2);
  CHECK(cet_spectrum_get_values(spectrum, values, 2) == CET_OK);
  CHECK(fabs(values[0] - N) < 1e-3 && fabs(values[1] - (N - 1)) < 1e-3);
  CHECK(cet_spectrum_get_vector(spectrum, 0, vector, N) == CET_OK && fabs(fabs((double)vector[N - 1]) - 1) < 1e-3);
  CHECK(cet_spectrum_get_vector(spectrum, 0, vector, N - 1) == CET_SHAPE_MISMATCH);
  CHECK(cet_trace_estimate(diagonal, &applies, N, NULL, &trace, &deviation) == CET_OK);
  CHECK(fabs(trace - N * (N + 1) / 2) < 1e-2 && deviation >= 0);
  cet_spectrum_free(spectrum);
}

/* Two outputs of the model for the first sample of the data, which must be the same numbers. */
static double difference(const cet_model *model, const cet_model *other, const cet_calibration *data) {
  cet_tensor first, second;
  cet_outputs *outputs = NULL, *others = NULL;
  cet_run_options options;
  uint64_t count = 0, i;
  double sum = 0;
  CHECK(cet_run_options_init(&options, sizeof options) == CET_OK);
  options.batch_size = 1;
  CHECK(cet_run_samples(model, data, 0, 0, &options, &count, &outputs) == CET_OK && count == 1);
  CHECK(cet_run_samples(other, data, 0, 0, &options, &count, &others) == CET_OK && count == 1);
  CHECK(cet_outputs_get(outputs, 0, &first) == CET_OK && cet_outputs_get(others, 0, &second) == CET_OK);
  CHECK(first.element_type == CET_FLOAT32 && first.byte_size == second.byte_size && first.rank == second.rank);
  for (i = 0; i < first.byte_size / sizeof(float); i++)
    sum += fabs((double)((const float *)first.data)[i] - (double)((const float *)second.data)[i]);
  cet_outputs_free(outputs);
  cet_outputs_free(others);
  return sum;
}

static void compress(const char *fixtures, const char *folder) {
  char path[1024];
  cet_model *model = NULL, *written = NULL;
  cet_calibration *data = NULL;
  cet_bit_plan *plan = NULL, *read = NULL;
  cet_quantized *small = NULL;
  cet_curvature *curvature = NULL;
  cet_plan_options options;
  cet_quantize_options quantize;
  cet_save_options save;
  cet_curvature_options of_curvature;
  cet_plan_summary summary;
  cet_plan_tensor tensor;
  cet_initializer_view view;
  cet_parameter_info parameter;
  char *json = NULL;
  void *bytes = NULL;
  float *v, *hv;
  size_t size = 0, n, i;
  int calls = 0;
  double loss = NAN;

  snprintf(path, sizeof path, "%s/digits_cnn/model.onnx", fixtures);
  CHECK(cet_model_load_file(path, &model) == CET_OK);
  snprintf(path, sizeof path, "%s/digits_cnn/calibration.npz", fixtures);
  CHECK(cet_calibration_load_npz(path, &data) == CET_OK && cet_calibration_sample_count(data) > 64);
  CHECK(cet_parameter_info_init(&parameter, sizeof parameter) == CET_OK);
  CHECK(cet_model_get_parameter(model, 0, &parameter) == CET_OK && parameter.offset == 0 && parameter.count > 0);

  CHECK(cet_plan_options_init(&options, sizeof options) == CET_OK);
  CHECK(cet_plan(model, data, &options, &plan) == CET_INVALID_ARGUMENT && plan == NULL);
  options.target_ratio = 8;
  options.samples = 64;
  options.seed = 3;
  options.coding = CET_CODING_AFFINE;
  options.progress = stop;
  CHECK(cet_plan(model, data, &options, &plan) == CET_CANCELLED && plan == NULL);
  options.progress = count_progress;
  options.user_data = &calls;
  CHECK(cet_plan(model, data, &options, &plan) == CET_OK && calls > 0);
  CHECK(cet_plan_to_json(plan, &json) == CET_OK && cet_plan_from_json(json, &read) == CET_OK);
  cet_free(json);
  CHECK(cet_plan_summary_init(&summary, sizeof summary) == CET_OK && cet_plan_get_summary(read, &summary) == CET_OK);
  CHECK(summary.ratio >= 8 && summary.samples == 64 && summary.seed == 3 && strlen(summary.model_sha256) == 64);
  CHECK(cet_plan_tensor_init(&tensor, sizeof tensor) == CET_OK);
  CHECK(cet_plan_get_tensor(read, 0, &tensor) == CET_OK && tensor.coding != CET_CODING_TRELLIS);

  CHECK(cet_quantize_options_init(&quantize, sizeof quantize) == CET_OK);
  CHECK(cet_quantize(model, data, read, &quantize, &small) == CET_OK);
  CHECK(cet_initializer_view_init(&view, sizeof view) == CET_OK);
  CHECK(cet_quantized_get_initializer(small, 0, &view) == CET_OK && view.codes != NULL && view.zero_point != NULL);
  CHECK(view.code_bytes == (view.parameter_count * (uint64_t)view.bits + 7) / 8 && view.coding == CET_CODING_AFFINE);
  CHECK(cet_save_options_init(&save, sizeof save) == CET_OK);
  CHECK(cet_quantized_save_memory(small, &save, &bytes, &size) == CET_OK);
  snprintf(path, sizeof path, "%s/old-program.onnx", folder);
  CHECK(cet_quantized_save_file(small, path, &save) == CET_OK && cet_model_load_file(path, &written) == CET_OK);
  cet_model_free(written);
  CHECK(cet_model_load_memory(bytes, size, &written) == CET_OK);
  CHECK(difference(model, model, data) == 0 && difference(model, written, data) > 0);
  cet_free(bytes);

  CHECK(cet_curvature_options_init(&of_curvature, sizeof of_curvature) == CET_OK);
  of_curvature.samples = 32;
  CHECK(cet_curvature_create(model, data, &of_curvature, &curvature) == CET_OK);
  n = cet_curvature_dimension(curvature);
  v = malloc(n * sizeof *v);
  hv = malloc(n * sizeof *hv);
  CHECK(v != NULL && hv != NULL);
  for (i = 0; i < n; i++) v[i] = i % 2 ? 1.0f : -1.0f;
  CHECK(cet_curvature_apply(curvature, v, hv, n) == CET_OK && cet_curvature_loss(curvature, &loss) == CET_OK);
  CHECK(isfinite(loss) && isfinite(hv[n / 2]));
  free(v);
  free(hv);

  cet_curvature_free(curvature);
  cet_quantized_free(small);
  cet_plan_free(read);
  cet_plan_free(plan);
  cet_calibration_free(data);
  cet_model_free(written);
  cet_model_free(model);
}

int main(int argc, char **argv) {
  cet_model *model = NULL;
  if (argc < 3) return 2;
  CHECK(CET_VERSION_MAJOR == 0 && CET_VERSION_MINOR == 1 && cet_version_number() / 100 == CET_VERSION_NUMBER / 100);
  CHECK(cet_model_load_file("/nonexistent.onnx", &model) == CET_IO && strchr(cet_last_error_message(), '\n') == NULL);
  eigenpairs();
  compress(argv[1], argv[2]);
  printf("program of 0.1 with %s: ok\n", cet_version_string());
  return 0;
}
