/* Pictures of one bit a pixel, row by row, lowest bit first, and what is done to their shapes. */
#ifndef BIT_PLANE_H
#define BIT_PLANE_H

#include <stdint.h>

#define BIT_PLANE_BYTES(pixels) (((pixels) + 7u) / 8u)

typedef struct {
  uint32_t width, height;
} plane_size_t;

/* A structuring element up to 5 x 5 as OpenCV draws it: how far it reaches to both sides in the
   rows -2 to 2; -1: not at all. */
typedef struct {
  int8_t reach[5];
} plane_shape_t;

extern const plane_shape_t plane_cross_3, plane_square_3, plane_disc_5;

uint32_t plane_get(const uint8_t *bits, uint32_t i);
void plane_put(uint8_t *bits, uint32_t i);
void plane_clear(uint8_t *bits, plane_size_t size);
void plane_copy(const uint8_t *from, uint8_t *to, plane_size_t size);
void plane_invert(const uint8_t *from, uint8_t *to, plane_size_t size);
uint32_t plane_count(const uint8_t *bits, plane_size_t size);

/* Erosion and dilation; beyond the border nothing is set and nothing is missing. */
void plane_erode(const uint8_t *from, uint8_t *to, plane_size_t size, const plane_shape_t *shape);
void plane_dilate(const uint8_t *from, uint8_t *to, plane_size_t size, const plane_shape_t *shape);

/* Grows ``reached`` through the pixels of ``open`` (4-neighbours) until nothing changes. */
void plane_spread(const uint8_t *open, uint8_t *reached, plane_size_t size);

#endif
