/* How deep the stack has been: the linker script's stack is painted, and what is still painted
   later was not used. */
#include "target.h"

#define PATTERN 0xA5A5A5A5u

extern uint32_t _stack_limit;
register uint32_t stack_pointer __asm("sp");

uint32_t target_stack_paint(void) {
  const uint32_t top = stack_pointer;
  for (uint32_t *p = &_stack_limit; (uintptr_t)p < top - 64u; p++) {
    *p = PATTERN;
  }
  return top;
}

uint32_t target_stack_used(uint32_t top) {
  const uint32_t *p = &_stack_limit;
  while ((uintptr_t)p < top && *p == PATTERN) {
    p++;
  }
  return top - (uint32_t)(uintptr_t)p;
}
