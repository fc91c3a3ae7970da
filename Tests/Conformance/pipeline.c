/* The whole path in memory: load, run, plan, quantize, read codes, save, load again; curvature; re-planning. */
#include "check.h"
#include "model.h"

#include <math.h>
#include <stdlib.h>

enum { samples = 64, columns = 12, classes = 5 };
static float x[samples * columns];
static int32_t labels[samples];
static const int64_t x_shape[2] = {samples, columns}, label_shape[1] = {samples};

typedef struct {
  int calls, stop_at, logs;
  cet_phase latest;
  uint64_t done;
} watch;

static int32_t progress(cet_phase phase, uint64_t done, uint64_t total, void *user_data) {
  watch *w = user_data;
  CHECK(phase >= CET_PHASE_PREPARE && phase <= CET_PHASE_WRITE && done <= total);
  if (phase == w->latest) CHECK(done >= w->done);
  w->latest = phase;
  w->done = done;
  w->calls++;
  return w->stop_at != 0 && w->calls >= w->stop_at;
}

static void log_line(cet_log_level level, const char *message, void *user_data) {
  CHECK(level == CET_LOG_INFO || level == CET_LOG_WARNING);
  CHECK(message != NULL && strchr(message, '\n') == NULL);
  ((watch *)user_data)->logs++;
}

static cet_tensor input(void) {
  cet_tensor result = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32};
  return result;
}

static cet_model *load(const void *data, size_t size) {
  cet_model *model = NULL;
  CHECK_STATUS(CET_OK, cet_model_load_memory(data, size, &model));
  return model;
}

static void run(const cet_model *model, float *logits) {
  cet_tensor in = input(), out;
  cet_outputs *outputs = NULL;
  size_t index = 9;
  CHECK_STATUS(CET_OK, cet_run(model, &in, 1, NULL, &outputs));
  CHECK(cet_outputs_count(outputs) == 1);
  CHECK_STATUS(CET_OK, cet_outputs_find(outputs, "logits", &index));
  CHECK(index == 0);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_outputs_find(outputs, "x", &index));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_outputs_get(outputs, 1, &out));
  CHECK_STATUS(CET_OK, cet_outputs_get(outputs, 0, &out));
  CHECK(strcmp(out.name, "logits") == 0 && out.element_type == CET_FLOAT32 && out.rank == 2);
  CHECK(out.shape[0] == samples && out.shape[1] == classes && out.byte_size == samples * classes * sizeof(float));
  memcpy(logits, out.data, samples * classes * sizeof(float));
  cet_outputs_free(outputs);
}

static void inspect(const cet_model *model) {
  cet_value_info value;
  cet_parameter_info parameter;
  cet_tensor in = input();
  cet_outputs *outputs = NULL;
  char *json = NULL;
  CHECK_STATUS(CET_OK, cet_value_info_init(&value, sizeof value));
  CHECK(cet_model_input_count(model) == 1);
  CHECK_STATUS(CET_OK, cet_model_get_input(model, 0, &value));
  CHECK(strcmp(value.name, "x") == 0 && value.element_type == CET_FLOAT32);
  CHECK(value.rank == 2 && value.shape[0] == -1 && value.shape[1] == columns);
  CHECK_STATUS(CET_OK, cet_parameter_info_init(&parameter, sizeof parameter));
  CHECK(cet_model_parameter_count(model) == 2);
  CHECK_STATUS(CET_OK, cet_model_get_parameter(model, 1, &parameter));
  CHECK(strcmp(parameter.name, "second.weight") == 0 && parameter.offset == 192 && parameter.count == 80);
  CHECK_STATUS(CET_OK, cet_model_inspect_json(model, &json));
  CHECK(json != NULL && strstr(json, "Gemm") != NULL);
  cet_free(json);
  in.name = "y";
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "no input 'y'", cet_run(model, &in, 1, NULL, &outputs));
  in = input(), in.element_type = CET_INT32;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "is int32", cet_run(model, &in, 1, NULL, &outputs));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'x' is missing", cet_run(model, NULL, 0, NULL, &outputs));
}

