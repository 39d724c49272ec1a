"""A fault of one LSB in the generated C, in the layer that the input's first byte names."""

from __future__ import annotations

from harness.runtimes.base import Project

_INVOKE = """        run_layer(index);
"""
_FAULTY = """        run_layer(index);
        if (index == faulty) {
            /* In the middle of the tensor; of a float, its last bit. */
            arena.bytes[layer_offset[index] + (layers[index].output.bytes / 2 & ~3u)] ^= 1;
        }
"""
_LOOP = """    for (uint16_t index = 0; index < count; index++) {
        run_layer"""


def plant(project: Project) -> None:
    """After this, an input whose first byte is N makes layer N wrong in one element, by one LSB."""
    source = project.directory / "model.c"
    text = source.read_text(encoding="utf-8")
    selector = "    const uint16_t faulty = (uint8_t)arena.bytes[input_offset[0]];\n"
    assert text.count(_INVOKE) == text.count(_LOOP) == 1
    text = text.replace(_LOOP, selector + _LOOP).replace(_INVOKE, _FAULTY)
    source.write_text(text, encoding="utf-8")
