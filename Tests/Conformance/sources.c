/* Models that the host brings: read by a callback, borrowed, with external data; callbacks that fail or say what is not so. */
#include "check.h"
#include "model.h"

#include <stdlib.h>

enum { IN = 12, OUT = 5 };

/* Bytes with a way of handing them over. */
typedef struct {
  const unsigned char *bytes;
  uint64_t size;
  int64_t most;     /* bytes a call; 0: all */
  int64_t answer;   /* instead of a number of bytes, from call number `from` on; 0: none */
  int from;
  int calls, released, outside;
} host;

static int64_t read_bytes(uint64_t offset, void *bytes, uint64_t size, void *user_data) {
  host *h = user_data;
  h->calls++;
  if (offset + size > h->size && h->answer == 0) h->outside++;
  if (h->answer != 0 && h->calls >= h->from) return h->answer == INT64_MAX ? 0 : h->answer;
  if (h->most != 0 && size > (uint64_t)h->most) size = (uint64_t)h->most;
  memcpy(bytes, h->bytes + offset, size);
  return (int64_t)size;
}

static void released(void *user_data) { ((host *)user_data)->released++; }

static cet_source source_of(host *h, int is_read) {
  cet_source source;
  memset(&source, 0, sizeof source);
  if (is_read) source.read = read_bytes; else source.data = h->bytes;
  source.size = h->size;
  source.release = released;
  source.user_data = h;
  return source;
}

/* What `external` gives. */
typedef struct {
  host data;
  int is_read, is_borrowed, status, calls, is_empty;
} externals;

static int32_t external(const char *location, cet_source *source, void *user_data) {
  externals *e = user_data;
  e->calls++;
  CHECK(strcmp(location, "../weights") == 0);
  CHECK(source->data == NULL && source->size == 0 && source->read == NULL && source->release == NULL);
  if (e->status != 0) return e->status;
  if (e->is_empty) return 0;
  *source = source_of(&e->data, e->is_read);
  source->borrowed = (uint32_t)e->is_borrowed;
  return 0;
}

static void put_entry(buffer *tensor, const char *key, const char *value) {
  buffer entry = {{0}, 0};
  put_text(&entry, 1, key);
  put_text(&entry, 2, value);
  put_message(tensor, 13, &entry);
}

/* y [batch, 5] = x [batch, 12] W, with W in "../weights" at byte 64. */
static void make_external_model(buffer *model) {
  static const char *const inputs[] = {"x", "w", NULL};
  buffer tensor = {{0}, 0}, graph = {{0}, 0}, opset = {{0}, 0};
  put_node(&graph, "MatMul", "product", inputs, "y");
  put_text(&graph, 2, "g");
  put_number(&tensor, 1, IN);
  put_number(&tensor, 1, OUT);
  put_number(&tensor, 2, 1);
  put_text(&tensor, 8, "w");
  put_entry(&tensor, "location", "../weights");
  put_entry(&tensor, "offset", "64");
  put_entry(&tensor, "length", "240");
  put_number(&tensor, 14, 1);
  put_message(&graph, 5, &tensor);
  put_value(&graph, 11, "x", IN);
  put_value(&graph, 12, "y", OUT);
  model->size = 0;
  put_number(model, 1, 8);
  put_number(&opset, 2, 17);
  put_message(model, 8, &opset);
  put_message(model, 7, &graph);
}

/* The sum of the model's outputs for ones. */
static double sum_of(const cet_model *model) {
  static const int64_t shape[2] = {1, IN};
  float x[IN];
  cet_tensor in = {"x", x, sizeof x, shape, 2, CET_FLOAT32}, out;
  cet_outputs *outputs = NULL;
  double sum = 0;
  int i;
  for (i = 0; i < IN; i++) x[i] = 1;
  CHECK_STATUS(CET_OK, cet_run(model, &in, 1, NULL, &outputs));
  if (outputs == NULL) return -1;
  CHECK_STATUS(CET_OK, cet_outputs_get(outputs, 0, &out));
  for (i = 0; i < (int)(out.byte_size / sizeof(float)); i++) sum += ((const float *)out.data)[i];
  cet_outputs_free(outputs);
  return sum;
}

