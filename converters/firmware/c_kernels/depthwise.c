/* Depthwise convolution, weights [kernel_h][kernel_w][out_c], out_c = in_c * multiplier.
   Taps outside the picture count nothing. */
typedef struct {
  uint16_t in_h, in_w, in_c, out_h, out_w, out_c;
  uint8_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, multiplier;
  int16_t pad_top, pad_left;
  int8_t in_zero, out_zero, low, high;
  const int8_t *weights;
  const int32_t *bias;        /* as in the file */
  const int32_t *bias_folded; /* less zero * sum(weights), for pixels with every tap inside */
  em_scale_t scale;
} em_depthwise_t;

/* One pixel whose taps are [ky0, ky1) x [kx0, kx1); ``in`` points at the pixel of tap (0, 0). */
static void em_depthwise_edge(const em_depthwise_t *p, const int8_t *in, ptrdiff_t origin,
                              const uint32_t taps[4], int8_t *out) {
  for (uint32_t c = 0; c < p->out_c; c++) {
    const uint32_t from = p->multiplier == 1 ? c : c / p->multiplier;
    int32_t sum = p->bias[c];
    for (uint32_t ky = taps[0]; ky < taps[1]; ky++) {
      for (uint32_t kx = taps[2]; kx < taps[3]; kx++) {
        const ptrdiff_t pixel =
            origin + (ptrdiff_t)(ky * p->dilation_h * p->in_w + kx * p->dilation_w);
        const int32_t x = in[pixel * p->in_c + (ptrdiff_t)from];
        const int32_t w = p->weights[(ky * p->kernel_w + kx) * p->out_c + c];
        sum += (x - p->in_zero) * w;
      }
    }
    out[c] = (int8_t)em_requantize(sum, &p->scale, c, p->out_zero, p->low, p->high);
  }
}

/* The common case: 3x3, one output a channel, every tap inside. ``in``: the pixel of tap (0, 0). */
static void em_depthwise_3x3(const em_depthwise_t *p, const int8_t *in, int8_t *out) {
  const uint32_t n = p->in_c, dx = (uint32_t)p->dilation_w * n, n2 = 2 * n;
  const uint32_t row = (uint32_t)p->dilation_h * p->in_w * n;
  const int8_t *r0 = in, *r1 = in + row, *r2 = in + 2 * row;
  const int8_t *v0 = p->weights, *v1 = v0 + 3 * n, *v2 = v0 + 6 * n;
  for (uint32_t c = 0; c < n; c++) {
    int32_t sum = p->bias_folded[c];
    sum += r0[0] * v0[0] + r0[dx] * v0[n] + r0[2 * dx] * v0[n2];
    sum += r1[0] * v1[0] + r1[dx] * v1[n] + r1[2 * dx] * v1[n2];
    sum += r2[0] * v2[0] + r2[dx] * v2[n] + r2[2 * dx] * v2[n2];
    r0++;
    r1++;
    r2++;
    v0++;
    v1++;
    v2++;
    out[c] = (int8_t)em_requantize(sum, &p->scale, c, p->out_zero, p->low, p->high);
  }
}

/* The taps of a kernel that lie inside [0, size), as [*first, *last). */
static void em_taps(int32_t start, uint32_t kernel, uint32_t dilation, uint32_t size,
                    uint32_t *first, uint32_t *last) {
  uint32_t low = 0, high = kernel;
  while (low < high && start + (int32_t)(low * dilation) < 0) {
    low++;
  }
  while (high > low && start + (int32_t)((high - 1) * dilation) >= (int32_t)size) {
    high--;
  }
  *first = low;
  *last = high;
}

static void em_depthwise(const em_depthwise_t *p, const int8_t *in, int8_t *out) {
  const int plain = p->multiplier == 1 && p->kernel_h == 3 && p->kernel_w == 3;
  for (uint32_t oy = 0; oy < p->out_h; oy++) {
    const int32_t y = (int32_t)(oy * p->stride_h) - p->pad_top;
    uint32_t taps[4];
    em_taps(y, p->kernel_h, p->dilation_h, p->in_h, &taps[0], &taps[1]);
    for (uint32_t ox = 0; ox < p->out_w; ox++) {
      const int32_t x = (int32_t)(ox * p->stride_w) - p->pad_left;
      const ptrdiff_t origin = (ptrdiff_t)y * p->in_w + x;
      em_taps(x, p->kernel_w, p->dilation_w, p->in_w, &taps[2], &taps[3]);
      if (plain && taps[1] - taps[0] == 3 && taps[3] - taps[2] == 3) {
        em_depthwise_3x3(p, in + origin * p->in_c, out);
      } else {
        em_depthwise_edge(p, in, origin, taps, out);
      }
      out += p->out_c;
    }
  }
}
