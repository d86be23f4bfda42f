/* Convolution, weights [out_c][kernel_h][kernel_w][in_c]. bias holds -zero * sum(weights) already,
   so a padded tap must read the input's zero point. */
typedef struct {
  uint16_t in_h, in_w, in_c, out_h, out_w, out_c;
  uint8_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int16_t pad_top, pad_left;
  int8_t in_zero, out_zero, low, high;
  const int8_t *weights;
  const int32_t *bias;
  em_scale_t scale;
} em_conv_t;

/* Gathers the inputs below one output pixel: [kernel_h][kernel_w][in_c]. */
static void em_gather(const em_conv_t *p, const int8_t *in, uint32_t pixel, int8_t *patch) {
  const int32_t y0 = (int32_t)(pixel / p->out_w) * p->stride_h - p->pad_top;
  const int32_t x0 = (int32_t)(pixel % p->out_w) * p->stride_w - p->pad_left;
  const uint32_t depth = p->in_c;
  for (uint32_t ky = 0; ky < p->kernel_h; ky++) {
    const int32_t y = y0 + (int32_t)(ky * p->dilation_h);
    for (uint32_t kx = 0; kx < p->kernel_w; kx++) {
      const int32_t x = x0 + (int32_t)(kx * p->dilation_w);
      if (y >= 0 && y < (int32_t)p->in_h && x >= 0 && x < (int32_t)p->in_w) {
        const int8_t *from = in + ((uint32_t)y * p->in_w + (uint32_t)x) * depth;
        for (uint32_t c = 0; c < depth; c++) {
          patch[c] = from[c];
        }
      } else {
        for (uint32_t c = 0; c < depth; c++) {
          patch[c] = p->in_zero;
        }
      }
      patch += depth;
    }
  }
}

static void em_conv_pair(const em_conv_t *p, const int8_t *a0, const int8_t *a1, uint32_t depth,
                         int8_t *out0, int8_t *out1) {
  const int8_t *w0 = p->weights;
  for (uint32_t c0 = 0; c0 < p->out_c; c0 += 2) {
    /* An odd last channel is computed twice and written twice: the same bits. */
    const uint32_t c1 = c0 + 1 < p->out_c ? c0 + 1 : c0;
    const int8_t *w1 = w0 + (c1 - c0) * depth;
    int32_t sums[4] = {p->bias[c0], p->bias[c1], p->bias[c0], p->bias[c1]};
    em_dot_2x2(a0, a1, w0, w1, depth, sums);
    out0[c0] = (int8_t)em_requantize(sums[0], &p->scale, c0, p->out_zero, p->low, p->high);
    out0[c1] = (int8_t)em_requantize(sums[1], &p->scale, c1, p->out_zero, p->low, p->high);
    out1[c0] = (int8_t)em_requantize(sums[2], &p->scale, c0, p->out_zero, p->low, p->high);
    out1[c1] = (int8_t)em_requantize(sums[3], &p->scale, c1, p->out_zero, p->low, p->high);
    w0 += 2 * depth;
  }
}

/* scratch: 2 * kernel_h * kernel_w * in_c bytes, or null for 1x1 kernels that touch every pixel. */
static void em_conv(const em_conv_t *p, const int8_t *in, int8_t *out, int8_t *scratch) {
  const uint32_t pixels = (uint32_t)p->out_h * p->out_w;
  const uint32_t depth = (uint32_t)p->kernel_h * p->kernel_w * p->in_c;
  for (uint32_t first = 0; first < pixels; first += 2) {
    const uint32_t second = first + 1 < pixels ? first + 1 : first;
    const int8_t *a0 = in + first * depth, *a1 = in + second * depth;
    if (scratch) {
      em_gather(p, in, first, scratch);
      em_gather(p, in, second, scratch + depth);
      a0 = scratch;
      a1 = scratch + depth;
    }
    em_conv_pair(p, a0, a1, depth, out + first * p->out_c, out + second * p->out_c);
  }
}
