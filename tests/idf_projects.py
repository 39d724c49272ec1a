"""ESP-IDF projects of zoo models, for tests that look at what is generated."""

from __future__ import annotations

from pathlib import Path

from harness.items import Workshop, load_artifact
from harness.model.spec import load_model
from harness.runtimes.base import Artifact
from harness.targets import get_target
from harness.toolchains.esp_idf.partitions import Layout
from harness.toolchains.esp_idf.project import IdfProject, write_project


def idf_project(
    directory: Path,
    model: str = "mnist_mlp",
    runtime: str = "tflm",
    kernels: str = "vendor",
    chip: str = "esp32c3",
    layout: Layout | None = None,
) -> tuple[Artifact, IdfProject]:
    """The artifact and its project, written into `directory`."""
    target = get_target(chip)
    artifact = load_artifact(load_model(model), runtime, target, Workshop(directory.parent / "artifacts"))
    return artifact, write_project(artifact, target, kernels, directory, layout or Layout())
