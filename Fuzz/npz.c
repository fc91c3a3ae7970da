/* An .npz archive. */
#include "folder.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count, (void)arguments;
  fuzz_make_folder("samples.npz");
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  cet_calibration *calibration = NULL;
  cet_tensor array;
  fuzz_write(data, size);
  if (FUZZ(cet_calibration_load_npz(fuzz_path, &calibration)) == CET_OK) {
    FUZZ(cet_calibration_get_array(calibration, 0, "labels", &array));
    FUZZ(cet_calibration_get_array(calibration, cet_calibration_batch_count(calibration), "x", &array));
    (void)cet_calibration_sample_count(calibration);
    cet_calibration_free(calibration);
  }
  fuzz_end(0);
  return 0;
}
