/* A spectrum file: read, every getter, written again; and the state file of an eigensolve, which goes on from it or refuses
   it. */
#include "folder.h"
#include "fuzz.h"
#include "record.h"

static int32_t apply(const float *v, float *result, size_t n, void *user_data) {
  size_t i;
  (void)user_data;
  for (i = 0; i < n; i++) result[i] = (float)(i + 1) * v[i];
  return 0;
}

static void read_spectrum(const cet_spectrum *spectrum) {
  cet_spectrum_info info;
  size_t count = cet_spectrum_count(spectrum);
  double *values = malloc(count * sizeof *values + 1);
  uint8_t *converged = malloc(count + 1);
  float *vector;
  cet_spectrum_info_init(&info, sizeof info);
  FUZZ(cet_spectrum_get_info(spectrum, &info));
  FUZZ(cet_spectrum_get_values(spectrum, values, count));
  FUZZ(cet_spectrum_get_residual_norms(spectrum, values, count));
  FUZZ(cet_spectrum_get_converged(spectrum, converged, count));
  if (info.dimension < 1 << 20 && (vector = malloc(info.dimension * sizeof *vector + 1)) != NULL) {
    size_t i;
    for (i = 0; i < count && i < 16; i++) FUZZ(cet_spectrum_get_vector(spectrum, i, vector, info.dimension));
    free(vector);
  }
  free(values);
  free(converged);
}

static void solve(size_t n, const char *state, const cet_spectrum *initial) {
  cet_eigensolve_options options;
  cet_spectrum *spectrum = NULL;
  cet_eigensolve_options_init(&options, sizeof options);
  options.threads = 1;
  options.count = 2;
  options.krylov_dimension = 6;
  options.max_applies = 12;
  options.max_memory = 1 << 20;
  options.state_path = state;
  options.initial = initial;
  options.fingerprint = "fuzz";
  if (FUZZ(cet_eigensolve(apply, NULL, n, &options, &spectrum)) == CET_OK) cet_spectrum_free(spectrum);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count, (void)arguments;
  fuzz_make_folder("spectrum");
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  cet_spectrum *spectrum = NULL;
  fuzz_write(data, size);
  if (FUZZ(cet_spectrum_load_file(fuzz_path, &spectrum)) == CET_OK) {
    read_spectrum(spectrum);
    solve(40, NULL, spectrum);
    FUZZ(cet_spectrum_save_file(spectrum, fuzz_path));
    cet_spectrum_free(spectrum);
    if (FUZZ(cet_spectrum_load_file(fuzz_path, &spectrum)) != CET_OK)
      fuzz_defect("the spectrum that was written", CET_IO, cet_last_error_message());
    cet_spectrum_free(spectrum);
    fuzz_write(data, size);
  }
  solve(40, fuzz_path, NULL);
  fuzz_end(0);
  return 0;
}
