
$table
static void em_run_second(void) {
$calls
}

int8_t *edge_malaria_second_input(void) { return em_arena.bytes + $input_offset; }

const int8_t *edge_malaria_second_run(void) {
  em_run_second();
  return em_arena.bytes + $output_offset;
}

/* Writes a cell as the input of either network. */
static void em_show(const uint8_t *rgb, int8_t *in) {
  for (uint32_t i = 0; i < EDGE_MALARIA_INPUT_BYTES; i++) {
    in[i] = (int8_t)(rgb[i] - 128);
  }
}

void edge_malaria_classify(const uint8_t *rgb, int threshold, edge_malaria_result_t *result) {
  int raw, unsure;
  em_show(rgb, edge_malaria_input());
  raw = *edge_malaria_run();
  result->raw = (int8_t)raw;
  if (raw >= EDGE_MALARIA_ASKED_AGAIN_FROM) {
    em_show(rgb, edge_malaria_second_input());
    raw = *edge_malaria_second_run();
    result->positive = raw >= threshold;
    result->permille = em_second_permille[raw + 128];
    unsure = raw >= EDGE_MALARIA_UNSURE_LOW && raw <= EDGE_MALARIA_UNSURE_HIGH;
  } else {
    result->positive = 0;
    result->permille = em_permille[raw + 128];
    unsure = raw >= EDGE_MALARIA_FIRST_UNSURE_LOW && raw <= EDGE_MALARIA_FIRST_UNSURE_HIGH;
  }
  result->label = result->positive ? EDGE_MALARIA_PARASITIZED : EDGE_MALARIA_UNINFECTED;
  if (unsure) {
    result->label = EDGE_MALARIA_UNSURE;
  }
}
