#include "camera_cell.h"

#include "area_resize.h"

#define LEVELS 64u /* RGB565 has six bits of green, which haemoglobin and chromatin both absorb */
#define LEAST_SIDE 12u
#define MOST_SPECKS 32u
#define RIM_SIDE 40 /* the rim is a fortieth of the cell's side, as Python's smoothed mask has it */
/* Cell and background differ by 10 levels and more, a background's own shading by 2 to 4. */
#define CLEARLY (6u << 8)

static uint32_t green(uint16_t pixel) { return (uint32_t)pixel >> 5 & 63u; }

static uint32_t get(const uint8_t *bits, uint32_t i) {
  return (uint32_t)bits[i >> 3] >> (i & 7u) & 1u;
}

static void put(uint8_t *bits, uint32_t i) { bits[i >> 3] = (uint8_t)(bits[i >> 3] | 1u << (i & 7u)); }

static void clear(uint8_t *bits, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    bits[i] = 0;
  }
}

/* Otsu 1979: the level that parts the histogram's levels from ``first`` on into dark and bright
   with the largest variance between them. Returns the first bright level, ``first`` where there is
   only one; *apart: the distance of the two means in 1/256 levels. */
static uint32_t otsu(const uint32_t *histogram, uint32_t first, uint32_t *apart) {
  uint32_t sum = 0, pixels = 0, dark = 0, dark_sum = 0, best = first;
  uint64_t most = 0;
  *apart = 0;
  for (uint32_t level = first; level < LEVELS; level++) {
    pixels += histogram[level];
    sum += level * histogram[level];
  }
  for (uint32_t level = first; level + 1 < LEVELS; level++) {
    uint32_t bright, low, high;
    uint64_t between;
    dark += histogram[level];
    dark_sum += level * histogram[level];
    bright = pixels - dark;
    if (dark == 0 || bright == 0) {
      continue;
    }
    /* Means with 8 fractional bits: the product stays below 2^60 for frames up to 640x480. */
    low = (uint32_t)(((uint64_t)dark_sum << 8) / dark);
    high = (uint32_t)(((uint64_t)(sum - dark_sum) << 8) / bright);
    between = (uint64_t)dark * bright * ((uint64_t)(high - low) * (high - low) >> 6);
    if (between > most) {
      most = between;
      best = level + 1;
      *apart = high - low;
    }
  }
  return best;
}

/* The first level of the background. A dark parasite can win the split; then what is brighter is
   split once more, into cell and background, if those two lie clearly apart. */
static uint32_t background_level(const uint16_t *frame, uint32_t pixels) {
  uint32_t histogram[LEVELS] = {0}, apart, level, second;
  for (uint32_t i = 0; i < pixels; i++) {
    histogram[green(frame[i])]++;
  }
  level = otsu(histogram, 0, &apart);
  second = otsu(histogram, level, &apart);
  return apart >= CLEARLY ? second : level;
}

/* Grows ``reached`` through the pixels of ``open`` (4-neighbours) until nothing changes: sweeps
   down and up in turn, so that no stack is needed. */
static void spread(const uint8_t *open, uint8_t *reached, uint32_t width, uint32_t height) {
  uint32_t changed = 1;
  while (changed) {
    changed = 0;
    for (uint32_t pass = 0; pass < 2; pass++) {
      for (uint32_t n = 0; n < width * height; n++) {
        const uint32_t i = pass ? width * height - 1 - n : n, x = i % width, y = i / width;
        if (!get(open, i) || get(reached, i)) {
          continue;
        }
        if ((x > 0 && get(reached, i - 1)) || (x + 1 < width && get(reached, i + 1)) ||
            (y > 0 && get(reached, i - width)) || (y + 1 < height && get(reached, i + width))) {
          put(reached, i);
          changed = 1;
        }
      }
    }
  }
}

/* The dark pixel nearest to the centre; width * height where there is none within a quarter of
   the shorter side. */
static uint32_t nearest(const uint8_t *dark, uint32_t width, uint32_t height) {
  const int32_t cx = (int32_t)width / 2, cy = (int32_t)height / 2;
  const int32_t reach = (int32_t)(width < height ? width : height) / 4;
  int32_t least = reach * reach + 1;
  uint32_t found = width * height;
  for (int32_t y = cy - reach; y <= cy + reach && y < (int32_t)height; y++) {
    for (int32_t x = cx - reach; x <= cx + reach && x < (int32_t)width; x++) {
      const int32_t d = (x - cx) * (x - cx) + (y - cy) * (y - cy);
      if (d < least && get(dark, (uint32_t)y * width + (uint32_t)x)) {
        least = d;
        found = (uint32_t)y * width + (uint32_t)x;
      }
    }
  }
  return found;
}

/* The dark region nearest to the centre that is more than a speck, as the mask; 0: there is none. */
static int grow_central(uint8_t *dark, uint8_t *mask, uint32_t width, uint32_t height) {
  const uint32_t bytes = (width * height + 7u) / 8u;
  for (uint32_t tries = 0; tries < MOST_SPECKS; tries++) {
    const uint32_t seed = nearest(dark, width, height);
    uint32_t size = 0;
    if (seed == width * height) {
      return 0;
    }
    clear(mask, bytes);
    put(mask, seed);
    spread(dark, mask, width, height);
    for (uint32_t i = 0; i < width * height; i++) {
      size += get(mask, i);
    }
    if (size >= LEAST_SIDE * LEAST_SIDE) {
      return 1;
    }
    for (uint32_t i = 0; i < bytes; i++) {
      dark[i] = (uint8_t)(dark[i] & ~mask[i]);
    }
  }
  return 0;
}

