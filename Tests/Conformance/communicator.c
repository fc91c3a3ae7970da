/* Samples shared among ranks, which are threads here: the same bits for any number of them, and nobody hangs. */
#include "check.h"
#include "model.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { samples = 41, batch = 4, most_ranks = 4, pairs = 3, inputs = 12, most_parameters = 512, vectors = 5 };

/* The last thread to come adds what all have brought. */
typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t turn;
  double *values[most_ranks];
  uint32_t size, waiting;
  uint64_t round;
} meeting;

static meeting place;

static int32_t allreduce(double *values, size_t count, void *user_data) {
  uint32_t rank = *(const uint32_t *)user_data, r;
  uint64_t round;
  size_t i;
  pthread_mutex_lock(&place.lock);
  place.values[rank] = values;
  round = place.round;
  if (++place.waiting == place.size) {
    for (i = 0; i < count; i++) {
      double sum = 0;
      for (r = place.size; r-- > 0;) sum += place.values[r][i];
      for (r = 0; r < place.size; r++) place.values[r][i] = sum;
    }
    place.waiting = 0;
    place.round++;
    pthread_cond_broadcast(&place.turn);
  }
  while (round == place.round) pthread_cond_wait(&place.turn, &place.lock);
  pthread_mutex_unlock(&place.lock);
  return 0;
}

typedef struct {
  /* in */
  const cet_model *model;
  const float *x;
  uint32_t rank, size, stop, wrong_split, bad_vector, short_memory;
  /* out */
  cet_status status;
  size_t n;
  double loss, values[pairs];
  float gradient[most_parameters], block[vectors * most_parameters], pair[most_parameters];
  char message[256];
} job;

static int32_t stop(cet_phase phase, uint64_t done, uint64_t total, void *user_data) {
  (void)phase;
  (void)total;
  return *(uint32_t *)user_data != 0 && done >= 5;
}

static cet_status compute(job *j) {
  cet_communicator communicator;
  cet_curvature_options options;
  cet_eigensolve_options solver;
  cet_calibration *data = NULL;
  cet_curvature *curvature = NULL;
  cet_spectrum *spectrum = NULL;
  cet_status status;
  uint64_t first = 0, count = samples;
  int64_t shape[2];
  cet_tensor x;
  float v[vectors * most_parameters];
  size_t i;
  cet_curvature_options_init(&options, sizeof options);
  options.batch_size = batch;
  options.threads = 1;
  options.loss = CET_LOSS_MSE;
  if (j->size > 0) {
    cet_communicator_init(&communicator, sizeof communicator);
    communicator.rank = j->rank;
    communicator.size = j->size;
    communicator.allreduce_sum = allreduce;
    communicator.user_data = &j->rank;
    options.communicator = &communicator;
    status = cet_communicator_range(samples, batch, j->size, j->rank, &first, &count);
    if (status != CET_OK) return status;
  }
  if (j->wrong_split) first = 0, count = 4;
  if (j->short_memory) options.max_memory = 100;
  shape[0] = (int64_t)count;
  shape[1] = inputs;
  x.name = "x";
  x.data = j->x + first * inputs;
  x.byte_size = count * inputs * sizeof(float);
  x.shape = shape;
  x.rank = 2;
  x.element_type = CET_FLOAT32;
  status = cet_calibration_create(&data);
  if (status == CET_OK) status = cet_calibration_add_batch(data, &x, 1, NULL);
  if (status == CET_OK) status = cet_curvature_create(j->model, data, &options, &curvature);
  if (status == CET_OK) {
    j->n = cet_curvature_dimension(curvature);
    for (i = 0; i < vectors * j->n; i++) v[i] = (float)sin((double)i * 0.37);
    if (j->bad_vector) v[7] = (float)NAN;
    status = cet_curvature_loss(curvature, &j->loss);
  }
  if (status == CET_OK) status = cet_curvature_gradient(curvature, j->gradient, j->n);
  if (status == CET_OK) status = cet_curvature_apply_block(curvature, v, j->block, j->n, vectors);
  if (status == CET_OK) {
    cet_eigensolve_options_init(&solver, sizeof solver);
    solver.count = pairs;
    solver.threads = 1;
    solver.progress = stop;
    solver.user_data = &j->stop;
    status = cet_eigensolve_curvature(curvature, &solver, &spectrum);
  }
  if (status == CET_OK) status = cet_spectrum_get_values(spectrum, j->values, pairs);
  if (status == CET_OK) status = cet_spectrum_get_vector(spectrum, 0, j->pair, j->n);
  snprintf(j->message, sizeof j->message, "%s", cet_last_error_message());
  cet_spectrum_free(spectrum);
  cet_curvature_free(curvature);
  cet_calibration_free(data);
  return status;
}

static void *run(void *argument) {
  job *j = argument;
  j->status = compute(j);
  return NULL;
}

static void run_all(job *jobs, uint32_t size) {
  pthread_t threads[most_ranks];
  uint32_t rank;
  place.size = size;
  for (rank = 0; rank < size; rank++) {
    jobs[rank].rank = rank;
    jobs[rank].size = size;
    CHECK(pthread_create(&threads[rank], NULL, run, &jobs[rank]) == 0);
  }
  for (rank = 0; rank < size; rank++) pthread_join(threads[rank], NULL);
}

