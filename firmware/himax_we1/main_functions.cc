#include "main_functions.h"

#include "detection_responder.h"
#include "himax_we1_evb/board.h"
#include "image_provider.h"
#include "model_data.h"
#include "model_operators.h"
#include "model_settings.h"

#include "tensorflow/lite/micro/micro_error_reporter.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {
tflite::ErrorReporter *error_reporter = nullptr;
tflite::MicroInterpreter *interpreter = nullptr;
const char *failure = "setup() was not called";

// The linker scripts have a place for this section behind the other data; MetaWare names it by pragma.
#if defined(__GNUC__) && !defined(__CCAC__)
alignas(16) uint8_t tensor_arena[kTensorArenaSize] __attribute__((section(".tensor_arena")));
#else
#pragma Bss(".tensor_arena")
alignas(16) uint8_t tensor_arena[kTensorArenaSize];
#pragma Bss()
#endif

// What is wrong with a tensor that should be `elements` of int8; nullptr if nothing.
const char *Check(const TfLiteTensor *tensor, int elements, const char *complaint) {
    bool right = tensor != nullptr && tensor->type == kTfLiteInt8 && tensor->bytes == (size_t)elements;
    return right ? nullptr : complaint;
}

const char *Start() {
    const tflite::Model *model = tflite::GetModel(kModelData);
    if (model->version() != TFLITE_SCHEMA_VERSION) {
        return "the model has another schema version";
    }
    static OperatorResolver resolver;
    if (RegisterOperators(&resolver) != kTfLiteOk) {
        return "an operator cannot be registered";
    }
    static tflite::MicroInterpreter static_interpreter(model, resolver, tensor_arena, kTensorArenaSize,
                                                       error_reporter);
    if (static_interpreter.AllocateTensors() != kTfLiteOk) {
        return "AllocateTensors() failed: enlarge kTensorArenaSize in model_settings.h";
    }
    interpreter = &static_interpreter;
    const char *wrong = Check(interpreter->input(0), kMaxImageSize, "the input is not as generated");
    return wrong != nullptr ? wrong
                            : Check(interpreter->output(0), kCategoryCount, "the output is not as generated");
}
} // namespace

void setup() {
    tflite::InitializeTarget();
    static tflite::MicroErrorReporter micro_error_reporter;
    error_reporter = &micro_error_reporter;
    BoardInit();
    failure = Start();
}

void loop() {
    if (failure != nullptr) {
        TF_LITE_REPORT_ERROR(error_reporter, "failure:%s", failure);
        BoardWait(kBoardTicksPerSecond);
        return;
    }
    if (GetImage(error_reporter, kNumCols, kNumRows, kNumChannels, interpreter->input(0)->data.int8) !=
        kTfLiteOk) {
        return;
    }
    uint32_t start = BoardTicks();
    if (interpreter->Invoke() != kTfLiteOk) {
        failure = "Invoke() failed";
        return;
    }
    uint32_t ticks = BoardTicks() - start;
    RespondToDetection(error_reporter, interpreter->output(0)->data.int8, ticks);
}
