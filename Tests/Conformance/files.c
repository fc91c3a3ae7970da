/* Files: a model is never written over what it was loaded from; samples are run as planning feeds them; a plan's text
   may be edited. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { samples = 40, columns = 12, classes = 5 };
static float x[samples * columns];
static const int64_t x_shape[2] = {samples, columns};
static char model_path[256], link_path[256], hard_path[256], other_path[256];

static void write_file(const char *path, const void *data, size_t size) {
  FILE *file = fopen(path, "wb");
  CHECK(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static int same_file(const char *path, const void *data, size_t size) {
  static char found[1 << 16];
  FILE *file = fopen(path, "rb");
  size_t count = file == NULL ? 0 : fread(found, 1, sizeof found, file);
  if (file != NULL) fclose(file);
  return count == size && memcmp(found, data, size) == 0;
}

static void overwriting(const cet_model *model, const cet_quantized *quantized, const buffer *bytes) {
  const char *const own[] = {model_path, link_path, hard_path};
  uint32_t reads = 7;
  size_t i;
  for (i = 0; i < 3; i++) {
    CHECK_STATUS(CET_OK, cet_model_reads_file(model, own[i], &reads));
    CHECK(reads == 1);
    CHECK_MESSAGE(CET_INVALID_ARGUMENT, "loaded from", cet_quantized_save_file(quantized, own[i], NULL));
  }
  CHECK(same_file(model_path, bytes->bytes, bytes->size));
  CHECK_STATUS(CET_OK, cet_model_reads_file(model, other_path, &reads));
  CHECK(reads == 0);
  CHECK_STATUS(CET_OK, cet_quantized_save_file(quantized, other_path, NULL));
  CHECK_STATUS(CET_OK, cet_model_reads_file(model, other_path, &reads));
  CHECK(reads == 0);
  CHECK(!same_file(other_path, bytes->bytes, bytes->size));
}

static void running(const cet_model *model, const cet_calibration *data) {
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32}, whole, part;
  cet_outputs *all = NULL, *some = NULL;
  cet_run_options o;
  uint64_t count = 9, first = 0;
  CHECK_STATUS(CET_OK, cet_run_options_init(&o, sizeof o));
  o.threads = 1;
  CHECK_STATUS(CET_OK, cet_run(model, &in, 1, &o, &all));
  CHECK_STATUS(CET_OK, cet_outputs_get(all, 0, &whole));
  o.batch_size = 16;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "batch_size", cet_run(model, &in, 1, &o, &some));
  for (;;) {
    size_t i;
    CHECK_STATUS(CET_OK, cet_run_samples(model, data, 0, first, &o, &count, &some));
    if (count == 0) break;
    CHECK_STATUS(CET_OK, cet_outputs_get(some, 0, &part));
    CHECK((uint64_t)part.shape[0] == count && count == (first < 32 ? 16u : 8u));
    for (i = 0; i < count * classes; i++) {
      CHECK(fabsf(((const float *)part.data)[i] - ((const float *)whole.data)[first * classes + i]) < 1e-5f);
    }
    cet_outputs_free(some);
    first += count;
  }
  CHECK(first == samples && some == NULL);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "batch 1", cet_run_samples(model, data, 1, 0, &o, &count, &some));
  o.threads = 100000;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "threads", cet_run_samples(model, data, 0, 0, &o, &count, &some));
  cet_outputs_free(all);
}

static void editing(const cet_model *model, const cet_bit_plan *plan) {
  cet_bit_plan *edited = NULL;
  cet_quantized *quantized = NULL;
  cet_quantize_options q;
  cet_plan_summary summary;
  cet_plan_tensor tensor;
  char *json = NULL, *place;
  CHECK_STATUS(CET_OK, cet_plan_to_json(plan, &json));
  place = strstr(json, "\"bits\": 4,");
  CHECK(place != NULL);
  if (place == NULL) return;
  place[8] = '8';
  CHECK_STATUS(CET_OK, cet_plan_from_json(json, &edited));
  CHECK_STATUS(CET_OK, cet_plan_tensor_init(&tensor, sizeof tensor));
  CHECK_STATUS(CET_OK, cet_plan_get_tensor(edited, 0, &tensor));
  CHECK(tensor.bits == 8 && tensor.decision == CET_DECISION_FIXED && strcmp(tensor.reason, "set by hand") == 0);
  CHECK(tensor.code_bytes == tensor.parameter_count);
  CHECK_STATUS(CET_OK, cet_plan_summary_init(&summary, sizeof summary));
  CHECK_STATUS(CET_OK, cet_plan_get_summary(edited, &summary));
  CHECK(summary.file_bytes == 0);
  CHECK_STATUS(CET_OK, cet_quantize_options_init(&q, sizeof q));
  q.rounding = CET_ROUNDING_NEAREST, q.encoding = CET_ENCODING_QDQ;
  CHECK_STATUS(CET_OK, cet_quantize(model, NULL, edited, &q, &quantized));
  cet_plan_free(edited);
  edited = NULL;
  CHECK_STATUS(CET_OK, cet_quantized_get_plan(quantized, &edited));
  CHECK_STATUS(CET_OK, cet_plan_get_summary(edited, &summary));
  CHECK(summary.file_bytes > 0 && summary.encoding == CET_ENCODING_QDQ);
  q.effort = CET_EFFORT_HIGH + 1;
  cet_quantized_free(quantized);
  quantized = NULL;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "effort", cet_quantize(model, NULL, edited, &q, &quantized));
  cet_plan_free(edited);
  cet_free(json);
}

int main(void) {
  static buffer bytes;
  char folder[] = "/tmp/cet-files-XXXXXX";
  cet_model *model = NULL;
  cet_calibration *data = NULL;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_plan_options o;
  cet_quantize_options q;
  cet_tensor in = {"x", x, sizeof x, x_shape, 2, CET_FLOAT32};
  uint32_t state = 5;
  size_t i;
  CHECK(mkdtemp(folder) != NULL);
  snprintf(model_path, sizeof model_path, "%s/model.onnx", folder);
  snprintf(link_path, sizeof link_path, "%s/link.onnx", folder);
  snprintf(hard_path, sizeof hard_path, "%s/hard.onnx", folder);
  snprintf(other_path, sizeof other_path, "%s/other.onnx", folder);
  for (i = 0; i < samples * columns; i++) x[i] = next_number(&state);
  make_model(&bytes);
  write_file(model_path, bytes.bytes, bytes.size);
  write_file(other_path, bytes.bytes, bytes.size);
  CHECK(symlink(model_path, link_path) == 0 && link(model_path, hard_path) == 0);
  CHECK_STATUS(CET_OK, cet_model_load_file(link_path, &model));
  CHECK_STATUS(CET_OK, cet_calibration_create(&data));
  CHECK_STATUS(CET_OK, cet_calibration_add_batch(data, &in, 1, NULL));
  CHECK_STATUS(CET_OK, cet_plan_options_init(&o, sizeof o));
  o.target_bits = 4, o.method = CET_METHOD_UNIFORM;
  CHECK_STATUS(CET_OK, cet_plan(model, data, &o, &plan));
  CHECK_STATUS(CET_OK, cet_quantize_options_init(&q, sizeof q));
  q.rounding = CET_ROUNDING_NEAREST;
  CHECK_STATUS(CET_OK, cet_quantize(model, NULL, plan, &q, &quantized));
  if (quantized != NULL) {
    overwriting(model, quantized, &bytes);
    running(model, data);
    editing(model, plan);
  }
  cet_quantized_free(quantized);
  cet_plan_free(plan);
  cet_calibration_free(data);
  cet_model_free(model);
  unlink(model_path), unlink(link_path), unlink(hard_path), unlink(other_path), rmdir(folder);
  CHECK(cet_live_handle_count() == 0);
  return check_result("files");
}
