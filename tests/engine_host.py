"""Compiles a generated engine for this machine, with sanitizers, and compares it with the oracle."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.runtimes import get_runtime
from harness.runtimes.base import Array, Artifact, Project
from harness.tensors import TensorInfo

MAIN = Path(__file__).parent / "engine_main.c"
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SANITIZERS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CROSS_COMPILERS = {
    "riscv64-unknown-elf-gcc": ("-march=rv32imc", "-mabi=ilp32", "-ffreestanding"),
    "xtensa-lx106-elf-gcc": ("-mlongcalls", "-ffreestanding"),
}


def compile_host(project: Project, flags: Sequence[str] = SANITIZERS) -> Path:
    """The executable, built beside the sources."""
    program = project.directory / "engine"
    includes = [f"-I{directory}" for directory in project.include_dirs]
    command = ["gcc", *WARNINGS, *flags, *includes, *map(str, project.sources), str(MAIN), "-o", str(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return program


def run_engine(
    program: Path, artifact: Artifact, inferences: Sequence[Sequence[Array]]
) -> list[tuple[list[Array], list[Array]]]:
    """For each inference the layers' outputs and the outputs."""
    stdin = b"".join(array.tobytes() for inputs in inferences for array in inputs)
    result = subprocess.run([program], input=stdin, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    infos = [*(layer.output for layer in artifact.layers), *artifact.outputs]
    size = sum(info.size_bytes for info in infos)
    assert len(result.stdout) == size * len(inferences)
    results = []
    for start in range(0, len(result.stdout), size):
        arrays, position = [], start
        for info in infos:
            part = result.stdout[position : position + info.size_bytes]
            arrays.append(np.frombuffer(part, info.dtype).reshape(info.shape))
            position += info.size_bytes
        results.append((arrays[: len(artifact.layers)], arrays[len(artifact.layers) :]))
    return results


def random_input(generator: np.random.Generator, info: TensorInfo) -> NDArray[np.generic]:
    """The whole range of an integer type; for float32 what the first scale can hold, and the extremes."""
    if info.dtype == "float32":
        return generator.uniform(-8, 8, info.shape).astype(np.float32)
    limits = np.iinfo(info.dtype)
    return generator.integers(limits.min, limits.max, info.shape, info.dtype, endpoint=True)


def assert_exact(
    artifact: Artifact,
    directory: Path,
    seed: int = 0,
    count: int = 4,
    inferences: Sequence[Sequence[Array]] | None = None,
) -> None:
    """0 LSB against the oracle on every layer and output, of `count` random inferences if none are given."""
    generator = np.random.default_rng(seed)
    runtime = get_runtime(artifact.runtime)
    program = compile_host(runtime.generate(artifact, "portable", directory))
    oracle = runtime.oracle(artifact)
    inferences = inferences or [
        [random_input(generator, info) for info in artifact.inputs] for _ in range(count)
    ]
    for inputs, (layers, outputs) in zip(inferences, run_engine(program, artifact, inferences), strict=True):
        for layer, got, expected in zip(artifact.layers, layers, oracle.run_layers(inputs), strict=True):
            assert_same(f"layer {layer.index} {layer.op} {layer.output.name}", got, expected)
        for info, got, expected in zip(artifact.outputs, outputs, oracle.run(inputs), strict=True):
            assert_same(f"output {info.name}", got, expected)


def assert_same(what: str, got: Array, expected: Array) -> None:
    """Bit for bit: floats are compared as integers."""
    assert got.dtype == expected.dtype, what
    assert got.shape == expected.shape, what
    if got.tobytes() != expected.tobytes():
        wrong = np.flatnonzero(got.reshape(-1) != expected.reshape(-1))
        first = wrong[0] if len(wrong) else -1
        raise AssertionError(
            f"{what}: {len(wrong)} of {got.size} elements differ; "
            f"element {first}: {got.reshape(-1)[first]}, expected {expected.reshape(-1)[first]}"
        )
