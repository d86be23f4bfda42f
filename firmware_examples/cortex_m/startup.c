/* Vector table and reset of a Cortex-M, without a vendor's library. */
#include <stdint.h>

extern uint32_t _stack_top, _data_load, _data_start, _data_end, _bss_start, _bss_end;

int main(void);
void target_exit(int status) __attribute__((noreturn));
void reset_handler(void);
void fault_handler(void);

typedef void (*vector_t)(void);

__attribute__((section(".vectors"), used)) static const vector_t vectors[16] = {
    (vector_t)(uintptr_t)&_stack_top,
    reset_handler,
    fault_handler, /* NMI */
    fault_handler, /* HardFault */
    fault_handler, /* MemManage */
    fault_handler, /* BusFault */
    fault_handler, /* UsageFault */
};

void reset_handler(void) {
  uint32_t *from = &_data_load;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  /* CPACR: let the floating-point unit (and Helium) run. */
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
  __asm volatile("dsb\n\tisb");
#endif
  for (uint32_t *to = &_data_start; to < &_data_end;) {
    *to++ = *from++;
  }
  for (uint32_t *to = &_bss_start; to < &_bss_end;) {
    *to++ = 0;
  }
  target_exit(main());
}

void fault_handler(void) { target_exit(2); }
