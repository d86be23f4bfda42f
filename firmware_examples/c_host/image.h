/* Reads PPM/PGM (binary) and PNG (8 bits a channel, not interlaced) from memory, no library. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint32_t width, height;
  uint8_t *rgb; /* width * height * 3, to be freed */
} image_t;

/* NULL, or what is wrong with the file. */
const char *image_read(const uint8_t *data, size_t size, image_t *image);

/* Inflates a zlib stream (RFC 1950, 1951) to exactly ``out_size`` bytes; 0 on success. */
int inflate_zlib(const uint8_t *data, size_t size, uint8_t *out, size_t out_size);

#endif
