/* Calibration samples from memory and from files. argv[1]: the folder of fixtures. */
#include "check.h"

#include <math.h>

static cet_tensor tensor(const char *name, const void *data, size_t bytes, const int64_t *shape, uint32_t rank,
                         cet_element_type type) {
  cet_tensor result;
  result.name = name;
  result.data = data;
  result.byte_size = bytes;
  result.shape = shape;
  result.rank = rank;
  result.element_type = type;
  return result;
}

static void batches(void) {
  cet_calibration *calibration = NULL;
  float values[12] = {0};
  int64_t shape[2] = {4, 3}, three[1] = {3}, four[1] = {4}, negative[2] = {-4, 3}, huge[2] = {INT64_MAX, INT64_MAX};
  int32_t labels[4] = {0, 1, 2, 1}, bad_labels[4] = {0, 1, -2, 1};
  cet_tensor x = tensor("x", values, sizeof values, shape, 2, CET_FLOAT32), bad = x, two[2];
  cet_tensor y = tensor(NULL, labels, sizeof labels, four, 1, CET_INT32);

  CHECK_STATUS(CET_OK, cet_calibration_create(&calibration));
  bad.name = NULL;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "inputs[0].name", cet_calibration_add_batch(calibration, &bad, 1, NULL));
  bad = x, bad.data = NULL;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'x' has data NULL", cet_calibration_add_batch(calibration, &bad, 1, NULL));
  bad = x, bad.shape = NULL;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_add_batch(calibration, &bad, 1, NULL));
  bad = x, bad.byte_size = 47;
  CHECK_MESSAGE(CET_SHAPE_MISMATCH, "needs 48", cet_calibration_add_batch(calibration, &bad, 1, NULL));
  bad = x, bad.shape = negative;
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_calibration_add_batch(calibration, &bad, 1, NULL));
  bad = x, bad.shape = huge;
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_calibration_add_batch(calibration, &bad, 1, NULL));
  bad = x, bad.rank = 0xFFFFFFFFu;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_add_batch(calibration, &bad, 1, NULL));
  bad = x, bad.element_type = 8;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "element type 8", cet_calibration_add_batch(calibration, &bad, 1, NULL));
  bad.element_type = -1;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_add_batch(calibration, &bad, 1, NULL));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_add_batch(calibration, &x, (size_t)-1, NULL));
  two[0] = x, two[1] = x;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "appears twice", cet_calibration_add_batch(calibration, two, 2, NULL));
  two[1] = tensor("z", labels, 12, three, 1, CET_INT32);
  CHECK_MESSAGE(CET_SHAPE_MISMATCH, "expected 4 samples", cet_calibration_add_batch(calibration, two, 2, NULL));
  values[7] = (float)NAN;
  CHECK_MESSAGE(CET_NUMERIC, "sample 2, position [1]", cet_calibration_add_batch(calibration, &x, 1, NULL));
  values[7] = (float)-INFINITY;
  CHECK_STATUS(CET_NUMERIC, cet_calibration_add_batch(calibration, &x, 1, NULL));
  values[7] = 0;
  y.data = bad_labels;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "label -2 of sample 2", cet_calibration_add_batch(calibration, &x, 1, &y));
  y.data = labels;
  CHECK(cet_calibration_sample_count(calibration) == 0);
  CHECK_STATUS(CET_OK, cet_calibration_add_batch(calibration, &x, 1, &y));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "batch 0 has some", cet_calibration_add_batch(calibration, &x, 1, NULL));
  CHECK_STATUS(CET_OK, cet_calibration_add_batch(calibration, &x, 1, &y));
  CHECK(cet_calibration_sample_count(calibration) == 8 && cet_calibration_batch_count(calibration) == 2);
  CHECK_STATUS(CET_OK, cet_calibration_get_array(calibration, 1, "x", &bad));
  CHECK(bad.rank == 2 && bad.shape[1] == 3 && bad.byte_size == sizeof values && memcmp(bad.data, values, sizeof values) == 0);
  CHECK_STATUS(CET_OK, cet_calibration_get_array(calibration, 0, "labels", &bad));
  CHECK(bad.element_type == CET_INT64 && ((const int64_t *)bad.data)[2] == 2);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "'y'", cet_calibration_get_array(calibration, 0, "y", &bad));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_calibration_get_array(calibration, 2, "x", &bad));
  cet_calibration_free(calibration);
}

static void files(const char *folder) {
  static const struct {
    const char *name;
    cet_status status;
    uint64_t samples;
  } cases[] = {{"npz/types.npz", CET_OK, 2},    {"npz/types_compressed.npz", CET_OK, 2}, {"npz/mixed.npz", CET_OK, 2},
               {"npz/folder", CET_OK, 2},       {"npz/none.npz", CET_IO, 0},             {"npz/make.py", CET_IO, 0},
               {".", CET_INVALID_ARGUMENT, 0}};
  char path[4096];
  size_t i;
  for (i = 0; i < sizeof cases / sizeof *cases; i++) {
    cet_calibration *calibration = (cet_calibration *)path;
    CHECK((size_t)snprintf(path, sizeof path, "%s/%s", folder, cases[i].name) < sizeof path);
    CHECK_STATUS(cases[i].status, cet_calibration_load_npz(path, &calibration));
    if (cases[i].status != CET_OK) {
      CHECK(calibration == NULL);
      continue;
    }
    CHECK(cet_calibration_sample_count(calibration) == cases[i].samples);
    CHECK_MESSAGE(CET_INVALID_ARGUMENT, "a file", cet_calibration_add_batch(calibration, NULL, 0, NULL));
    cet_calibration_free(calibration);
  }
}

int main(int argc, char **argv) {
  batches();
  if (argc > 1) files(argv[1]);
  CHECK(cet_live_handle_count() == 0);
  return check_result("calibration");
}
