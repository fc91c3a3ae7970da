/* What goes in and out: what a model says of itself, outputs in the host's buffers, 16-bit floats, DLPack, a quantized
   model as a file. */
#include "check.h"
#include "model.h"

#include <math.h>
#include <stdlib.h>

/* As dlpack.h 1.x has them; after cet.h, which declares them only. */
typedef struct { int32_t device_type, device_id; } DLDevice;
typedef struct { uint8_t code, bits; uint16_t lanes; } DLDataType;
typedef struct {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} DLTensor;
typedef struct DLManagedTensor {
  DLTensor dl_tensor;
  void *manager_ctx;
  void (*deleter)(struct DLManagedTensor *self);
} DLManagedTensor;
typedef struct DLManagedTensorVersioned {
  struct { uint32_t major, minor; } version;
  void *manager_ctx;
  void (*deleter)(struct DLManagedTensorVersioned *self);
  uint64_t flags;
  DLTensor dl_tensor;
} DLManagedTensorVersioned;

enum { samples = 40, columns = 12, classes = 5 };
static float x[samples * columns];
static const int64_t x_shape[2] = {samples, columns}, y_shape[2] = {samples, classes};

static void getters(const cet_model *model) {
  cet_value_info value;
  cet_model_info info;
  const char *a = NULL, *b = NULL;
  int64_t version = 0;
  CHECK_STATUS(CET_OK, cet_value_info_init(&value, sizeof value));
  CHECK(cet_model_output_count(model) == 1);
  CHECK_STATUS(CET_OK, cet_model_get_output(model, 0, &value));
  CHECK(strcmp(value.name, "logits") == 0 && value.rank == 2 && value.shape[0] == -1 && value.shape[1] == classes);
  CHECK(value.element_type == CET_FLOAT32);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_get_output(model, 1, &value));
  CHECK_STATUS(CET_OK, cet_model_info_init(&info, sizeof info));
  CHECK_STATUS(CET_OK, cet_model_get_info(model, &info));
  CHECK(info.ir_version == 8 && info.model_version == 42);
  CHECK(strcmp(info.producer_name, "conformance") == 0 && strcmp(info.producer_version, "1.2") == 0);
  CHECK(strcmp(info.domain, "org.example") == 0 && strcmp(info.graph_name, "small") == 0);
  CHECK(strcmp(info.documentation, "for tests") == 0 && info.file_bytes > 1000);
  CHECK(cet_model_opset_count(model) == 1);
  CHECK_STATUS(CET_OK, cet_model_get_opset(model, 0, &a, &version));
  CHECK(strcmp(a, "") == 0 && version == 17);
  CHECK(cet_model_metadata_count(model) == 2);
  CHECK_STATUS(CET_OK, cet_model_get_metadata(model, 1, &a, &b));
  CHECK(strcmp(a, "license") == 0 && strcmp(b, "none") == 0);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_get_metadata(model, 2, &a, &b));
  CHECK(a == NULL && b == NULL);
  CHECK_STATUS(CET_OK, cet_model_get_sha256(model, &a));
  CHECK(strlen(a) == 64 && strspn(a, "0123456789abcdef") == 64);
}

