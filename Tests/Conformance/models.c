/* Bytes that are no model, or a damaged one: always a status, never a crash. */
#include "check.h"
#include "model.h"

#include <stdlib.h>

static int accepted;

static void load(const void *data, size_t size) {
  cet_model *model = (cet_model *)&model;
  cet_status status = cet_model_load_memory(data, size, &model);
  CHECK((status == CET_OK) == (model != NULL));
  CHECK((status == CET_OK) == (cet_last_error_message()[0] == '\0'));
  if (model != NULL) { /* what was accepted can be looked at and run, or is refused then */
    static const float x[24];
    static const int64_t shape[2] = {2, 12};
    cet_tensor in = {"x", x, sizeof x, shape, 2, CET_FLOAT32};
    cet_outputs *outputs = NULL;
    char *json = NULL;
    CHECK((cet_model_inspect_json(model, &json) == CET_OK) == (json != NULL));
    CHECK((cet_run(model, &in, 1, NULL, &outputs) == CET_OK) == (outputs != NULL));
    accepted += outputs != NULL;
    cet_free(json);
    cet_outputs_free(outputs);
  }
  cet_model_free(model);
}

int main(void) {
  static buffer whole;
  cet_model *model = NULL;
  unsigned char *copy;
  uint32_t state = 11;
  size_t i;

  CHECK_STATUS(CET_IO, cet_model_load_file("/nonexistent/model.onnx", &model));
  CHECK_STATUS(CET_IO, cet_model_load_file("/", &model));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load_file("\xff", &model));
  CHECK_STATUS(CET_INVALID_MODEL, cet_model_load_memory("", 0, &model));
  CHECK_STATUS(CET_INVALID_MODEL, cet_model_load_memory("this is text, not a model", 25, &model));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load_memory(NULL, 10, &model));
  CHECK(model == NULL);

  make_model(&whole);
  CHECK_STATUS(CET_OK, cet_model_load_memory(whole.bytes, whole.size, &model));
  cet_model_free(model);

  copy = malloc(whole.size); /* of the exact size, so that memory checkers see reads past the end */
  for (i = 0; i < whole.size; i += 1 + whole.size / 500) { /* cut */
    unsigned char *cut = malloc(i + 1);
    memcpy(cut, whole.bytes, i);
    load(cut, i);
    free(cut);
  }
  for (i = 0; i < 3000; i++) { /* changed in one to three places */
    int changes = 1 + (int)(i % 3);
    memcpy(copy, whole.bytes, whole.size);
    while (changes--) {
      state = state * 1664525u + 1013904223u;
      copy[(state >> 8) % whole.size] = (unsigned char)(state >> 3);
    }
    load(copy, whole.size);
  }
  free(copy);
  CHECK(accepted > 100);
  CHECK(cet_live_handle_count() == 0);
  return check_result("models");
}
