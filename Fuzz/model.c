/* A model file: read, listed and inspected. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  cet_model *model = NULL;
  cet_value_info input;
  cet_parameter_info parameter;
  char *json = NULL;
  size_t i;
  if (FUZZ(cet_model_load_memory(data, size, &model)) != CET_OK) return 0;
  cet_value_info_init(&input, sizeof input);
  cet_parameter_info_init(&parameter, sizeof parameter);
  for (i = 0; i < cet_model_input_count(model); i++) FUZZ(cet_model_get_input(model, i, &input));
  for (i = 0; i < cet_model_parameter_count(model); i++) FUZZ(cet_model_get_parameter(model, i, &parameter));
  if (FUZZ(cet_model_inspect_json(model, &json)) == CET_OK) cet_free(json);
  cet_model_free(model);
  fuzz_end(0);
  return 0;
}
