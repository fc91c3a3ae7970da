/* A session file: read, planned from, written and read again to the same plan, and a plan carried out. */
#include "folder.h"
#include "linear.h"
#include "record.h"

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count, (void)arguments;
  fuzz_make_folder("session");
  fuzz_load_model();
  return 0;
}

/* Four bits a weight, as JSON; NULL where there is no such plan. */
static char *planned(cet_session *session, cet_bit_plan **plan) {
  cet_plan_options options;
  char *json = NULL;
  cet_plan_options_init(&options, sizeof options);
  options.target_bits = 4;
  options.max_memory = FUZZ_MEMORY;
  if (FUZZ(cet_session_plan(session, &options, plan)) != CET_OK) return NULL;
  fuzz_read_plan(*plan);
  FUZZ(cet_plan_to_json(*plan, &json));
  return json;
}

static void carry_out(cet_session *session, const cet_bit_plan *plan) {
  cet_quantize_options options;
  cet_quantized *quantized = NULL;
  cet_quantize_options_init(&options, sizeof options);
  options.threads = 1;
  options.max_memory = FUZZ_MEMORY;
  if (FUZZ(cet_session_quantize(session, plan, &options, &quantized)) == CET_OK) cet_quantized_free(quantized);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  cet_session *session = NULL, *again = NULL;
  cet_bit_plan *plan = NULL, *other = NULL;
  char *json = NULL, *second = NULL;
  fuzz_write(data, size);
  if (FUZZ(cet_session_load(model, fuzz_path, &session)) == CET_OK) {
    cet_session_sample_count(session);
    json = planned(session, &plan);
    if (FUZZ(cet_session_save(session, fuzz_path)) != CET_OK || FUZZ(cet_session_load(model, fuzz_path, &again)) != CET_OK)
      fuzz_defect("the session that was written", CET_IO, cet_last_error_message());
    second = planned(again, &other);
    if ((json == NULL) != (second == NULL) || (json != NULL && strcmp(json, second) != 0))
      fuzz_defect("a plan of the session that was written", CET_OK, second);
    if (plan != NULL) carry_out(session, plan);
  }
  cet_free(json);
  cet_free(second);
  cet_plan_free(plan);
  cet_plan_free(other);
  cet_session_free(session);
  cet_session_free(again);
  fuzz_end(1);
  return 0;
}
