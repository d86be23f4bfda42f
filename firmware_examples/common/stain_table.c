#include "stain_table.h"

#define UNIT 4096
#define LEAST_GAIN 2458
#define MOST_GAIN 8192
#define BLACK_LEVEL 24
#define DARKEST 8
#define CLEAREST 247

/* 4096 * ln(255 / level), rounded; level 0 as 1. */
static const uint16_t density[256] = {
    22697, 22697, 19858, 18197, 17019, 16105, 15358, 14727, 14180, 13697, 13266, 12875,
    12519, 12191, 11887, 11605, 11340, 11092, 10858, 10637, 10426, 10227, 10036,  9854,
     9680,  9513,  9352,  9197,  9048,  8905,  8766,  8631,  8501,  8375,  8253,  8134,
     8019,  7907,  7797,  7691,  7587,  7486,  7388,  7291,  7197,  7105,  7015,  6927,
     6841,  6756,  6673,  6592,  6513,  6435,  6358,  6283,  6209,  6137,  6065,  5995,
     5927,  5859,  5792,  5727,  5662,  5599,  5536,  5475,  5414,  5354,  5295,  5237,
     5180,  5123,  5068,  5013,  4958,  4905,  4852,  4800,  4748,  4697,  4647,  4597,
     4548,  4500,  4452,  4405,  4358,  4312,  4266,  4221,  4176,  4131,  4088,  4044,
     4001,  3959,  3917,  3875,  3834,  3793,  3753,  3713,  3674,  3634,  3596,  3557,
     3519,  3481,  3444,  3407,  3370,  3334,  3298,  3262,  3226,  3191,  3156,  3122,
     3087,  3053,  3020,  2986,  2953,  2920,  2888,  2855,  2823,  2791,  2760,  2728,
     2697,  2666,  2635,  2605,  2575,  2545,  2515,  2485,  2456,  2427,  2398,  2369,
     2341,  2312,  2284,  2256,  2228,  2201,  2173,  2146,  2119,  2092,  2066,  2039,
     2013,  1987,  1961,  1935,  1909,  1884,  1858,  1833,  1808,  1783,  1758,  1734,
     1709,  1685,  1661,  1637,  1613,  1589,  1566,  1542,  1519,  1496,  1472,  1449,
     1427,  1404,  1381,  1359,  1337,  1314,  1292,  1270,  1249,  1227,  1205,  1184,
     1162,  1141,  1120,  1099,  1078,  1057,  1036,  1016,   995,   975,   954,   934,
      914,   894,   874,   854,   834,   815,   795,   776,   756,   737,   718,   699,
      680,   661,   642,   623,   605,   586,   568,   549,   531,   513,   495,   476,
      458,   440,   423,   405,   387,   370,   352,   335,   317,   300,   283,   265,
      248,   231,   214,   197,   181,   164,   147,   131,   114,    98,    81,    65,
       48,    32,    16,     0};

static int32_t floor_units(int32_t value) {
  return value >= 0 ? value / UNIT : -((UNIT - 1 - value) / UNIT);
}

static void one_channel(uint8_t table[256][3], int channel, int slide, int home) {
  int32_t own, wanted, gain;
  int level, out = 255, v;
  if (slide < DARKEST) slide = DARKEST;
  if (slide > CLEAREST) slide = CLEAREST;
  own = density[slide];
  wanted = density[home];
  gain = (wanted * UNIT + own / 2) / own;
  if (gain < LEAST_GAIN) gain = LEAST_GAIN;
  if (gain > MOST_GAIN) gain = MOST_GAIN;
  for (level = 255; level >= 0; level--) {
    int32_t scaled = floor_units(gain * ((int32_t)density[level] - own) + UNIT / 2) + wanted;
    if (scaled < 0) scaled = 0;
    /* Densities rise as levels fall, so the nearest level is looked for from the one before. */
    while (out > 1 && (int32_t)density[out - 1] + density[out] < 2 * scaled) out--;
    table[level][channel] = (uint8_t)out;
  }
  for (v = 0; v < BLACK_LEVEL; v++) {
    table[v][channel] = (uint8_t)(table[BLACK_LEVEL][channel] * v / BLACK_LEVEL);
  }
}

void stain_table(uint8_t table[256][3], const uint8_t slide[3], const uint8_t home[3]) {
  int channel;
  for (channel = 0; channel < 3; channel++) {
    one_channel(table, channel, slide[channel], home[channel]);
  }
}
