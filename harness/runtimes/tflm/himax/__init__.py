"""Himax WE-I Plus: a .tflite model as an example of the himax_tflm SDK, to be built by its Makefile.

Generated, not built: the SDK and its ARC compilers cannot be had here. `preflight` says whether a
network will run there, `adapt` brings it into forms that SDK computes right, `project` writes.
"""

from harness.runtimes.tflm.himax.project import Generated, generate

__all__ = ["Generated", "generate"]
