/* The two functions that a compiler may call although nobody wrote the call. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int value, size_t n);

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  volatile char *t = to;
  const char *f = from;
  while (n--) {
    *t++ = *f++;
  }
  return to;
}

void *memset(void *to, int value, size_t n) {
  volatile char *t = to;
  while (n--) {
    *t++ = (char)value;
  }
  return to;
}
