/* Softmax over the last axis; output scale 1/256, zero point -128. exp_table: Q0.31, one entry a
   step below the row's maximum, -1 where the reference kernel leaves the value out. */
static int32_t em_high(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* 1 / (1 + a) for a in [0, 1), Q0.31, by three Newton-Raphson steps from 48/17 - 32/17 * d. */
static int32_t em_reciprocal(int32_t a) {
  const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
  int32_t x = 1515870810 + em_high(half, -1010580540);
  for (int step = 0; step < 3; step++) {
    const int32_t rest = ((int32_t)1 << 29) - em_high(half, x);
    x += em_high(x, rest) * 4;
  }
  return x >= ((int32_t)1 << 30) ? INT32_MAX : x * 2;
}

static void em_softmax(const int32_t *exp_table, uint32_t rows, uint32_t depth, const int8_t *in,
                       int8_t *out) {
  for (uint32_t row = 0; row < rows; row++) {
    int32_t most = -128, sum = 0, shift = 0, scale;
    uint32_t normal;
    for (uint32_t c = 0; c < depth; c++) {
      most = in[c] > most ? in[c] : most;
    }
    for (uint32_t c = 0; c < depth; c++) {
      const int32_t e = exp_table[most - in[c]];
      sum += e < 0 ? 0 : ((e >> 11) + 1) >> 1; /* to Q12.19, rounded */
    }
    for (normal = (uint32_t)sum; !(normal >> 31); normal <<= 1) {
      shift++;
    }
    scale = em_reciprocal((int32_t)(normal - 0x80000000u));
    for (uint32_t c = 0; c < depth; c++) {
      const int32_t e = exp_table[most - in[c]];
      const int32_t exponent = 12 - shift + 23;
      int32_t y = -128;
      if (e >= 0) {
        y = em_high(scale, e);
        /* exponent is 23 at least: a row's sum is 1 or more, so shift is 12 at most. Adding the
           half before the shift would overflow. */
        y = (((y >> (exponent - 1)) + 1) >> 1) - 128;
      }
      out[c] = (int8_t)em_clamp(y, -128, 127);
    }
    in += depth;
    out += depth;
  }
}
