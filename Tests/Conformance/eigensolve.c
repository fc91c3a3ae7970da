/* Eigenpairs of a map that the host brings. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { dimension = 200 };

typedef struct {
  int applies, stop_after, bad;
} host;

/* diag(1, 2, ..., 199, -500) */
static int32_t apply(const float *v, float *result, size_t n, void *user_data) {
  host *h = user_data;
  size_t i;
  for (i = 0; i < n; i++) result[i] = (i + 1 == n ? -500.0f : (float)(i + 1)) * v[i];
  if (h->bad) result[3] = (float)NAN;
  h->applies++;
  return h->stop_after != 0 && h->applies >= h->stop_after;
}

static int32_t stop(cet_phase phase, uint64_t done, uint64_t total, void *user_data) {
  (void)done;
  (void)total;
  CHECK(phase == CET_PHASE_EIGENSOLVE);
  return ++*(int *)user_data >= 2;
}

static int32_t stop_estimate(cet_phase phase, uint64_t done, uint64_t total, void *user_data) {
  CHECK(phase == CET_PHASE_CURVATURE && total == 8 && done <= total);
  return ++*(int *)user_data >= 2;
}

static void known_spectrum(void) {
  static const cet_which ends[] = {CET_WHICH_DEFAULT, CET_WHICH_LARGEST, CET_WHICH_SMALLEST};
  static const double expected[][3] = {{-500, 199, 198}, {199, 198, 197}, {-500, 1, 2}};
  size_t e, i, k;
  for (e = 0; e < 3; e++) {
    cet_eigensolve_options options;
    cet_spectrum *spectrum = NULL;
    cet_spectrum_info info;
    host h = {0, 0, 0};
    double values[3], norms[3];
    uint8_t converged[3];
    float vector[dimension];
    CHECK_STATUS(CET_OK, cet_eigensolve_options_init(&options, sizeof options));
    options.count = 3;
    options.which = ends[e];
    options.seed = 7;
    options.require_convergence = 1;
    CHECK_STATUS(CET_OK, cet_eigensolve(apply, &h, dimension, &options, &spectrum));
    if (spectrum == NULL) continue;
    CHECK_STATUS(CET_OK, cet_spectrum_info_init(&info, sizeof info));
    CHECK_STATUS(CET_OK, cet_spectrum_get_info(spectrum, &info));
    CHECK(info.count == 3 && info.dimension == dimension && info.converged_count == 3);
    CHECK(info.applies == (uint64_t)h.applies && info.tolerance > 0);
    CHECK(cet_spectrum_count(spectrum) == 3);
    CHECK_STATUS(CET_OK, cet_spectrum_get_values(spectrum, values, 3));
    CHECK_STATUS(CET_OK, cet_spectrum_get_residual_norms(spectrum, norms, 3));
    CHECK_STATUS(CET_OK, cet_spectrum_get_converged(spectrum, converged, 3));
    CHECK_STATUS(CET_SHAPE_MISMATCH, cet_spectrum_get_values(spectrum, values, 2));
    CHECK_STATUS(CET_INVALID_ARGUMENT, cet_spectrum_get_vector(spectrum, 3, vector, dimension));
    CHECK_STATUS(CET_SHAPE_MISMATCH, cet_spectrum_get_vector(spectrum, 0, vector, dimension - 1));
    for (k = 0; k < 3; k++) {
      double norm = 0, residual = 0;
      CHECK(fabs(values[k] - expected[e][k]) < 0.1);
      CHECK(converged[k] == 1);
      CHECK_STATUS(CET_OK, cet_spectrum_get_vector(spectrum, k, vector, dimension));
      for (i = 0; i < dimension; i++) {
        double r = ((i + 1 == dimension ? -500.0 : (double)(i + 1)) - values[k]) * vector[i];
        norm += (double)vector[i] * vector[i];
        residual += r * r;
      }
      CHECK(fabs(norm - 1) < 1e-4);
      CHECK(fabs(sqrt(residual) - norms[k]) < 1e-2 * 500);
    }
    cet_spectrum_free(spectrum);
  }
}

