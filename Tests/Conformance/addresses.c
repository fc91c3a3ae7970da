/* A limit on the process's addresses (RLIMIT_AS), from next to nothing to plenty: every call ends with a status, and the
   process ends as it wants to. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "model.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { samples = 64, columns = 12, classes = 5, deadline = 120 };
static float x[samples * columns];
static const int64_t x_shape[2] = {samples, columns};

static rlim_t addresses(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%lu", &pages) != 1) pages = 0;
  if (file != NULL) fclose(file);
  return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* What a plan is asked for, and the samples. */
static cet_status ask(cet_plan_options *options, cet_tensor *tensor) {
  cet_status status = cet_plan_options_init(options, sizeof *options);
  options->target_ratio = 8, options->threads = 2;
  memset(tensor, 0, sizeof *tensor);
  tensor->name = "x", tensor->data = x, tensor->byte_size = sizeof x, tensor->shape = x_shape, tensor->rank = 2;
  tensor->element_type = CET_FLOAT32;
  return status;
}

/* The whole path; the first status that is not CET_OK. */
static cet_status run(const buffer *bytes) {
  cet_model *model = NULL;
  cet_calibration *data = NULL;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_plan_options options;
  cet_tensor tensor;
  char *json = NULL;
  void *file = NULL;
  size_t size = 0;
  cet_status status = ask(&options, &tensor);
  if (status == CET_OK) status = cet_model_load_memory(bytes->bytes, bytes->size, &model);
  if (status == CET_OK) status = cet_model_inspect_json(model, &json);
  if (status == CET_OK) status = cet_calibration_create(&data);
  if (status == CET_OK) status = cet_calibration_add_batch(data, &tensor, 1, NULL);
  if (status == CET_OK) status = cet_plan(model, data, &options, &plan);
  if (status == CET_OK) status = cet_quantize(model, data, plan, NULL, &quantized);
  if (status == CET_OK) status = cet_quantized_save_memory(quantized, NULL, &file, &size);
  if (status != CET_OK && cet_last_error_message()[0] == '\0') status = CET_INTERNAL;
  cet_free(json), cet_free(file);
  cet_quantized_free(quantized), cet_plan_free(plan), cet_calibration_free(data), cet_model_free(model);
  return status;
}

/* What a process keeps for a later one: a session with its table, a plan, codes, eigenpairs. */
static char session_path[512], state_path[512], spectrum_path[512], *plan_json, *long_json;

static cet_status multiply(const float *v, float *result, size_t n, void *unused) {
  size_t i;
  (void)unused;
  for (i = 0; i < n; i++) result[i] = (float)(i % 7 + 1) * v[i];
  return CET_OK;
}

/* Makes the files. */
static cet_status make(const buffer *bytes) {
  cet_model *model = NULL;
  cet_session *session = NULL;
  cet_bit_plan *plan = NULL;
  cet_quantized *quantized = NULL;
  cet_plan_options options;
  cet_tensor tensor;
  cet_status status = ask(&options, &tensor);
  if (status == CET_OK) status = cet_model_load_memory(bytes->bytes, bytes->size, &model);
  if (status == CET_OK) status = cet_session_create(model, NULL, &options, &session);
  if (status == CET_OK) status = cet_session_add_batch(session, &tensor, 1, NULL);
  if (status == CET_OK) status = cet_session_plan(session, &options, &plan);
  if (status == CET_OK) status = cet_session_quantize(session, plan, NULL, &quantized);
  if (status == CET_OK) status = cet_session_save(session, session_path);
  if (status == CET_OK) status = cet_quantized_save_state(quantized, state_path);
  if (status == CET_OK) status = cet_plan_to_json(plan, &plan_json);
  cet_quantized_free(quantized), cet_plan_free(plan), cet_session_free(session), cet_model_free(model);
  return status;
}

/* What was kept is read and used; a text of two million values that is no plan is refused. */
static cet_status reread(const buffer *bytes) {
  cet_model *model = NULL;
  cet_session *session = NULL;
  cet_bit_plan *plan = NULL, *other = NULL;
  cet_quantized *quantized = NULL, *codes = NULL;
  cet_spectrum *spectrum = NULL;
  cet_eigensolve_options eigensolve;
  void *file = NULL;
  size_t size = 0;
  cet_status status = cet_eigensolve_options_init(&eigensolve, sizeof eigensolve);
  eigensolve.count = 300, eigensolve.max_applies = 320, eigensolve.threads = 2;
  eigensolve.max_memory = (uint64_t)1 << 36; /* far more than there is */
  if (status == CET_OK) status = cet_plan_from_json(long_json, &other);
  status = status == CET_INVALID_ARGUMENT ? CET_OK : status == CET_OK ? CET_INTERNAL : status;
  if (status == CET_OK) status = cet_model_load_memory(bytes->bytes, bytes->size, &model);
  if (status == CET_OK) status = cet_plan_from_json(plan_json, &plan);
  if (status == CET_OK) status = cet_session_load(model, session_path, &session);
  if (status == CET_OK) status = cet_session_quantize(session, plan, NULL, &quantized);
  if (status == CET_OK) status = cet_quantized_load_state(model, state_path, &codes);
  if (status == CET_OK) status = cet_quantized_save_memory(codes, NULL, &file, &size);
  if (status == CET_OK) status = cet_eigensolve(multiply, NULL, 50000, &eigensolve, &spectrum);
  if (status == CET_OK) status = cet_spectrum_save_file(spectrum, spectrum_path);
  if (status != CET_OK && cet_last_error_message()[0] == '\0') status = CET_INTERNAL;
  cet_free(file);
  cet_spectrum_free(spectrum), cet_quantized_free(codes), cet_quantized_free(quantized), cet_plan_free(plan);
  cet_plan_free(other), cet_session_free(session), cet_model_free(model);
  return status;
}

