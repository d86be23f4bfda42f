#include "image.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIDE 4096u /* what area_resize takes */

static uint32_t big_endian(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The next number of a PNM header; 0 where there is none. */
static uint32_t header_number(const uint8_t *data, size_t size, size_t *at) {
  uint32_t value = 0;
  while (*at < size && (isspace(data[*at]) || data[*at] == '#')) {
    if (data[*at] == '#') {
      while (*at < size && data[*at] != '\n') {
        ++*at;
      }
    } else {
      ++*at;
    }
  }
  while (*at < size && isdigit(data[*at]) && value <= 99999u) {
    value = value * 10u + (uint32_t)(data[(*at)++] - '0');
  }
  return value;
}

static const char *read_pnm(const uint8_t *data, size_t size, image_t *image) {
  const uint32_t channels = data[1] == '6' ? 3 : 1;
  size_t at = 2;
  image->width = header_number(data, size, &at);
  image->height = header_number(data, size, &at);
  if (header_number(data, size, &at) != 255u) {
    return "expected a PNM of 8 bits (maximum 255)";
  }
  at++;
  if (!image->width || !image->height || image->width > MAX_SIDE || image->height > MAX_SIDE) {
    return "expected sides of 1 to 4096 pixels";
  }
  if (at > size || size - at < (size_t)image->width * image->height * channels) {
    return "the file is cut off";
  }
  image->rgb = malloc((size_t)image->width * image->height * 3);
  if (!image->rgb) {
    return "out of memory";
  }
  for (size_t i = 0; i < (size_t)image->width * image->height * 3; i++) {
    image->rgb[i] = data[at + (channels == 3 ? i : i / 3)];
  }
  return NULL;
}

static uint8_t paeth(int a, int b, int c) {
  const int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);
  return (uint8_t)(pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
}

/* Undoes a PNG's row filters in place; rows are 1 + row bytes long. */
static int unfilter(uint8_t *rows, size_t row, uint32_t height, uint32_t step) {
  for (uint32_t y = 0; y < height; y++) {
    uint8_t *line = rows + y * (row + 1) + 1;
    const uint8_t *above = y ? line - row - 1 : NULL;
    for (size_t i = 0; i < row; i++) {
      const int a = i >= step ? line[i - step] : 0, b = above ? above[i] : 0;
      const int c = above && i >= step ? above[i - step] : 0;
      int add = 0;
      switch (line[-1]) {
        case 0: break;
        case 1: add = a; break;
        case 2: add = b; break;
        case 3: add = (a + b) / 2; break;
        case 4: add = paeth(a, b, c); break;
        default: return 1;
      }
      line[i] = (uint8_t)(line[i] + add);
    }
    line[-1] = 0;
  }
  return 0;
}

typedef struct {
  uint8_t *packed;
  size_t packed_size;
  const uint8_t *palette;
  uint32_t colours, kind;
} png_t;

/* Collects the chunks; NULL or what is wrong. */
static const char *png_chunks(const uint8_t *data, size_t size, image_t *image, png_t *png) {
  size_t at = 8;
  while (size - at >= 12) {
    const uint32_t length = big_endian(data + at);
    const uint8_t *body = data + at + 8;
    if (length > size - at - 12) {
      return "the file is cut off";
    }
    if (!memcmp(body - 4, "IHDR", 4) && length == 13) {
      image->width = big_endian(body);
      image->height = big_endian(body + 4);
      png->kind = body[9];
      if (body[8] != 8 || body[12] != 0) {
        return "expected a PNG of 8 bits a channel, not interlaced";
      }
    } else if (!memcmp(body - 4, "PLTE", 4)) {
      png->palette = body;
      png->colours = length / 3;
    } else if (!memcmp(body - 4, "IDAT", 4)) {
      memcpy(png->packed + png->packed_size, body, length);
      png->packed_size += length;
    }
    at += 12 + (size_t)length;
  }
  return NULL;
}

static const char *png_pixels(const png_t *png, image_t *image, uint32_t channels) {
  const size_t row = (size_t)image->width * channels, pixels = (size_t)image->width * image->height;
  uint8_t *rows = malloc((row + 1) * image->height);
  const char *wrong = NULL;
  image->rgb = malloc(pixels * 3);
  if (!rows || !image->rgb) {
    wrong = "out of memory";
  } else if (inflate_zlib(png->packed, png->packed_size, rows, (row + 1) * image->height) ||
             unfilter(rows, row, image->height, channels)) {
    wrong = "the PNG is damaged";
  }
  for (size_t i = 0; !wrong && i < pixels; i++) {
    const uint8_t *from = rows + i / image->width * (row + 1) + 1 + i % image->width * channels;
    uint8_t *to = image->rgb + 3 * i;
    if (png->kind == 3 && *from >= png->colours) {
      wrong = "the PNG is damaged";
      break;
    }
    if (png->kind == 3) {
      from = png->palette + (size_t)*from * 3;
    }
    to[0] = from[0];
    to[1] = png->kind == 0 || png->kind == 4 ? from[0] : from[1];
    to[2] = png->kind == 0 || png->kind == 4 ? from[0] : from[2];
  }
  free(rows);
  if (wrong) {
    free(image->rgb);
    image->rgb = NULL;
  }
  return wrong;
}

static const char *read_png(const uint8_t *data, size_t size, image_t *image) {
  static const uint8_t channels[7] = {1, 0, 3, 1, 2, 0, 4};
  png_t png = {0};
  const char *wrong;
  png.kind = 7;
  png.packed = malloc(size);
  if (!png.packed) {
    return "out of memory";
  }
  wrong = png_chunks(data, size, image, &png);
  if (!wrong && (png.kind > 6 || !channels[png.kind])) {
    wrong = "the PNG has no valid header";
  }
  if (!wrong &&
      (!image->width || !image->height || image->width > MAX_SIDE || image->height > MAX_SIDE)) {
    wrong = "expected sides of 1 to 4096 pixels";
  }
  if (!wrong) {
    wrong = png_pixels(&png, image, channels[png.kind]);
  }
  free(png.packed);
  return wrong;
}

const char *image_read(const uint8_t *data, size_t size, image_t *image) {
  image->rgb = NULL;
  image->width = image->height = 0;
  if (size >= 8 && !memcmp(data, "\x89PNG\r\n\x1a\n", 8)) {
    return read_png(data, size, image);
  }
  if (size >= 8 && data[0] == 'P' && (data[1] == '5' || data[1] == '6')) {
    return read_pnm(data, size, image);
  }
  return "neither a PNG nor a binary PPM or PGM";
}
