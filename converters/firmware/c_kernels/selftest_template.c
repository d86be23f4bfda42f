/* Runs the golden cells on the target. Not needed by a product, but cheap to keep in its tests. */
#include "edge_malaria_model.h"

#include "edge_malaria_golden.h"

/* How many output bytes differ from the recorded ones; 0 is a pass. */
int edge_malaria_selftest(void);

int edge_malaria_selftest(void) {
  int differing = 0;
  for (uint32_t cell = 0; cell < EDGE_MALARIA_GOLDEN_CELLS; cell++) {
    int8_t *in = edge_malaria_input();
    const int8_t *out;
    for (uint32_t i = 0; i < EDGE_MALARIA_INPUT_BYTES; i++) {
      in[i] = (int8_t)(edge_malaria_golden_input[cell][i] - 128);
    }
    out = edge_malaria_run();
    for (uint32_t i = 0; i < EDGE_MALARIA_OUTPUT_BYTES; i++) {
      differing += out[i] != edge_malaria_golden_output[cell][i];
    }
  }
#if defined(EDGE_MALARIA_VIEWS) && EDGE_MALARIA_VIEWS > 1
  for (uint32_t cell = 0; cell < sizeof edge_malaria_golden_views / sizeof(int16_t); cell++) {
    const uint8_t *rgb = edge_malaria_golden_input[cell];
    differing += edge_malaria_eight_views(rgb) != edge_malaria_golden_views[cell];
  }
#endif
#ifdef EDGE_MALARIA_SECOND
  for (uint32_t cell = 0; cell < EDGE_MALARIA_GOLDEN_CELLS; cell++) {
    int8_t *in = edge_malaria_second_input();
    for (uint32_t i = 0; i < EDGE_MALARIA_INPUT_BYTES; i++) {
      in[i] = (int8_t)(edge_malaria_golden_input[cell][i] - 128);
    }
    differing += *edge_malaria_second_run() != edge_malaria_golden_second[cell];
  }
#endif
  return differing;
}

#ifdef EDGE_MALARIA_SELFTEST_MAIN
#include <stdio.h>

/* Exit status 0: every bit is right. */
int main(void) {
  const int differing = edge_malaria_selftest();
  printf("rounding %d: %d golden cells, %d output bytes differ\n", EDGE_MALARIA_ROUNDING,
         EDGE_MALARIA_GOLDEN_CELLS, differing);
  return differing != 0;
}
#endif
