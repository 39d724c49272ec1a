"""The two files of the Himax folder that are not C++: the Makefile fragment and README.md."""

from __future__ import annotations

from collections.abc import Sequence

# The SDK's examples list these per application; without them its ARC kernels do not link.
_ARC_SOURCES = ("scratch_buffers.cc", "scratch_buf_mgr.cc", "mli_slicers.cc")


def makefile(app: str, sources: Sequence[str]) -> str:
    """`<app>.mk`, for the end of the SDK's Makefile, whose variables and rules it uses."""
    variable = app.upper()
    paths = [f"tensorflow/lite/micro/kernels/arc_mli/{name}" for name in _ARC_SOURCES]
    paths += [f"examples/{app}/{name}" for name in sources]
    listed = " \\\n".join(paths)
    return f"""# Put this line at the end of the SDK's Makefile: include examples/{app}/{app}.mk

{variable}_SRCS := \\
{listed}

{variable}_OBJS := \\
$(patsubst %.cc,%.o,$(patsubst %.c,%.o,$({variable}_SRCS)))

.PHONY: {app} clean_{app}

{app}: MAP_NAME = {app}
{app}: {app}.elf

{app}.elf: $(OBJS) $({variable}_OBJS)
\t$(CXX) $(CXXFLAGS) -o $@ $(OBJS) $({variable}_OBJS) $(LDFLAGS)

clean_{app}:
\t$(RM) $({variable}_OBJS) {app}.elf
"""


def readme(app: str, name: str, memory: Sequence[str], changes: Sequence[str]) -> str:
    """README.md of the folder: what to do with it, and what nobody has seen yet."""
    parts = "\n".join(memory)
    changed = "\n".join(f"* {change}" for change in changes) or "* nothing: the file is as it was brought"
    return f"""# {app}: {name} on the Himax WE-I Plus

**Generated, not built: the SDK and its ARC compiler could not be had where this was made.**

```console
git clone https://github.com/HimaxWiseEyePlus/himax_tflm && cd himax_tflm
cp -r .../examples/{app} examples/
echo 'include examples/{app}/{app}.mk' >> Makefile
make download    # the SDK, from Himax
make {app}    # ARC_TOOLCHAIN=gnu (default) or mwdt
make flash example={app}    # makes {app}.img; send it by XMODEM over the UART, 115200 baud
harness run MODEL --target himax_we1 --dialect himax --port /dev/ttyUSB0
```

Images come from the UART in place of the camera. The firmware asks with `image:N bytes, model:SHA-256`,
again every second; the host sends `IMG:`, the length, N int8 values and their CRC-32 (zlib's), both
numbers little-endian in four bytes. A damaged image is not run: `refused:` and the reason, and it asks
again. Scores come as from the SDK's handwriting example, so `harness parse` reads them.

## Memory

```text
{parts}
```

The arena is an estimate from above: activations placed as TFLM's planner does, and bounds on its own
records that held for this SDK's TFLM compiled for a 32-bit PC. What the ARC kernels add is assumed
(400 bytes per operator). Should `AllocateTensors()` fail, enlarge `kTensorArenaSize` in model_settings.h.

## The model, beside what was brought

{changed}

## What was seen, and what not

* A folder like this one, made of another model, is compiled and run on a PC by the tests of the tool that
  wrote it, with stand-ins for the TFLM classes and, for `himax_we1_evb/board.cc`, for `hx_drv_tflm.h`.
  Not this folder.
* Not seen: a build with either ARC compiler, the linker scripts, anything on a board. The SDK
  computes convolutions, dense layers, pooling and additions with its prebuilt embARC MLI: whether that
  returns TFLM's integers to the last bit is not known, and is what `harness run` will tell.
"""
