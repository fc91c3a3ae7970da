/*
 * Serves a model from C in two sizes: libcet plans and quantizes in memory, ONNX Runtime runs; a thread plans again from the
 * requests, and what it made is swapped in between two of them.
 *
 *   serve MODEL.onnx CALIBRATION.npz RATIO SMALL_RATIO
 *
 * Each line of standard input is a request, each line of standard output its answer:
 *   0 x x x ...  a sample for the model of the first budget (1: of the second): the plan's number and the output
 *   replan       a plan from the last requests begins: "planning"
 * The model has one input and one output of float32; the input's sizes behind axis 0 are fixed.
 */
#define _XOPEN_SOURCE 700
#include <cet/cet.h>
#include <onnxruntime_c_api.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BUDGETS = 2, POOL = 256, RANK = 8, NICENESS = 19 };

static const OrtApi *ort;

typedef struct server {
  OrtEnv *environment;
  OrtSessionOptions *options;
  OrtMemoryInfo *memory;
  cet_model *model;
  double ratios[BUDGETS];
  cet_tensor sample; /* name, shape and size of one, in the place behind the pool */
  int64_t shape[RANK];
  size_t count;                          /* numbers of a sample */
  float *pool;                           /* samples for the next plan: supplied ones, then those of requests in turns */
  size_t pooled, gathered, version;
  OrtSession *sessions[BUDGETS], *fresh[BUDGETS];
  cet_calibration *data;                 /* with `fresh` the planning thread's until `done` */
  pthread_t thread;
  bool planning;
  atomic_bool done, stopping;
} server;

static bool ort_ok(OrtStatus *status)
{
  if (status)
    fprintf(stderr, "onnxruntime: %s\n", ort->GetErrorMessage(status));
  ort->ReleaseStatus(status);
  return !status;
}

static bool cet_ok(cet_status status)
{
  if (status)
    fprintf(stderr, "libcet: %s\n", cet_last_error_message());
  return !status;
}

static int32_t attend(cet_phase phase, uint64_t done, uint64_t total, void *user_data)
{
  (void)phase, (void)done, (void)total;
  return atomic_load(&((server *)user_data)->stopping);
}

static bool copy_pool(server *s) /* into `data`, as one batch */
{
  cet_tensor batch = s->sample;
  batch.data = s->pool;
  batch.byte_size *= s->shape[0] = (int64_t)s->pooled;
  cet_calibration_free(s->data);
  bool good = cet_ok(cet_calibration_create(&s->data)) && cet_ok(cet_calibration_add_batch(s->data, &batch, 1, NULL));
  s->shape[0] = 1;
  return good;
}

static void make_sessions(server *s) /* of all budgets from the losses of one cet_session, into `fresh` */
{
  cet_session *losses = NULL;
  cet_plan_options options;
  cet_quantize_options how;
  cet_plan_options_init(&options, sizeof options);
  cet_quantize_options_init(&how, sizeof how);
  options.target_ratio = s->ratios[0];
  options.threads = how.threads = 1;
  options.progress = how.progress = attend;
  options.user_data = how.user_data = s;
  bool good = cet_ok(cet_session_create(s->model, s->data, &options, &losses));
  for (int i = 0; i < BUDGETS && good; i++) {
    cet_bit_plan *plan = NULL;
    cet_quantized *small = NULL;
    void *bytes = NULL;
    size_t size = 0;
    options.target_ratio = s->ratios[i];
    good = cet_ok(cet_session_plan(losses, &options, &plan)) && cet_ok(cet_session_quantize(losses, plan, &how, &small)) &&
           cet_ok(cet_quantized_save_memory(small, NULL, &bytes, &size)) &&
           ort_ok(ort->CreateSessionFromArray(s->environment, bytes, size, s->options, &s->fresh[i]));
    cet_free(bytes);
    cet_quantized_free(small);
    cet_plan_free(plan);
  }
  cet_session_free(losses);
}

static void *plan_again(void *argument)
{
  server *s = argument;
  /* On Linux of this thread, and of those that it starts. */
  setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICENESS);
  make_sessions(s);
  atomic_store(&s->done, true);
  return NULL;
}

static bool swap_sessions(server *s) /* all or, where one could not be made, none */
{
  bool whole = s->fresh[BUDGETS - 1];
  for (int i = 0; i < BUDGETS; i++) {
    ort->ReleaseSession(whole ? s->sessions[i] : s->fresh[i]);
    if (whole)
      s->sessions[i] = s->fresh[i];
    s->fresh[i] = NULL;
  }
  s->version += whole;
  return whole;
}

static void answer(server *s, OrtSession *session)
{
  OrtAllocator *allocator;
  OrtValue *in = NULL, *out = NULL;
  OrtTensorTypeAndShapeInfo *info = NULL;
  char *name = NULL;
  float *values;
  size_t count;
  if (ort_ok(ort->GetAllocatorWithDefaultOptions(&allocator)) && ort_ok(ort->SessionGetOutputName(session, 0, allocator, &name)) &&
      ort_ok(ort->CreateTensorWithDataAsOrtValue(s->memory, (void *)s->sample.data, s->sample.byte_size, s->shape,
                                                 s->sample.rank, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &in)) &&
      ort_ok(ort->Run(session, NULL, &s->sample.name, (const OrtValue *const *)&in, 1, (const char *const *)&name, 1, &out)) &&
      ort_ok(ort->GetTensorTypeAndShape(out, &info)) && ort_ok(ort->GetTensorShapeElementCount(info, &count)) &&
      ort_ok(ort->GetTensorMutableData(out, (void **)&values))) {
    printf("%zu", s->version);
    for (size_t i = 0; i < count; i++)
      printf(" %.9g", (double)values[i]);
    puts("");
  } else
    puts("error: not run");
  if (name)
    ort_ok(ort->AllocatorFree(allocator, name));
  ort->ReleaseTensorTypeAndShapeInfo(info);
  ort->ReleaseValue(in);
  ort->ReleaseValue(out);
}

