#ifndef IMAGE_PROVIDER_H
#define IMAGE_PROVIDER_H

#include <stdint.h>

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_error_reporter.h"

// Asks the host for one image of int8 values, height, width, channels, and waits until it is there.
// kTfLiteError: what came was damaged; the reason has been printed, and `image_data` is spoilt.
TfLiteStatus GetImage(tflite::ErrorReporter *error_reporter, int image_width, int image_height, int channels,
                      int8_t *image_data);

#endif