static void options(const cet_model *model, const cet_calibration *data) {
  static const char *const nothing[] = {"conv*"};
  cet_plan_options o;
  cet_bit_plan *plan = NULL;
  watch w = {0, 1, 0, 0, 0};
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "exactly one", cet_plan(model, data, NULL, &plan));
  CHECK_STATUS(CET_OK, cet_plan_options_init(&o, sizeof o));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "exactly one", cet_plan(model, data, &o, &plan));
  o.target_ratio = 8, o.target_bits = 4;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "exactly one", cet_plan(model, data, &o, &plan));
  o.target_bits = 0, o.target_ratio = -8;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "target_ratio", cet_plan(model, data, &o, &plan));
  o.target_ratio = NAN;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan(model, data, &o, &plan));
  o.target_ratio = 1000;
  CHECK_STATUS(CET_INFEASIBLE_BUDGET, cet_plan(model, data, &o, &plan));
  o.target_ratio = 8, o.method = CET_METHOD_CLADO + 1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "method", cet_plan(model, data, &o, &plan));
  o.method = 0, o.bits = CET_BITS(9);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "bits", cet_plan(model, data, &o, &plan));
  o.bits = 0, o.block_size = 16;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "block_size", cet_plan(model, data, &o, &plan));
  o.block_size = 0, o.keep_patterns = nothing, o.keep_count = 1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'conv*'", cet_plan(model, data, &o, &plan));
  o.keep_patterns = NULL;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan(model, data, &o, &plan));
  o.keep_count = 0, o.progress = progress, o.user_data = &w;
  CHECK_STATUS(CET_CANCELLED, cet_plan(model, data, &o, &plan));
  CHECK(plan == NULL && w.calls == 1);
}

/* Runs of levels under the Hadamard matrix of their length. */
static void rotate(float *levels, size_t run, size_t count) {
  size_t start, half, k;
  for (start = 0; start < count; start += run) {
    float *x = levels + start;
    for (half = 1; half < run; half *= 2)
      for (k = 0; k < run; k++)
        if (!(k & half)) {
          float a = x[k], b = x[k + half];
          x[k] = a + b;
          x[k + half] = a - b;
        }
    for (k = 0; k < run; k++) x[k] *= 1 / sqrtf((float)run);
  }
}

