/* A small ONNX model, written here byte by byte: x [batch, 12] -> Gemm 12x16 -> Relu -> Gemm 16x5 -> logits. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>
#include <string.h>

typedef struct {
  unsigned char bytes[8192];
  size_t size;
} buffer;

static void put_varint(buffer *b, uint64_t value) {
  do {
    b->bytes[b->size++] = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));
    value >>= 7;
  } while (value);
}

static void put_bytes(buffer *b, int field, const void *data, size_t size) {
  put_varint(b, (uint64_t)field << 3 | 2);
  put_varint(b, size);
  memcpy(b->bytes + b->size, data, size);
  b->size += size;
}

static void put_text(buffer *b, int field, const char *text) { put_bytes(b, field, text, strlen(text)); }
static void put_message(buffer *b, int field, const buffer *inner) { put_bytes(b, field, inner->bytes, inner->size); }
static void put_number(buffer *b, int field, uint64_t value) {
  put_varint(b, (uint64_t)field << 3);
  put_varint(b, value);
}

/* Numbers in [-1, 1), always the same. */
static float next_number(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(int32_t)*state / 2147483648.0f;
}

static void put_initializer(buffer *graph, const char *name, const int64_t *shape, int rank, uint32_t seed, float scale) {
  buffer tensor = {{0}, 0};
  float values[256];
  size_t count = 1, i;
  for (i = 0; i < (size_t)rank; i++) {
    count *= (size_t)shape[i];
    put_number(&tensor, 1, (uint64_t)shape[i]);
  }
  for (i = 0; i < count; i++) values[i] = scale * next_number(&seed);
  put_number(&tensor, 2, 1);
  put_text(&tensor, 8, name);
  put_bytes(&tensor, 9, values, count * sizeof *values);
  put_message(graph, 5, &tensor);
}

static void put_node(buffer *graph, const char *type, const char *name, const char *const *inputs, const char *output) {
  buffer node = {{0}, 0};
  for (; *inputs; inputs++) put_text(&node, 1, *inputs);
  put_text(&node, 2, output);
  put_text(&node, 3, name);
  put_text(&node, 4, type);
  put_message(graph, 1, &node);
}

static void put_value(buffer *graph, int field, const char *name, int64_t columns) {
  buffer batch = {{0}, 0}, column = {{0}, 0}, shape = {{0}, 0}, tensor = {{0}, 0}, type = {{0}, 0}, value = {{0}, 0};
  put_text(&batch, 2, "batch");
  put_number(&column, 1, (uint64_t)columns);
  put_message(&shape, 1, &batch);
  put_message(&shape, 1, &column);
  put_number(&tensor, 1, 1);
  put_message(&tensor, 2, &shape);
  put_message(&type, 1, &tensor);
  put_text(&value, 1, name);
  put_message(&value, 2, &type);
  put_message(graph, field, &value);
}

static void make_model(buffer *model) {
  static const char *const first[] = {"x", "first.weight", "first.bias", NULL}, *const relu[] = {"h", NULL},
                                  *const second[] = {"r", "second.weight", "second.bias", NULL};
  static const int64_t w1[] = {12, 16}, b1[] = {16}, w2[] = {16, 5}, b2[] = {5};
  buffer graph = {{0}, 0}, opset = {{0}, 0};
  put_node(&graph, "Gemm", "first", first, "h");
  put_node(&graph, "Relu", "relu", relu, "r");
  put_node(&graph, "Gemm", "second", second, "logits");
  put_text(&graph, 2, "small");
  put_initializer(&graph, "first.weight", w1, 2, 1, 0.7f);
  put_initializer(&graph, "first.bias", b1, 1, 2, 0.1f);
  put_initializer(&graph, "second.weight", w2, 2, 3, 0.9f);
  put_initializer(&graph, "second.bias", b2, 1, 4, 0.1f);
  put_value(&graph, 11, "x", 12);
  put_value(&graph, 12, "logits", 5);
  put_number(&opset, 2, 17);
  model->size = 0;
  put_number(model, 1, 8);
  put_text(model, 2, "conformance");
  put_message(model, 7, &graph);
  put_message(model, 8, &opset);
}

#endif
