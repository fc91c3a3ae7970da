/* Handles of the wrong kind, freed handles, and structs of other sizes. */
#include "check.h"

#include <stdlib.h>

static const char *const plan_json =
    "{\"format\":\"cet-plan\",\"version\":1,\"library_version\":\"0.1.0\","
    "\"model\":{\"sha256\":\"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\",\"bytes\":4096},"
    "\"options\":{\"target_ratio\":8,\"method\":\"cet\",\"curvature\":\"hessian\",\"rounding\":\"nearest\","
    "\"granularity\":\"per-axis\",\"encoding\":\"qdq\",\"bits\":[2,4,8],\"seed\":18446744073709551615},"
    "\"loss\":\"kl\",\"samples\":7,\"totals\":{\"file_bytes\":900},\"predicted_loss_change\":0.25,"
    "\"tensors\":[{\"name\":\"w\",\"shape\":[4,3],\"bits\":4,\"decision\":\"chosen\",\"reason\":\"because\",\"axis\":0,"
    "\"code_bytes\":6,\"stored_bytes\":26,\"measured_loss\":{\"2\":0.5,\"4\":0.125}},"
    "{\"name\":\"table\",\"shape\":[10],\"bits\":32,\"decision\":\"kept\",\"code_bytes\":0,\"stored_bytes\":40}]}";

static cet_bit_plan *make_plan(void) {
  cet_bit_plan *plan = NULL;
  CHECK_STATUS(CET_OK, cet_plan_from_json(plan_json, &plan));
  return plan;
}

static void wrong_handles(void) {
  cet_bit_plan *plan = make_plan();
  cet_calibration *calibration = NULL;
  cet_bit_plan *made = (cet_bit_plan *)&calibration;
  int64_t value = 0;
  char *json = (char *)&value;
  uint64_t before = cet_live_handle_count();

  CHECK(before == 1);
  CHECK_STATUS(CET_OK, cet_calibration_create(&calibration));
  CHECK(cet_live_handle_count() == 2);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "no plan handle", cet_plan_to_json((cet_bit_plan *)calibration, &json));
  CHECK(json == NULL);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "no calibration handle",
                cet_calibration_add_batch((cet_calibration *)plan, NULL, 0, NULL));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "no model handle", cet_plan((cet_model *)plan, calibration, NULL, &made));
  CHECK(made == NULL);
  /* Of another kind: left alone. */
  cet_model_free((cet_model *)plan);
  cet_plan_free((cet_bit_plan *)calibration);
  CHECK(cet_live_handle_count() == 2);
  CHECK(cet_plan_tensor_count(plan) == 2);

  cet_plan_free(plan);
  CHECK(cet_live_handle_count() == 1);
  CHECK(cet_plan_tensor_count(plan) == 0);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "was freed before", cet_plan_to_json(plan, &json));
  cet_plan_free(plan);
  CHECK(cet_live_handle_count() == 1);
  cet_calibration_free(calibration);
  CHECK(cet_live_handle_count() == 0);
}

static void many_handles(void) {
  enum { count = 2000 };
  static cet_calibration *all[count];
  int i;
  for (i = 0; i < count; i++) CHECK_STATUS(CET_OK, cet_calibration_create(&all[i]));
  CHECK(cet_live_handle_count() == count);
  for (i = 0; i < count; i++) cet_calibration_free(all[i]);
  CHECK(cet_live_handle_count() == 0);
}

