/* One centred cell in an RGB565 frame (as OV2640-class cameras give it), found, masked, scaled and
   classified with integer arithmetic and no heap. */
#ifndef CAMERA_CELL_H
#define CAMERA_CELL_H

#include <stdint.h>

#include "edge_malaria_model.h"

/* Working memory for a frame: three bits a pixel. */
#define CAMERA_WORK_BYTES(width, height) (3u * (((width) * (height) + 7u) / 8u))

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
   work: CAMERA_WORK_BYTES(width, height); its first third then is the cell's mask, one bit a
   pixel, lowest bit first. */
camera_status_t camera_find(const uint16_t *frame, uint32_t width, uint32_t height, uint8_t *work,
                            camera_box_t *box);

/* The found cell as the network's input: background black, EDGE_MALARIA_SIZE a side, RGB. */
void camera_input(const uint16_t *frame, uint32_t width, const uint8_t *mask,
                  const camera_box_t *box, uint8_t *rgb);

/* Both, and the network. ``rgb``: EDGE_MALARIA_INPUT_BYTES of memory. */
camera_status_t camera_classify(const uint16_t *frame, uint32_t width, uint32_t height,
                                uint8_t *work, uint8_t *rgb, int threshold, camera_box_t *box,
                                edge_malaria_result_t *result);

#endif