static void test_read(const buffer *whole) {
  /* Too much, nothing, less than nothing, all in the first call or a later one. */
  static const int64_t answers[] = {-1, -5, INT64_MIN, INT64_MAX, INT64_MAX - 1, 1 << 20};
  host h = {whole->bytes, whole->size, 0, 0, 0, 0, 0, 0};
  cet_source source = source_of(&h, 1);
  cet_model *model = NULL, *other = NULL;
  size_t i;
  CHECK_STATUS(CET_OK, cet_model_load_memory(whole->bytes, whole->size, &other));
  CHECK_STATUS(CET_OK, cet_model_load(&source, NULL, &model));
  CHECK(h.released == 1 && h.calls >= 1 && h.outside == 0);
  CHECK(sum_of(model) == sum_of(other));
  cet_model_free(model);
  h.most = 7;
  CHECK_STATUS(CET_OK, cet_model_load(&source, NULL, &model));
  CHECK(h.released == 2 && h.outside == 0);
  CHECK(sum_of(model) == sum_of(other));
  cet_model_free(model);
  cet_model_free(other);
  for (i = 0; i < 2 * sizeof answers / sizeof *answers; i++) {
    host bad = {whole->bytes, whole->size, 7, answers[i / 2], i % 2 ? 3 : 1, 0, 0, 0};
    cet_source from = source_of(&bad, 1);
    model = (cet_model *)&model;
    CHECK_MESSAGE(CET_IO, "the read callback returned", cet_model_load(&from, NULL, &model));
    CHECK(model == NULL && bad.released == 1 && bad.calls == bad.from);
  }
}

static void test_sources_that_contradict_themselves(const buffer *whole) {
  host h = {whole->bytes, whole->size, 0, 0, 0, 0, 0, 0};
  cet_source source = source_of(&h, 0);
  cet_load_options options;
  cet_model *model = NULL;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load(NULL, NULL, &model));
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load(&source, NULL, NULL));
  CHECK(h.released == 1);
  source.read = read_bytes;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "either data or read", cet_model_load(&source, NULL, &model));
  source.data = NULL;
  source.borrowed = 1;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "borrowed", cet_model_load(&source, NULL, &model));
  source.read = NULL;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load(&source, NULL, &model));
  source = source_of(&h, 0);
  source.reserved = 1;
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load(&source, NULL, &model));
  source = source_of(&h, 1);
  source.size = UINT64_MAX;
  CHECK_MESSAGE(CET_INVALID_ARGUMENT, "too large", cet_model_load(&source, NULL, &model));
  source.size = (uint64_t)1 << 50;
  CHECK_STATUS(CET_OUT_OF_MEMORY, cet_model_load(&source, NULL, &model));
  source.size = 0;
  CHECK_STATUS(CET_INVALID_MODEL, cet_model_load(&source, NULL, &model));
  memset(&options, 0, sizeof options);
  CHECK_STATUS(CET_INVALID_ARGUMENT, cet_model_load(&source, &options, &model));
  CHECK(h.released == 9 && h.calls == 0 && model == NULL);
}

