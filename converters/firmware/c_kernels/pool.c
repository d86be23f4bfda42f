/* Average and maximum over windows; what lies outside the picture counts nothing. */
typedef struct {
  uint16_t in_h, in_w, channels, out_h, out_w;
  uint8_t kernel_h, kernel_w, stride_h, stride_w;
  int16_t pad_top, pad_left;
  int8_t low, high;
  uint8_t maximum; /* 1: maximum, 0: average */
} em_pool_t;

static void em_pool(const em_pool_t *p, const int8_t *in, int8_t *out) {
  for (int32_t oy = 0; oy < p->out_h; oy++) {
    for (int32_t ox = 0; ox < p->out_w; ox++) {
      const int32_t y = oy * p->stride_h - p->pad_top, x = ox * p->stride_w - p->pad_left;
      const int32_t y0 = y < 0 ? 0 : y, x0 = x < 0 ? 0 : x;
      const int32_t y1 = y + p->kernel_h < p->in_h ? y + p->kernel_h : p->in_h;
      const int32_t x1 = x + p->kernel_w < p->in_w ? x + p->kernel_w : p->in_w;
      const int32_t count = (y1 - y0) * (x1 - x0);
      for (int32_t c = 0; c < p->channels; c++) {
        int32_t sum = 0, most = -128;
        for (int32_t iy = y0; iy < y1; iy++) {
          for (int32_t ix = x0; ix < x1; ix++) {
            const int32_t value = in[(iy * p->in_w + ix) * p->channels + c];
            sum += value;
            most = value > most ? value : most;
          }
        }
        if (!p->maximum) {
          most = (sum + (sum > 0 ? count / 2 : -(count / 2))) / count;
        }
        *out++ = (int8_t)em_clamp(most, p->low, p->high);
      }
    }
  }
}