static void check_codes(const cet_quantized *quantized) {
  size_t i, count = cet_quantized_initializer_count(quantized), k;
  for (i = 0; i < count; i++) {
    cet_initializer_view view;
    float values[256];
    uint32_t states[16] = {0}; /* of every column, which is a row of steps */
    float levels[256];
    size_t found = 99;
    CHECK_STATUS(CET_OK, cet_initializer_view_init(&view, sizeof view));
    CHECK_STATUS(CET_OK, cet_quantized_get_initializer(quantized, i, &view));
    CHECK_STATUS(CET_OK, cet_quantized_find_initializer(quantized, view.name, &found));
    CHECK(found == i && view.rank == 2 && view.parameter_count <= 256 && view.bits >= 1 && view.bits <= 8);
    CHECK(view.code_bytes == (view.parameter_count * (uint64_t)view.bits + 7) / 8);
    CHECK(view.axis == 1 && view.scale_count == (uint64_t)view.shape[1] && view.shape[1] <= 16);
    CHECK((view.zero_point == NULL) == (view.coding == CET_CODING_TRELLIS));
    CHECK((view.trellis_table != NULL) == (view.coding == CET_CODING_TRELLIS));
    CHECK_STATUS(CET_SHAPE_MISMATCH, cet_quantized_dequantize(quantized, i, values, 3));
    CHECK_STATUS(CET_OK, cet_quantized_dequantize(quantized, i, values, (size_t)view.parameter_count));
    for (k = 0; k < view.parameter_count; k++) {
      uint32_t code = 0;
      int bit;
      size_t row = k % (size_t)view.shape[1];
      for (bit = 0; bit < view.bits; bit++) {
        size_t at = k * (size_t)view.bits + (size_t)bit;
        code |= (uint32_t)(view.codes[at / 8] >> (at % 8) & 1) << bit;
      }
      if (view.coding == CET_CODING_TRELLIS) {
        states[row] = (states[row] << view.bits | code) & ((1u << view.trellis_state_bits) - 1);
        levels[row * (size_t)view.shape[0] + k / (size_t)view.shape[1]] = view.trellis_table[states[row]];
      } else {
        CHECK(values[k] == view.scale[row] * ((float)code - (float)view.zero_point[row] / (float)view.zero_point_unit));
      }
    }
    if (view.coding != CET_CODING_TRELLIS) continue;
    CHECK(view.trellis_rotation >= 1 && view.shape[0] % view.trellis_rotation == 0);
    rotate(levels, view.trellis_rotation, (size_t)view.parameter_count);
    for (k = 0; k < view.parameter_count; k++) {
      size_t row = k % (size_t)view.shape[1];
      CHECK(values[k] == view.scale[row] * levels[row * (size_t)view.shape[0] + k / (size_t)view.shape[1]]);
    }
  }
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_find_initializer(quantized, "first.bias", &i));
  for (i = 0; i < cet_quantized_correction_count(quantized); i++) {
    cet_correction_view view;
    CHECK_STATUS(CET_OK, cet_correction_view_init(&view, sizeof view));
    CHECK_STATUS(CET_OK, cet_quantized_get_correction(quantized, i, &view));
    CHECK(view.name != NULL && view.node != NULL && view.values != NULL && view.count > 0);
  }
}

/* Activations of 8 bits: what a plan says of them, and what is refused. */
static void rounded_activations(const cet_model *model, const cet_calibration *data) {
  cet_plan_options o;
  cet_plan_activation activation;
  cet_bit_plan *plan = NULL;
  size_t i;

  CHECK_STATUS(CET_OK, cet_plan_options_init(&o, sizeof o));
  o.target_bits = 6.5;
  o.activation_mean_bits = 8;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "activation_bits", cet_plan(model, data, &o, &plan));
  o.activation_bits = CET_BITS(5);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "4, 8, 16 and 32", cet_plan(model, data, &o, &plan));
  o.activation_bits = CET_BITS(8) | CET_FLOAT_BITS;
  CHECK_STATUS(CET_OK, cet_plan(model, data, &o, &plan));
  if (plan == NULL) return;
  CHECK_STATUS(CET_OK, cet_plan_activation_init(&activation, sizeof activation));
  CHECK(cet_plan_activation_count(plan) > 0);
  for (i = 0; i < cet_plan_activation_count(plan); i++) {
    CHECK_STATUS(CET_OK, cet_plan_get_activation(plan, i, &activation));
    CHECK(activation.bits == 8 && activation.scale > 0 && activation.zero_point >= 0 && activation.zero_point < 256);
    CHECK(activation.name[0] != '\0' && activation.reason[0] != '\0' && activation.elements > 0);
    CHECK(activation.predicted_loss_change == activation.sensitivity[8]);
  }
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_get_activation(plan, i, &activation));
  cet_plan_free(plan);
}

