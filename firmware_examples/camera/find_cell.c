#include "find_cell.h"

#define LEVELS 256u
#define MOST_SIDE 96u
#define MOST_SPECKS 32u
#define LEAST_CELL 64u /* pixels */
/* isolate.py's _CELL_APART and _CELL_GROWS. */
#define CELL_APART (20u << 16)
#define CELL_GROWS_TENTHS 13u

/* A coordinate mirrored at the border, which is not repeated (OpenCV's REFLECT_101). */
static uint32_t mirrored(int32_t i, uint32_t size) {
  const int32_t n = (int32_t)size;
  i = i < 0 ? -i : i;
  return (uint32_t)(i < n ? i : 2 * n - 2 - i);
}

/* OpenCV's 5 x 5 Gaussian for bytes: binomial weights, halves up. In place: of the rows that are
   overwritten but still needed, copies are kept. */
static void smooth(uint8_t *green, plane_size_t size) {
  static const uint32_t weights[5] = {1, 4, 6, 4, 1};
  uint8_t kept[3][MOST_SIDE];
  const uint32_t width = size.width, height = size.height;
  for (uint32_t y = 0; y < height; y++) {
    const uint8_t *rows[5];
    for (uint32_t x = 0; x < width; x++) {
      kept[y % 3][x] = green[y * width + x];
    }
    for (int32_t k = 0; k < 5; k++) {
      const uint32_t from = mirrored((int32_t)y + k - 2, height);
      rows[k] = from <= y ? kept[from % 3] : green + from * width;
    }
    for (uint32_t x = 0; x < width; x++) {
      uint32_t sum = 128;
      for (int32_t k = 0; k < 5; k++) {
        const uint32_t column = mirrored((int32_t)x + k - 2, width);
        for (uint32_t j = 0; j < 5; j++) {
          sum += weights[k] * weights[j] * rows[j][column];
        }
      }
      green[y * width + x] = (uint8_t)(sum >> 8);
    }
  }
}

/* Otsu 1979: parts the levels from ``first`` on into dark and bright with the largest variance
   between them. Returns the last dark level; *apart: the distance of the two means in 1/65536
   levels, 0 where nothing can be parted. */
static uint32_t otsu(const uint16_t *histogram, uint32_t first, uint32_t *apart) {
  uint32_t sum = 0, pixels = 0, dark = 0, dark_sum = 0, best = first;
  uint64_t most = 0;
  *apart = 0;
  for (uint32_t level = first; level < LEVELS; level++) {
    pixels += histogram[level];
    sum += level * histogram[level];
  }
  for (uint32_t level = first; level < LEVELS; level++) {
    uint32_t bright, between;
    uint64_t variance;
    dark += histogram[level];
    dark_sum += level * histogram[level];
    bright = pixels - dark;
    if (dark == 0 || bright == 0) {
      continue;
    }
    /* 24 bits; with at most 9,216 pixels the product below stays under 2^59. */
    between = (uint32_t)(((uint64_t)(sum - dark_sum) << 16) / bright -
                         ((uint64_t)dark_sum << 16) / dark);
    variance = (uint64_t)dark * bright * ((uint64_t)between * between >> 16);
    if (variance > most) {
      most = variance;
      best = level;
      *apart = between;
    }
  }
  return best;
}

/* Fills pale centres: whatever the border cannot reach belongs to a cell. */
static void fill_holes(uint8_t *dark, uint8_t *open, uint8_t *outside, plane_size_t size) {
  plane_clear(outside, size);
  plane_invert(dark, open, size);
  for (uint32_t i = 0; i < size.width * size.height; i++) {
    const uint32_t x = i % size.width, y = i / size.width;
    if ((x == 0 || y == 0 || x + 1 == size.width || y + 1 == size.height) && plane_get(open, i)) {
      plane_put(outside, i);
    }
  }
  plane_spread(open, outside, size);
  plane_invert(outside, dark, size);
}

