/* What every fuzzer checks of every call: a status of the header, a message of one line exactly when it is a failure, and no
   CET_INTERNAL. A defect ends the process, so that libFuzzer keeps the input. */
#ifndef FUZZ_H
#define FUZZ_H

#include <cet/cet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that a call may hold where it has an option for that. */
enum { FUZZ_MEMORY = 64 << 20 };

static inline void fuzz_defect(const char *call, cet_status status, const char *said) {
  fprintf(stderr, "defect: %s: status %d, message \"%s\"\n", call, (int)status, said);
  abort();
}

static inline cet_status fuzz_checked(cet_status status, const char *call) {
  const char *said = cet_last_error_message();
  if (status > CET_OK || status <= CET_INTERNAL || (said[0] != '\0') != (status != CET_OK) || strchr(said, '\n') != NULL)
    fuzz_defect(call, status, said);
  return status;
}

/* The status of a call, checked. */
#define FUZZ(call) fuzz_checked(call, #call)

/* At the end of an input: everything was freed. */
static inline void fuzz_end(uint64_t handles) {
  if (cet_live_handle_count() != handles) fuzz_defect("cet_live_handle_count", (cet_status)cet_live_handle_count(), "");
}

/* Plans, as far as a plan goes without data: every tensor, every note, JSON and back. */
static inline void fuzz_read_plan(const cet_bit_plan *plan) {
  cet_plan_summary summary;
  cet_plan_tensor tensor;
  const char *note;
  size_t i;
  cet_plan_summary_init(&summary, sizeof summary);
  cet_plan_tensor_init(&tensor, sizeof tensor);
  FUZZ(cet_plan_get_summary(plan, &summary));
  for (i = 0; i < cet_plan_tensor_count(plan); i++) {
    size_t found;
    FUZZ(cet_plan_get_tensor(plan, i, &tensor));
    FUZZ(cet_plan_find_tensor(plan, tensor.name, &found));
  }
  for (i = 0; i < cet_plan_note_count(plan); i++) FUZZ(cet_plan_get_note(plan, i, &note));
}

#endif
