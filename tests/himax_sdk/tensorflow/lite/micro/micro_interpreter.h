/* Stands in for TFLM's: the network is the engine generated from the same model. */
#ifndef STAND_IN_MICRO_INTERPRETER_H
#define STAND_IN_MICRO_INTERPRETER_H

#include "tensorflow/lite/micro/micro_error_reporter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

#include "engine.h"

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite {

class MicroInterpreter {
  public:
    MicroInterpreter(const Model *model, const MicroOpResolver &resolver, uint8_t *arena, size_t arena_bytes,
                     ErrorReporter *reporter)
        : resolver_(resolver), arena_(arena), arena_bytes_(arena_bytes) {
        (void)model;
        (void)reporter;
    }

    TfLiteStatus AllocateTensors() {
        bool arena = (uintptr_t)arena_ % 16 == 0 && arena_bytes_ >= engine_input(0)->bytes;
        if (!arena || resolver_.registered == 0 || engine_init() != nullptr) {
            return kTfLiteError;
        }
        input_ = Tensor((int8_t *)engine_input_data(0), engine_input(0)->bytes);
        output_ = Tensor((int8_t *)engine_output_data(0), engine_output(0)->bytes);
        return kTfLiteOk;
    }

    TfLiteTensor *input(size_t index) {
        return index == 0 ? &input_ : nullptr;
    }

    TfLiteTensor *output(size_t index) {
        return index == 0 ? &output_ : nullptr;
    }

    TfLiteStatus Invoke() {
        return engine_invoke(engine_get_info()->layers, nullptr, nullptr) == nullptr ? kTfLiteOk
                                                                                     : kTfLiteError;
    }

  private:
    static TfLiteTensor Tensor(int8_t *data, size_t bytes) {
        TfLiteTensor tensor;
        tensor.type = kTfLiteInt8;
        tensor.data.int8 = data;
        tensor.bytes = bytes;
        return tensor;
    }

    const MicroOpResolver &resolver_;
    uint8_t *arena_;
    size_t arena_bytes_;
    TfLiteTensor input_;
    TfLiteTensor output_;
};

} // namespace tflite

#endif
