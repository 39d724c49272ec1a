/* Stands in for TFLM's: counts what is registered, and refuses more than it was made for. */
#ifndef STAND_IN_MICRO_MUTABLE_OP_RESOLVER_H
#define STAND_IN_MICRO_MUTABLE_OP_RESOLVER_H

#include "tensorflow/lite/c/common.h"

namespace tflite {

class MicroOpResolver {
  public:
    unsigned int registered = 0;
};

template <unsigned int tOpCount> class MicroMutableOpResolver : public MicroOpResolver {
  public:
    TfLiteStatus AddConv2D() {
        return Add();
    }
    TfLiteStatus AddFullyConnected() {
        return Add();
    }
    TfLiteStatus AddMaxPool2D() {
        return Add();
    }
    TfLiteStatus AddReshape() {
        return Add();
    }
    TfLiteStatus AddSoftmax() {
        return Add();
    }

  private:
    TfLiteStatus Add() {
        return ++registered <= tOpCount ? kTfLiteOk : kTfLiteError;
    }
};

} // namespace tflite

#endif
