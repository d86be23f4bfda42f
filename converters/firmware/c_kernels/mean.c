/* Mean over the picture: [pixels][channels] -> [channels]. */
typedef struct {
  uint32_t pixels, channels;
#if EDGE_MALARIA_ROUNDING != 1
  int32_t zero_sum, multiplier, shift, out_zero;
#else
  float factor, offset;
#endif
} em_mean_t;

static void em_mean(const em_mean_t *p, const int8_t *in, int8_t *out) {
  for (uint32_t c = 0; c < p->channels; c++) {
    const int8_t *x = in + c;
    int32_t sum = 0, mean;
    for (uint32_t i = 0; i < p->pixels; i++) {
      sum += *x;
      x += p->channels;
    }
#if EDGE_MALARIA_ROUNDING != 1
    mean = em_multiply(sum - p->zero_sum, p->multiplier, p->shift) + p->out_zero;
#else
    {
      /* volatile: product and sum are rounded one after the other, never fused. */
      volatile float scaled = (float)sum * p->factor;
      float x_real = scaled + p->offset;
      x_real = x_real > 127.0f ? 127.0f : x_real;
      mean = em_round(x_real < -128.0f ? -128.0f : x_real);
    }
#endif
    out[c] = (int8_t)em_clamp(mean, -128, 127);
  }
}
