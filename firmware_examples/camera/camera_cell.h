/* One centred cell in an RGB565 frame (as OV2640-class cameras give it), found, masked, scaled and
   classified with integer arithmetic and no heap. */
#ifndef CAMERA_CELL_H
#define CAMERA_CELL_H

#include <stdint.h>

#include "edge_malaria_model.h"

/* The cell is looked for in a picture whose longer side is this. */
#define CAMERA_SMALL_SIDE 96u

#define CAMERA_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CAMERA_MAX(a, b) ((a) > (b) ? (a) : (b))
#define CAMERA_SMALL_PIXELS(width, height)                                                    \
  (CAMERA_SMALL_SIDE * CAMERA_MAX(8u, CAMERA_SMALL_SIDE * CAMERA_MIN(width, height) /         \
                                              CAMERA_MAX(width, height) + 1u))
/* Working memory for a frame: a bit a pixel, and a byte and a half for each pixel of the small
   picture (12.9 KB for 160 x 120). */
#define CAMERA_WORK_BYTES(width, height)            \
  (((width) * (height) + 7u) / 8u +                 \
   CAMERA_SMALL_PIXELS(width, height) +             \
   4u * ((CAMERA_SMALL_PIXELS(width, height) + 7u) / 8u))

typedef enum {
  CAMERA_OK = 0,
  CAMERA_NO_CELL = 1,  /* nothing darker than the background near the centre */
  CAMERA_CUT_OFF = 2,  /* the cell touches the frame's border */
  CAMERA_TOO_SMALL = 3 /* fewer than 12 pixels a side: out of focus or debris */
} camera_status_t;

typedef struct {
  uint16_t x0, y0, x1, y1; /* pixels, half-open */
} camera_box_t;

/* Finds the cell nearest to the frame's centre.
   frame: width x height pixels, row by row, rrrrrggggggbbbbb in native byte order.
   work: CAMERA_WORK_BYTES(width, height); it then begins with the cell's mask, one bit a pixel,
   lowest bit first. */
camera_status_t camera_find(const uint16_t *frame, uint32_t width, uint32_t height, uint8_t *work,
                            camera_box_t *box);

/* The found cell as the network's input: EDGE_MALARIA_SIZE a side, RGB, background black where
   the network asks for it (EDGE_MALARIA_MASK_BLACK). */
void camera_input(const uint16_t *frame, uint32_t width, const uint8_t *mask,
                  const camera_box_t *box, uint8_t *rgb);

/* Both, and the network. ``rgb``: EDGE_MALARIA_INPUT_BYTES of memory. */
camera_status_t camera_classify(const uint16_t *frame, uint32_t width, uint32_t height,
                                uint8_t *work, uint8_t *rgb, int threshold, camera_box_t *box,
                                edge_malaria_result_t *result);

#endif
