/* What a bare target offers the example: text out, an instruction counter, a painted stack. */
#ifndef TARGET_H
#define TARGET_H

#include <stdint.h>

void target_put(const char *text);

/* Instructions executed so far, modulo 2^32. Exact under qemu -icount shift=0, not on a chip. */
uint32_t target_instructions(void);

/* Fills the unused stack with a pattern; later, how deep the stack has been below this call. */
uint32_t target_stack_paint(void);
uint32_t target_stack_used(uint32_t top);

#endif
