/* Scaling by area averaging in integers: cv2.INTER_AREA's rule, the one the network was trained
   with. A few values in a thousand differ from OpenCV's by 1, where its float32 sums round; where
   one side grows, its double arithmetic may also take a neighbour on an exact pixel border. */
#ifndef AREA_RESIZE_H
#define AREA_RESIZE_H

#include <stdint.h>

/* Gives the three channels of a source pixel; masks and unpacks on the way. */
typedef void (*area_pixel_t)(const void *source, uint32_t x, uint32_t y, uint8_t rgb[3]);

/* width x height source pixels (each at most 4096) -> side x side pixels, row by row, RGB. */
void area_resize(const void *source, area_pixel_t pixel, uint32_t width, uint32_t height,
                 uint8_t *out, uint32_t side);

#endif
