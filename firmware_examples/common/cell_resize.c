#include "cell_resize.h"

/* The neighbours of output pixel d along one axis, and the second's weight out of 2 * side. */
typedef struct {
  uint32_t first, second, weight;
} neighbours_t;

static neighbours_t neighbours_of(uint32_t d, uint32_t size, uint32_t side) {
  /* In units of 1 / (2 * side) source pixels; before the first pixel's centre it is that pixel. */
  const uint32_t ahead = (2 * d + 1) * size, last = 2 * side * (size - 1);
  const uint32_t from_first = ahead > side ? ahead - side : 0;
  const uint32_t place = from_first < last ? from_first : last;
  neighbours_t n;
  n.first = place / (2 * side);
  n.second = n.first + 1 < size ? n.first + 1 : n.first;
  n.weight = place % (2 * side);
  return n;
}

static void linear(const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
                   uint8_t *out, uint32_t side) {
  /* At most 2048: 255 times the square of twice that fits 32 bits. */
  const uint32_t whole = 2 * side, total = whole * whole;
  for (uint32_t y = 0; y < side; y++) {
    const neighbours_t down = neighbours_of(y, height, side);
    for (uint32_t x = 0; x < side; x++, out += 3) {
      const neighbours_t across = neighbours_of(x, width, side);
      uint8_t near[4][3];
      pixel(source, across.first, down.first, near[0]);
      pixel(source, across.second, down.first, near[1]);
      pixel(source, across.first, down.second, near[2]);
      pixel(source, across.second, down.second, near[3]);
      for (uint32_t c = 0; c < 3; c++) {
        const uint32_t upper = near[0][c] * (whole - across.weight) + near[1][c] * across.weight;
        const uint32_t lower = near[2][c] * (whole - across.weight) + near[3][c] * across.weight;
        const uint32_t sum = upper * (whole - down.weight) + lower * down.weight;
        const uint32_t level = sum / total, rest = sum % total;
        /* total is even, so a half is exact; it goes to the even level. */
        const int up = rest > total / 2 || (rest == total / 2 && (level & 1u));
        out[c] = (uint8_t)(level + (up ? 1u : 0u));
      }
    }
  }
}

static void nearest(const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
                    uint8_t *out, uint32_t side) {
  for (uint32_t y = 0; y < side; y++) {
    for (uint32_t x = 0; x < side; x++, out += 3) {
      pixel(source, (2 * x + 1) * width / (2 * side), (2 * y + 1) * height / (2 * side), out);
    }
  }
}

static void crop_or_pad(const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
                        uint8_t *out, uint32_t side) {
  const uint32_t wide = width < side ? width : side, high = height < side ? height : side;
  const uint32_t left = (side - wide) / 2, top = (side - high) / 2;
  const uint32_t from_x = (width - wide) / 2, from_y = (height - high) / 2;
  for (uint32_t y = 0; y < side; y++) {
    for (uint32_t x = 0; x < side; x++, out += 3) {
      if (x >= left && x < left + wide && y >= top && y < top + high) {
        pixel(source, from_x + x - left, from_y + y - top, out);
      } else {
        out[0] = out[1] = out[2] = 0;
      }
    }
  }
}

void cell_resize(int way, const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
                 uint8_t *out, uint32_t side) {
  switch (way) {
    case CELL_RESIZE_LINEAR:
      linear(source, pixel, width, height, out, side);
      break;
    case CELL_RESIZE_NEAREST:
      nearest(source, pixel, width, height, out, side);
      break;
    case CELL_RESIZE_PAD:
      crop_or_pad(source, pixel, width, height, out, side);
      break;
    default:
      area_resize(source, pixel, width, height, out, side);
  }
}
