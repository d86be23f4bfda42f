/* The golden cells on a machine with an operating system. */
#include <stdio.h>

int edge_malaria_selftest(void);

int main(void) {
  const int differing = edge_malaria_selftest();
  if (differing) {
    fprintf(stderr, "%d output bytes differ\n", differing);
  }
  return differing != 0;
}
