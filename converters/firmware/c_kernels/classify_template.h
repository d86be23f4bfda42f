
#define EDGE_MALARIA_SIZE $size_px

/* A cell is positive where raw >= the threshold of the operating point. */
$thresholds
/* Raw outputs in [low, high] are "unsure"; none where low > high. */
#define EDGE_MALARIA_UNSURE_LOW ($unsure_low)
#define EDGE_MALARIA_UNSURE_HIGH ($unsure_high)

typedef enum {
  EDGE_MALARIA_UNINFECTED = 0,
  EDGE_MALARIA_PARASITIZED = 1,
  EDGE_MALARIA_UNSURE = 2
} edge_malaria_label_t;

typedef struct {
  edge_malaria_label_t label;
  uint8_t positive;   /* raw >= threshold, whatever the label */
  int8_t raw;         /* the network's output */
  uint16_t permille;  /* calibrated probability of "parasitized" x 1000 */
} edge_malaria_result_t;

/* Classifies one cell.
   rgb: EDGE_MALARIA_SIZE x EDGE_MALARIA_SIZE pixels, row by row, red green blue, background black,
   scaled to that size by area averaging.
   threshold: EDGE_MALARIA_THRESHOLD_BALANCED or EDGE_MALARIA_THRESHOLD_SCREENING. */
void edge_malaria_classify(const uint8_t *rgb, int threshold, edge_malaria_result_t *result);
