/* Writes one view of the cell as the input: turned counterclockwise by quarter turns, then mirrored
   left to right. */
static void em_view(const uint8_t *rgb, int turns, int mirrored) {
  int8_t *in = edge_malaria_input();
  for (int y = 0; y < EDGE_MALARIA_SIZE; y++) {
    for (int x = 0; x < EDGE_MALARIA_SIZE; x++) {
      const int last = EDGE_MALARIA_SIZE - 1, column = mirrored ? last - x : x;
      const int row_from = turns == 0 ? y : turns == 1 ? column : last - (turns == 2 ? y : column);
      const int column_from = turns == 0 ? column : turns == 3 ? y
                              : last - (turns == 2 ? column : y);
      const uint8_t *from = rgb + 3 * (row_from * EDGE_MALARIA_SIZE + column_from);
      *in++ = (int8_t)(from[0] - 128);
      *in++ = (int8_t)(from[1] - 128);
      *in++ = (int8_t)(from[2] - 128);
    }
  }
}

/* The raw outputs of views [first, EDGE_MALARIA_VIEWS) added up. */
static int em_views_from(const uint8_t *rgb, int first) {
  int sum = 0;
  for (int view = first; view < EDGE_MALARIA_VIEWS; view++) {
    em_view(rgb, view / 2, view % 2);
    sum += *edge_malaria_run();
  }
  return sum;
}

int edge_malaria_eight_views(const uint8_t *rgb) { return em_views_from(rgb, 0); }

void edge_malaria_classify(const uint8_t *rgb, int threshold, edge_malaria_result_t *result) {
  int raw, eighths;
  em_view(rgb, 0, 0);
  raw = *edge_malaria_run();
  eighths = EDGE_MALARIA_VIEWS * raw;
  if (raw >= EDGE_MALARIA_ASKED_AGAIN_FROM) {
    eighths = raw + em_views_from(rgb, 1);
  }
  result->raw = (int8_t)raw;
  result->positive = eighths >= threshold;
  result->permille = em_permille[eighths + 128 * EDGE_MALARIA_VIEWS];
  result->label = result->positive ? EDGE_MALARIA_PARASITIZED : EDGE_MALARIA_UNINFECTED;
  if (eighths >= EDGE_MALARIA_UNSURE_LOW && eighths <= EDGE_MALARIA_UNSURE_HIGH) {
    result->label = EDGE_MALARIA_UNSURE;
  }
}
