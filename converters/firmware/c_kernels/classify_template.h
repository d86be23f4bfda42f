
#define EDGE_MALARIA_SIZE $size_px
/* How a crop becomes the input: 0 area, 1 linear, 2 nearest, 3 pad, as cell_resize() of
   firmware_examples/common counts them. MASK_BLACK 0: the cell keeps its surroundings. */
#define EDGE_MALARIA_RESIZE $resize_number
#define EDGE_MALARIA_MASK_BLACK $mask_black
/* 1: before that, the slide's colour is scaled to HOME_RGB (stain_table() of firmware_examples). */
#define EDGE_MALARIA_SCALES_STAIN $scales_stain
#define EDGE_MALARIA_HOME_RGB {$home_rgb}

$decides
$thresholds
/* What lies in [low, high] is "unsure"; none where low > high. */
#define EDGE_MALARIA_UNSURE_LOW ($unsure_low)
#define EDGE_MALARIA_UNSURE_HIGH ($unsure_high)

typedef enum {
  EDGE_MALARIA_UNINFECTED = 0,
  EDGE_MALARIA_PARASITIZED = 1,
  EDGE_MALARIA_UNSURE = 2
} edge_malaria_label_t;

typedef struct {
  edge_malaria_label_t label;
  uint8_t positive;   /* at or above the threshold, whatever the label */
  int8_t raw;         /* the output of the network, of the first one where there are two.
                         Where a cell is asked again it does not decide: use positive or label */
  uint16_t permille;  /* calibrated probability of "parasitized" x 1000 */
} edge_malaria_result_t;

/* Classifies one cell.
   rgb: EDGE_MALARIA_SIZE x EDGE_MALARIA_SIZE pixels, row by row, red green blue, brought to that
   size as EDGE_MALARIA_RESIZE says ($resize), background black where EDGE_MALARIA_MASK_BLACK is 1.
   threshold: EDGE_MALARIA_THRESHOLD_BALANCED or EDGE_MALARIA_THRESHOLD_SCREENING. */
void edge_malaria_classify(const uint8_t *rgb, int threshold, edge_malaria_result_t *result);
$asking
