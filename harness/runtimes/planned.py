"""What runtimes share whose artifacts become a plan: loading a file, and the portable project.

A runtime adds how its file is read and what its oracle is.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ModelError, UsageError
from harness.portable.graph import Graph
from harness.portable.plan import Operators, Plan, layer_alone
from harness.portable.project import write_project
from harness.portable.source import Identity
from harness.runtimes.base import Artifact, Project, Runtime
from harness.tensors import Layer


@dataclass(frozen=True)
class PlannedArtifact(Artifact):
    """An artifact with what was read from it; `plan` also proves that every operator is supported."""

    graph: Graph
    plan: Plan


class PlannedRuntime(Runtime):
    """A runtime whose portable kernels are made from a plan, `operators` by `operators`."""

    kernels: tuple[str, ...] = ("portable",)
    operators: Operators

    @abstractmethod
    def graph(self, path: Path, variant: str = "") -> Graph:
        """What a file for the chips of `variant` holds, before any of its operators is looked at.

        Raises:
            ModelError, UnsupportedError: no graph can be read from it.
        """

    def generate(self, artifact: Artifact, kernels: str, directory: Path) -> Project:
        self.check_kernels(kernels)
        if kernels != "portable":
            raise UsageError(
                f"kernels {kernels} come with ESP-IDF only", "Give a chip: --platform esp_idf --target CHIP"
            )
        own = self.own(artifact)
        return write_project(own.plan, Identity(self.name, own.name, own.digest), directory)

    def check_kernels(self, kernels: str) -> None:
        """Raises UsageError for kernels that this runtime does not have."""
        if kernels not in self.kernels:
            raise UsageError(
                f"runtime {self.name} has no kernels '{kernels}'", f"Use one of: {', '.join(self.kernels)}"
            )

    def own(self, artifact: Artifact) -> PlannedArtifact:
        """`artifact` as this runtime's; UsageError when another runtime loaded it."""
        if not isinstance(artifact, PlannedArtifact) or artifact.runtime != self.name:
            raise UsageError(f"artifact of runtime '{artifact.runtime}' given to {self.name}")
        return artifact

    def layer_alone(self, artifact: Artifact, index: int) -> PlannedArtifact:
        """Layer `index` as a network of its own, with a digest of its own; `generate` takes it."""
        own = self.own(artifact)
        plan = layer_alone(own.plan, index)
        facts = self.facts(own.path, own.data, plan.graph, plan, own.scheme)
        digest = hashlib.sha256(f"{own.digest} layer {index}".encode()).hexdigest()
        return PlannedArtifact(**{**facts, "name": f"{own.name}-layer-{index}", "digest": digest})

    def facts(self, path: Path, data: bytes, graph: Graph, plan: Plan, scheme: str) -> dict[str, Any]:
        """The fields of `PlannedArtifact`, for the file at `path`, quantised as `scheme`."""
        return {
            "runtime": self.name,
            "name": path.parent.name if path.stem == "model" else path.stem,
            "path": path,
            "data": data,
            "digest": hashlib.sha256(data).hexdigest(),
            "inputs": tuple(graph.tensors[index].info for index in graph.inputs),
            "outputs": tuple(graph.tensors[index].info for index in graph.outputs),
            "layers": tuple(
                Layer(step.index, step.op, step.writes[0].info, step.macs) for step in plan.steps
            ),
            "scheme": scheme,
            "graph": graph,
            "plan": plan,
        }


def read_file(path: Path) -> bytes:
    """The file's bytes; ModelError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", "Check the path") from error
