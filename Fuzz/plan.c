/* A plan document: read, written, read again to the same document, planned again for another budget and carried out. */
#include "linear.h"

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count, (void)arguments;
  fuzz_load_model();
  return 0;
}

static void carry_out(const cet_bit_plan *plan) {
  cet_quantize_options options;
  cet_quantized *quantized = NULL;
  void *bytes = NULL;
  size_t size;
  cet_quantize_options_init(&options, sizeof options);
  options.threads = 1;
  options.rounding = CET_ROUNDING_NEAREST;
  options.max_memory = FUZZ_MEMORY;
  if (FUZZ(cet_quantize(model, NULL, plan, &options, &quantized)) != CET_OK) return;
  if (FUZZ(cet_quantized_save_memory(quantized, NULL, &bytes, &size)) == CET_OK) cet_free(bytes);
  cet_quantized_free(quantized);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  cet_bit_plan *plan = NULL, *again = NULL, *other = NULL;
  cet_plan_options options;
  char *json = NULL, *second = NULL, *text = malloc(size + 1);
  memcpy(text, data, size);
  text[size] = '\0';
  if (FUZZ(cet_plan_from_json(text, &plan)) == CET_OK) {
    fuzz_read_plan(plan);
    if (FUZZ(cet_plan_to_json(plan, &json)) == CET_OK) {
      if (FUZZ(cet_plan_from_json(json, &again)) != CET_OK) fuzz_defect("the document that was written", CET_OK, json);
      if (FUZZ(cet_plan_to_json(again, &second)) != CET_OK || strcmp(json, second) != 0)
        fuzz_defect("the document that was written, read and written", CET_OK, second);
    }
    cet_plan_options_init(&options, sizeof options);
    options.target_ratio = 9;
    if (FUZZ(cet_plan_with_sensitivity(model, plan, &options, &other)) == CET_OK) {
      fuzz_read_plan(other);
      carry_out(other);
    }
    carry_out(plan);
  }
  free(text);
  cet_free(json);
  cet_free(second);
  cet_plan_free(plan);
  cet_plan_free(again);
  cet_plan_free(other);
  fuzz_end(1);
  return 0;
}
