/* RFC 1951 with canonical Huffman codes decoded bit by bit: small, and fast enough for a crop. */
#include "image.h"

typedef struct {
  const uint8_t *data;
  size_t size, position;
  uint32_t hold, bits;
  int failed;
} reader_t;

typedef struct {
  uint16_t count[16], symbol[288];
} code_t;

static uint32_t take(reader_t *r, uint32_t n) {
  uint32_t value;
  while (r->bits < n) {
    if (r->position == r->size) {
      r->failed = 1;
      return 0;
    }
    r->hold |= (uint32_t)r->data[r->position++] << r->bits;
    r->bits += 8;
  }
  value = r->hold & ((1u << n) - 1u);
  r->hold >>= n;
  r->bits -= n;
  return value;
}

/* Builds a code from its lengths; non-zero where they are over-subscribed. */
static int build(code_t *code, const uint8_t *lengths, uint32_t n) {
  uint16_t offset[16];
  int left = 1;
  for (uint32_t i = 0; i < 16; i++) {
    code->count[i] = 0;
  }
  for (uint32_t i = 0; i < n; i++) {
    code->count[lengths[i]]++;
  }
  for (uint32_t i = 1; i < 16; i++) {
    left = 2 * left - code->count[i];
    if (left < 0) {
      return 1;
    }
  }
  offset[1] = 0;
  for (uint32_t i = 1; i < 15; i++) {
    offset[i + 1] = (uint16_t)(offset[i] + code->count[i]);
  }
  for (uint32_t i = 0; i < n; i++) {
    if (lengths[i]) {
      code->symbol[offset[lengths[i]]++] = (uint16_t)i;
    }
  }
  return 0;
}

static uint32_t decode(reader_t *r, const code_t *code) {
  int32_t word = 0, first = 0, index = 0;
  for (uint32_t length = 1; length < 16 && !r->failed; length++) {
    word |= (int32_t)take(r, 1);
    if (word - code->count[length] < first) {
      return code->symbol[index + word - first];
    }
    index += code->count[length];
    first = (first + code->count[length]) << 1;
    word <<= 1;
  }
  r->failed = 1;
  return 0;
}

static void fixed_codes(code_t *literals, code_t *distances) {
  uint8_t lengths[288];
  for (uint32_t i = 0; i < 288; i++) {
    lengths[i] = (uint8_t)(i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8);
  }
  build(literals, lengths, 288);
  for (uint32_t i = 0; i < 30; i++) {
    lengths[i] = 5;
  }
  build(distances, lengths, 30);
}

static void dynamic_codes(reader_t *r, code_t *literals, code_t *distances) {
  static const uint8_t order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                    11, 4,  12, 3, 13, 2, 14, 1, 15};
  const uint32_t n = take(r, 5) + 257, d = take(r, 5) + 1, c = take(r, 4) + 4;
  uint8_t lengths[320] = {0};
  uint32_t i = 0;
  if (n > 286 || d > 30) {
    r->failed = 1;
    return;
  }
  while (i < c) {
    lengths[order[i++]] = (uint8_t)take(r, 3);
  }
  r->failed |= build(literals, lengths, 19);
  for (uint32_t k = 0; k < 19; k++) {
    lengths[k] = 0;
  }
  for (i = 0; i < n + d && !r->failed;) {
    uint32_t symbol = decode(r, literals), repeat = 1;
    uint8_t value = (uint8_t)symbol;
    if (symbol == 16) {
      r->failed |= i == 0;
      value = i ? lengths[i - 1] : 0;
      repeat = 3 + take(r, 2);
    } else if (symbol > 16) {
      value = 0;
      repeat = symbol == 17 ? 3 + take(r, 3) : 11 + take(r, 7);
    }
    if (i + repeat > n + d) {
      r->failed = 1;
      return;
    }
    while (repeat--) {
      lengths[i++] = value;
    }
  }
  r->failed |= build(literals, lengths, n) || build(distances, lengths + n, d);
}

static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,
                                           33,  49,  65,  97,  129, 193,  257,  385,  513,  769,
                                           1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t distance_extra[30] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                           6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

static size_t coded_block(reader_t *r, const code_t *literals, const code_t *distances,
                          uint8_t *out, size_t at, size_t out_size) {
  for (;;) {
    uint32_t symbol = decode(r, literals), length, distance;
    if (r->failed || symbol == 256) {
      return at;
    }
    if (symbol < 256) {
      if (at == out_size) {
        break;
      }
      out[at++] = (uint8_t)symbol;
      continue;
    }
    if (symbol > 285) {
      break;
    }
    length = length_base[symbol - 257] + take(r, length_extra[symbol - 257]);
    symbol = decode(r, distances);
    if (r->failed || symbol > 29) {
      break;
    }
    distance = distance_base[symbol] + take(r, distance_extra[symbol]);
    if (distance > at || length > out_size - at) {
      break;
    }
    for (uint32_t i = 0; i < length; i++, at++) {
      out[at] = out[at - distance];
    }
  }
  r->failed = 1;
  return at;
}

static size_t stored_block(reader_t *r, uint8_t *out, size_t at, size_t out_size) {
  uint32_t length;
  take(r, r->bits & 7u);
  length = take(r, 16);
  if (take(r, 16) != (length ^ 0xFFFFu) || length > out_size - at) {
    r->failed = 1;
  }
  while (length-- && !r->failed) {
    out[at++] = (uint8_t)take(r, 8);
  }
  return at;
}

int inflate_zlib(const uint8_t *data, size_t size, uint8_t *out, size_t out_size) {
  reader_t r = {0};
  code_t literals, distances;
  size_t at = 0;
  uint32_t last = 0;
  if (size < 2 || (data[0] & 15u) != 8 || ((uint32_t)data[0] << 8 | data[1]) % 31u) {
    return 1;
  }
  r.data = data;
  r.size = size;
  r.position = 2;
  while (!last && !r.failed) {
    uint32_t kind;
    last = take(&r, 1);
    kind = take(&r, 2);
    if (kind == 0) {
      at = stored_block(&r, out, at, out_size);
      continue;
    }
    if (kind == 3) {
      return 1;
    }
    if (kind == 1) {
      fixed_codes(&literals, &distances);
    } else {
      dynamic_codes(&r, &literals, &distances);
    }
    if (!r.failed) {
      at = coded_block(&r, &literals, &distances, out, at, out_size);
    }
  }
  return r.failed || at != out_size;
}