static void compress(const cet_model *model, const cet_calibration *data, const float *reference) {
  static const char *const first[] = {"first.*"};
  static const int32_t eight[] = {8};
  static const cet_encoding encodings[] = {CET_ENCODING_DEFAULT, CET_ENCODING_PLANES, CET_ENCODING_FLOAT};
  cet_plan_options o;
  cet_quantize_options q;
  cet_plan_tensor tensor;
  cet_plan_summary summary;
  cet_bit_plan *plan = NULL, *done = NULL, *again = NULL;
  cet_quantized *quantized = NULL;
  watch w = {0, 0, 0, 0, 0};
  float logits[samples * classes];
  const char *note = NULL;
  size_t e, i, k;

  CHECK_STATUS(CET_OK, cet_plan_options_init(&o, sizeof o));
  o.target_bits = 6.5;
  o.fix_patterns = first, o.fix_bits = eight, o.fix_count = 1;
  o.progress = progress, o.log = log_line, o.user_data = &w;
  CHECK_STATUS(CET_OK, cet_plan(model, data, &o, &plan));
  if (plan == NULL) return;
  CHECK(w.calls > 0);
  CHECK_STATUS(CET_OK, cet_plan_tensor_init(&tensor, sizeof tensor));
  CHECK_STATUS(CET_OK, cet_plan_get_tensor(plan, 0, &tensor));
  CHECK(tensor.bits == 8 && tensor.decision == CET_DECISION_FIXED && tensor.reason[0] != '\0');
  CHECK_STATUS(CET_OK, cet_plan_summary_init(&summary, sizeof summary));
  CHECK_STATUS(CET_OK, cet_plan_get_summary(plan, &summary));
  CHECK(summary.mean_bits <= 6.5);
  CHECK(cet_plan_note_count(NULL) == 0);
  for (k = 0; k < cet_plan_note_count(plan); k++) {
    CHECK_STATUS(CET_OK, cet_plan_get_note(plan, k, &note));
    CHECK(note != NULL && note[0] != '\0' && strchr(note, '\n') == NULL);
  }
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_get_note(plan, k, &note));
  CHECK(note == NULL);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_get_note(plan, 0, NULL));
  CHECK(cet_plan_activation_count(plan) == 0);
  rounded_activations(model, data);

  CHECK_STATUS(CET_OK, cet_quantize_options_init(&q, sizeof q));
  w.calls = 0, w.stop_at = 1, q.progress = progress, q.user_data = &w;
  CHECK_STATUS(CET_CANCELLED, cet_quantize(model, data, plan, &q, &quantized));
  CHECK(quantized == NULL);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "calibration handle is NULL", cet_quantize(model, NULL, plan, NULL, &quantized));
  CHECK_STATUS(CET_OK, cet_quantize(model, data, plan, NULL, &quantized));
  if (quantized == NULL) return;
  check_codes(quantized);
  CHECK_STATUS(CET_OK, cet_quantized_get_plan(quantized, &done));
  CHECK_STATUS(CET_OK, cet_plan_get_summary(done, &summary));
  CHECK(isfinite(summary.measured_loss_change));

  for (e = 0; e < sizeof encodings / sizeof *encodings; e++) {
    cet_save_options s;
    void *bytes = NULL;
    size_t size = 0;
    double error = 0, norm = 0;
    cet_model *written;
    CHECK_STATUS(CET_OK, cet_save_options_init(&s, sizeof s));
    s.encoding = encodings[e];
    CHECK_STATUS(CET_OK, cet_quantized_save_memory(quantized, &s, &bytes, &size));
    if (e == 0) CHECK(size == summary.file_bytes);
    written = load(bytes, size);
    run(written, logits);
    for (i = 0; i < samples * classes; i++) {
      error += ((double)logits[i] - reference[i]) * ((double)logits[i] - reference[i]);
      norm += (double)reference[i] * reference[i];
    }
    CHECK(error < 0.2 * norm);
    cet_model_free(written);
    cet_free(bytes);
  }
  CHECK_STATUS(CET_IO, cet_quantized_save_file(quantized, "/nonexistent/folder/m.onnx", NULL));

  /* Another budget from the table alone. */
  CHECK_STATUS(CET_OK, cet_plan_options_init(&o, sizeof o));
  o.target_bits = 7; /* the first weight stays fixed at 8: the second gets 4 or 3 */
  CHECK_STATUS(CET_OK, cet_plan_with_sensitivity(model, done, &o, &again));
  CHECK_STATUS(CET_OK, cet_plan_get_summary(again, &summary));
  CHECK(summary.mean_bits > 6.5 && summary.mean_bits <= 7);
  o.method = CET_METHOD_PAPER;
  cet_plan_free(plan);
  plan = NULL;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "method", cet_plan_with_sensitivity(model, done, &o, &plan));
  cet_plan_free(plan);
  cet_plan_free(done);
  cet_plan_free(again);
  cet_quantized_free(quantized);
}

