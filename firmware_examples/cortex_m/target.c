/* Semihosting (Arm's debugger protocol, which qemu speaks) and SysTick. */
#include "target.h"

void target_exit(int status) __attribute__((noreturn));

static int semihosting(int operation, const void *argument) {
  register int r0 __asm("r0") = operation;
  register const void *r1 __asm("r1") = argument;
  __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void target_put(const char *text) { semihosting(0x04 /* SYS_WRITE0 */, text); }

void target_exit(int status) {
  /* SYS_EXIT_EXTENDED with ADP_Stopped_ApplicationExit. */
  const uint32_t block[2] = {0x20026u, (uint32_t)status};
  for (;;) {
    semihosting(0x20, block);
  }
}

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)

/* qemu's clock moves 1 ns an instruction under -icount shift=0, and SysTick counts the machine's
   clock, so a tick is TICK_INSTRUCTIONS instructions (40 at 25 MHz, 31.25 at 32 MHz). */
#ifndef TICK_MHZ
#define TICK_MHZ 25
#endif

uint32_t target_instructions(void) {
  if (!(SYST_CSR & 1u)) {
    SYST_RVR = 0xFFFFFFu;
    SYST_CVR = 0;
    SYST_CSR = 5u; /* on, processor clock */
    while (SYST_CVR == 0) {
      /* The first tick loads the counter. */
    }
  }
  /* 24 bits count down; one inference is far below the 0.67 s until they wrap. */
  return (uint32_t)((uint64_t)(0xFFFFFFu - SYST_CVR) * 1000u / TICK_MHZ);
}
