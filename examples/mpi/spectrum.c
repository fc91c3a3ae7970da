/*
 * Eigenvalues of the loss's Hessian, with the calibration samples shared among MPI processes. They are the same to
 * the last bit for any number of processes.
 *
 *   cc -std=c99 spectrum.c cet_mpi.c $(pkg-config --cflags --libs cet) -ldl -o spectrum
 *   mpirun -n 4 ./spectrum model.onnx calibration.npz 5 16
 *
 * Arguments: model, samples, number of eigenvalues, samples in a batch.
 */
#include "cet_mpi.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { most_inputs = 16, most_axes = 8 };

/* Samples `first` to `first + count` of an array whose axis 0 counts samples. */
static cet_tensor part_of(const cet_tensor *whole, uint64_t first, uint64_t count, int64_t *shape) {
  cet_tensor part = *whole;
  uint64_t bytes = whole->byte_size / (uint64_t)whole->shape[0];
  uint32_t axis;
  for (axis = 0; axis < whole->rank; axis++) shape[axis] = whole->shape[axis];
  shape[0] = (int64_t)count;
  part.shape = shape;
  part.data = (const char *)whole->data + first * bytes;
  part.byte_size = count * bytes;
  return part;
}

/* The samples of this rank, with their labels when there are some. */
static cet_status load_share(
    const cet_model *model, const char *path, uint64_t batch_size, const cet_communicator *communicator,
    cet_calibration **share) {
  cet_tensor inputs[most_inputs], labels, whole;
  static int64_t shapes[most_inputs + 1][most_axes];
  size_t input_count = cet_model_input_count(model), i;
  uint64_t total = 0, first = 0, count = 0;
  int has_labels;
  cet_calibration *all = NULL;
  cet_status status = cet_calibration_load_npz(path, &all);
  for (i = 0; i < input_count && i < most_inputs && status == CET_OK; i++) {
    cet_value_info info;
    cet_value_info_init(&info, sizeof info);
    status = cet_model_get_input(model, i, &info);
    if (status == CET_OK) status = cet_calibration_get_array(all, 0, info.name, &whole);
    if (status == CET_OK && i == 0) {
      total = whole.rank > 0 ? (uint64_t)whole.shape[0] : 0;
      status = cet_communicator_range(total, batch_size, communicator->size, communicator->rank, &first, &count);
    }
    if (status == CET_OK) {
      inputs[i] = part_of(&whole, first, count, shapes[i]);
      inputs[i].name = info.name;
    }
  }
  has_labels = status == CET_OK && cet_calibration_get_array(all, 0, "labels", &whole) == CET_OK;
  if (has_labels) labels = part_of(&whole, first, count, shapes[most_inputs]);
  if (status == CET_OK) status = cet_calibration_create(share);
  if (status == CET_OK)
    status = cet_calibration_add_batch(*share, inputs, input_count, has_labels ? &labels : NULL);
  cet_calibration_free(all);
  return status;
}

int main(int argc, char **argv) {
  cet_model *model = NULL;
  cet_calibration *samples = NULL;
  cet_curvature *curvature = NULL;
  cet_spectrum *spectrum = NULL;
  cet_communicator communicator;
  cet_curvature_options options;
  cet_eigensolve_options solver;
  cet_mpi *mpi = NULL;
  double *values = NULL;
  const char *problem;
  size_t count, i;
  int failed = 1;
  if (argc != 5 || atol(argv[3]) < 1 || atol(argv[4]) < 1) {
    fprintf(stderr, "usage: spectrum MODEL SAMPLES COUNT BATCH (COUNT and BATCH are 1 or more)\n");
    return 2;
  }
  problem = cet_mpi_open(NULL, &mpi, &communicator);
  if (problem != NULL) {
    fprintf(stderr, "%s\n", problem);
    return 1;
  }
  cet_curvature_options_init(&options, sizeof options);
  options.communicator = &communicator;
  options.batch_size = (uint32_t)strtoul(argv[4], NULL, 10);
  options.threads = 1;
  cet_eigensolve_options_init(&solver, sizeof solver);
  solver.count = (uint32_t)strtoul(argv[3], NULL, 10);
  solver.threads = 1;
  /* Whatever failed before it, cet_curvature_create is called: it tells the other ranks, which wait there. */
  if (cet_model_load_file(argv[1], &model) != CET_OK ||
      load_share(model, argv[2], options.batch_size, &communicator, &samples) != CET_OK)
    fprintf(stderr, "rank %" PRIu32 ": %s\n", communicator.rank, cet_last_error_message());
  if (cet_curvature_create(model, samples, &options, &curvature) == CET_OK &&
      cet_eigensolve_curvature(curvature, &solver, &spectrum) == CET_OK) {
    count = cet_spectrum_count(spectrum);
    values = malloc((count + 1) * sizeof *values);
    if (values != NULL && cet_spectrum_get_values(spectrum, values, count) == CET_OK) {
      failed = 0;
      if (communicator.rank == 0)
        for (i = 0; i < count; i++) printf("%.9g %a\n", values[i], values[i]);
    }
  } else {
    fprintf(stderr, "rank %" PRIu32 ": %s\n", communicator.rank, cet_last_error_message());
  }
  free(values);
  cet_spectrum_free(spectrum);
  cet_curvature_free(curvature);
  cet_calibration_free(samples);
  cet_model_free(model);
  cet_mpi_close(mpi);
  return failed;
}