static void curvature(const cet_model *model, const cet_calibration *data) {
  cet_curvature_options o;
  cet_curvature *c = NULL;
  cet_spectrum *spectrum = NULL;
  float u[272], v[272], hu[272], hv[272], g[272];
  const char *note = NULL;
  double loss = -1, uhv = 0, vhu = 0, scale = 0;
  uint32_t state = 3;
  size_t i;
  CHECK_STATUS(CET_OK, cet_curvature_options_init(&o, sizeof o));
  o.loss = CET_LOSS_CROSS_ENTROPY;
  CHECK_STATUS(CET_OK, cet_curvature_create(model, data, &o, &c));
  if (c == NULL) return;
  CHECK(cet_curvature_dimension(c) == 272 && cet_curvature_parameter_count(c) == 2);
  CHECK(cet_curvature_note_count(c) == 0 && cet_curvature_note_count(NULL) == 0);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_curvature_get_note(c, 0, &note));
  for (i = 0; i < 272; i++) u[i] = next_number(&state), v[i] = next_number(&state);
  CHECK_STATUS(CET_OK, cet_curvature_loss(c, &loss));
  CHECK(loss > 0);
  CHECK_STATUS(CET_OK, cet_curvature_gradient(c, g, 272));
  CHECK_STATUS(CET_OK, cet_curvature_apply(c, u, hu, 272));
  CHECK_STATUS(CET_OK, cet_curvature_apply(c, v, hv, 272));
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_curvature_apply(c, v, hv, 271));
  for (i = 0; i < 272; i++) {
    uhv += (double)u[i] * hv[i];
    vhu += (double)v[i] * hu[i];
    scale += fabs((double)u[i] * hv[i]);
  }
  CHECK(fabs(uhv - vhu) < 1e-4 * scale);
  v[7] = (float)NAN;
  CHECK_MESSAGE(CET_NUMERIC, "element 7", cet_curvature_apply(c, v, hv, 272));
  CHECK_STATUS(CET_OK, cet_eigensolve_curvature(c, NULL, &spectrum));
  CHECK(cet_spectrum_count(spectrum) == 10);
  cet_spectrum_free(spectrum);
  cet_curvature_free(c);
}

int main(void) {
  static buffer bytes;
  cet_model *model;
  cet_calibration *data = NULL;
  cet_tensor in = input(), truth = {NULL, labels, sizeof labels, label_shape, 1, CET_INT32};
  float reference[samples * classes];
  uint32_t state = 5;
  size_t i, k;
  for (i = 0; i < samples * columns; i++) x[i] = next_number(&state);
  make_model(&bytes);
  model = load(bytes.bytes, bytes.size);
  if (model != NULL) {
    inspect(model);
    run(model, reference);
    for (i = 0; i < samples; i++) {
      for (k = 1; k < classes; k++) {
        if (reference[i * classes + k] > reference[i * classes + (size_t)labels[i]]) labels[i] = (int32_t)k;
      }
    }
    CHECK_STATUS(CET_OK, cet_calibration_create(&data));
    CHECK_STATUS(CET_OK, cet_calibration_add_batch(data, &in, 1, &truth));
    options(model, data);
    compress(model, data, reference);
    curvature(model, data);
  }
  cet_calibration_free(data);
  cet_model_free(model);
  CHECK(cet_live_handle_count() == 0);
  return check_result("pipeline");
}