/* The mask's box; its size 0 where the mask is empty. */
static void bound(const uint8_t *mask, uint32_t width, uint32_t height, camera_box_t *box) {
  box->x0 = (uint16_t)width;
  box->y0 = (uint16_t)height;
  box->x1 = box->y1 = 0;
  for (uint32_t i = 0; i < width * height; i++) {
    if (get(mask, i)) {
      const uint16_t x = (uint16_t)(i % width), y = (uint16_t)(i / width);
      box->x0 = x < box->x0 ? x : box->x0;
      box->y0 = y < box->y0 ? y : box->y0;
      box->x1 = x >= box->x1 ? (uint16_t)(x + 1) : box->x1;
      box->y1 = y >= box->y1 ? (uint16_t)(y + 1) : box->y1;
    }
  }
}

/* Fills pale centres: whatever the frame's border cannot reach belongs to the cell. */
static void fill_holes(uint8_t *mask, uint8_t *open, uint8_t *outside, uint32_t width,
                       uint32_t height) {
  const uint32_t bytes = (width * height + 7u) / 8u;
  clear(outside, bytes);
  for (uint32_t i = 0; i < bytes; i++) {
    open[i] = (uint8_t)~mask[i];
  }
  for (uint32_t i = 0; i < width * height; i++) {
    const uint32_t x = i % width, y = i / width;
    if ((x == 0 || y == 0 || x + 1 == width || y + 1 == height) && get(open, i)) {
      put(outside, i);
    }
  }
  spread(open, outside, width, height);
  for (uint32_t i = 0; i < bytes; i++) {
    mask[i] = (uint8_t)~outside[i];
  }
}

/* Adds the pixels beside the mask: a cell's blurred rim is brighter than the threshold. */
static void widen(uint8_t *mask, uint8_t *copy, uint32_t width, uint32_t height) {
  for (uint32_t i = 0; i < (width * height + 7u) / 8u; i++) {
    copy[i] = mask[i];
  }
  for (uint32_t i = 0; i < width * height; i++) {
    const uint32_t x = i % width, y = i / width;
    if ((x > 0 && get(copy, i - 1)) || (x + 1 < width && get(copy, i + 1)) ||
        (y > 0 && get(copy, i - width)) || (y + 1 < height && get(copy, i + width))) {
      put(mask, i);
    }
  }
}

camera_status_t camera_find(const uint16_t *frame, uint32_t width, uint32_t height, uint8_t *work,
                            camera_box_t *box) {
  const uint32_t pixels = width * height, bytes = (pixels + 7u) / 8u;
  uint8_t *mask = work, *dark = work + bytes, *spare = dark + bytes;
  const uint32_t threshold = background_level(frame, pixels);
  clear(dark, bytes);
  for (uint32_t i = 0; i < pixels; i++) {
    if (green(frame[i]) < threshold) {
      put(dark, i);
    }
  }
  if (!grow_central(dark, mask, width, height)) {
    return CAMERA_NO_CELL;
  }
  fill_holes(mask, dark, spare, width, height);
  bound(mask, width, height, box);
  for (int side = box->x1 - box->x0; side >= RIM_SIDE; side -= RIM_SIDE) {
    widen(mask, spare, width, height);
  }
  bound(mask, width, height, box);
  if (box->x0 == 0 || box->y0 == 0 || box->x1 == width || box->y1 == height) {
    return CAMERA_CUT_OFF;
  }
  if (box->x1 - box->x0 < (int)LEAST_SIDE || box->y1 - box->y0 < (int)LEAST_SIDE) {
    return CAMERA_TOO_SMALL;
  }
  return CAMERA_OK;
}

typedef struct {
  const uint16_t *frame;
  const uint8_t *mask;
  const camera_box_t *box;
  uint32_t width;
} masked_t;

static void masked_pixel(const void *source, uint32_t x, uint32_t y, uint8_t rgb[3]) {
  const masked_t *m = source;
  const uint32_t i = (y + m->box->y0) * m->width + x + m->box->x0;
  const uint32_t pixel = get(m->mask, i) ? m->frame[i] : 0;
  /* Five and six bits to eight: round(v * 255 / 31) and round(v * 255 / 63). */
  rgb[0] = (uint8_t)(((pixel >> 11 & 31u) * 527u + 23u) >> 6);
  rgb[1] = (uint8_t)(((pixel >> 5 & 63u) * 259u + 33u) >> 6);
  rgb[2] = (uint8_t)(((pixel & 31u) * 527u + 23u) >> 6);
}

void camera_input(const uint16_t *frame, uint32_t width, const uint8_t *mask,
                  const camera_box_t *box, uint8_t *rgb) {
  masked_t source;
  source.frame = frame;
  source.mask = mask;
  source.box = box;
  source.width = width;
  area_resize(&source, masked_pixel, (uint32_t)(box->x1 - box->x0), (uint32_t)(box->y1 - box->y0),
              rgb, EDGE_MALARIA_SIZE);
}

camera_status_t camera_classify(const uint16_t *frame, uint32_t width, uint32_t height,
                                uint8_t *work, uint8_t *rgb, int threshold, camera_box_t *box,
                                edge_malaria_result_t *result) {
  const camera_status_t status = camera_find(frame, width, height, work, box);
  if (status == CAMERA_OK) {
    camera_input(frame, width, work, box, rgb);
    edge_malaria_classify(rgb, threshold, result);
  }
  return status;
}
