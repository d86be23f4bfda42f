/* Rounding. EDGE_MALARIA_ROUNDING 0: TensorFlow Lite Micro (two integer roundings).
   1: XNNPACK (one float32 product, rounded to the nearest even).
   2: LiteRT's reference kernels: as 0, but one integer rounding in fully connected layers. */
#ifndef EDGE_MALARIA_ROUNDING
#define EDGE_MALARIA_ROUNDING 0
#endif

#if defined(__GNUC__)
#define EM_INLINE static inline __attribute__((always_inline, unused))
#else
#define EM_INLINE static inline
#endif

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1) && !defined(EDGE_MALARIA_SCALAR)
#define EM_HELIUM 1
#include <arm_mve.h>
#elif defined(__GNUC__) && defined(__ARM_FEATURE_SIMD32) && !defined(EDGE_MALARIA_SCALAR)
#define EM_DSP 1 /* Cortex-M4, M7, M33 with DSP: SXTB16 and SMLAD, two products at once */
#endif

/* What turns one channel's int32 sum into the output's scale. */
#if EDGE_MALARIA_ROUNDING != 1
typedef struct {
  const int32_t *multiplier; /* [channels] Q0.31 */
  const int8_t *shift;       /* [channels] > 0: left, before; < 0: right, after */
} em_scale_t;
#define EM_SCALE(multiplier, shift, factor) {multiplier, shift}
#else
typedef struct {
  const float *factor; /* [channels] */
} em_scale_t;
#define EM_SCALE(multiplier, shift, factor) {factor}
#endif

EM_INLINE int32_t em_clamp(int32_t x, int32_t low, int32_t high) {
  return x < low ? low : (x > high ? high : x);
}

/* x * multiplier / 2^31 * 2^shift. The generator refuses networks whose sums reach 2^30, so that
   nothing here overflows. A right shift of a negative number is arithmetic in every compiler
   that this file is meant for; the golden cells would show another one. */
EM_INLINE int32_t em_multiply(int32_t x, int32_t multiplier, int32_t shift) {
  int32_t high;
  if (shift > 0) {
    x = (int32_t)((uint32_t)x << shift);
  }
  high = (int32_t)(((int64_t)x * multiplier + ((int64_t)1 << 30)) >> 31);
  if (shift < 0) {
    /* Halves away from zero: a negative number is first moved down by one. */
    high = (high + ((int32_t)1 << (-shift - 1)) + (high >> 31)) >> -shift;
  }
  return high;
}

/* A float in [-2^22, 2^22] to the nearest int, halves to even, whatever the float unit offers. */
EM_INLINE int32_t em_round(float x) {
  union {
    float real;
    int32_t bits;
  } magic;
  magic.real = x + 12582912.0f; /* 1.5 * 2^23: the integer lies in the low mantissa bits */
  return magic.bits - 0x4B400000;
}

EM_INLINE int32_t em_requantize(int32_t sum, const em_scale_t *scale, uint32_t channel,
                                int32_t zero, int32_t low, int32_t high) {
#if EDGE_MALARIA_ROUNDING != 1
  const int32_t x = em_multiply(sum, scale->multiplier[channel], scale->shift[channel]);
  return em_clamp(x + zero, low, high);
#else
  /* The clamp between product and rounding also keeps a compiler from fusing the two. */
  float x = (float)sum * scale->factor[channel];
  const float least = (float)(low - zero), most = (float)(high - zero);
  x = x > most ? most : x;
  x = x < least ? least : x;
  return em_round(x) + zero;
#endif
}

#if defined(EM_DSP)
EM_INLINE uint32_t em_load4(const int8_t *p) {
  uint32_t word;
  __builtin_memcpy(&word, p, 4);
  return word;
}

/* Bytes 0 and 2, or 1 and 3, as two int16. Written as assembly because the intrinsics neither
   merge the rotation nor let the compiler reorder: they claim to touch the Q flag. */
EM_INLINE uint32_t em_even(uint32_t word) {
  uint32_t pair;
  __asm("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
  return pair;
}

EM_INLINE uint32_t em_odd(uint32_t word) {
  uint32_t pair;
  __asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

EM_INLINE int32_t em_smlad(uint32_t x, uint32_t y, int32_t sum) {
  __asm("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(x), "r"(y));
  return sum;
}
#endif
