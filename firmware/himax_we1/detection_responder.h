#ifndef DETECTION_RESPONDER_H
#define DETECTION_RESPONDER_H

#include <stdint.h>

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_error_reporter.h"

// Prints the scores as the SDK's handwriting example does, and the ticks that Invoke() took.
void RespondToDetection(tflite::ErrorReporter *error_reporter, const int8_t *score, uint32_t invoke_ticks);

#endif
