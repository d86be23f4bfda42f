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

/* The source pixels below one output pixel along one axis: ``count`` from ``first``. Weights are
   whole numbers that add up to ``size``. */
typedef struct {
  uint32_t first, count, start, end, second;
} taps_t;

/* In units of 1/side source pixels, source pixel i covers [i * side, (i + 1) * side) and output
   pixel d covers [d * size, (d + 1) * size). ``two``: OpenCV averages over areas only where both
   axes shrink; otherwise it takes two neighbours, even along an axis that shrinks. */
static taps_t taps_of(uint32_t d, uint32_t size, uint32_t side, int two) {
  taps_t t;
  t.start = d * size;
  t.end = t.start + size;
  t.first = t.start / side;
  t.count = (t.end + side - 1) / side - t.first;
  t.second = 0;
  if (two) {
    const uint32_t edge = (t.first + 1) * side;
    t.second = t.end > edge ? (t.end - edge) % size : 0;
    t.count = t.second && t.first + 1 < size ? 2 : 1;
    if (t.count == 1) {
      t.second = 0;
    }
  }
  return t;
}

static uint32_t weight(const taps_t *t, uint32_t i, uint32_t size, uint32_t side, int two) {
  const uint32_t low = (t->first + i) * side, high = low + side;
  if (two) {
    return i ? t->second : size - t->second;
  }
  return (high < t->end ? high : t->end) - (low > t->start ? low : t->start);
}

void area_mean(const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
               uint32_t out_x, uint32_t out_y, uint32_t out_width, uint32_t out_height,
               uint8_t rgb[3]) {
  /* The weights' sum, at most 2^24: 255 times it fits 32 bits. */
  const uint32_t total = width * height;
  const int two = width < out_width || height < out_height;
  const taps_t down = taps_of(out_y, height, out_height, two);
  const taps_t across = taps_of(out_x, width, out_width, two);
  uint32_t sums[3] = {0, 0, 0};
  for (uint32_t y = 0; y < down.count; y++) {
    const uint32_t wy = weight(&down, y, height, out_height, two);
    for (uint32_t x = 0; x < across.count; x++) {
      const uint32_t area = wy * weight(&across, x, width, out_width, two);
      uint8_t below[3];
      pixel(source, across.first + x, down.first + y, below);
      for (uint32_t c = 0; c < 3; c++) {
        sums[c] += area * below[c];
      }
    }
  }
  for (uint32_t c = 0; c < 3; c++) {
    rgb[c] = rounded(sums[c], total);
  }
}

void area_resize(const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
                 uint8_t *out, uint32_t side) {
  for (uint32_t y = 0; y < side; y++) {
    for (uint32_t x = 0; x < side; x++, out += 3) {
      area_mean(source, pixel, width, height, x, y, side, side, out);
    }
  }
}
