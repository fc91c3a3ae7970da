/* A folder with one .npy file, which no checksum protects. */
#include "folder.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count, (void)arguments;
  fuzz_make_folder("x.npy");
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  cet_calibration *calibration = NULL;
  cet_tensor array;
  fuzz_write(data, size);
  if (FUZZ(cet_calibration_load_npz(fuzz_folder, &calibration)) == CET_OK) {
    if (FUZZ(cet_calibration_get_array(calibration, 0, "x", &array)) == CET_OK && array.byte_size > 0) {
      /* AddressSanitizer sees whether all of it is there. */
      volatile uint8_t last = ((const uint8_t *)array.data)[array.byte_size - 1];
      (void)last;
    }
    cet_calibration_free(calibration);
  }
  fuzz_end(0);
  return 0;
}
