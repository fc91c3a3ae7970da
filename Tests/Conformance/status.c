/* Status words, the thread's message, NULL in place of every pointer. */
#include "check.h"

#include <pthread.h>

static void status_strings(void) {
  static const cet_status all[] = {
      CET_OK,        CET_INVALID_ARGUMENT,  CET_INVALID_MODEL, CET_UNSUPPORTED_OPERATOR, CET_SHAPE_MISMATCH, CET_NOT_CONVERGED,
      CET_INFEASIBLE_BUDGET, CET_IO, CET_OUT_OF_MEMORY, CET_CANCELLED, CET_NUMERIC, CET_INTERNAL};
  size_t i, j;
  for (i = 0; i < sizeof all / sizeof *all; i++) {
    CHECK(all[i] == -(cet_status)i);
    CHECK(strcmp(cet_status_string(all[i]), "unknown status") != 0);
    for (j = 0; j < i; j++) CHECK(strcmp(cet_status_string(all[i]), cet_status_string(all[j])) != 0);
  }
  CHECK(strcmp(cet_status_string(CET_OK), "ok") == 0);
  CHECK(strcmp(cet_status_string(1), "unknown status") == 0);
  CHECK(strcmp(cet_status_string(-12), "unknown status") == 0);
  CHECK(strcmp(cet_status_string(INT32_MIN), "unknown status") == 0);
  CHECK(strcmp(cet_phase_string(CET_PHASE_STATISTICS), "statistics") == 0);
  CHECK(strcmp(cet_phase_string(CET_PHASE_WRITE), "write") == 0);
  CHECK(strcmp(cet_phase_string(0), "unknown phase") == 0);
  CHECK(cet_status_string(CET_IO) == cet_status_string(CET_IO));
}

static void version(void) {
  char text[32];
  CHECK(cet_version_number() == CET_VERSION_NUMBER);
  sprintf(text, "%d.%d.%d", CET_VERSION_MAJOR, CET_VERSION_MINOR, CET_VERSION_PATCH);
  CHECK(strcmp(cet_version_string(), text) == 0);
}

static void *other_thread(void *context) {
  (void)context;
  CHECK(strcmp(cet_last_error_message(), "") == 0);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load_file(NULL, NULL));
  return NULL;
}

static void message(void) {
  cet_calibration *calibration = NULL;
  char kept[256];
  pthread_t thread;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'calibration' is NULL", cet_calibration_create(NULL));
  strncpy(kept, cet_last_error_message(), sizeof kept - 1);
  kept[sizeof kept - 1] = '\0';
  /* What cannot fail leaves the message alone, and other threads have their own. */
  cet_free(NULL);
  cet_model_free(NULL);
  (void)cet_status_string(CET_IO);
  CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(strcmp(cet_last_error_message(), kept) == 0);
  CHECK_STATUS(CET_OK, cet_calibration_create(&calibration));
  CHECK(strcmp(cet_last_error_message(), "") == 0);
  /* Getters that return a count say why it is 0. */
  CHECK(cet_plan_tensor_count(NULL) == 0);
  CHECK(strstr(cet_last_error_message(), "plan handle is NULL") != NULL);
  CHECK(cet_calibration_sample_count(calibration) == 0);
  CHECK(strcmp(cet_last_error_message(), "") == 0);
  cet_calibration_free(calibration);
}

/* Every function that takes a pointer, with NULL for all of them. */
static void null_arguments(void) {
  cet_calibration *calibration = NULL;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load_file(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load_memory(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_create(NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_add_batch(NULL, NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_load_npz(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_get_array(NULL, 0, NULL, NULL));
  CHECK(cet_calibration_batch_count(NULL) == 0);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan(NULL, NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_get_tensor(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_get_activation(NULL, 0, NULL));
  CHECK(cet_plan_activation_count(NULL) == 0);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_find_tensor(NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_get_summary(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_to_json(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_from_json(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_plan_with_sensitivity(NULL, NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantize(NULL, NULL, NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_get_initializer(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_find_initializer(NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_dequantize(NULL, 0, NULL, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_get_plan(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_get_correction(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_save_file(NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_save_memory(NULL, NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_get_input(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_get_parameter(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_inspect_json(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_run(NULL, NULL, 0, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_run_samples(NULL, NULL, 0, 0, NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_reads_file(NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_outputs_get(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_outputs_find(NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_curvature_create(NULL, NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_curvature_apply(NULL, NULL, NULL, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_curvature_gradient(NULL, NULL, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_curvature_loss(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_curvature_get_parameter(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_eigensolve(NULL, NULL, 0, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_eigensolve_curvature(NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_spectrum_get_info(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_spectrum_get_values(NULL, NULL, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_spectrum_get_residual_norms(NULL, NULL, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_spectrum_get_converged(NULL, NULL, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_spectrum_get_vector(NULL, 0, NULL, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_get_output(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_get_info(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_get_sha256(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_get_opset(NULL, 0, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_get_metadata(NULL, 0, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_build_info_json(NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_run_into(NULL, NULL, 0, NULL, NULL, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_dequantize_as(NULL, 0, CET_FLOAT32, NULL, 0));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_save_state(NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_load_state(NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_tensor_from_dlpack(NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_tensor_from_dlpack_unversioned(NULL, NULL, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_outputs_to_dlpack(NULL, 0, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_quantized_to_dlpack(NULL, 0, CET_FLOAT32, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_executor_init(NULL, sizeof(cet_executor)));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_info_init(NULL, sizeof(cet_model_info)));
  CHECK(cet_model_output_count(NULL) == 0 && cet_model_opset_count(NULL) == 0 && cet_model_metadata_count(NULL) == 0);
  CHECK(cet_model_input_count(NULL) == 0 && cet_model_parameter_count(NULL) == 0);
  CHECK(cet_plan_tensor_count(NULL) == 0 && cet_quantized_initializer_count(NULL) == 0);
  CHECK(cet_quantized_correction_count(NULL) == 0 && cet_outputs_count(NULL) == 0);
  CHECK(cet_curvature_dimension(NULL) == 0 && cet_curvature_parameter_count(NULL) == 0);
  CHECK(cet_spectrum_count(NULL) == 0 && cet_calibration_sample_count(NULL) == 0);
  cet_model_free(NULL);
  cet_calibration_free(NULL);
  cet_plan_free(NULL);
  cet_quantized_free(NULL);
  cet_curvature_free(NULL);
  cet_spectrum_free(NULL);
  cet_outputs_free(NULL);
  cet_free(NULL);
  CHECK_STATUS(CET_OK, cet_calibration_create(&calibration));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_add_batch(calibration, NULL, 1, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_add_batch(calibration, NULL, 0, NULL));
  cet_calibration_free(calibration);
}

int main(void) {
  status_strings();
  version();
  message();
  null_arguments();
  CHECK(cet_live_handle_count() == 0);
  return check_result("status");
}
