/*
 * A host with an OpenBLAS, oneDNN, OpenMP and zlib of its own, loaded before ours: functions of their names that end the
 * process. A library with private copies (the tarball's, the wheel's) calls none of them. Linked with -rdynamic.
 * arguments: the folder of fixtures
 */
#include <cet/cet.h>

#include <stdio.h>
#include <stdlib.h>

#define TRAP(name)                                           \
  void name(void);                                           \
  void name(void) {                                          \
    fputs("the host's " #name " was called\n", stderr);      \
    _Exit(99);                                               \
  }
TRAP(cblas_sgemm) TRAP(cblas_dgemm) TRAP(cblas_ssyrk) TRAP(cblas_dsyrk) TRAP(cblas_ddot) TRAP(sgemm_) TRAP(dgemm_) TRAP(dgemv_)
TRAP(dtrsm_) TRAP(dpotrf_) TRAP(dsyevr_) TRAP(dsteqr_) TRAP(openblas_set_num_threads) TRAP(omp_set_num_threads)
TRAP(omp_get_max_threads) TRAP(GOMP_parallel) TRAP(dnnl_engine_create) TRAP(dnnl_primitive_execute) TRAP(inflate)
TRAP(inflateInit2_) TRAP(inflateEnd) TRAP(crc32)

static int32_t diagonal(const float *v, float *result, size_t n, void *user_data) {
  size_t i;
  (void)user_data;
  for (i = 0; i < n; i++) result[i] = (float)i * v[i];
  return 0;
}

int main(int argc, char **argv) {
  char path[1024];
  cet_model *model = NULL;
  cet_calibration *data = NULL;
  cet_bit_plan *plan = NULL;
  cet_quantized *small = NULL;
  cet_curvature *curvature = NULL;
  cet_spectrum *spectrum = NULL, *own = NULL;
  cet_plan_options options;
  void *bytes = NULL;
  size_t size = 0;
  cet_status status;
  if (argc < 2) return 2;
  cet_plan_options_init(&options, sizeof options);
  options.target_ratio = 8;
  options.samples = 64;
  snprintf(path, sizeof path, "%s/digits_cnn/model.onnx", argv[1]);
  status = cet_model_load_file(path, &model);
  snprintf(path, sizeof path, "%s/digits_cnn/calibration.npz", argv[1]);
  if (status == CET_OK) status = cet_calibration_load_npz(path, &data);
  if (status == CET_OK) status = cet_plan(model, data, &options, &plan);
  if (status == CET_OK) status = cet_quantize(model, data, plan, NULL, &small);
  if (status == CET_OK) status = cet_quantized_save_memory(small, NULL, &bytes, &size);
  if (status == CET_OK) status = cet_curvature_create(model, data, NULL, &curvature);
  if (status == CET_OK) status = cet_eigensolve_curvature(curvature, NULL, &spectrum);
  if (status == CET_OK) status = cet_eigensolve(diagonal, NULL, 200, NULL, &own);
  if (status != CET_OK) printf("%s\n", cet_last_error_message());
  cet_spectrum_free(own);
  cet_spectrum_free(spectrum);
  cet_curvature_free(curvature);
  cet_free(bytes);
  cet_quantized_free(small);
  cet_plan_free(plan);
  cet_calibration_free(data);
  cet_model_free(model);
  if (status == CET_OK) printf("own libraries: ok\n");
  return status == CET_OK ? 0 : 1;
}
