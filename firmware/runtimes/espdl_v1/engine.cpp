/*
 * Runtime espdl-v1 on esp-dl v1 (branch idfv4.4) or v2.0, which no component
 * registry has: the project finds a checkout by ESP_DL_PATH. network.hpp is the
 * generated model class; it tells watch() of each layer. The model image holds
 * descriptions alone, as the coefficients are C++ objects.
 */
#include "engine.h"
#include "description.h"
#include "network.hpp"

#include <vector>

#ifndef ENGINE_KERNELS
#error "ENGINE_KERNELS must say whose kernels are linked in, as a string"
#endif

namespace {

/* esp-dl's vector instructions read whole registers. */
constexpr int kAlignment = 16;
constexpr uint32_t kUnknown = UINT32_MAX;

network *model;
network_element *input_elements;
std::vector<const void *> outputs;
engine_observer told;
void *told_context;
uint16_t layers_to_run;

int InputSize() {
    return static_cast<int>(engine_input(0)->bytes / sizeof(network_element));
}

} // namespace

bool watch(uint16_t layer, const void *elements) {
    outputs[layer] = elements;
    if (told != nullptr)
        told(told_context, layer);
    return layer + 1u == layers_to_run;
}

const char *engine_init(void) {
    const char *failure = description_load("espdl-v1", ENGINE_KERNELS);
    if (failure != nullptr)
        return failure;
    input_elements = static_cast<network_element *>(
        dl::tool::malloc_aligned_prefer(InputSize(), sizeof(network_element), kAlignment));
    if (input_elements == nullptr)
        return "no RAM for the input";
    outputs.resize(engine_get_info()->layers);
    model = new network();
    return nullptr;
}

void *engine_input_data(uint16_t index) {
    (void)index; /* there is one */
    return input_elements;
}

const void *engine_output_data(uint16_t index) {
    (void)index;
    return outputs.back();
}

const void *engine_layer_data(uint16_t index) {
    return outputs[index];
}

const char *engine_invoke(uint16_t count, engine_observer observer, void *context) {
    dl::Tensor<network_element> input;

    told = observer;
    told_context = context;
    layers_to_run = count;
    input.set_element(input_elements).set_exponent(network_input_exponent);
    input.set_shape(network_input_shape).set_auto_free(false);
    model->forward(input);
    return nullptr;
}

/* Layers allocate and free as they run: the heap's low mark is the platform's to tell. */
void engine_get_memory(engine_memory *memory) {
    *memory = {kUnknown, kUnknown, network_coefficient_bytes};
}
