"""The C++ of a network for esp-dl v1's own library, as firmware/runtimes/espdl_v1 takes it.

The classes of `export`, watched layer by layer. Nothing of esp-dl is in it.
"""

from __future__ import annotations

from harness.errors import UnsupportedError
from harness.runtimes.base import Artifact
from harness.runtimes.espdl_v1 import project
from harness.runtimes.espdl_v1.artifact import read_artifact
from harness.runtimes.espdl_v1.coefficients import coefficient_header, coefficient_source, identifier
from harness.targets import Target


def check(artifact: Artifact) -> None:
    """Raises UnsupportedError for layers of hand-written projects that are not written here, as Concat."""
    for index, layer in enumerate(read_artifact(artifact.data).layers):
        if layer.layer.op not in project.HEADERS:
            raise UnsupportedError(
                f"layer {index} ({layer.layer.op}): no C++ of it is generated for esp-dl v1",
                "Use --kernels portable, or build your own project and read it with --dialect espdl-v1",
            )


def sources(artifact: Artifact, target: Target) -> dict[str, str]:
    """Files by name: coefficients, model class, and what engine.cpp wants to know of them."""
    network = read_artifact(artifact.data)
    name = identifier(artifact.name)
    stem = f"{name}_coefficient"
    height, width, channels = network.network.input_shape
    parts = [part for layer in network.layers for part in (layer.filter, layer.bias) if part is not None]
    size_bytes = sum(part.size for part in parts) * network.scheme.bits // 8
    lines = [
        "#pragma once",
        "",
        '#include "model_define.hpp"',
        "",
        f"typedef {project.class_name(name)} network;",
        f"typedef {network.scheme.c_type} network_element;",
        f"static const int network_input_exponent = {network.input_exponent};",
        f"static const std::vector<int> network_input_shape = {{{height}, {width}, {channels}}};",
        f"static const uint32_t network_coefficient_bytes = {size_bytes};",
        "",
    ]
    return {
        f"{stem}.cpp": coefficient_source(network, stem, target.id),
        f"{stem}.hpp": coefficient_header(network, stem),
        "model_define.hpp": project.model_define(network, name, watched=True),
        "network.hpp": "\n".join(lines),
    }