static void request(server *s, char *line)
{
  if (!strcmp(line, "replan\n")) {
    if (!s->planning && copy_pool(s)) {
      atomic_store(&s->done, false);
      s->planning = !pthread_create(&s->thread, NULL, plan_again, s);
    }
    puts(s->planning ? "planning" : "error: not planning");
    return;
  }
  char *at = line, *end;
  long which = strtol(line, &end, 10);
  float *sample = s->pool + POOL * s->count;
  size_t count = 0;
  for (; count < s->count && at != end; count++) {
    at = end;
    sample[count] = strtof(at, &end);
    if (sample[count] - sample[count] != 0) /* infinite, or no number */
      break;
  }
  if (which < 0 || which >= BUDGETS || count < s->count || at == end || end[strspn(end, " \r\n")]) {
    printf("error: expected 0 or 1 and %zu finite numbers\n", s->count);
    return;
  }
  size_t place = s->pooled < POOL ? s->pooled++ : s->gathered++ % POOL;
  memcpy(s->pool + place * s->count, sample, s->sample.byte_size);
  answer(s, s->sessions[which]);
}

static bool load(server *s, const char *model, const char *calibration)
{
  cet_value_info input;
  cet_tensor supplied;
  cet_value_info_init(&input, sizeof input);
  if (!cet_ok(cet_model_load_file(model, &s->model)) || !cet_ok(cet_model_get_input(s->model, 0, &input)) ||
      !cet_ok(cet_calibration_load_npz(calibration, &s->data)) ||
      !cet_ok(cet_calibration_get_array(s->data, 0, input.name, &supplied)))
    return false;
  bool fits = input.rank > 0 && input.rank <= RANK && supplied.rank == input.rank && supplied.element_type == CET_FLOAT32;
  s->count = s->shape[0] = 1;
  for (uint32_t axis = 1; fits && axis < input.rank; axis++) {
    fits = input.shape[axis] == supplied.shape[axis];
    s->count *= (size_t)(s->shape[axis] = supplied.shape[axis]);
  }
  if (!fits) {
    fprintf(stderr, "serve: input '%s' is not float32 with fixed sizes behind axis 0, or the samples are not\n", input.name);
    return false;
  }
  s->pooled = supplied.shape[0] < POOL ? (size_t)supplied.shape[0] : POOL;
  if (!(s->pool = calloc(POOL + 1, s->count * sizeof(float))))
    return false;
  memcpy(s->pool, supplied.data, s->pooled * s->count * sizeof(float));
  s->sample = (cet_tensor){
      input.name, s->pool + POOL * s->count, s->count * sizeof(float), s->shape, input.rank, CET_FLOAT32};
  return copy_pool(s);
}

int main(int argc, char **argv)
{
  static server s;
  char *line = NULL;
  size_t room = 0;
  if (argc != 5 || !((s.ratios[0] = atof(argv[3])) > 0) || !((s.ratios[1] = atof(argv[4])) > 0)) {
    fprintf(stderr, "usage: %s MODEL.onnx CALIBRATION.npz RATIO SMALL_RATIO\n", argv[0]);
    return 2;
  }
  setenv("ORT_DISABLE_TELEMETRY", "1", 0); /* ONNX Runtime 1.32 keeps files in the home folder else */
  if (!(ort = OrtGetApiBase()->GetApi(ORT_API_VERSION))) {
    fprintf(stderr, "serve: ONNX Runtime %s is older than the header\n", OrtGetApiBase()->GetVersionString());
    return 1;
  }
  bool ready = ort_ok(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "serve", &s.environment)) &&
               ort_ok(ort->CreateSessionOptions(&s.options)) && ort_ok(ort->SetIntraOpNumThreads(s.options, 1)) &&
               ort_ok(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &s.memory)) && load(&s, argv[1], argv[2]);
  if (ready)
    make_sessions(&s);
  ready = ready && swap_sessions(&s);
  while (ready && getline(&line, &room, stdin) > 0) {
    if (s.planning && atomic_load(&s.done)) {
      pthread_join(s.thread, NULL);
      swap_sessions(&s);
      s.planning = false;
    }
    request(&s, line);
    fflush(stdout);
  }
  atomic_store(&s.stopping, true);
  if (s.planning)
    pthread_join(s.thread, NULL);
  for (int i = 0; i < BUDGETS; i++) {
    ort->ReleaseSession(s.sessions[i]);
    ort->ReleaseSession(s.fresh[i]);
  }
  ort->ReleaseMemoryInfo(s.memory);
  ort->ReleaseSessionOptions(s.options);
  ort->ReleaseEnv(s.environment);
  cet_calibration_free(s.data);
  cet_model_free(s.model);
  free(s.pool);
  free(line);
  return ready ? EXIT_SUCCESS : EXIT_FAILURE;
}
