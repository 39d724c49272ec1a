/*
 * Stands in for the TFLM header of this name: names and types as far as our firmware uses them, so that it
 * compiles and runs here. The network behind it is the generated C of the same model (engine.h).
 */
#ifndef STAND_IN_COMMON_H
#define STAND_IN_COMMON_H

#include <stddef.h>
#include <stdint.h>

typedef enum { kTfLiteOk = 0, kTfLiteError = 1 } TfLiteStatus;
typedef enum { kTfLiteNoType = 0, kTfLiteInt8 = 9 } TfLiteType;

typedef union {
    int8_t *int8;
} TfLitePtrUnion;

typedef struct {
    TfLiteType type;
    TfLitePtrUnion data;
    size_t bytes;
} TfLiteTensor;

#endif