/* The bytes are the host's until the last handle that was made with them is gone. */
static void test_borrowed(const buffer *whole) {
  unsigned char *bytes = malloc(whole->size);
  host h = {NULL, whole->size, 0, 0, 0, 0, 0, 0};
  cet_source source;
  cet_model *model = NULL;
  cet_calibration *data = NULL;
  cet_bit_plan *plan = NULL;
  cet_quantized *small = NULL;
  cet_plan_options options;
  static float x[4 * IN];
  static const int64_t shape[2] = {4, IN};
  cet_tensor in = {"x", x, sizeof x, shape, 2, CET_FLOAT32};
  uint32_t state = 3;
  void *file[2] = {NULL, NULL};
  size_t size[2], i;
  for (i = 0; i < 4 * IN; i++) x[i] = next_number(&state);
  memcpy(bytes, whole->bytes, whole->size);
  h.bytes = bytes;
  source = source_of(&h, 0);
  source.borrowed = 1;
  CHECK_STATUS(CET_OK, cet_calibration_create(&data));
  CHECK_STATUS(CET_OK, cet_calibration_add_batch(data, &in, 1, NULL));
  cet_plan_options_init(&options, sizeof options);
  options.target_bits = 4;
  options.method = CET_METHOD_UNIFORM;
  options.rounding = CET_ROUNDING_NEAREST;
  for (i = 0; i < 2; i++) { /* from a copy, and borrowed */
    if (i == 0) CHECK_STATUS(CET_OK, cet_model_load_memory(bytes, whole->size, &model));
    else CHECK_STATUS(CET_OK, cet_model_load(&source, NULL, &model));
    CHECK_STATUS(CET_OK, cet_plan(model, data, &options, &plan));
    CHECK_STATUS(CET_OK, cet_quantize(model, data, plan, NULL, &small));
    cet_model_free(model);
    cet_plan_free(plan);
    CHECK(h.released == 0);
    CHECK_STATUS(CET_OK, cet_quantized_save_memory(small, NULL, &file[i], &size[i]));
    if (i == 1) CHECK(h.released == 0);
    cet_quantized_free(small);
    CHECK(h.released == (int)i);
  }
  CHECK(file[0] != NULL && file[1] != NULL && size[0] == size[1] && memcmp(file[0], file[1], size[0]) == 0);
  cet_free(file[0]);
  cet_free(file[1]);
  CHECK(memcmp(bytes, whole->bytes, whole->size) == 0);
  bytes[0] ^= 0xff; /* no model: released at once */
  CHECK_STATUS(CET_INVALID_MODEL, cet_model_load(&source, NULL, &model));
  CHECK(h.released == 2);
  cet_calibration_free(data);
  free(bytes);
}

static void test_external(void) {
  static buffer model_bytes;
  static unsigned char weights[64 + 4 * IN * OUT];
  host h = {NULL, 0, 0, 0, 0, 0, 0, 0};
  cet_source source;
  cet_load_options options;
  cet_model *model = NULL;
  int i;
  float expected = 0;
  uint32_t state = 5;
  for (i = 0; i < IN * OUT; i++) {
    float value = (float)((int)(64 * next_number(&state))); /* sums are exact */
    memcpy(weights + 64 + 4 * i, &value, 4);
    expected += value;
  }
  make_external_model(&model_bytes);
  h.bytes = model_bytes.bytes;
  h.size = model_bytes.size;
  source = source_of(&h, 0);
  cet_load_options_init(&options, sizeof options);
  CHECK_MESSAGE(CET_INVALID_MODEL, "../weights", cet_model_load(&source, NULL, &model));
  CHECK_MESSAGE(CET_INVALID_MODEL, "../weights", cet_model_load(&source, &options, &model));
  options.external = external;
  for (i = 0; i < 3; i++) { /* copied, borrowed, read */
    externals e = {{weights, sizeof weights, 0, 0, 0, 0, 0, 0}, i == 2, i == 1, 0, 0, 0};
    options.user_data = &e;
    CHECK_STATUS(CET_OK, cet_model_load(&source, &options, &model));
    CHECK(e.calls == 1 && e.data.released == (i != 1) && e.data.outside == 0);
    CHECK(sum_of(model) == expected);
    cet_model_free(model);
    CHECK(e.data.released == 1);
  }
  for (i = 0; i < 6; i++) { /* hostile */
    externals e = {{weights, sizeof weights, 0, 0, 0, 0, 0, 0}, 1, 0, 0, 0, 0};
    cet_status expected_status = CET_IO;
    options.user_data = &e;
    switch (i) {
      case 0: e.status = 17; break;
      case 1: e.data.answer = -3; break;
      case 2: e.data.answer = 1 << 30; break;
      case 3: e.data.size -= 1; expected_status = CET_INVALID_MODEL; break;
      case 4: e.data.size = UINT64_MAX; expected_status = CET_INVALID_ARGUMENT; break;
      default: e.is_empty = 1; expected_status = CET_INVALID_ARGUMENT; break;
    }
    CHECK_MESSAGE(expected_status, "initializer 'w'", cet_model_load(&source, &options, &model));
    CHECK(model == NULL && e.data.released == (i != 0 && i != 5));
  }
  CHECK(h.released == 11);
}

int main(void) {
  static buffer whole;
  make_model(&whole);
  test_read(&whole);
  test_sources_that_contradict_themselves(&whole);
  test_borrowed(&whole);
  test_external();
  CHECK(cet_live_handle_count() == 0);
  return check_result("sources");
}
