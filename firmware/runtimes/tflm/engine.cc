/*
 * Runtime tflm on TensorFlow Lite for Microcontrollers (component
 * espressif/esp-tflite-micro; kernels of espressif/esp-nn where it has them).
 * The model, its names and layers come from the model image; this file runs it.
 * Which operators are linked in is up to the generated operators.inc.
 */
#include "engine.h"
#include "description.h"
#include "model_store.h"
#include "observing_resolver.h"

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

#include <cstdlib>
#include <new>

#ifndef ENGINE_KERNELS
#error "ENGINE_KERNELS must say whose kernels are linked in, as a string"
#endif

namespace {

#define OPERATOR(name) +1
constexpr unsigned kOperators = 0
#include "operators.inc"
    ;
#undef OPERATOR

using Kernels = tflite::MicroMutableOpResolver<kOperators>;

struct Engine {
    const tflite::Model *model;
    ObservingResolver *resolver;
    tflite::MicroInterpreter *interpreter;
    uint8_t *arena;
    size_t arena_bytes;
};

Engine engine;

bool AddOperators(Kernels &kernels) {
#define OPERATOR(name) &&kernels.Add##name() == kTfLiteOk
    return true
#include "operators.inc"
        ;
#undef OPERATOR
}

const tflite::SubGraph *Graph() {
    return engine.model->subgraphs()->Get(0);
}

/* The interpreter with its arena in one kind of RAM. False when that does not hold the network. */
bool StartIn(model_ram kind, const Kernels &kernels) {
    uint16_t layers = description_image()->layers;
    engine.arena = model_ram_take(kind, &engine.arena_bytes);
    auto *operators = static_cast<ObservedOperator *>(malloc(layers * sizeof(ObservedOperator)));
    if (engine.arena != nullptr && operators != nullptr) {
        engine.resolver = new (std::nothrow) ObservingResolver(kernels, operators, layers);
        if (engine.resolver != nullptr)
            engine.interpreter = new (std::nothrow)
                tflite::MicroInterpreter(engine.model, *engine.resolver, engine.arena, engine.arena_bytes);
        if (engine.interpreter != nullptr && engine.interpreter->AllocateTensors() == kTfLiteOk)
            return true;
    }
    delete engine.interpreter;
    delete engine.resolver;
    free(operators);
    model_ram_give_back(engine.arena);
    engine.interpreter = nullptr;
    engine.resolver = nullptr;
    return false;
}

/* The bench compares by the image's description: the file must be the one described. */
bool FitsDescription() {
    const model_image *image = description_image();
    if (Graph()->inputs()->size() != image->inputs || Graph()->outputs()->size() != image->outputs ||
        Graph()->operators()->size() != image->layers)
        return false;
    for (uint16_t i = 0; i < image->inputs; i++)
        if (engine.interpreter->input(i)->bytes != engine_input(i)->bytes)
            return false;
    for (uint16_t i = 0; i < image->outputs; i++)
        if (engine.interpreter->output(i)->bytes != engine_output(i)->bytes)
            return false;
    return true;
}

} // namespace

const char *engine_init(void) {
    const char *failure = description_load("tflm", ENGINE_KERNELS);
    if (failure != nullptr)
        return failure;
    engine.model = tflite::GetModel(description_image()->artifact);
    if (engine.model->version() != TFLITE_SCHEMA_VERSION)
        return "the .tflite file is of another schema version";
    tflite::InitializeTarget();
    auto *kernels = new (std::nothrow) Kernels;
    if (kernels == nullptr || !AddOperators(*kernels))
        return "no RAM for the table of operators";
    if (!StartIn(MODEL_RAM_INTERNAL, *kernels) && !StartIn(MODEL_RAM_EXTERNAL, *kernels))
        return "TFLM cannot start the network: the lines above say why (too little RAM for its arena, or an "
               "operator that is not linked in)";
    return FitsDescription() ? nullptr : "the .tflite file is not the one its image describes";
}

void *engine_input_data(uint16_t index) {
    return engine.interpreter->input(index)->data.raw;
}

const void *engine_output_data(uint16_t index) {
    return engine.interpreter->output(index)->data.raw;
}

const void *engine_layer_data(uint16_t index) {
    return engine.resolver->Output(index);
}

const char *engine_invoke(uint16_t layers, engine_observer observer, void *context) {
    engine.resolver->Begin(layers, observer, context);
    TfLiteStatus status = engine.interpreter->Invoke();
    bool ended =
        status == kTfLiteOk || (status == tflite::kTfLiteAbort && engine.resolver->LayersRun() == layers);
    return ended ? nullptr : "TFLM: an operator failed";
}

void engine_get_memory(engine_memory *memory) {
    memory->arena_bytes = static_cast<uint32_t>(engine.arena_bytes);
    memory->arena_used_bytes =
        engine.interpreter == nullptr ? 0 : static_cast<uint32_t>(engine.interpreter->arena_used_bytes());
    memory->model_bytes = description_image()->artifact_bytes;
}