static unsigned char *many;
static size_t many_size;

static void append(const buffer *more) {
  memcpy(many + many_size, more->bytes, more->size);
  many_size += more->size;
}

/* A valid model, x -> Neg -> ..., with many small things of one kind. */
static void make_many(char kind) {
  enum { front = 32, count = 60000 }; /* what stands before the graph is as long as the graph lets it be */
  static buffer ends, part;
  const char *inputs[2] = {"x", NULL};
  buffer head = {{0}, 0}, opset = {{0}, 0};
  const int64_t shape[1] = {1};
  char names[2][24];
  size_t graph_size;
  int i;
  many_size = front;
  for (i = 0; i < (kind == 'n' ? count : 1); i++) {
    part.size = 0;
    snprintf(names[i % 2], sizeof names[0], "n%d", i);
    put_node(&part, "Neg", "", inputs, names[i % 2]);
    append(&part);
    inputs[0] = names[i % 2];
  }
  for (i = 0; kind == 'i' && i < count; i++) {
    char name[24];
    part.size = 0;
    snprintf(name, sizeof name, "initializer %d", i);
    put_initializer(&part, name, shape, 1, 1, 1);
    append(&part);
  }
  ends.size = 0;
  put_value(&ends, 11, "x", 4);
  put_value(&ends, 12, inputs[0], 4);
  append(&ends);
  graph_size = many_size - front;
  put_number(&head, 1, 8);
  put_number(&opset, 2, 17);
  put_message(&head, 8, &opset);
  put_varint(&head, 7 << 3 | 2);
  put_varint(&head, graph_size);
  memmove(many + head.size, many + front, graph_size);
  memcpy(many, head.bytes, head.size);
  many_size = head.size + graph_size;
  for (i = 0; kind == 'm' && i < count; i++) {
    buffer entry;
    char key[40];
    entry.size = part.size = 0;
    snprintf(key, sizeof key, "a key of the metadata, number %d", i);
    put_text(&entry, 1, key);
    put_text(&entry, 2, key);
    put_message(&part, 14, &entry);
    append(&part);
  }
}

static cet_status look(const buffer *unused) {
  cet_model *model = NULL;
  char *json = NULL;
  cet_status status = cet_model_load_memory(many, many_size, &model);
  (void)unused;
  if (status == CET_OK) status = cet_model_inspect_json(model, &json);
  cet_free(json), cet_model_free(model);
  return status;
}

typedef cet_status (*path)(const buffer *bytes);

/* The status of a process that has so many MB more; positive: how it ended otherwise. */
static int limited(path run, const buffer *bytes, int megabytes) {
  int result = 0;
  pid_t child;
  fflush(stdout);
  child = fork();
  if (child == 0) {
    struct rlimit limit;
    limit.rlim_cur = limit.rlim_max = addresses() + ((rlim_t)megabytes << 20);
    alarm(deadline);
    exit(setrlimit(RLIMIT_AS, &limit) == 0 ? -run(bytes) : 100);
  }
  if (waitpid(child, &result, 0) != child) return 1000;
  return WIFEXITED(result) ? -WEXITSTATUS(result) : WTERMSIG(result);
}

static void sweep(const char *name, path run, const buffer *bytes) {
  int megabytes, status = 0;
  for (megabytes = 1; megabytes <= 901; megabytes += megabytes < 60 ? 4 : 60) {
    status = limited(run, bytes, megabytes);
    if (status != CET_OK && status != CET_OUT_OF_MEMORY) printf("%s with %d MB: %d\n", name, megabytes, status);
    CHECK(status == CET_OK || status == CET_OUT_OF_MEMORY);
    if (megabytes == 1) CHECK(status == CET_OUT_OF_MEMORY);
  }
  CHECK(status == CET_OK);
}

int main(int argc, char **argv) {
  static buffer bytes;
  const char *folder = argc > 2 ? argv[2] : ".";
  const size_t values = 2000000;
  uint32_t state = 3;
  size_t i;
  make_model(&bytes);
  for (i = 0; i < sizeof x / sizeof *x; i++) x[i] = next_number(&state);
  snprintf(session_path, sizeof session_path, "%s/addresses.session", folder);
  snprintf(state_path, sizeof state_path, "%s/addresses.state", folder);
  snprintf(spectrum_path, sizeof spectrum_path, "%s/addresses.spectrum", folder);
  long_json = malloc(2 * values + 3);
  CHECK(long_json != NULL);
  many = malloc(8 << 20);
  CHECK(many != NULL);
  if (long_json == NULL || many == NULL) return check_result("addresses");
  long_json[0] = '[';
  for (i = 0; i < values; i++) long_json[2 * i + 1] = '1', long_json[2 * i + 2] = ',';
  memcpy(long_json + 2 * values, "]", 2);
  sweep("whole path", run, &bytes);
  CHECK(make(&bytes) == CET_OK);
  sweep("what was kept", reread, &bytes);
  make_many('n'), sweep("many nodes", look, &bytes);
  make_many('i'), sweep("many initializers", look, &bytes);
  make_many('m'), sweep("much metadata", look, &bytes);
  remove(session_path), remove(state_path), remove(spectrum_path);
  cet_free(plan_json), free(long_json), free(many);
  return check_result("addresses");
}
