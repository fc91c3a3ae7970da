/* A mutator for protobuf messages: it changes one field, somewhere inside, and the lengths around it follow. Bytes changed
   at random would mostly end in the reader's first check. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

enum { MOST_FIELDS = 512, VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5, DEEPEST = 12 };

typedef struct {
  size_t start, value, end; /* of the tag, of the value without its length, after it */
  unsigned wire;
} field;

static size_t get_varint(const uint8_t *data, size_t size, uint64_t *value) {
  size_t i;
  *value = 0;
  for (i = 0; i < size && i < 10; i++) {
    *value |= (uint64_t)(data[i] & 0x7f) << (7 * i);
    if (!(data[i] & 0x80)) return i + 1;
  }
  return 0;
}

static size_t put_varint(uint8_t *out, uint64_t value) {
  size_t count = 0;
  for (; value >= 0x80; value >>= 7) out[count++] = (uint8_t)value | 0x80;
  out[count++] = (uint8_t)value;
  return count;
}

/* The fields of a message, at most MOST_FIELDS; 0 when it is none. */
static size_t parse(const uint8_t *data, size_t size, field *fields) {
  size_t at = 0, count = 0;
  while (at < size) {
    uint64_t tag, length = 0;
    size_t used = get_varint(data + at, size - at, &tag);
    field *f = &fields[count];
    if (used == 0 || tag >> 3 == 0 || tag >> 3 > 1000 || count == MOST_FIELDS) return 0;
    f->start = at, f->wire = tag & 7, f->value = at += used;
    if (f->wire == VARINT) {
      used = get_varint(data + at, size - at, &length);
      if (used == 0) return 0;
      length = used;
    } else if (f->wire == BYTES) {
      used = get_varint(data + at, size - at, &length);
      if (used == 0) return 0;
      f->value = at += used;
    } else if (f->wire == FIXED64 || f->wire == FIXED32) {
      length = f->wire == FIXED64 ? 8 : 4;
    } else {
      return 0;
    }
    if (length > size - at) return 0;
    f->end = at += length;
    count++;
  }
  return count;
}

static const uint64_t numbers[] = {0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 16, 17, 127, 128, 255, 65536, 0x7fffffff, 0x80000000, 0xffffffff,
                                   1ull << 40, 1ull << 62, INT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX - 1};

/* The message in `in` with one field changed, in `out`, which has room for `room` bytes; 0: no such change. */
static size_t change(const uint8_t *in, size_t size, uint8_t *out, size_t room, int depth) {
  field *fields = malloc(MOST_FIELDS * sizeof *fields);
  const size_t count = parse(in, size, fields);
  size_t made = 0, head, tail, length;
  uint8_t *value = malloc(room + 16);
  field f;
  if (count == 0 || value == NULL) goto done;
  f = fields[rand() % count];
  head = f.start, tail = size - f.end;
  switch (rand() % 8) {
    case 0: /* gone */
      made = head + tail;
      memcpy(out, in, head), memcpy(out + head, in + f.end, tail);
      goto done;
    case 1: { /* twice, or at another's place */
      field other = fields[rand() % count];
      length = f.end - f.start;
      if (size + length > room) goto done;
      memcpy(out, in, other.start), memcpy(out + other.start, in + f.start, length);
      memcpy(out + other.start + length, in + other.start, size - other.start);
      made = size + length;
      goto done;
    }
    case 2: /* a number that was not there */
      if (size + 12 > room) goto done;
      memcpy(out, in, head);
      made = head + put_varint(out + head, (uint64_t)(1 + rand() % 30) << 3);
      made += put_varint(out + made, numbers[rand() % (sizeof numbers / sizeof *numbers)]);
      memcpy(out + made, in + f.start, size - f.start);
      made += size - f.start;
      goto done;
    default:
      break;
  }
  length = f.end - f.value;
  if (f.wire == VARINT) {
    length = put_varint(value, rand() % 2 ? numbers[rand() % (sizeof numbers / sizeof *numbers)] : (uint64_t)(rand() % 32));
  } else if (f.wire != BYTES) {
    memcpy(value, in + f.value, length);
    value[rand() % length] ^= (uint8_t)(1 << rand() % 8);
  } else {
    size_t most = room > size + 20 ? length + (room - size - 20) : length;
    size_t inner = depth < DEEPEST && rand() % 8 ? change(in + f.value, length, value, most, depth + 1) : 0;
    if (inner == 0 && most > 0) {
      if (most > length + 64) most = length + 64;
      memcpy(value, in + f.value, length);
      inner = LLVMFuzzerMutate(value, length, most);
    }
    length = inner;
  }
  /* The tag as it was, without the length that may stand behind it. */
  memcpy(out, in, head);
  {
    uint64_t tag;
    size_t used = get_varint(in + f.start, size - f.start, &tag);
    if (head + used + 10 + length + tail > room) goto done;
    memcpy(out + head, in + f.start, used);
    made = head + used;
  }
  if (f.wire == BYTES) made += put_varint(out + made, length);
  memcpy(out + made, value, length);
  memcpy(out + made + length, in + f.end, tail);
  made += length + tail;
done:
  free(fields);
  free(value);
  return made;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  uint8_t *made = malloc(max_size + 64);
  size_t length = 0;
  int times;
  srand(seed);
  if (rand() % 16)
    for (times = 1 + rand() % 3; times > 0; times--) {
      size_t changed = change(data, size, made, max_size, 0);
      if (changed > 0) memcpy(data, made, size = length = changed);
    }
  free(made);
  return length > 0 ? length : LLVMFuzzerMutate(data, size, max_size);
}
