/* classify_cell [--screening] CROP...: crops (PNG, PPM, PGM; background black) on standard output.
   Exit status: 0 all classified, 2 wrong usage, 5 a file could not be read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell_resize.h"
#include "edge_malaria_model.h"
#include "image.h"

static void crop_pixel(const void *source, uint32_t x, uint32_t y, uint8_t rgb[3]) {
  const image_t *image = source;
  memcpy(rgb, image->rgb + 3 * ((size_t)y * image->width + x), 3);
}

/* The whole file, or NULL. */
static uint8_t *slurp(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  uint8_t *data = NULL;
  size_t room = 1 << 16;
  *size = 0;
  if (!file) {
    return NULL;
  }
  for (;;) {
    uint8_t *more = realloc(data, room);
    size_t got;
    if (!more) {
      break;
    }
    data = more;
    got = fread(data + *size, 1, room - *size, file);
    *size += got;
    if (*size < room) {
      break;
    }
    room *= 2;
  }
  fclose(file);
  return data;
}

static const char *classify(const char *path, int threshold) {
  static const char *const labels[] = {"uninfected", "parasitized", "unsure"};
  static uint8_t rgb[EDGE_MALARIA_INPUT_BYTES];
  edge_malaria_result_t result;
  image_t image;
  size_t size;
  uint8_t *data = slurp(path, &size);
  const char *wrong = data ? image_read(data, size, &image) : "cannot be read";
  free(data);
  if (wrong) {
    return wrong;
  }
  cell_resize(EDGE_MALARIA_RESIZE, &image, crop_pixel, image.width, image.height, rgb,
              EDGE_MALARIA_SIZE);
  free(image.rgb);
  edge_malaria_classify(rgb, threshold, &result);
  printf("%s\t%s\t%d.%03d\t%d\n", path, labels[result.label], result.permille / 1000,
         result.permille % 1000, result.raw);
  return NULL;
}

int main(int argc, char **argv) {
  int threshold = EDGE_MALARIA_THRESHOLD_BALANCED, first = 1, status = 0;
  if (argc > 1 && !strcmp(argv[1], "--screening")) {
    threshold = EDGE_MALARIA_THRESHOLD_SCREENING;
    first = 2;
  }
  if (argc <= first || !strncmp(argv[first], "--", 2)) {
    const int asked = argc > first && !strcmp(argv[first], "--help");
    fprintf(asked ? stdout : stderr, "usage: classify_cell [--screening] CROP.png|CROP.ppm ...\n");
    return asked ? 0 : 2;
  }
  fprintf(stderr, "For research use only. Not for use in diagnostic procedures.\n");
  printf("file\tlabel\tp_parasitized\traw\n");
  for (int i = first; i < argc; i++) {
    const char *wrong = classify(argv[i], threshold);
    if (wrong) {
      fprintf(stderr, "error: %s: %s.\n", argv[i], wrong);
      status = 5;
    }
  }
  return status;
}
