/*
 * An operator resolver that sees every operator run. TFLM's own hook, the
 * profiler, cannot stop a network behind a layer and is compiled out together
 * with the error strings, and MicroProfiler keeps 4096 events in 80 KB of RAM;
 * preserving all tensors for a look afterwards would cost the sum of all layers.
 * Here each operator gets a registration of its own whose invoke is a
 * trampoline: when the kernel comes back, the layer's output is whole, wherever
 * the memory plan put it, and the run goes on or ends. 36 bytes per layer.
 */
#ifndef OBSERVING_RESOLVER_H
#define OBSERVING_RESOLVER_H

#include "engine.h"

#include "tensorflow/lite/micro/micro_op_resolver.h"

/* One operator of the model. `output`: where its first output lay when it last ran. */
struct ObservedOperator {
    TFLMRegistration registration;
    TfLiteStatus (*invoke)(TfLiteContext *context, TfLiteNode *node);
    const void *output;
};

class ObservingResolver : public tflite::MicroOpResolver {
  public:
    /* `kernels` finds the kernels proper; `operators` has room for those of the model. One interpreter
     * uses this, and asks for each operator once, in the order in which they run. */
    ObservingResolver(const tflite::MicroOpResolver &kernels, ObservedOperator *operators, uint16_t count);

    const TFLMRegistration *FindOp(tflite::BuiltinOperator op) const override;
    const TFLMRegistration *FindOp(const char *op) const override;
    tflite::TfLiteBridgeBuiltinParseFunction GetOpDataParser(tflite::BuiltinOperator op) const override;

    /* Before each run: end it behind `layers` layers, tell `observer` of each one unless it is NULL. */
    void Begin(uint16_t layers, engine_observer observer, void *context);
    /* How many have run since. */
    uint16_t LayersRun() const;
    /* For a layer that has run. */
    const void *Output(uint16_t layer) const;

  private:
    const TFLMRegistration *Observe(const TFLMRegistration *kernel) const;
    static TfLiteStatus Invoke(TfLiteContext *context, TfLiteNode *node);

    const tflite::MicroOpResolver &kernels_;
    ObservedOperator *operators_;
    uint16_t count_;
    mutable uint16_t found_ = 0;
};

#endif
