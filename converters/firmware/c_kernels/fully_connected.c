/* Fully connected, weights [out_n][in_n]; bias holds -zero * sum(weights) already. */
typedef struct {
  uint32_t rows, in_n, out_n;
  int8_t out_zero, low, high;
  const int8_t *weights;
  const int32_t *bias;
  em_scale_t scale;
} em_fully_connected_t;

EM_INLINE int32_t em_fully_connected_output(const em_fully_connected_t *p, int32_t sum, uint32_t c) {
#if EDGE_MALARIA_ROUNDING == 2
  const int32_t right = 31 - p->scale.shift[c];
  const int64_t x = (int64_t)sum * p->scale.multiplier[c] + ((int64_t)1 << (right - 1));
  return em_clamp((int32_t)(x >> right) + p->out_zero, p->low, p->high);
#else
  return em_requantize(sum, &p->scale, c, p->out_zero, p->low, p->high);
#endif
}

static void em_fully_connected(const em_fully_connected_t *p, const int8_t *in, int8_t *out) {
  for (uint32_t row = 0; row < p->rows; row++) {
    const int8_t *w = p->weights;
    for (uint32_t c = 0; c < p->out_n; c++) {
      int32_t sum = p->bias[c];
      for (uint32_t i = 0; i < p->in_n; i++) {
        sum += in[i] * w[i];
      }
      w += p->in_n;
      *out++ = (int8_t)em_fully_connected_output(p, sum, c);
    }
    in += p->in_n;
  }
}