static void into_buffers(const cet_model *model) {
  static float y[samples * classes + 1];
  static const int64_t wrong[2] = {samples, classes + 1};
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32}, expected;
  cet_buffer out[2] = {{"logits", y, sizeof y - 4, y_shape, 2, CET_FLOAT32}, {"logits", y, 4, y_shape, 2, CET_FLOAT32}};
  cet_outputs *outputs = NULL;
  cet_error *error;
  CHECK_STATUS(CET_OK, cet_run(model, &in, 1, NULL, &outputs));
  CHECK_STATUS(CET_OK, cet_outputs_get(outputs, 0, &expected));
  y[samples * classes] = 7;
  CHECK_STATUS(CET_OK, cet_run_into(model, &in, 1, NULL, out, 1));
  CHECK(memcmp(y, expected.data, expected.byte_size) == 0 && y[samples * classes] == 7);
  memset(y, 0, sizeof y);
  out[0].shape = wrong;
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_run_into(model, &in, 1, NULL, out, 1));
  error = cet_error_copy_last();
  CHECK(strcmp(cet_error_get(error, CET_ERROR_EXPECTED), "[40\303\2275]") == 0);
  CHECK(strcmp(cet_error_get(error, CET_ERROR_GOT), "[40\303\2276]") == 0);
  cet_error_free(error);
  out[0].shape = y_shape;
  out[0].byte_size += 4;
  CHECK_MESSAGE(CET_SHAPE_MISMATCH, "expected 800 bytes, got 804", cet_run_into(model, &in, 1, NULL, out, 1));
  out[0].byte_size -= 4;
  {
    uint64_t before = out[0].byte_size;
    out[0].byte_size = UINT64_MAX;
    CHECK_MESSAGE(CET_INVALID_ARGUMENT, "18446744073709551615 bytes", cet_run_into(model, &in, 1, NULL, out, 1));
    out[0].byte_size = before;
  }
  out[0].element_type = CET_FLOAT64;
  CHECK_MESSAGE(CET_SHAPE_MISMATCH, "expected float32, got float64", cet_run_into(model, &in, 1, NULL, out, 1));
  out[0].element_type = CET_FLOAT32;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "twice", cet_run_into(model, &in, 1, NULL, out, 2));
  out[0].name = "other";
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "no output 'other'", cet_run_into(model, &in, 1, NULL, out, 1));
  out[0].name = "logits";
  out[0].data = NULL;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "data NULL", cet_run_into(model, &in, 1, NULL, out, 1));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_run_into(model, &in, 1, NULL, NULL, 1));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_run_into(model, &in, 1, NULL, out, 0));
  CHECK(y[0] == 0);
  /* The input's own memory. */
  {
    static float both[samples * columns];
    memcpy(both, x, sizeof both);
    in.data = out[0].data = both;
    CHECK_STATUS(CET_OK, cet_run_into(model, &in, 1, NULL, out, 1));
    CHECK(memcmp(both, expected.data, expected.byte_size) == 0);
  }
  cet_outputs_free(outputs);
}

/* bfloat16 for a float32 input: exactly what the same numbers give as float32. */
static void bfloat16_inputs(const cet_model *model) {
  static uint16_t half[samples * columns];
  static float same[samples * columns];
  cet_tensor in = {"x", half, sizeof half, x_shape, 2, CET_BFLOAT16}, a, b;
  cet_outputs *first = NULL, *second = NULL;
  cet_calibration *data = NULL;
  cet_run_options all;
  uint64_t count = 0;
  int i;
  CHECK_STATUS(CET_OK, cet_run_options_init(&all, sizeof all));
  all.batch_size = samples;
  for (i = 0; i < samples * columns; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], 4);
    half[i] = (uint16_t)(bits >> 16);
    bits &= 0xffff0000u;
    memcpy(&same[i], &bits, 4);
  }
  CHECK_STATUS(CET_OK, cet_run(model, &in, 1, NULL, &first));
  CHECK_STATUS(CET_OK, cet_calibration_create(&data));
  CHECK_STATUS(CET_OK, cet_calibration_add_batch(data, &in, 1, NULL));
  in.data = same;
  in.byte_size = sizeof same;
  in.element_type = CET_FLOAT32;
  CHECK_STATUS(CET_OK, cet_run(model, &in, 1, NULL, &second));
  CHECK_STATUS(CET_OK, cet_outputs_get(first, 0, &a));
  CHECK_STATUS(CET_OK, cet_outputs_get(second, 0, &b));
  CHECK(a.byte_size == b.byte_size && memcmp(a.data, b.data, a.byte_size) == 0);
  cet_outputs_free(first);
  CHECK_STATUS(CET_OK, cet_run_samples(model, data, 0, 0, &all, &count, &first));
  CHECK_STATUS(CET_OK, cet_outputs_get(first, 0, &a));
  CHECK(count == samples && a.byte_size == b.byte_size && memcmp(a.data, b.data, a.byte_size) == 0);
  cet_outputs_free(first);
  cet_outputs_free(second);
  half[3] = 0x7f80; /* infinity */
  in.data = half;
  in.byte_size = sizeof half;
  in.element_type = CET_BFLOAT16;
  CHECK_STATUS(CET_NUMERIC, cet_calibration_add_batch(data, &in, 1, NULL));
  cet_calibration_free(data);
}

