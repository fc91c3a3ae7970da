/* The distribution's link gives this to the Swift runtime in the place of its table of the names of Unicode characters
   (--wrap in Package.swift): half a megabyte that nothing here asks for. Every character is nameless. */
#include <stdint.h>

intptr_t __wrap__swift_stdlib_getScalarName(uint32_t scalar, uint8_t *buffer, intptr_t capacity);
intptr_t __wrap__swift_stdlib_getScalarName(uint32_t scalar, uint8_t *buffer, intptr_t capacity) {
  (void)scalar, (void)buffer, (void)capacity;
  return 0;
}
