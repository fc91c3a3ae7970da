/*
 * Serves a model from C in two sizes: libcet plans and quantizes in memory, ONNX Runtime runs (runtime.h); a thread plans again
 * from the last requests (pool.h), and what it made is swapped in between two of them.
 *
 *   serve MODEL.onnx CALIBRATION.npz RATIO SMALL_RATIO
 *
 * Each line of standard input is a request, each line of standard output its answer:
 *   0 x x x ...  a sample for the model of the first budget (1: of the second): the plan's number and the output
 *   replan       a plan from the last requests begins: "planning"
 * The model has one input and one output of float32; the input's sizes behind axis 0 are fixed.
 */
#define _XOPEN_SOURCE 700
#include "pool.h"
#include "runtime.h"

#include <cet/cet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BUDGETS = 2, NICENESS = 19 };

typedef struct server {
  cet_model *model;
  double ratios[BUDGETS];
  pool samples;
  size_t version;
  runtime_model *models[BUDGETS], *fresh[BUDGETS];
  cet_calibration *data; /* with `fresh` the planning thread's until `done` */
  pthread_t thread;
  bool planning;
  atomic_bool done, stopping;
} server;

static bool ok(cet_status status) {
  if (status) fprintf(stderr, "libcet: %s\n", cet_last_error_message());
  return !status;
}

static int32_t attend(cet_phase phase, uint64_t done, uint64_t total, void *user_data) {
  (void)phase, (void)done, (void)total;
  return atomic_load(&((server *)user_data)->stopping);
}

static void *plan(void *argument) { /* for all budgets, with the losses of one session, into `fresh` */
  server *s = argument;
  cet_session *losses = NULL;
  cet_plan_options options;
  cet_quantize_options how;
  cet_plan_options_init(&options, sizeof options);
  cet_quantize_options_init(&how, sizeof how);
  options.target_ratio = s->ratios[0];
  options.threads = how.threads = 1;
  options.progress = how.progress = attend;
  options.user_data = how.user_data = s;
  bool good = ok(cet_session_create(s->model, s->data, &options, &losses));
  for (int i = 0; i < BUDGETS && good; i++) {
    cet_bit_plan *plan = NULL;
    cet_quantized *small = NULL;
    void *bytes = NULL;
    size_t size = 0;
    options.target_ratio = s->ratios[i];
    good = ok(cet_session_plan(losses, &options, &plan)) && ok(cet_session_quantize(losses, plan, &how, &small)) &&
           ok(cet_quantized_save_memory(small, NULL, &bytes, &size)) && (s->fresh[i] = runtime_load(bytes, size));
    cet_free(bytes), cet_quantized_free(small), cet_plan_free(plan);
  }
  cet_session_free(losses);
  atomic_store(&s->done, true);
  return NULL;
}

static void *plan_behind(void *s) { /* on Linux a priority is a thread's, and of those that it starts */
  setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICENESS);
  return plan(s);
}

static bool swap(server *s) { /* all or, where one could not be made, none */
  bool whole = s->fresh[BUDGETS - 1];
  for (int i = 0; i < BUDGETS; i++, s->fresh[i - 1] = NULL) {
    runtime_free(whole ? s->models[i] : s->fresh[i]);
    if (whole) s->models[i] = s->fresh[i];
  }
  s->version += whole;
  return whole;
}

static void request(server *s, char *line) {
  const pool *samples = &s->samples;
  line[strcspn(line, "\r\n")] = '\0';
  if (!strcmp(line, "replan")) {
    if (!s->planning) {
      cet_calibration_free(s->data);
      atomic_store(&s->done, false);
      s->planning = pool_copy(samples, &s->data) && !pthread_create(&s->thread, NULL, plan_behind, s);
    }
    puts(s->planning ? "planning" : "error: not planning");
    return;
  }
  int which = line[0] - '0';
  bool isBudget = which >= 0 && which < BUDGETS && line[1] == ' ';
  const float *sample = isBudget ? pool_read(&s->samples, line + 1) : NULL;
  if (!sample) {
    printf("error: expected 0 or 1 and %zu finite numbers\n", samples->count);
    return;
  }
  size_t count;
  float *output = runtime_run(s->models[which], samples->input, sample, samples->shape, samples->rank, &count);
  if (output) printf("%zu", s->version);
  for (size_t i = 0; output && i < count; i++) printf(" %.9g", (double)output[i]);
  puts(output ? "" : "error: not run");
  free(output);
}

int main(int argc, char **argv) {
  static server s;
  char *line = NULL;
  size_t room = 0;
  if (argc != 5 || !((s.ratios[0] = atof(argv[3])) > 0) || !((s.ratios[1] = atof(argv[4])) > 0)) {
    fprintf(stderr, "usage: %s MODEL.onnx CALIBRATION.npz RATIO SMALL_RATIO\n", argv[0]);
    return 2;
  }
  bool ready = runtime_open() && ok(cet_model_load_file(argv[1], &s.model)) && pool_open(&s.samples, s.model, argv[2]) &&
               pool_copy(&s.samples, &s.data);
  if (ready) plan(&s);
  ready = ready && swap(&s);
  while (ready && getline(&line, &room, stdin) > 0) {
    if (s.planning && atomic_load(&s.done)) {
      pthread_join(s.thread, NULL);
      swap(&s);
      s.planning = false;
    }
    request(&s, line);
    fflush(stdout);
  }
  atomic_store(&s.stopping, true);
  if (s.planning) pthread_join(s.thread, NULL);
  for (int i = 0; i < BUDGETS; i++) runtime_free(s.models[i]), runtime_free(s.fresh[i]);
  runtime_close();
  cet_calibration_free(s.data), cet_model_free(s.model);
  pool_close(&s.samples), free(line);
  return ready ? EXIT_SUCCESS : EXIT_FAILURE;
}
