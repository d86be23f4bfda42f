#include "bit_plane.h"

const plane_shape_t plane_cross_3 = {{-1, 0, 1, 0, -1}};
const plane_shape_t plane_square_3 = {{-1, 1, 1, 1, -1}};
const plane_shape_t plane_disc_5 = {{0, 2, 2, 2, 0}};

uint32_t plane_get(const uint8_t *bits, uint32_t i) { return (uint32_t)bits[i >> 3] >> (i & 7u) & 1u; }

void plane_put(uint8_t *bits, uint32_t i) { bits[i >> 3] = (uint8_t)(bits[i >> 3] | 1u << (i & 7u)); }

void plane_clear(uint8_t *bits, plane_size_t size) {
  for (uint32_t i = 0; i < BIT_PLANE_BYTES(size.width * size.height); i++) {
    bits[i] = 0;
  }
}

void plane_copy(const uint8_t *from, uint8_t *to, plane_size_t size) {
  for (uint32_t i = 0; i < BIT_PLANE_BYTES(size.width * size.height); i++) {
    to[i] = from[i];
  }
}

void plane_invert(const uint8_t *from, uint8_t *to, plane_size_t size) {
  for (uint32_t i = 0; i < BIT_PLANE_BYTES(size.width * size.height); i++) {
    to[i] = (uint8_t)~from[i];
  }
}

uint32_t plane_count(const uint8_t *bits, plane_size_t size) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < size.width * size.height; i++) {
    count += plane_get(bits, i);
  }
  return count;
}

/* Whether a pixel with this ``value`` lies under the shape around (x, y). */
static int meets(const uint8_t *bits, plane_size_t size, const plane_shape_t *shape, int32_t x,
                 int32_t y, uint32_t value) {
  const int32_t width = (int32_t)size.width, height = (int32_t)size.height;
  for (int32_t dy = -2; dy <= 2; dy++) {
    const int32_t reach = shape->reach[dy + 2];
    if (y + dy < 0 || y + dy >= height) {
      continue;
    }
    for (int32_t dx = -reach; dx <= reach; dx++) {
      if (x + dx >= 0 && x + dx < width &&
          plane_get(bits, (uint32_t)((y + dy) * width + x + dx)) == value) {
        return 1;
      }
    }
  }
  return 0;
}

static void morph(const uint8_t *from, uint8_t *to, plane_size_t size, const plane_shape_t *shape,
                  uint32_t value) {
  plane_clear(to, size);
  for (uint32_t y = 0, i = 0; y < size.height; y++) {
    for (uint32_t x = 0; x < size.width; x++, i++) {
      if (meets(from, size, shape, (int32_t)x, (int32_t)y, value) == (int)value) {
        plane_put(to, i);
      }
    }
  }
}

void plane_erode(const uint8_t *from, uint8_t *to, plane_size_t size, const plane_shape_t *shape) {
  morph(from, to, size, shape, 0);
}

void plane_dilate(const uint8_t *from, uint8_t *to, plane_size_t size, const plane_shape_t *shape) {
  morph(from, to, size, shape, 1);
}

/* Sweeps down and up in turn, so that no stack is needed. */
void plane_spread(const uint8_t *open, uint8_t *reached, plane_size_t size) {
  const uint32_t width = size.width, height = size.height, pixels = width * height;
  uint32_t changed = 1;
  while (changed) {
    changed = 0;
    for (uint32_t pass = 0; pass < 2; pass++) {
      for (uint32_t n = 0; n < pixels; n++) {
        const uint32_t i = pass ? pixels - 1 - n : n;
        uint32_t x;
        if (!plane_get(open, i) || plane_get(reached, i)) {
          continue;
        }
        x = i % width;
        if ((x > 0 && plane_get(reached, i - 1)) || (x + 1 < width && plane_get(reached, i + 1)) ||
            (i >= width && plane_get(reached, i - width)) ||
            (i + width < pixels && plane_get(reached, i + width))) {
          plane_put(reached, i);
          changed = 1;
        }
      }
    }
  }
}
