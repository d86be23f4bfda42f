/* The cell in the middle of a small picture of green levels: the rule of
   edge_malaria/prepare/isolate.py for one cell that touches no other, in integers. */
#ifndef FIND_CELL_H
#define FIND_CELL_H

#include "bit_plane.h"

#define FIND_CELL_PLANES 4u

/* green: size.width x size.height levels, at most 96 a side; smoothed in place.
   planes: FIND_CELL_PLANES bit planes; the first then holds the cell.
   Returns the cell's pixels; 0: there is no cell near the middle. */
uint32_t find_cell(uint8_t *green, plane_size_t size, uint8_t *planes);

#endif