/* From an eigenvector the Krylov space ends at once; from zero the start is random. */
static void start_vectors(void) {
  cet_eigensolve_options options;
  cet_spectrum *spectrum = NULL;
  host h = {0, 0, 0};
  static float start[dimension];
  double value = 0;
  CHECK_STATUS(CET_OK, cet_eigensolve_options_init(&options, sizeof options));
  options.count = 1;
  options.start = start;
  CHECK_STATUS(CET_OK, cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  CHECK_STATUS(CET_OK, cet_spectrum_get_values(spectrum, &value, 1));
  CHECK(fabs(value + 500) < 0.1);
  cet_spectrum_free(spectrum);
  start[dimension - 1] = 3;
  CHECK_STATUS(CET_OK, cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  CHECK_STATUS(CET_OK, cet_spectrum_get_values(spectrum, &value, 1));
  CHECK(fabs(value + 500) < 1e-3);
  cet_spectrum_free(spectrum);
  start[5] = (float)NAN;
  CHECK_MESSAGE(CET_NUMERIC, "option start", cet_eigensolve(apply, &h, dimension, &options, &spectrum));
}

static void failures(void) {
  cet_eigensolve_options options;
  cet_spectrum *spectrum = NULL;
  host h = {0, 3, 0};
  int calls = 0;
  CHECK_MESSAGE(CET_CANCELLED, "apply callback", cet_eigensolve(apply, &h, dimension, NULL, &spectrum));
  CHECK(spectrum == NULL && h.applies == 3);
  h.stop_after = 0, h.bad = 1;
  CHECK_MESSAGE(CET_NUMERIC, "element 3", cet_eigensolve(apply, &h, dimension, NULL, &spectrum));
  h.bad = 0;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_eigensolve(NULL, NULL, dimension, NULL, &spectrum));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_eigensolve(apply, &h, 0, NULL, &spectrum));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_eigensolve(apply, &h, (size_t)-1, NULL, &spectrum));
  CHECK_STATUS(CET_OK, cet_eigensolve_options_init(&options, sizeof options));
  options.count = dimension + 1;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  options.count = 5, options.which = 4;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "which", cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  options.which = 0, options.tolerance = -1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "tolerance", cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  options.tolerance = NAN;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  options.tolerance = 0, options.progress = stop, options.user_data = &calls;
  CHECK_STATUS(CET_CANCELLED, cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  CHECK(calls == 2 && spectrum == NULL);
}

/* The same map, four vectors at a time at most. */
static int32_t apply_block(const float *v, float *result, size_t n, size_t count, void *user_data) {
  size_t i;
  CHECK(count >= 2 && count <= 4);
  for (i = 0; i < count; i++) apply(v + i * n, result + i * n, n, user_data);
  return 0;
}

