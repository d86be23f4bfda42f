/* Scaling by area averaging in integers: the rule of edge_malaria/prepare/area_resize.py, bit for bit.
   OpenCV's INTER_AREA differs by 1 in a few values where its float32 sums round; where one side
   grows, its double arithmetic may also take a neighbour on an exact pixel border. */
#ifndef AREA_RESIZE_H
#define AREA_RESIZE_H

#include <stdint.h>

/* Gives the three channels of a source pixel; masks and unpacks on the way. */
typedef void (*area_pixel_t)(const void *source, uint32_t x, uint32_t y, uint8_t rgb[3]);

/* width x height source pixels (each at most 4096) -> side x side pixels, row by row, RGB. */
void area_resize(const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
                 uint8_t *out, uint32_t side);

/* One of those pixels, for pictures that are not square. */
void area_mean(const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
               uint32_t out_x, uint32_t out_y, uint32_t out_width, uint32_t out_height,
               uint8_t rgb[3]);

#endif
