"""What the link benchmarks run: a network of the zoo as firmware, random inputs, and the oracle's answers."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.items import load_artifact
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from harness.toolchains.base import Image

DIFFERENT_INPUTS = 256


@dataclass(frozen=True)
class Load:
    """An image, and one expected output for each of the inputs."""

    image: Image
    inputs: list[bytes]
    expected: list[bytes]

    def wrong(self, outputs: Iterable[bytes]) -> int:
        """How many answers are not the oracle's, or missing."""
        return len(self.expected) - sum(map(bytes.__eq__, outputs, self.expected))


def load_of(model: str, platform: str, samples: int, directory: Path) -> Load:
    """Builds the firmware in `directory`; the inputs are the same every time."""
    target = get_target("esp32s3" if platform == "qemu_xtensa" else "esp32c3")
    runtime = get_runtime("tflm")
    artifact = load_artifact(load_model(model), "tflm", target)
    rng, oracle = random.Random(0), runtime.oracle(artifact)
    tensor = artifact.inputs[0]
    pool = [rng.randbytes(tensor.size_bytes) for _ in range(min(samples, DIFFERENT_INPUTS))]
    answers = [oracle.run([np.frombuffer(x, tensor.dtype).reshape(tensor.shape)])[0].tobytes() for x in pool]
    chosen = [rng.randrange(len(pool)) for _ in range(samples)]
    project = runtime.generate(artifact, "portable", directory / "project")
    image = build(project, target, platform, build_root=directory)
    return Load(image, [pool[at] for at in chosen], [answers[at] for at in chosen])
