/* out = a + b of equal shape. */
typedef struct {
  uint32_t n;
  int16_t a_zero, b_zero, out_zero;
  int8_t low, high;
#if EDGE_MALARIA_ROUNDING != 1
  int32_t a_multiplier, b_multiplier, out_multiplier;
  int8_t a_shift, b_shift, out_shift;
#else
  int32_t a_factor, b_factor, bias;
  uint8_t shift;
#endif
} em_add_t;

static void em_add(const em_add_t *p, const int8_t *a, const int8_t *b, int8_t *out) {
  for (uint32_t i = 0; i < p->n; i++) {
#if EDGE_MALARIA_ROUNDING != 1
    /* 20 guard bits, as the reference kernel has them. */
    const int32_t x = em_multiply((a[i] - p->a_zero) * (1 << 20), p->a_multiplier, p->a_shift);
    const int32_t y = em_multiply((b[i] - p->b_zero) * (1 << 20), p->b_multiplier, p->b_shift);
    const int32_t sum = em_multiply(x + y, p->out_multiplier, p->out_shift);
#else
    const int32_t sum = (p->bias + a[i] * p->a_factor + b[i] * p->b_factor) >> p->shift;
#endif
    out[i] = (int8_t)em_clamp(sum + p->out_zero, p->low, p->high);
  }
}