/* The dark pixel nearest to the middle; the number of pixels where there is none within a quarter
   of the shorter side. */
static uint32_t nearest(const uint8_t *dark, plane_size_t size) {
  const int32_t cx = (int32_t)size.width / 2, cy = (int32_t)size.height / 2;
  const int32_t reach = (cx < cy ? cx : cy) / 2;
  int32_t least = reach * reach + 1;
  uint32_t found = size.width * size.height;
  for (int32_t y = cy - reach; y <= cy + reach && y < (int32_t)size.height; y++) {
    for (int32_t x = cx - reach; x <= cx + reach && x < (int32_t)size.width; x++) {
      const uint32_t i = (uint32_t)y * size.width + (uint32_t)x;
      const int32_t d = (x - cx) * (x - cx) + (y - cy) * (y - cy);
      if (d < least && plane_get(dark, i)) {
        least = d;
        found = i;
      }
    }
  }
  return found;
}

/* The dark region nearest to the middle that is more than a speck. */
static uint32_t central_region(uint8_t *dark, uint8_t *region, plane_size_t size) {
  for (uint32_t tries = 0; tries < MOST_SPECKS; tries++) {
    const uint32_t seed = nearest(dark, size);
    uint32_t pixels;
    plane_clear(region, size);
    if (seed == size.width * size.height) {
      return 0;
    }
    plane_put(region, seed);
    plane_spread(dark, region, size);
    pixels = plane_count(region, size);
    if (pixels >= LEAST_CELL) {
      return pixels;
    }
    for (uint32_t i = 0; i < BIT_PLANE_BYTES(size.width * size.height); i++) {
      dark[i] = (uint8_t)(dark[i] & ~region[i]);
    }
  }
  return 0;
}

/* The central region of what is no brighter than ``threshold``; its pixels. */
static uint32_t region_below(const uint8_t *green, uint32_t threshold, plane_size_t size,
                             uint8_t *region, uint8_t *dark, uint8_t *spare) {
  plane_clear(spare, size);
  for (uint32_t i = 0; i < size.width * size.height; i++) {
    if (green[i] <= threshold) {
      plane_put(spare, i);
    }
  }
  plane_erode(spare, region, size, &plane_square_3);
  plane_dilate(region, dark, size, &plane_square_3);
  fill_holes(dark, spare, region, size);
  return central_region(dark, region, size);
}

uint32_t find_cell(uint8_t *green, plane_size_t size, uint8_t *planes) {
  const uint32_t bytes = BIT_PLANE_BYTES(size.width * size.height);
  uint8_t *cell = planes, *other = cell + bytes, *a = other + bytes, *b = a + bytes;
  uint16_t histogram[LEVELS] = {0};
  uint32_t apart, threshold, second, pixels;
  smooth(green, size);
  for (uint32_t i = 0; i < size.width * size.height; i++) {
    histogram[green[i]]++;
  }
  threshold = otsu(histogram, 0, &apart);
  pixels = region_below(green, threshold, size, cell, a, b);
  /* A dark parasite can win the split from its own cell. */
  second = otsu(histogram, threshold + 1, &apart);
  if (apart >= CELL_APART) {
    const uint32_t wider = region_below(green, second, size, other, a, b);
    if (10 * wider >= CELL_GROWS_TENTHS * pixels) {
      plane_copy(other, cell, size);
      pixels = wider;
    }
  }
  if (pixels == 0) {
    return 0;
  }
  /* What isolate.py's watershed takes from a lone cell; then spurs are dropped, and the rim's soft
     edge comes back, as in the training masks. */
  plane_erode(cell, a, size, &plane_cross_3);
  plane_erode(a, b, size, &plane_disc_5);
  plane_dilate(b, a, size, &plane_disc_5);
  plane_dilate(a, cell, size, &plane_disc_5);
  return plane_count(cell, size);
}
