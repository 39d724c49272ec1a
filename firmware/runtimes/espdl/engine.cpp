/*
 * Runtime espdl on ESP-DL v3 (component espressif/esp-dl). The model, its names
 * and layers come from the model image; this file runs it, one module at a time
 * when somebody watches. ESP-DL reads the mapped image where it lies, whether
 * that is a flash partition or the app.
 */
#include "engine.h"
#include "description.h"

#include "dl_model_base.hpp"

#include <cstdlib>
#include <string>
#include <vector>

#ifndef ENGINE_KERNELS
#error "ENGINE_KERNELS must say whose kernels are linked in, as a string"
#endif
#if !defined ESPDL_INTERNAL_BYTES || !defined ESPDL_COPY_PARAMETERS || !defined ESPDL_DUAL_CORE
#error                                                                                                       \
    "ESPDL_INTERNAL_BYTES, ESPDL_COPY_PARAMETERS and ESPDL_DUAL_CORE must be set, as Kconfig.projbuild explains"
#endif

namespace {

constexpr dl::runtime_mode_t kMode =
    ESPDL_DUAL_CORE ? dl::RUNTIME_MODE_MULTI_CORE : dl::RUNTIME_MODE_SINGLE_CORE;

dl::Model *model;
std::vector<dl::TensorBase *> inputs, outputs, layers;

dl::TensorBase *TensorOf(const engine_tensor *described) {
    dl::TensorBase *tensor = model->get_intermediate(described->name);
    bool fits = tensor != nullptr && tensor->data != nullptr &&
                static_cast<uint32_t>(tensor->get_bytes()) == described->bytes;
    return fits ? tensor : nullptr;
}

/* Finds the tensors the image describes, by name. */
const char *FindTensors() {
    const model_image *image = description_image();
    for (uint16_t i = 0; i < image->inputs; i++)
        inputs.push_back(TensorOf(engine_input(i)));
    for (uint16_t i = 0; i < image->outputs; i++)
        outputs.push_back(TensorOf(engine_output(i)));
    for (uint16_t i = 0; i < image->layers; i++)
        layers.push_back(TensorOf(&engine_get_layer(i)->output));
    for (const auto *tensors : {&inputs, &outputs, &layers})
        for (const dl::TensorBase *tensor : *tensors)
            if (tensor == nullptr)
                return "ESP-DL has no tensor of a name and size the image describes, or no RAM for it";
    return nullptr;
}

/* Layers are told apart by their place: ESP-DL must run them in the file's order. */
const char *CheckOrder() {
    fbs::FbsModel *file = model->get_fbs_model();
    std::vector<std::string> consumed, produced;
    file->load_map();
    std::vector<std::string> nodes = file->topological_sort();
    bool same = nodes.size() == description_image()->layers;
    for (uint16_t i = 0; same && i < nodes.size(); i++) {
        file->get_operation_inputs_and_outputs(nodes[i], consumed, produced);
        same = !produced.empty() && produced[0] == engine_get_layer(i)->output.name;
    }
    file->clear_map();
    return same ? nullptr : "ESP-DL runs the layers in another order than they have in the file";
}

/* The sample that esp-ppq may have put into the file, through ESP-DL's own comparison. */
const char *SelfTest() {
    if (model->get_fbs_model()->get_test_outputs_name().empty())
        return nullptr;
    return model->test() == ESP_OK ? nullptr : "ESP-DL's own test of the sample in the file fails";
}

} // namespace

const char *engine_init(void) {
    const char *failure = description_load("espdl", ENGINE_KERNELS);
    if (failure != nullptr)
        return failure;
    const char *artifact = reinterpret_cast<const char *>(description_image()->artifact);
    model = new dl::Model(artifact, fbs::MODEL_LOCATION_IN_FLASH_RODATA, ESPDL_INTERNAL_BYTES,
                          dl::MEMORY_MANAGER_GREEDY, nullptr, ESPDL_COPY_PARAMETERS);
    if (model->get_fbs_model() == nullptr)
        return "ESP-DL cannot read the .espdl file";
    if ((failure = FindTensors()) != nullptr || (failure = CheckOrder()) != nullptr)
        return failure;
    return SelfTest();
}

void *engine_input_data(uint16_t index) {
    return inputs[index]->data;
}

const void *engine_output_data(uint16_t index) {
    return outputs[index]->data;
}

const void *engine_layer_data(uint16_t index) {
    return layers[index]->data;
}

const char *engine_invoke(uint16_t count, engine_observer observer, void *context) {
    int all = static_cast<int>(layers.size());
    if (count == all && observer == nullptr) {
        model->run(kMode);
        return nullptr;
    }
    for (uint16_t i = 0; i < count; i++) {
        model->run(all, i, kMode); /* the i-th of as many stages as modules */
        if (observer != nullptr)
            observer(context, i);
    }
    return nullptr;
}

void engine_get_memory(engine_memory *memory) {
    *memory = {0, 0, description_image()->artifact_bytes};
    if (model == nullptr || model->get_fbs_model() == nullptr)
        return;
    dl::mem_info_t variables = model->get_memory_info()["variable"];
    memory->arena_bytes = static_cast<uint32_t>(variables.internal + variables.psram);
    memory->arena_used_bytes = memory->arena_bytes;
}
