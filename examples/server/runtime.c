#define _XOPEN_SOURCE 700
#include "runtime.h"

#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const OrtApi *ort;
static OrtEnv *environment;
static OrtSessionOptions *options;
static OrtMemoryInfo *memory;

static bool ok(OrtStatus *status) {
  if (status)
    fprintf(stderr, "onnxruntime: %s\n", ort->GetErrorMessage(status));
  ort->ReleaseStatus(status);
  return !status;
}

bool runtime_open(void) {
  setenv("ORT_DISABLE_TELEMETRY", "1", 0); /* ONNX Runtime 1.32 keeps files in the home folder else */
  if (!(ort = OrtGetApiBase()->GetApi(ORT_API_VERSION))) {
    fprintf(stderr, "onnxruntime: version %s is older than the header\n", OrtGetApiBase()->GetVersionString());
    return false;
  }
  return ok(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "serve", &environment)) && ok(ort->CreateSessionOptions(&options)) &&
         ok(ort->SetIntraOpNumThreads(options, 1)) &&
         ok(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
}

runtime_model *runtime_load(const void *bytes, size_t size) {
  OrtSession *session = NULL;
  return ok(ort->CreateSessionFromArray(environment, bytes, size, options, &session)) ? session : NULL;
}

float *runtime_run(runtime_model *session, const char *input, const float *values, const int64_t *shape, size_t rank, size_t *count) {
  OrtAllocator *allocator;
  OrtValue *in = NULL, *out = NULL;
  OrtTensorTypeAndShapeInfo *info = NULL;
  char *output = NULL;
  float *found, *result = NULL;
  size_t numbers = 1;
  for (size_t axis = 0; axis < rank; axis++)
    numbers *= (size_t)shape[axis];
  if (ok(ort->GetAllocatorWithDefaultOptions(&allocator)) && ok(ort->SessionGetOutputName(session, 0, allocator, &output)) &&
      ok(ort->CreateTensorWithDataAsOrtValue(memory, (void *)values, numbers * sizeof(float), shape, rank,
                                             ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &in)) &&
      ok(ort->Run(session, NULL, &input, (const OrtValue *const *)&in, 1, (const char *const *)&output, 1, &out)) &&
      ok(ort->GetTensorTypeAndShape(out, &info)) && ok(ort->GetTensorShapeElementCount(info, count)) &&
      ok(ort->GetTensorMutableData(out, (void **)&found)) && (result = malloc(*count * sizeof(float) + 1)))
    memcpy(result, found, *count * sizeof(float));
  if (output)
    ok(ort->AllocatorFree(allocator, output));
  ort->ReleaseTensorTypeAndShapeInfo(info);
  ort->ReleaseValue(in);
  ort->ReleaseValue(out);
  return result;
}

void runtime_free(runtime_model *session) {
  if (ort) /* else there is no session */
    ort->ReleaseSession(session);
}

void runtime_close(void) {
  if (!ort)
    return;
  ort->ReleaseMemoryInfo(memory);
  ort->ReleaseSessionOptions(options);
  ort->ReleaseEnv(environment);
}
