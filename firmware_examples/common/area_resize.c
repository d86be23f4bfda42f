#include "area_resize.h"

/* Divides, halves to the even quotient. */
static uint8_t rounded(uint32_t sum, uint32_t total) {
  uint32_t quotient = sum / total;
  const uint32_t rest = sum % total, half = total - rest;
  if (rest > half || (rest == half && (quotient & 1u))) {
    quotient++;
  }
  return (uint8_t)quotient;
}

void area_resize(const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
                 uint8_t *out, uint32_t side) {
  /* In units of 1/side source pixels, source pixel i covers [i * side, (i + 1) * side) and output
     pixel d covers [d * width, (d + 1) * width): the overlaps are whole numbers. Their sum is
     width * height, at most 2^24, so that 255 times it fits 32 bits. */
  const uint32_t total = width * height;
  for (uint32_t oy = 0; oy < side; oy++) {
    const uint32_t top = oy * height, bottom = top + height;
    for (uint32_t ox = 0; ox < side; ox++) {
      const uint32_t left = ox * width, right = left + width;
      uint32_t sums[3] = {0, 0, 0};
      for (uint32_t y = top / side; y * side < bottom; y++) {
        const uint32_t y0 = y * side > top ? y * side : top;
        const uint32_t y1 = (y + 1) * side < bottom ? (y + 1) * side : bottom;
        for (uint32_t x = left / side; x * side < right; x++) {
          const uint32_t x0 = x * side > left ? x * side : left;
          const uint32_t x1 = (x + 1) * side < right ? (x + 1) * side : right;
          const uint32_t area = (x1 - x0) * (y1 - y0);
          uint8_t rgb[3];
          pixel(source, x, y, rgb);
          for (uint32_t c = 0; c < 3; c++) {
            sums[c] += area * rgb[c];
          }
        }
      }
      for (uint32_t c = 0; c < 3; c++) {
        *out++ = rounded(sums[c], total);
      }
    }
  }
}