static void dlpack(const cet_model *model, const cet_quantized *quantized) {
  int64_t shape[2] = {samples, columns}, strides[2] = {columns, 1};
  DLManagedTensorVersioned in = {{1, 1}, NULL, NULL, 0, {(char *)x - 8, {1, 0}, 2, {2, 32, 1}, shape, strides, 8}}, *out = NULL;
  DLManagedTensor old = {{x, {1, 0}, 2, {2, 32, 1}, shape, NULL, 0}, NULL, NULL};
  cet_tensor tensor, expected;
  cet_outputs *outputs = NULL;
  static float weights[12 * 16], values[samples * classes];
  uint64_t before;
  CHECK_STATUS(CET_OK, cet_tensor_from_dlpack(&in, "x", &tensor));
  CHECK(tensor.data == x && tensor.byte_size == sizeof x && tensor.rank == 2 && tensor.element_type == CET_FLOAT32);
  CHECK_STATUS(CET_OK, cet_run(model, &tensor, 1, NULL, &outputs));
  CHECK_STATUS(CET_OK, cet_tensor_from_dlpack_unversioned(&old, "x", &tensor));
  CHECK(tensor.data == x && tensor.shape == shape);
  strides[0] = columns + 1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "got strides [13, 1]", cet_tensor_from_dlpack(&in, "x", &tensor));
  CHECK(tensor.data == NULL);
  in.dl_tensor.strides = NULL;
  in.dl_tensor.device.device_type = 2;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "got device 2", cet_tensor_from_dlpack(&in, NULL, &tensor));
  in.dl_tensor.device.device_type = 1;
  in.dl_tensor.dtype.lanes = 4;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "4 lanes", cet_tensor_from_dlpack(&in, NULL, &tensor));
  in.dl_tensor.dtype.lanes = 1;
  in.version.major = 2;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "got 2.1", cet_tensor_from_dlpack(&in, NULL, &tensor));
  shape[0] = -1;
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_tensor_from_dlpack_unversioned(&old, "x", &tensor));

  /* Out: the memory outlives the handle. */
  CHECK_STATUS(CET_OK, cet_outputs_get(outputs, 0, &expected));
  memcpy(values, expected.data, sizeof values);
  before = cet_live_handle_count();
  CHECK_STATUS(CET_OK, cet_outputs_to_dlpack(outputs, 0, &out));
  CHECK(cet_live_handle_count() == before + 1);
  CHECK(out->dl_tensor.data == expected.data && (out->flags & 1) == 1 && out->version.major == 1);
  cet_outputs_free(outputs);
  CHECK(out->dl_tensor.ndim == 2 && out->dl_tensor.shape[0] == samples && out->dl_tensor.strides[0] == classes);
  CHECK(memcmp(out->dl_tensor.data, values, sizeof values) == 0);
  out->deleter(out);
  CHECK_STATUS(CET_OK, cet_quantized_dequantize(quantized, 0, weights, 12 * 16));
  CHECK_STATUS(CET_OK, cet_quantized_to_dlpack(quantized, 0, CET_FLOAT32, &out));
  CHECK((out->flags & 1) == 0 && memcmp(out->dl_tensor.data, weights, sizeof weights) == 0);
  out->deleter(out);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_to_dlpack(quantized, 99, CET_FLOAT32, &out));
  CHECK(out == NULL && cet_live_handle_count() == before - 1);
}

static void narrow_weights(const cet_quantized *quantized) {
  static float weights[12 * 16], same[12 * 16];
  static uint16_t half[12 * 16];
  int i;
  CHECK_STATUS(CET_OK, cet_quantized_dequantize(quantized, 0, weights, 12 * 16));
  CHECK_STATUS(CET_OK, cet_quantized_dequantize_as(quantized, 0, CET_FLOAT32, same, sizeof same));
  CHECK(memcmp(weights, same, sizeof same) == 0);
  CHECK_STATUS(CET_OK, cet_quantized_dequantize_as(quantized, 0, CET_BFLOAT16, half, sizeof half));
  for (i = 0; i < 12 * 16; i++) {
    uint32_t bits = (uint32_t)half[i] << 16;
    float value;
    memcpy(&value, &bits, 4);
    CHECK(fabsf(value - weights[i]) <= fabsf(weights[i]) / 256);
  }
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_quantized_dequantize_as(quantized, 0, CET_FLOAT16, half, sizeof half - 2));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "float16", cet_quantized_dequantize_as(quantized, 0, CET_INT8, half, sizeof half));
}

