/* A model from end to end: inspected, run on inputs of the sizes that it names, planned from the same inputs as samples,
   carried out, written and read again. */
#include "fuzz.h"

enum { MOST_INPUTS = 8, MOST_ELEMENTS = 4096, SAMPLES = 2 };

static uint64_t element_size(cet_element_type type) {
  switch (type) {
    case CET_FLOAT32: case CET_INT32: case CET_UINT32: return 4;
    case CET_FLOAT64: case CET_INT64: case CET_UINT64: return 8;
    case CET_FLOAT16: case CET_INT16: case CET_UINT16: return 2;
    case CET_INT8: case CET_UINT8: case CET_BOOL: return 1;
    default: return 0;
  }
}

/* Small numbers of the type: 0 and 1 of integers, which are indices as well. */
static void fill(void *data, cet_element_type type, uint64_t count) {
  uint64_t i;
  for (i = 0; i < count; i++) {
    switch (type) {
      case CET_FLOAT32: ((float *)data)[i] = (float)(i % 17) / 8 - 1; break;
      case CET_FLOAT64: ((double *)data)[i] = (double)(i % 17) / 8 - 1; break;
      case CET_FLOAT16: ((uint16_t *)data)[i] = (uint16_t)(0x3c00 + i % 17); break;
      case CET_INT16: case CET_UINT16: ((uint16_t *)data)[i] = i % 2; break;
      case CET_INT32: case CET_UINT32: ((uint32_t *)data)[i] = i % 2; break;
      case CET_INT64: case CET_UINT64: ((uint64_t *)data)[i] = i % 2; break;
      default: ((uint8_t *)data)[i] = i % 2; break;
    }
  }
}

/* The array for an input; 0 when none of a fair size suits it. */
static int feed(const cet_value_info *info, cet_tensor *tensor, int64_t *shape) {
  uint64_t count = 1, size = element_size(info->element_type);
  uint32_t axis;
  void *data;
  if (size == 0 || info->rank > 8) return 0;
  for (axis = 0; axis < info->rank; axis++) {
    shape[axis] = info->shape[axis] < 0 ? SAMPLES : info->shape[axis];
    if ((uint64_t)shape[axis] > MOST_ELEMENTS || (count *= (uint64_t)shape[axis]) > MOST_ELEMENTS) return 0;
  }
  if ((data = malloc(count * size + 1)) == NULL) abort();
  fill(data, info->element_type, count);
  tensor->name = info->name, tensor->data = data, tensor->byte_size = count * size, tensor->shape = shape;
  tensor->rank = info->rank, tensor->element_type = info->element_type;
  return 1;
}

static void compress(const cet_model *model, const cet_calibration *calibration) {
  cet_plan_options options;
  cet_quantize_options rounding;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_model *written = NULL;
  void *bytes = NULL;
  size_t size;
  cet_plan_options_init(&options, sizeof options);
  options.threads = 1, options.target_bits = 6, options.bits = CET_BITS(4) | CET_BITS(8), options.max_memory = FUZZ_MEMORY;
  options.effort = CET_EFFORT_LOW;
  cet_quantize_options_init(&rounding, sizeof rounding);
  rounding.threads = 1, rounding.max_memory = FUZZ_MEMORY;
  if (FUZZ(cet_plan(model, calibration, &options, &plan)) == CET_OK) {
    fuzz_read_plan(plan);
    if (FUZZ(cet_quantize(model, calibration, plan, &rounding, &quantized)) == CET_OK &&
        FUZZ(cet_quantized_save_memory(quantized, NULL, &bytes, &size)) == CET_OK &&
        FUZZ(cet_model_load_memory(bytes, size, &written)) != CET_OK)
      fuzz_defect("the model that was written", CET_INVALID_MODEL, cet_last_error_message());
  }
  cet_model_free(written);
  cet_free(bytes);
  cet_quantized_free(quantized);
  cet_plan_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  cet_model *model = NULL;
  cet_calibration *calibration = NULL;
  cet_outputs *outputs = NULL;
  cet_run_options options;
  cet_value_info info;
  cet_tensor inputs[MOST_INPUTS], output;
  int64_t shapes[MOST_INPUTS][8];
  char *json = NULL;
  size_t count, fed = 0, i;
  if (FUZZ(cet_model_load_memory(data, size, &model)) != CET_OK) return 0;
  cet_value_info_init(&info, sizeof info);
  cet_run_options_init(&options, sizeof options);
  options.threads = 1;
  if (FUZZ(cet_model_inspect_json(model, &json)) == CET_OK) cet_free(json);
  if ((count = cet_model_input_count(model)) <= MOST_INPUTS)
    while (fed < count && FUZZ(cet_model_get_input(model, fed, &info)) == CET_OK && feed(&info, &inputs[fed], shapes[fed])) fed++;
  if (fed == count) {
    if (FUZZ(cet_run(model, inputs, count, &options, &outputs)) == CET_OK)
      for (i = 0; i < cet_outputs_count(outputs); i++) FUZZ(cet_outputs_get(outputs, i, &output));
    cet_outputs_free(outputs);
    FUZZ(cet_calibration_create(&calibration));
    if (FUZZ(cet_calibration_add_batch(calibration, inputs, count, NULL)) == CET_OK) compress(model, calibration);
    cet_calibration_free(calibration);
  }
  for (i = 0; i < fed; i++) free((void *)inputs[i].data);
  cet_model_free(model);
  fuzz_end(0);
  return 0;
}
