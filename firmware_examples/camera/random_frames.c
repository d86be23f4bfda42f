/* Random, flat and blotched frames through the camera example: for sanitizers, not for labels. */
#include <stdio.h>
#include <stdlib.h>

#include "camera_cell.h"

#define MOST_SIDE 160u

static uint32_t state = 12345u;

static uint32_t draw(uint32_t below) {
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % below;
}

int main(void) {
  static uint16_t frame[MOST_SIDE * MOST_SIDE];
  static uint8_t work[CAMERA_WORK_BYTES(MOST_SIDE, MOST_SIDE)];
  static uint8_t rgb[EDGE_MALARIA_INPUT_BYTES];
  uint32_t seen[4] = {0, 0, 0, 0};
  for (uint32_t n = 0; n < 300; n++) {
    const uint32_t width = 1 + draw(MOST_SIDE), height = 1 + draw(MOST_SIDE), kind = n % 3;
    const uint32_t cx = width / 2, cy = height / 2, r = 1 + draw(1 + (width + height) / 6);
    camera_box_t box;
    edge_malaria_result_t result;
    for (uint32_t i = 0; i < width * height; i++) {
      const uint32_t x = i % width, y = i / width;
      const uint32_t dx = x > cx ? x - cx : cx - x, dy = y > cy ? y - cy : cy - y;
      const int inside = dx * dx + dy * dy < r * r;
      frame[i] = (uint16_t)(kind == 0 ? draw(65536) : kind == 1 ? 0x1234u : inside ? 0x5A0Cu : 0xEF5Du);
    }
    seen[camera_classify(frame, width, height, work, rgb, 0, &box, &result)]++;
  }
  printf("camera: %u found, %u without a cell, %u cut off, %u too small\n", (unsigned)seen[0],
         (unsigned)seen[1], (unsigned)seen[2], (unsigned)seen[3]);
  return seen[0] && seen[1] && seen[2] ? 0 : 1;
}
