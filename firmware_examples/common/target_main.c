/* Golden cells and one counted inference on a bare target; the result is the exit status. */
#include "edge_malaria_golden.h"
#include "edge_malaria_model.h"
#include "target.h"

int edge_malaria_selftest(void);

static void put_number(const char *name, uint32_t value) {
  char text[12];
  char *p = text + sizeof text;
  *--p = '\0';
  do {
    *--p = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  target_put(name);
  target_put("=");
  target_put(p);
  target_put("\n");
}

int main(void) {
  const uint32_t floor = target_stack_paint();
  edge_malaria_result_t result;
  uint32_t start, used, idle;
#ifdef EDGE_MALARIA_SECOND
  uint32_t second;
#endif
  int differing;

  start = target_instructions();
  idle = target_instructions() - start;
  start = target_instructions();
  edge_malaria_classify(edge_malaria_golden_input[0], EDGE_MALARIA_THRESHOLD_BALANCED, &result);
  used = target_instructions() - start - idle;
#ifdef EDGE_MALARIA_SECOND
  /* Of one run of each network. */
  start = target_instructions();
  edge_malaria_second_run();
  second = target_instructions() - start - idle;
  if (result.raw >= EDGE_MALARIA_ASKED_AGAIN_FROM) {
    used -= second;
  }
  put_number("second_instructions", second);
#endif
#if EDGE_MALARIA_VIEWS > 1
  if (result.raw >= EDGE_MALARIA_ASKED_AGAIN_FROM) {
    used /= EDGE_MALARIA_VIEWS; /* of one run of the network */
  }
#endif
  put_number("stack_bytes", target_stack_used(floor));
  differing = edge_malaria_selftest();

  target_put(EDGE_MALARIA_MODEL_NAME " " EDGE_MALARIA_MODEL_VERSION "\n");
  put_number("cells", EDGE_MALARIA_GOLDEN_CELLS);
  put_number("differing_bytes", (uint32_t)differing);
  put_number("instructions", used);
  put_number("permille", result.permille);
  return differing ? 1 : 0;
}
