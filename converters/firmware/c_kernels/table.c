/* An operator of one int8 input as a table, indexed by input + 128. */
static void em_table(const int8_t *table, uint32_t n, const int8_t *in, int8_t *out) {
  for (uint32_t i = 0; i < n; i++) {
    out[i] = table[in[i] + 128];
  }
}
