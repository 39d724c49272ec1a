"""One layer that went wrong, in one file: the model, the layer's inputs, what came and what should have.

`replay` builds the firmware of just that layer and runs it natively and on the target. It needs neither
the model's own files nor the device that went wrong.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.boards import choose_board
from harness.errors import DataError, OutputError, UnsupportedError
from harness.link.client import Link
from harness.measure.gaps import Difference, difference
from harness.runtimes import get_runtime
from harness.runtimes.base import Array
from harness.runtimes.planned import PlannedRuntime
from harness.targets import get_target
from harness.toolchains.bare_metal import build

FORMAT = 1
HANDSHAKE_S = 10.0


@dataclass(frozen=True)
class Reproducer:
    """`model` are the artifact's bytes; `inputs` the activations that layer `layer` reads, in its order."""

    model: bytes
    name: str
    runtime: str
    target: str
    layer: int
    sample: int
    inputs: tuple[Array, ...]
    oracle: Array
    device: Array

    def save(self, path: Path) -> None:
        """Writes the .npz, whole or not at all. Raises OutputError."""
        about = {
            "format": FORMAT,
            **{key: getattr(self, key) for key in ("name", "runtime", "target", "layer", "sample")},
        }
        arrays: dict[str, Any] = {f"input_{index}": values for index, values in enumerate(self.inputs)}
        temporary = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.savez_compressed(
                    file,
                    about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                    model=np.frombuffer(self.model, np.uint8),
                    oracle=self.oracle,
                    device=self.device,
                    **arrays,
                )
            os.replace(temporary, path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}", "Choose another directory") from None
        finally:
            temporary.unlink(missing_ok=True)


def load_reproducer(path: Path) -> Reproducer:
    """Reads what `save` wrote.

    Raises:
        DataError: no such file, not a reproducer, or one of another version.
    """
    remedy = "Make one: harness diff-layers MODEL --target CHIP"
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop("about").tobytes())
        if about.pop("format") != FORMAT:
            raise DataError(f"{path}: a reproducer of another version", remedy)
        model, oracle, device = (arrays.pop(name) for name in ("model", "oracle", "device"))
        inputs = tuple(arrays[f"input_{index}"] for index in range(len(arrays)))
        return Reproducer(model=model.tobytes(), inputs=inputs, oracle=oracle, device=device, **about)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or 'not an .npz file'}", remedy) from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        raise DataError(f"{path}: expected a reproducer, an .npz file of one wrong layer", remedy) from None


@dataclass(frozen=True)
class Replayed:
    """What one machine made of the layer: against the oracle, and whether it is what the device gave."""

    board: str
    fidelity: str
    gap: Difference
    as_device: bool


def replay(case: Reproducer, build_root: Path, target_id: str | None = None) -> Iterator[Replayed]:
    """The layer alone, built here: natively, then on the target's emulator (`target_id`: another chip's).

    Raises:
        BuildError, MissingError: it cannot be built or run here.
        UnsupportedError, ModelError: the model does not load, or has no such layer.
        LinkError, SilentError, DeviceError: the layer's firmware failed.
    """
    target, runtime = get_target(target_id or case.target), get_runtime(case.runtime)
    assert isinstance(runtime, PlannedRuntime), "every runtime has a plan"
    with tempfile.TemporaryDirectory(prefix="harness-replay-") as work:
        file = Path(work) / f"{case.name}.{runtime.artifact_kind}"
        file.write_bytes(case.model)
        artifact = runtime.load(file, runtime.variant(target))
        if not 0 <= case.layer < len(artifact.layers):
            raise UnsupportedError(f"the model has {len(artifact.layers)} layers, none of index {case.layer}")
        alone = runtime.layer_alone(artifact, case.layer)
        wanted = [(tensor.shape, tensor.dtype) for tensor in alone.inputs]
        found = [(values.shape, values.dtype.name) for values in case.inputs]
        if wanted != found:
            raise DataError(f"layer {case.layer} reads {wanted}, the reproducer holds {found}")
        project = runtime.generate(alone, "portable", Path(work) / "project")
        payload = b"".join(np.ascontiguousarray(values).tobytes() for values in case.inputs)
        for kind, platform in (("host", "host"), ("qemu", target.isa_platform)):
            if platform is None:
                continue
            image = build(project, target, platform, build_root=build_root / "images")
            board, _ = choose_board(target, image, kind=kind)
            with board as port:
                link = Link(port, timeout_s=60.0, board_state=board.state)
                link.connect(HANDSHAKE_S)
                link.expect_identity(artifact=alone.digest, firmware=image.digest, target=target.id)
                raw = link.infer(payload).output[: case.oracle.nbytes]
            output = np.frombuffer(raw, case.oracle.dtype).reshape(case.oracle.shape)
            yield Replayed(
                board.info.name,
                board.info.fidelity,
                difference(output, case.oracle),
                output.tobytes() == case.device.tobytes(),
            )
