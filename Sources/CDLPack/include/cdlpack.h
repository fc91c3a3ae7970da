/* The structs of DLPack 1.x, laid out as in its dlpack.h, under names of the library's own: the public header only declares
 * them, and a host includes the dlpack.h that it has. */
#pragma once
#include <stdint.h>

typedef struct {
  int32_t device_type; /* 1: memory of the processor */
  int32_t device_id;
} cdl_device;

typedef struct {
  uint8_t code; /* 0 int, 1 uint, 2 float, 4 bfloat, 6 bool */
  uint8_t bits;
  uint16_t lanes;
} cdl_type;

typedef struct {
  void *data;
  cdl_device device;
  int32_t ndim;
  cdl_type dtype;
  int64_t *shape;
  int64_t *strides; /* in elements; NULL: C order */
  uint64_t byte_offset;
} cdl_tensor;

/* DLManagedTensor, without a version. */
typedef struct cdl_managed {
  cdl_tensor tensor;
  void *manager_ctx;
  void (*deleter)(struct cdl_managed *self);
} cdl_managed;

/* DLManagedTensorVersioned. */
typedef struct cdl_managed_versioned {
  uint32_t major;
  uint32_t minor;
  void *manager_ctx;
  void (*deleter)(struct cdl_managed_versioned *self);
  uint64_t flags; /* 1: read only, 2: a copy made for the taker */
  cdl_tensor tensor;
} cdl_managed_versioned;
