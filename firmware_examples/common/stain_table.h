/* The slide's colour scaling in whole numbers: the rule of edge_malaria/prepare/stain.py, bit for
   bit. Needed where EDGE_MALARIA_SCALES_STAIN is 1: every pixel of a crop goes through the table
   before the background is blackened and the crop is resized. */
#ifndef STAIN_TABLE_H
#define STAIN_TABLE_H

#include <stdint.h>

/* slide: the median colour of the slide's red cells (a channel's median over the cells' medians,
   the lower one of two), home: EDGE_MALARIA_HOME_RGB. Level v of channel c becomes table[v][c]. */
void stain_table(uint8_t table[256][3], const uint8_t slide[3], const uint8_t home[3]);

#endif