static void saved_state(const cet_model *model, const buffer *bytes, const cet_quantized *quantized, const char *folder) {
  char path[300];
  cet_quantized *loaded = NULL;
  cet_model *other = NULL;
  cet_plan_summary a, b;
  cet_bit_plan *plan = NULL, *loaded_plan = NULL;
  buffer changed = *bytes;
  void *first = NULL, *second = NULL;
  size_t first_size = 0, second_size = 1;
  FILE *file;
  sprintf(path, "%s/state.cetq", folder);
  CHECK_STATUS(CET_OK, cet_quantized_save_state(quantized, path));
  CHECK_STATUS(CET_OK, cet_quantized_load_state(model, path, &loaded));
  CHECK_STATUS(CET_OK, cet_quantized_save_memory(quantized, NULL, &first, &first_size));
  CHECK_STATUS(CET_OK, cet_quantized_save_memory(loaded, NULL, &second, &second_size));
  CHECK(first_size == second_size && memcmp(first, second, first_size) == 0);
  CHECK(cet_quantized_initializer_count(loaded) == cet_quantized_initializer_count(quantized));
  CHECK(cet_quantized_correction_count(loaded) == cet_quantized_correction_count(quantized));
  CHECK_STATUS(CET_OK, cet_quantized_get_plan(quantized, &plan));
  CHECK_STATUS(CET_OK, cet_quantized_get_plan(loaded, &loaded_plan));
  CHECK_STATUS(CET_OK, cet_plan_summary_init(&a, sizeof a));
  CHECK_STATUS(CET_OK, cet_plan_summary_init(&b, sizeof b));
  CHECK_STATUS(CET_OK, cet_plan_get_summary(plan, &a));
  CHECK_STATUS(CET_OK, cet_plan_get_summary(loaded_plan, &b));
  CHECK(a.file_bytes == b.file_bytes && a.measured_loss_change == b.measured_loss_change && a.held_out_loss == b.held_out_loss);
  cet_plan_free(plan);
  cet_plan_free(loaded_plan);
  cet_quantized_free(loaded);
  cet_free(first);
  cet_free(second);
  put_text(&changed, 6, "another file");
  CHECK_STATUS(CET_OK, cet_model_load_memory(changed.bytes, changed.size, &other));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "SHA-256", cet_quantized_load_state(other, path, &loaded));
  CHECK(loaded == NULL);
  cet_model_free(other);
  file = fopen(path, "r+b");
  /* In the header: builds for fuzzing, which run this with a sanitizer, take checksums as right. */
  CHECK(file != NULL && fseek(file, 16, SEEK_SET) == 0 && fputc(0x55, file) != EOF && fclose(file) == 0);
  CHECK_MESSAGE(CET_IO, "damaged", cet_quantized_load_state(model, path, &loaded));
  CHECK(remove(path) == 0);
  CHECK_STATUS(CET_IO, cet_quantized_load_state(model, path, &loaded));
}

int main(int argc, char **argv) {
  buffer bytes = {{0}, 0}, entry = {{0}, 0};
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32};
  cet_model *model = NULL;
  cet_calibration *data = NULL;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_plan_options p;
  char *json = NULL;
  uint32_t seed = 7;
  int i;
  for (i = 0; i < samples * columns; i++) x[i] = next_number(&seed);
  make_model(&bytes);
  put_text(&bytes, 3, "1.2");
  put_text(&bytes, 4, "org.example");
  put_number(&bytes, 5, 42);
  put_text(&bytes, 6, "for tests");
  put_text(&entry, 1, "author");
  put_text(&entry, 2, "nobody");
  put_message(&bytes, 14, &entry);
  entry.size = 0;
  put_text(&entry, 1, "license");
  put_text(&entry, 2, "none");
  put_message(&bytes, 14, &entry);
  CHECK_STATUS(CET_OK, cet_build_info_json(&json));
  CHECK(strstr(json, "OpenBLAS") != NULL && strstr(json, cet_version_string()) != NULL && strstr(json, "\"instruction_set\"") != NULL);
  cet_free(json);
  CHECK_STATUS(CET_OK, cet_model_load_memory(bytes.bytes, bytes.size, &model));
  CHECK_STATUS(CET_OK, cet_calibration_create(&data));
  CHECK_STATUS(CET_OK, cet_calibration_add_batch(data, &in, 1, NULL));
  CHECK_STATUS(CET_OK, cet_plan_options_init(&p, sizeof p));
  p.target_ratio = 8;
  CHECK_STATUS(CET_OK, cet_plan(model, data, &p, &plan));
  CHECK_STATUS(CET_OK, cet_quantize(model, data, plan, NULL, &quantized));
  getters(model);
  into_buffers(model);
  bfloat16_inputs(model);
  narrow_weights(quantized);
  dlpack(model, quantized);
  saved_state(model, &bytes, quantized, argc > 2 ? argv[2] : ".");
  cet_quantized_free(quantized);
  cet_plan_free(plan);
  cet_calibration_free(data);
  cet_model_free(model);
  CHECK(cet_live_handle_count() == 0);
  return check_result("exchange");
}
