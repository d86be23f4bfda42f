/* sums[0..3] += a0.w0, a0.w1, a1.w0, a1.w1 over ``depth`` int8 pairs: two pixels, two channels. */
EM_INLINE void em_dot_2x2(const int8_t *a0, const int8_t *a1, const int8_t *w0, const int8_t *w1,
                          uint32_t depth, int32_t sums[4]) {
  int32_t s00 = sums[0], s01 = sums[1], s10 = sums[2], s11 = sums[3];
#if defined(EM_HELIUM)
  int32_t left = (int32_t)depth;
  for (; left > 0; left -= 16) {
    const mve_pred16_t lanes = vctp8q((uint32_t)left);
    const int8x16_t x0 = vldrbq_z_s8(a0, lanes), x1 = vldrbq_z_s8(a1, lanes);
    const int8x16_t y0 = vldrbq_z_s8(w0, lanes), y1 = vldrbq_z_s8(w1, lanes);
    s00 = vmladavaq_p_s8(s00, x0, y0, lanes);
    s01 = vmladavaq_p_s8(s01, x0, y1, lanes);
    s10 = vmladavaq_p_s8(s10, x1, y0, lanes);
    s11 = vmladavaq_p_s8(s11, x1, y1, lanes);
    a0 += 16;
    a1 += 16;
    w0 += 16;
    w1 += 16;
  }
#else
  const int8_t *const end = a0 + depth;
#if defined(EM_DSP)
  const int8_t *const words_end = a0 + (depth & ~(uint32_t)3);
  while (a0 != words_end) {
    const uint32_t x0 = em_load4(a0), x1 = em_load4(a1);
    const uint32_t x0e = em_even(x0), x0o = em_odd(x0), x1e = em_even(x1), x1o = em_odd(x1);
    uint32_t y = em_load4(w0), yo = em_odd(y);
    y = em_even(y);
    s00 = em_smlad(x0o, yo, em_smlad(x0e, y, s00));
    s10 = em_smlad(x1o, yo, em_smlad(x1e, y, s10));
    y = em_load4(w1);
    yo = em_odd(y);
    y = em_even(y);
    s01 = em_smlad(x0o, yo, em_smlad(x0e, y, s01));
    s11 = em_smlad(x1o, yo, em_smlad(x1e, y, s11));
    a0 += 4;
    a1 += 4;
    w0 += 4;
    w1 += 4;
  }
#endif
  while (a0 != end) {
    const int32_t x0 = *a0++, x1 = *a1++, y0 = *w0++, y1 = *w1++;
    s00 += x0 * y0;
    s01 += x0 * y1;
    s10 += x1 * y0;
    s11 += x1 * y1;
  }
#endif
  sums[0] = s00;
  sums[1] = s01;
  sums[2] = s10;
  sums[3] = s11;
}
