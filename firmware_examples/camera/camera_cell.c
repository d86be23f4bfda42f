#include "camera_cell.h"

#include "cell_resize.h"
#include "find_cell.h"

#define LEAST_SIDE 12 /* pixels */

typedef struct {
  const uint16_t *frame;
  const uint8_t *mask; /* NULL: no mask */
  uint32_t width, x0, y0;
} view_t;

static void view_pixel(const void *source, uint32_t x, uint32_t y, uint8_t rgb[3]) {
  const view_t *view = source;
  const uint32_t i = (y + view->y0) * view->width + x + view->x0;
  const uint32_t pixel = !view->mask || plane_get(view->mask, i) ? view->frame[i] : 0;
  /* Five and six bits to eight: round(v * 255 / 31) and round(v * 255 / 63). */
  rgb[0] = (uint8_t)(((pixel >> 11 & 31u) * 527u + 23u) >> 6);
  rgb[1] = (uint8_t)(((pixel >> 5 & 63u) * 259u + 33u) >> 6);
  rgb[2] = (uint8_t)(((pixel & 31u) * 527u + 23u) >> 6);
}

/* The longer side becomes CAMERA_SMALL_SIDE, where it is not shorter already. */
static plane_size_t small_size(uint32_t width, uint32_t height) {
  const uint32_t longer = width > height ? width : height;
  plane_size_t size;
  size.width = width;
  size.height = height;
  if (longer > CAMERA_SMALL_SIDE) {
    size.width = (2 * CAMERA_SMALL_SIDE * width + longer) / (2 * longer);
    size.height = (2 * CAMERA_SMALL_SIDE * height + longer) / (2 * longer);
    size.width = size.width < 8 ? 8 : size.width;
    size.height = size.height < 8 ? 8 : size.height;
  }
  return size;
}

/* Green levels: haemoglobin and chromatin both absorb green. */
static void shrink(const uint16_t *frame, uint32_t width, uint32_t height, uint8_t *green,
                   plane_size_t size) {
  const view_t view = {frame, 0, width, 0, 0};
  for (uint32_t y = 0; y < size.height; y++) {
    for (uint32_t x = 0; x < size.width; x++) {
      uint8_t rgb[3];
      area_mean(&view, view_pixel, width, height, x, y, size.width, size.height, rgb);
      *green++ = rgb[1];
    }
  }
}

/* Along one axis: the pixel before a place in the large picture, and the next one's share in
   1/256, as OpenCV's INTER_LINEAR_EXACT has it. */
static uint32_t place(uint32_t i, uint32_t size, uint32_t small, uint32_t *share) {
  const uint32_t twice = 2 * size;
  const int32_t at = (int32_t)((2 * i + 1) * small) - (int32_t)size;
  uint32_t before, rest;
  *share = 0;
  if (at < 0) {
    return 0;
  }
  before = (uint32_t)at / twice;
  rest = (uint32_t)at % twice;
  if (before + 1 < small) {
    *share = (rest * 256u + size) / twice;
  }
  return before;
}

/* 256 times the value between a pixel and the next one. */
static uint32_t between(const uint8_t *bits, uint32_t i, uint32_t step, uint32_t share) {
  return (256 - share) * plane_get(bits, i) + share * plane_get(bits, i + step);
}

/* The small mask scaled to the frame. */
static void enlarge(const uint8_t *small, plane_size_t size, uint8_t *mask, plane_size_t full) {
  plane_clear(mask, full);
  for (uint32_t y = 0, i = 0; y < full.height; y++) {
    uint32_t down, across;
    const uint32_t top = place(y, full.height, size.height, &down);
    for (uint32_t x = 0; x < full.width; x++, i++) {
      const uint32_t left = place(x, full.width, size.width, &across);
      const uint32_t at = top * size.width + left, step = across ? 1 : 0;
      const uint32_t upper = between(small, at, step, across);
      const uint32_t lower = between(small, down ? at + size.width : at, step, across);
      if ((256 - down) * upper + down * lower >= 256 * 128) {
        plane_put(mask, i);
      }
    }
  }
}

/* The mask's box. */
static void bound(const uint8_t *mask, plane_size_t size, camera_box_t *box) {
  box->x0 = (uint16_t)size.width;
  box->y0 = (uint16_t)size.height;
  box->x1 = box->y1 = 0;
  for (uint32_t i = 0; i < size.width * size.height; i++) {
    if (plane_get(mask, i)) {
      const uint16_t x = (uint16_t)(i % size.width), y = (uint16_t)(i / size.width);
      box->x0 = x < box->x0 ? x : box->x0;
      box->y0 = y < box->y0 ? y : box->y0;
      box->x1 = x >= box->x1 ? (uint16_t)(x + 1) : box->x1;
      box->y1 = y >= box->y1 ? (uint16_t)(y + 1) : box->y1;
    }
  }
}

camera_status_t camera_find(const uint16_t *frame, uint32_t width, uint32_t height, uint8_t *work,
                            camera_box_t *box) {
  const plane_size_t full = {width, height}, size = small_size(width, height);
  uint8_t *mask = work, *planes = mask + BIT_PLANE_BYTES(width * height);
  uint8_t *green = planes + FIND_CELL_PLANES * BIT_PLANE_BYTES(size.width * size.height);
  if (width < LEAST_SIDE || height < LEAST_SIDE) {
    return CAMERA_NO_CELL;
  }
  shrink(frame, width, height, green, size);
  if (find_cell(green, size, planes) == 0) {
    return CAMERA_NO_CELL;
  }
  enlarge(planes, size, mask, full);
  bound(mask, full, box);
  if (box->x0 == 0 || box->y0 == 0 || box->x1 == width || box->y1 == height) {
    return CAMERA_CUT_OFF;
  }
  if (box->x1 - box->x0 < LEAST_SIDE || box->y1 - box->y0 < LEAST_SIDE) {
    return CAMERA_TOO_SMALL;
  }
  return CAMERA_OK;
}

void camera_input(const uint16_t *frame, uint32_t width, const uint8_t *mask,
                  const camera_box_t *box, uint8_t *rgb) {
  const view_t view = {frame, EDGE_MALARIA_MASK_BLACK ? mask : 0, width, box->x0, box->y0};
  cell_resize(EDGE_MALARIA_RESIZE, &view, view_pixel, (uint32_t)(box->x1 - box->x0),
              (uint32_t)(box->y1 - box->y0), rgb, EDGE_MALARIA_SIZE);
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