static void getters(void) {
  cet_bit_plan *plan = make_plan(), *again = NULL;
  cet_plan_tensor tensor;
  cet_plan_summary summary;
  size_t index = 99;
  char *json = NULL, *second = NULL;

  CHECK(cet_plan_tensor_count(plan) == 2);
  CHECK_STATUS(CET_OK, cet_plan_tensor_init(&tensor, sizeof tensor));
  CHECK_STATUS(CET_OK, cet_plan_get_tensor(plan, 0, &tensor));
  CHECK(strcmp(tensor.name, "w") == 0 && strcmp(tensor.reason, "because") == 0);
  CHECK(tensor.rank == 2 && tensor.shape[0] == 4 && tensor.shape[1] == 3 && tensor.parameter_count == 12);
  CHECK(tensor.bits == 4 && tensor.axis == 0 && tensor.block_size == 0 && tensor.decision == CET_DECISION_CHOSEN);
  CHECK(tensor.measured_loss[2] == 0.5 && tensor.measured_loss[4] == 0.125);
  CHECK(tensor.measured_loss[3] != tensor.measured_loss[3] && tensor.curvature_loss[2] != tensor.curvature_loss[2]);
  CHECK(tensor.predicted_loss_change != tensor.predicted_loss_change);
  CHECK_STATUS(CET_OK, cet_plan_get_tensor(plan, 1, &tensor));
  CHECK(tensor.bits == 32 && tensor.axis == -1 && tensor.decision == CET_DECISION_KEPT);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "there are 2", cet_plan_get_tensor(plan, 2, &tensor));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_get_tensor(plan, (size_t)-1, &tensor));
  CHECK_STATUS(CET_OK, cet_plan_find_tensor(plan, "table", &index));
  CHECK(index == 1);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'tabl'", cet_plan_find_tensor(plan, "tabl", &index));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "not UTF-8", cet_plan_find_tensor(plan, "\xff\xfe", &index));

  CHECK_STATUS(CET_OK, cet_plan_summary_init(&summary, sizeof summary));
  CHECK_STATUS(CET_OK, cet_plan_get_summary(plan, &summary));
  CHECK(summary.ratio == 8 && summary.mean_bits == 4 && summary.parameter_count == 12);
  CHECK(summary.code_bytes == 6 && summary.stored_bytes == 26 && summary.file_bytes == 900 && summary.model_bytes == 4096);
  CHECK(summary.method == CET_METHOD_CET && summary.loss == CET_LOSS_KL && summary.encoding == CET_ENCODING_QDQ);
  CHECK(summary.rounding == CET_ROUNDING_NEAREST && summary.granularity == CET_GRANULARITY_PER_AXIS);
  CHECK(summary.seed == UINT64_MAX && summary.samples == 7 && summary.predicted_loss_change == 0.25);
  CHECK(summary.measured_loss_change != summary.measured_loss_change);
  CHECK(strlen(summary.model_sha256) == 64 && strcmp(summary.library_version, "0.1.0") == 0);

  CHECK_STATUS(CET_OK, cet_plan_to_json(plan, &json));
  CHECK_STATUS(CET_OK, cet_plan_from_json(json, &again));
  CHECK_STATUS(CET_OK, cet_plan_to_json(again, &second));
  CHECK(json != NULL && second != NULL && strcmp(json, second) == 0);
  cet_free(json);
  cet_free(second);
  cet_plan_free(again);
  cet_plan_free(plan);
}

/* Structs as older and newer programs have them. */
static void struct_sizes(void) {
  cet_bit_plan *plan = make_plan();
  union {
    cet_plan_summary known;
    unsigned char bytes[sizeof(cet_plan_summary) + 64];
  } box;
  union {
    cet_save_options known;
    unsigned char bytes[64];
  } newer;
  size_t i;

  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_summary_init(NULL, sizeof box.known));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_summary_init(&box.known, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_summary_init(&box.known, 12));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_summary_init(&box.known, (size_t)-8));

  /* Shorter: filled up to its end and not beyond. */
  memset(&box, 0xA5, sizeof box);
  CHECK_STATUS(CET_OK, cet_plan_summary_init(&box.known, 40));
  CHECK(box.known.struct_size == 40);
  CHECK_STATUS(CET_OK, cet_plan_get_summary(plan, &box.known));
  CHECK(box.known.struct_size == 40 && box.known.ratio == 8);
  for (i = 40; i < sizeof box; i++) CHECK(box.bytes[i] == 0xA5);

  /* Longer: what the library does not know is 0. */
  memset(&box, 0xA5, sizeof box);
  box.known.struct_size = sizeof box;
  CHECK_STATUS(CET_OK, cet_plan_get_summary(plan, &box.known));
  CHECK(box.known.struct_size == sizeof box && box.known.samples == 7);
  for (i = sizeof box.known; i < sizeof box; i++) CHECK(box.bytes[i] == 0);

  /* Not initialised. */
  box.known.struct_size = 0;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "struct_size is 0", cet_plan_get_summary(plan, &box.known));
  box.known.struct_size = 0xA5A5A5A5u;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_get_summary(plan, &box.known));
  box.known.struct_size = 44;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_get_summary(plan, &box.known));

  /* Options longer than known are fine as long as the rest is 0. */
  memset(&newer, 0, sizeof newer);
  newer.known.struct_size = sizeof newer;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "handle is NULL", cet_quantized_save_file(NULL, "x", &newer.known));
  cet_plan_free(plan);
}

static void broken_json(void) {
  static const char *const broken[] = {"", "{", "[]", "null", "{}", "{\"format\":\"cet-plan\"}", "\xff", "{\"format\":1}"};
  size_t i, length = strlen(plan_json);
  char *text = malloc(length + 1);
  for (i = 0; i < sizeof broken / sizeof *broken; i++) {
    cet_bit_plan *plan = (cet_bit_plan *)text;
    CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_from_json(broken[i], &plan));
    CHECK(plan == NULL);
  }
  for (i = 0; i < length; i++) { /* cut anywhere */
    cet_bit_plan *plan = NULL;
    memcpy(text, plan_json, i);
    text[i] = '\0';
    CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_from_json(text, &plan));
  }
  for (i = 0; i < length; i++) { /* one byte changed: a status, whichever */
    cet_bit_plan *plan = NULL;
    memcpy(text, plan_json, length + 1);
    text[i] = (char)(text[i] == '9' ? '-' : '9');
    (void)cet_plan_from_json(text, &plan);
    cet_plan_free(plan);
  }
  free(text);
}

int main(void) {
  wrong_handles();
  many_handles();
  getters();
  struct_sizes();
  broken_json();
  CHECK(cet_live_handle_count() == 0);
  return check_result("handles");
}
