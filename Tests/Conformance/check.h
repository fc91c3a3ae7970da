/* Checks that count failures and say where, and go on. */
#ifndef CHECK_H
#define CHECK_H

#include <cet/cet.h>
#include <stdio.h>
#include <string.h>

static int check_failures;

#define CHECK(condition)                                                                                \
  do {                                                                                                  \
    if (!(condition)) {                                                                                 \
      check_failures++;                                                                                 \
      printf("%s:%d: %s   [message: \"%s\"]\n", __FILE__, __LINE__, #condition, cet_last_error_message()); \
    }                                                                                                   \
  } while (0)

/* The status is as expected, and there is a message exactly when it is a failure: one line. */
#define CHECK_STATUS(expected, call) check_status(expected, call, #call, __FILE__, __LINE__)

/* The same, and the message has this text in it. */
#define CHECK_MESSAGE(expected, text, call)                                                             \
  do {                                                                                                  \
    CHECK_STATUS(expected, call);                                                                       \
    CHECK(strstr(cet_last_error_message(), text) != NULL);                                              \
  } while (0)

static inline void check_status(cet_status expected, cet_status found, const char *call, const char *file, int line) {
  const char *message = cet_last_error_message();
  int has_message = message[0] != '\0';
  if (found != expected || has_message != (found != CET_OK) || strchr(message, '\n') != NULL) {
    check_failures++;
    printf("%s:%d: %s\n  expected %d, found %d (%s), message \"%s\"\n", file, line, call, (int)expected, (int)found,
           cet_status_string(found), message);
  }
}

static inline int check_result(const char *name) {
  printf("%s: %s\n", name, check_failures == 0 ? "ok" : "FAILED");
  return check_failures == 0 ? 0 : 1;
}

#endif
