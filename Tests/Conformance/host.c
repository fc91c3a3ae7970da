/* A good guest: signal handlers stay the host's, threads do not disturb each other. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <signal.h>

static const char *const plan_json =
    "{\"format\":\"cet-plan\",\"version\":1,\"library_version\":\"0.1.0\","
    "\"model\":{\"sha256\":\"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\",\"bytes\":4096},"
    "\"options\":{\"target_ratio\":8,\"method\":\"cet\",\"curvature\":\"hessian\",\"rounding\":\"nearest\","
    "\"granularity\":\"per-axis\",\"encoding\":\"planes\",\"bits\":[2,4,8]},\"loss\":\"kl\",\"samples\":7,"
    "\"totals\":{\"file_bytes\":900},\"tensors\":[{\"name\":\"w\",\"shape\":[4,3],\"bits\":4,\"decision\":\"chosen\","
    "\"code_bytes\":6,\"stored_bytes\":26}]}";

static void signals(void) {
  int number;
  cet_model *model = NULL;
  (void)cet_model_load_memory("x", 1, &model);
  for (number = 1; number < 32; number++) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) != 0) continue;
    CHECK((action.sa_flags & SA_SIGINFO) == 0 && (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN));
  }
}

static cet_bit_plan *shared;

static void *work(void *context) {
  int round, failures = 0, id = *(int *)context;
  for (round = 0; round < 300; round++) {
    cet_calibration *calibration = NULL;
    cet_bit_plan *plan = NULL;
    char name[32], *json = NULL;
    size_t index = 9;
    sprintf(name, "thread %d, round %d", id, round);
    failures += cet_calibration_create(&calibration) != CET_OK;
    failures += cet_plan_find_tensor(shared, name, &index) != CET_INVALID_ARGUMENT;
    failures += strstr(cet_last_error_message(), name) == NULL;
    failures += cet_plan_to_json(shared, &json) != CET_OK;
    failures += cet_plan_from_json(json, &plan) != CET_OK;
    failures += cet_plan_tensor_count(plan) != 1;
    cet_free(json);
    cet_plan_free(plan);
    cet_calibration_free(calibration);
  }
  *(int *)context = failures;
  return NULL;
}

static void threads(void) {
  enum { count = 8 };
  pthread_t ids[count];
  int contexts[count], i;
  CHECK_STATUS(CET_OK, cet_plan_from_json(plan_json, &shared));
  for (i = 0; i < count; i++) {
    contexts[i] = i;
    CHECK(pthread_create(&ids[i], NULL, work, &contexts[i]) == 0);
  }
  for (i = 0; i < count; i++) {
    CHECK(pthread_join(ids[i], NULL) == 0);
    CHECK(contexts[i] == 0);
  }
  cet_plan_free(shared);
}

int main(void) {
  signals();
  threads();
  CHECK(cet_live_handle_count() == 0);
  return check_result("host");
}
