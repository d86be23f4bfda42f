void edge_malaria_classify(const uint8_t *rgb, int threshold, edge_malaria_result_t *result) {
  int8_t *in = edge_malaria_input();
  int raw;
  for (uint32_t i = 0; i < EDGE_MALARIA_INPUT_BYTES; i++) {
    in[i] = (int8_t)(rgb[i] - 128);
  }
  raw = *edge_malaria_run();
  result->raw = (int8_t)raw;
  result->positive = raw >= threshold;
  result->permille = em_permille[raw + 128];
  result->label = raw >= threshold ? EDGE_MALARIA_PARASITIZED : EDGE_MALARIA_UNINFECTED;
  if (raw >= EDGE_MALARIA_UNSURE_LOW && raw <= EDGE_MALARIA_UNSURE_HIGH) {
    result->label = EDGE_MALARIA_UNSURE;
  }
}