static void blocks_and_files(void) {
  static const char path[] = "eigensolve_pairs.tmp";
  cet_eigensolve_options options;
  cet_spectrum *spectrum = NULL, *again = NULL;
  cet_spectrum_info info;
  host h = {0, 0, 0};
  double values[3], loaded[3];
  float vector[dimension], other[dimension];
  size_t k;
  CHECK_STATUS(CET_OK, cet_eigensolve_options_init(&options, sizeof options));
  options.count = 3, options.block_size = 4, options.apply_block = apply_block, options.fingerprint = "a diagonal";
  CHECK_STATUS(CET_OK, cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  CHECK_STATUS(CET_OK, cet_spectrum_info_init(&info, sizeof info));
  CHECK_STATUS(CET_OK, cet_spectrum_get_info(spectrum, &info));
  CHECK(info.converged_count == 3 && info.applies == (uint64_t)h.applies);
  CHECK_STATUS(CET_OK, cet_spectrum_get_values(spectrum, values, 3));
  CHECK(fabs(values[0] + 500) < 0.1 && fabs(values[1] - 199) < 0.1 && fabs(values[2] - 198) < 0.1);
  CHECK_STATUS(CET_OK, cet_spectrum_save_file(spectrum, path));
  CHECK_STATUS(CET_OK, cet_spectrum_load_file(path, &again));
  CHECK_STATUS(CET_OK, cet_spectrum_get_values(again, loaded, 3));
  for (k = 0; k < 3; k++) {
    CHECK(loaded[k] == values[k]);
    CHECK_STATUS(CET_OK, cet_spectrum_get_vector(spectrum, k, vector, dimension));
    CHECK_STATUS(CET_OK, cet_spectrum_get_vector(again, k, other, dimension));
    CHECK(memcmp(vector, other, sizeof vector) == 0);
  }
  cet_spectrum_free(spectrum);
  options.initial = again;
  CHECK_STATUS(CET_OK, cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  cet_spectrum_free(spectrum);
  options.fingerprint = "another";
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "fingerprint is a diagonal, expected another",
                cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  options.initial = NULL;
  options.max_memory = 10000;
  CHECK_MESSAGE(CET_OUT_OF_MEMORY, "max_memory is 10000", cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  options.max_memory = 0, options.basis_path = "/no/such/folder";
  CHECK_MESSAGE(CET_IO, "/no/such/folder", cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  options.basis_path = NULL, options.basis_type = 3;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "basis_type", cet_eigensolve(apply, &h, dimension, &options, &spectrum));
  cet_spectrum_free(again);
  CHECK(remove(path) == 0);
  CHECK_MESSAGE(CET_IO, path, cet_spectrum_load_file(path, &again));
  CHECK(again == NULL);
}

/* Random signs find a diagonal, and its trace, at once. */
static void estimates(void) {
  enum { samples = 3, steps = 20 };
  cet_estimate_options options;
  host h = {0, 0, 0};
  double trace = 0, error = 0, nodes[samples * steps], weights[samples * steps], sum = 0, density = 0;
  double point = -500;
  float diagonal[dimension], errors[dimension];
  int calls = 0;
  size_t i;
  CHECK_STATUS(CET_OK, cet_estimate_options_init(&options, sizeof options));
  options.samples = samples, options.steps = steps;
  CHECK_STATUS(CET_OK, cet_trace_estimate(apply, &h, dimension, &options, &trace, &error));
  CHECK(fabs(trace - (199 * 100 - 500)) < 0.1 && error < 0.1 && h.applies == samples);
  CHECK_STATUS(CET_OK, cet_diagonal_estimate(apply, &h, dimension, &options, diagonal, errors));
  for (i = 0; i < dimension; i++) CHECK(diagonal[i] == (i + 1 == dimension ? -500.0f : (float)(i + 1)) && errors[i] == 0);
  CHECK_STATUS(CET_OK, cet_spectral_density(apply, &h, dimension, &options, nodes, weights, samples * steps));
  for (i = 0; i < samples * steps; i++) sum += weights[i];
  CHECK(fabs(sum - samples) < 1e-9);
  CHECK_STATUS(CET_OK, cet_spectral_density_evaluate(nodes, weights, samples, steps, 1.0, &point, &density, NULL, 1));
  /* One of 200 eigenvalues, at the peak of a Gaussian of width 1. */
  CHECK(fabs(density * 200 - 0.398942) < 1e-3);
  CHECK_STATUS(CET_SHAPE_MISMATCH, cet_spectral_density(apply, &h, dimension, &options, nodes, weights, steps));
  CHECK_STATUS(CET_INVALID_ARGUMENT,
               cet_spectral_density_evaluate(nodes, weights, samples, steps, 0.0, &point, &density, NULL, 1));
  options.method = CET_TRACE_HUTCHPLUSPLUS;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "at least 4", cet_trace_estimate(apply, &h, dimension, &options, &trace, NULL));
  options.samples = 8;
  CHECK_STATUS(CET_OK, cet_trace_estimate(apply, &h, dimension, &options, &trace, NULL));
  options.method = 0, options.progress = stop_estimate, options.user_data = &calls;
  CHECK_STATUS(CET_CANCELLED, cet_trace_estimate(apply, &h, dimension, &options, &trace, NULL));
  CHECK(calls == 2);
}

int main(void) {
  known_spectrum();
  blocks_and_files();
  estimates();
  start_vectors();
  failures();
  CHECK(cet_live_handle_count() == 0);
  return check_result("eigensolve");
}
