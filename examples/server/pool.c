#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ok(cet_status status) {
  if (status)
    fprintf(stderr, "libcet: %s\n", cet_last_error_message());
  return !status;
}

bool pool_open(pool *samples, const cet_model *model, const char *archive) {
  cet_calibration *data = NULL;
  cet_value_info input;
  cet_tensor supplied;
  cet_value_info_init(&input, sizeof input);
  if (!ok(cet_model_get_input(model, 0, &input)) || !ok(cet_calibration_load_npz(archive, &data)) ||
      !ok(cet_calibration_get_array(data, 0, input.name, &supplied))) {
    cet_calibration_free(data);
    return false;
  }
  bool fits = input.rank > 0 && input.rank <= POOL_RANK && supplied.rank == input.rank && supplied.element_type == CET_FLOAT32;
  samples->count = samples->shape[0] = 1;
  for (uint32_t axis = 1; fits && axis < input.rank; axis++) {
    fits = input.shape[axis] == supplied.shape[axis];
    samples->count *= (size_t)(samples->shape[axis] = supplied.shape[axis]);
  }
  if (!fits)
    fprintf(stderr, "serve: input '%s' or its samples are not float32 of fixed sizes behind axis 0\n", input.name);
  samples->input = input.name;
  samples->rank = input.rank;
  if (fits && (samples->numbers = calloc(POOL_SIZE + 1, samples->count * sizeof(float)))) {
    samples->filled = supplied.shape[0] < POOL_SIZE ? (size_t)supplied.shape[0] : POOL_SIZE;
    memcpy(samples->numbers, supplied.data, samples->filled * samples->count * sizeof(float));
  }
  cet_calibration_free(data);
  return samples->numbers;
}

const float *pool_read(pool *samples, const char *text) {
  float *sample = samples->numbers + POOL_SIZE * samples->count;
  char *end;
  for (size_t i = 0; i < samples->count; i++, text = end) {
    sample[i] = strtof(text, &end);
    if (end == text || sample[i] - sample[i] != 0) /* no number, or infinite */
      return NULL;
  }
  if (text[strspn(text, " \r\n")])
    return NULL;
  size_t place = samples->filled < POOL_SIZE ? samples->filled++ : samples->gathered++ % POOL_SIZE;
  return memcpy(samples->numbers + place * samples->count, sample, samples->count * sizeof(float));
}

bool pool_copy(const pool *samples, cet_calibration **data) {
  int64_t shape[POOL_RANK];
  memcpy(shape, samples->shape, sizeof shape);
  shape[0] = (int64_t)samples->filled;
  cet_tensor batch = {samples->input, samples->numbers, samples->filled * samples->count * sizeof(float), shape,
                      samples->rank, CET_FLOAT32};
  return ok(cet_calibration_create(data)) && ok(cet_calibration_add_batch(*data, &batch, 1, NULL));
}

void pool_close(pool *samples) {
  free(samples->numbers);
}
