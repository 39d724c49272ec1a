#include "observing_resolver.h"

#include "tensorflow/lite/micro/kernels/kernel_util.h"
#include "tensorflow/lite/micro/micro_context.h"

/* A kernel is a C function without a place for `this`; one network runs at a time. */
static struct {
    ObservedOperator *operators;
    uint16_t next;
    uint16_t end;
    engine_observer observer;
    void *context;
} run;

ObservingResolver::ObservingResolver(const tflite::MicroOpResolver &kernels, ObservedOperator *operators,
                                     uint16_t count)
    : kernels_(kernels), operators_(operators), count_(count) {
}

const TFLMRegistration *ObservingResolver::FindOp(tflite::BuiltinOperator op) const {
    return Observe(kernels_.FindOp(op));
}

const TFLMRegistration *ObservingResolver::FindOp(const char *op) const {
    return Observe(kernels_.FindOp(op));
}

tflite::TfLiteBridgeBuiltinParseFunction
ObservingResolver::GetOpDataParser(tflite::BuiltinOperator op) const {
    return kernels_.GetOpDataParser(op);
}

const TFLMRegistration *ObservingResolver::Observe(const TFLMRegistration *kernel) const {
    if (kernel == nullptr || found_ == count_)
        return nullptr;
    ObservedOperator &own = operators_[found_++];
    own.registration = *kernel;
    own.registration.invoke = Invoke;
    own.invoke = kernel->invoke;
    own.output = nullptr;
    return &own.registration;
}

void ObservingResolver::Begin(uint16_t layers, engine_observer observer, void *context) {
    run = {operators_, 0, layers, observer, context};
}

uint16_t ObservingResolver::LayersRun() const {
    return run.next;
}

const void *ObservingResolver::Output(uint16_t layer) const {
    return operators_[layer].output;
}

TfLiteStatus ObservingResolver::Invoke(TfLiteContext *context, TfLiteNode *node) {
    /* What follows the last layer asked for. TFLM takes this as an end without a complaint. */
    if (run.next == run.end)
        return tflite::kTfLiteAbort;
    ObservedOperator &own = run.operators[run.next];
    TfLiteStatus status = own.invoke(context, node);
    if (status != kTfLiteOk)
        return status;
    own.output = tflite::micro::GetEvalOutput(context, node, 0)->data.raw;
    uint16_t layer = run.next++;
    if (run.observer != nullptr)
        run.observer(run.context, layer);
    return kTfLiteOk;
}
