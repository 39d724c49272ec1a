"""The project around the coefficients that the v1 tutorials ask a person to write: model_define.hpp,
image.hpp, app_main.cpp and two CMakeLists.txt.

For ESP-IDF 4.4 with esp-dl's branch idfv4.4, or ESP-IDF 5.0 with its tag v2.0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.portable.c_text import fill
from harness.runtimes.espdl_v1.coefficients import layer_identifiers
from harness.runtimes.espdl_v1.network import FILTER_OPS
from harness.runtimes.espdl_v1.quantise import QuantisedLayer, QuantisedNetwork

HEADERS = {
    "Conv2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "GlobalMaxPool2D": "global_max_pool2d",
    "MaxPool2D": "max_pool2d",
    "Relu": "relu",
    "Reshape": "reshape",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
}


def class_name(name: str) -> str:
    """The model's class: its name in capitals."""
    return name.upper()


def model_define(network: QuantisedNetwork, name: str, *, watched: bool = False) -> str:
    """The class derived from Model: layers as members, constructor, build, call.

    `watched`: call() tells of each layer's output and may end behind any.
    """
    c_type, last = network.scheme.c_type, len(network.layers)
    types = [_class(network, layer) for layer in network.layers]
    used = sorted({HEADERS[layer.layer.op] for layer in network.layers})
    lines = ["#pragma once", "", "#include <stdint.h>", '#include "dl_layer_model.hpp"']
    lines += [f'#include "dl_layer_{header}.hpp"' for header in used]
    lines += ['#include "watch.hpp"'] if watched else []
    lines += [f'#include "{name}_coefficient.hpp"', "", "using namespace dl;", "using namespace layer;"]
    lines += [f"using namespace {name}_coefficient;", ""]
    lines += [f"class {class_name(name)} : public Model<{c_type}>", "{", "private:"]
    lines += [f"    {kind} l{number};" for number, kind in enumerate(types[:-1], 1)]
    lines += ["", "public:", f"    {types[-1]} l{last};", "", f"    {class_name(name)}() :"]
    names = layer_identifiers(network)
    for number, (layer, identifier) in enumerate(zip(network.layers, names, strict=True), 1):
        made = f"l{number}({types[number - 1]}({_arguments(layer, identifier)}))"
        lines.append(f"        {made}{',' if number < last else ' {}'}")
    inputs = ["input", *(f"this->l{number}.get_output()" for number in range(1, last))]
    lines += ["", f"    void build(Tensor<{c_type}> &input)", "    {"]
    lines += [f"        this->l{number}.build({source});" for number, source in enumerate(inputs, 1)]
    lines += ["    }", "", f"    void call(Tensor<{c_type}> &input)", "    {"]
    for number, source in enumerate(inputs, 1):
        lines += [f"        this->l{number}.call({source});", f"        {source}.free_element();"]
        if watched:
            element = f"this->l{number}.get_output().get_element_ptr()"
            lines += [f"        if (watch({number - 1}, {element}))", "            return;"]
    return "\n".join([*lines, "    }", "};", ""])


def image(real: NDArray[np.float32]) -> str:
    """One real input (height, width, channels), still to be quantised on the device."""
    height, width, channels = real.shape
    values = [f"{value!r}f" for value in real.reshape(-1).tolist()]
    lines = ["#pragma once", "", f"// Real values, {height} x {width} x {channels}, channels last."]
    return "\n".join([*lines, "static const float image_element[] = {", *fill(values), "};", ""])


def app_main(network: QuantisedNetwork, name: str) -> str:
    """Quantises the image, runs the model, prints scores and latency."""
    height, width, channels = network.network.input_shape
    c_type, limits = network.scheme.c_type, np.iinfo(network.integer_dtype)
    exponent = network.input_exponent
    score, form = ("float", "%.7f") if network.float_output else (c_type, "%d")
    return f"""#include <stdio.h>

#include "dl_tool.hpp"
#include "image.hpp"
#include "model_define.hpp"

extern "C" void app_main(void)
{{
    const int size = {height} * {width} * {channels};
    const int input_exponent = {exponent};
    {c_type} *model_input = ({c_type} *)dl::tool::malloc_aligned_prefer(size, sizeof({c_type}), 16);
    for (int i = 0; i < size; i++)
    {{
        // real * 2^{-exponent}, clipped, then cut off towards zero
        float scaled = image_element[i] * {2.0**-exponent!r}f;
        model_input[i] = ({c_type})(DL_CLIP(scaled, {limits.min}.0f, {limits.max}.0f));
    }}

    Tensor<{c_type}> input;
    input.set_element(model_input).set_exponent(input_exponent);
    input.set_shape({{{height}, {width}, {channels}}}).set_auto_free(false);

    {class_name(name)} model;
    dl::tool::Latency latency;
    latency.start();
    model.forward(input);
    latency.end();
    latency.print("{class_name(name)}", "forward");

    {score} *score = model.l{len(network.layers)}.get_output().get_element_ptr();
    for (int i = 0; i < model.l{len(network.layers)}.get_output().get_size(); i++)
    {{
        printf("score[%d] : {form}\\n", i, score[i]);
    }}
}}
"""


def project_cmake(name: str) -> str:
    """The top CMakeLists.txt; esp-dl is found by the environment variable ESP_DL_PATH."""
    return f"""cmake_minimum_required(VERSION 3.5)

if(NOT DEFINED ENV{{ESP_DL_PATH}})
    message(FATAL_ERROR "Set ESP_DL_PATH to a checkout of esp-dl named esp-dl: branch idfv4.4 or tag v2.0")
endif()
set(EXTRA_COMPONENT_DIRS $ENV{{ESP_DL_PATH}})

include($ENV{{IDF_PATH}}/tools/cmake/project.cmake)

project({name})
"""


def main_cmake(name: str) -> str:
    """main/CMakeLists.txt."""
    return f"""idf_component_register(SRCS app_main.cpp ../model/{name}_coefficient.cpp
                       INCLUDE_DIRS . ../model
                       REQUIRES esp-dl)
"""


def _class(network: QuantisedNetwork, layer: QuantisedLayer) -> str:
    c_type = network.scheme.c_type
    if layer.layer.op in FILTER_OPS and network.scheme.per_channel:
        return f"{layer.layer.op}<{c_type}, int16_t>"
    return f"{layer.layer.op}<{c_type}>"


def _arguments(layer: QuantisedLayer, name: str) -> str:
    """A layer's constructor arguments, in the order of esp-dl's include/layer headers."""
    shape, quoted = layer.layer, f'"{name}"'
    strides = f"{shape.strides[0]}, {shape.strides[1]}"
    if shape.op in FILTER_OPS:
        bias = "NULL" if layer.bias is None else f"get_{name}_bias()"
        activation = "NULL" if shape.activation is None else f"get_{name}_activation()"
        pads = ", ".join(str(pad) for pad in shape.pads)
        padding = f"PADDING_NOT_SET, {{{pads}}}" if any(shape.pads) else "PADDING_VALID, {}"
        return (
            f"{layer.output_exponent}, get_{name}_filter(), {bias}, {activation}, {padding}, "
            f"{strides}, {quoted}"
        )
    if shape.op == "Reshape":
        return "{" + ", ".join(str(size) for size in shape.output_shape) + "}, " + quoted
    if shape.op == "MaxPool2D":
        return f"{{{shape.kernel[0]}, {shape.kernel[1]}}}, PADDING_VALID, {{}}, {strides}, {quoted}"
    if shape.op in ("GlobalMaxPool2D", "Relu"):
        return quoted
    return f"{layer.output_exponent}, {quoted}"