static job *new_jobs(const cet_model *model, const float *x) {
  job *jobs = calloc(most_ranks, sizeof *jobs);
  uint32_t rank;
  for (rank = 0; jobs != NULL && rank < most_ranks; rank++) jobs[rank].model = model, jobs[rank].x = x;
  return jobs;
}

static void same_bits(const cet_model *model, const float *x) {
  static const uint32_t sizes[] = {1, 2, 3, 4};
  job *alone = new_jobs(model, x);
  size_t s;
  alone->status = compute(alone);
  CHECK(alone->status == CET_OK && alone->values[0] > 0 && alone->n > 0 && alone->n <= most_parameters);
  for (s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    job *jobs = new_jobs(model, x);
    uint32_t rank;
    run_all(jobs, sizes[s]);
    for (rank = 0; rank < sizes[s]; rank++) {
      const job *found = &jobs[rank];
      CHECK(found->status == CET_OK);
      CHECK(found->n == alone->n && found->loss == alone->loss);
      CHECK(memcmp(found->values, alone->values, sizeof found->values) == 0);
      CHECK(memcmp(found->gradient, alone->gradient, sizeof found->gradient) == 0);
      CHECK(memcmp(found->block, alone->block, sizeof found->block) == 0);
      CHECK(memcmp(found->pair, alone->pair, sizeof found->pair) == 0);
    }
    free(jobs);
  }
  free(alone);
}

/* Rank 1 alone is at fault; all get the same status, and only rank 1 its own message. */
static void check_failure(job *jobs, uint32_t size, cet_status expected, const char *own, const char *others) {
  uint32_t rank;
  run_all(jobs, size);
  for (rank = 0; rank < size; rank++) {
    CHECK(jobs[rank].status == expected);
    CHECK(strstr(jobs[rank].message, rank == 1 ? own : others) != NULL);
  }
  free(jobs);
}

static void failures(const cet_model *model, const float *x) {
  job *jobs = new_jobs(model, x);
  jobs[1].bad_vector = 1;
  check_failure(jobs, 4, CET_NUMERIC, "v is NaN or infinite at element 7", "rank 1 of 4 failed");
  jobs = new_jobs(model, x);
  jobs[1].stop = 1;
  check_failure(jobs, 2, CET_CANCELLED, "progress", "rank 1 of 2 failed");
  jobs = new_jobs(model, x);
  jobs[1].short_memory = 1;
  check_failure(jobs, 3, CET_OUT_OF_MEMORY, "max_memory is 100", "rank 1 of 3 failed");
  jobs = new_jobs(model, x);
  jobs[1].wrong_split = 1;
  check_failure(jobs, 2, CET_INVALID_ARGUMENT, "cet_communicator_range", "cet_communicator_range");
}

static void arguments(const cet_model *model) {
  cet_communicator communicator;
  cet_curvature_options options;
  cet_curvature_info info;
  cet_curvature *curvature = NULL;
  uint64_t first, count;
  uint32_t rank = 0;
  CHECK_STATUS(CET_OK, cet_communicator_range(64, 4, 2, 1, &first, &count));
  CHECK(first == 32 && count == 32);
  CHECK_STATUS(CET_OK, cet_communicator_range(61, 4, 4, 3, &first, &count));
  CHECK(first == 48 && count == 13);
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "too few for 4 ranks", cet_communicator_range(8, 4, 4, 0, &first, &count));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "batch_size", cet_communicator_range(8, 0, 1, 0, &first, &count));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "1 to 16 ranks", cet_communicator_range(800, 4, 17, 0, &first, &count));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "rank", cet_communicator_range(800, 4, 4, 4, &first, &count));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_communicator_range(8, 4, 1, 0, NULL, &count));
  CHECK_STATUS(CET_OK, cet_curvature_options_init(&options, sizeof options));
  CHECK_STATUS(CET_OK, cet_communicator_init(&communicator, sizeof communicator));
  options.communicator = &communicator;
  communicator.size = 1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "allreduce_sum", cet_curvature_create(model, NULL, &options, &curvature));
  communicator.allreduce_sum = allreduce;
  communicator.user_data = &rank;
  communicator.size = 17;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "1 to 16 ranks", cet_curvature_create(model, NULL, &options, &curvature));
  communicator.size = 2, communicator.rank = 2;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "rank below the size", cet_curvature_create(model, NULL, &options, &curvature));
  communicator.size = 1, communicator.rank = 0, place.size = 1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "calibration handle is NULL", cet_curvature_create(model, NULL, &options, &curvature));
  CHECK_STATUS(CET_OK, cet_curvature_info_init(&info, sizeof info));
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "NULL", cet_curvature_get_info(NULL, &info));
  CHECK(curvature == NULL);
}

int main(void) {
  static float x[samples * inputs];
  static buffer bytes;
  cet_model *model = NULL;
  uint32_t state = 11;
  size_t i;
  pthread_mutex_init(&place.lock, NULL);
  pthread_cond_init(&place.turn, NULL);
  for (i = 0; i < samples * inputs; i++) x[i] = next_number(&state);
  make_model(&bytes);
  CHECK_STATUS(CET_OK, cet_model_load_memory(bytes.bytes, bytes.size, &model));
  same_bits(model, x);
  failures(model, x);
  arguments(model);
  cet_model_free(model);
  CHECK(cet_live_handle_count() == 0);
  return check_result("communicator");
}
