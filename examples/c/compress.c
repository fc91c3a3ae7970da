/*
 * Compresses an ONNX model from C.
 *
 *   cc -std=c99 compress.c $(pkg-config --cflags --libs cet) -o compress
 *   ./compress model.onnx calibration.npz 11 model.cet.onnx
 */
#include <cet/cet.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int32_t show_progress(cet_phase phase, uint64_t done, uint64_t total, void *user_data)
{
  (void)user_data;
  if (done == total)
    fprintf(stderr, "%s done\n", cet_phase_string(phase));
  return 0; /* anything else cancels the call */
}

static void print_shape(const cet_plan_tensor *tensor)
{
  char text[256] = "";
  size_t used = 0;
  for (uint32_t axis = 0; axis < tensor->rank && used < sizeof text; axis++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s%" PRId64, axis ? "x" : "", tensor->shape[axis]);
  printf("%14s", text);
}

static cet_status print_plan(const cet_bit_plan *plan)
{
  cet_status status = CET_OK;
  size_t count = cet_plan_tensor_count(plan);
  printf("%-28s %14s %5s %12s %12s\n", "tensor", "shape", "bits", "bytes", "loss change");
  for (size_t index = 0; index < count && status == CET_OK; index++) {
    cet_plan_tensor tensor;
    cet_plan_tensor_init(&tensor, sizeof tensor);
    status = cet_plan_get_tensor(plan, index, &tensor);
    if (status != CET_OK)
      break;
    printf("%-28s ", tensor.name);
    print_shape(&tensor);
    printf(" %5d %12" PRIu64 " %12.2e\n", (int)tensor.bits, tensor.stored_bytes, tensor.predicted_loss_change);
  }
  return status;
}

static cet_status print_summary(const cet_quantized *quantized)
{
  cet_bit_plan *plan = NULL;
  cet_plan_summary summary;
  cet_status status = cet_quantized_get_plan(quantized, &plan);
  cet_plan_summary_init(&summary, sizeof summary);
  if (status == CET_OK)
    status = cet_plan_get_summary(plan, &summary);
  if (status == CET_OK) {
    printf("%" PRIu64 " bytes -> %" PRIu64 " bytes, ratio %.2f, loss change %.2e predicted, %.2e measured\n",
           summary.model_bytes, summary.file_bytes, summary.ratio, summary.predicted_loss_change,
           summary.measured_loss_change);
  }
  cet_plan_free(plan);
  return status;
}

int main(int argc, char **argv)
{
  cet_model *model = NULL;
  cet_calibration *data = NULL;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_plan_options options;
  cet_quantize_options how;
  cet_status status;

  if (argc != 5 || !(atof(argv[3]) > 0)) {
    fprintf(stderr, "usage: %s MODEL.onnx CALIBRATION.npz RATIO OUT.onnx (RATIO is a positive number)\n", argv[0]);
    return 2;
  }
  cet_plan_options_init(&options, sizeof options);
  options.target_ratio = atof(argv[3]);
  options.progress = show_progress;
  cet_quantize_options_init(&how, sizeof how);
  how.progress = show_progress;

  status = cet_model_load_file(argv[1], &model);
  if (status == CET_OK)
    status = cet_calibration_load_npz(argv[2], &data);
  if (status == CET_OK)
    status = cet_plan(model, data, &options, &plan);
  if (status == CET_OK)
    status = print_plan(plan);
  if (status == CET_OK)
    status = cet_quantize(model, data, plan, &how, &quantized);
  if (status == CET_OK)
    status = print_summary(quantized);
  if (status == CET_OK)
    status = cet_quantized_save_file(quantized, argv[4], NULL);
  if (status != CET_OK)
    fprintf(stderr, "%s: %s\n", cet_status_string(status), cet_last_error_message());

  cet_quantized_free(quantized);
  cet_plan_free(plan);
  cet_calibration_free(data);
  cet_model_free(model);
  return status == CET_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
