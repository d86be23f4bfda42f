/* The ways of edge_malaria/prepare/resize.py, bit for bit: how a crop becomes the network's input.
   The generated header names the one that the network was trained with (EDGE_MALARIA_RESIZE). */
#ifndef CELL_RESIZE_H
#define CELL_RESIZE_H

#include "area_resize.h"

#define CELL_RESIZE_AREA 0    /* area averages */
#define CELL_RESIZE_LINEAR 1  /* two neighbours along each axis, pixel centres */
#define CELL_RESIZE_NEAREST 2 /* the pixel below each output pixel's centre */
#define CELL_RESIZE_PAD 3     /* unscaled: cut off or padded with black in the middle */

/* width x height source pixels (each at most 4096) -> side x side pixels (at most 2048), row by
   row, RGB. ``way``: one of the above. */
void cell_resize(int way, const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
                 uint8_t *out, uint32_t side);

#endif
