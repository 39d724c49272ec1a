"""What a build compiles again, counted at the compiler: as little as there is to compile."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from harness.runtimes import get_runtime
from harness.runtimes.planned import PlannedArtifact
from harness.targets import get_target
from harness.toolchains.bare_metal import build
from harness.toolchains.base import Image
from harness.toolchains.source_tree import SourceTree
from tests.firmware_demo import DEMO
from tests.logging_compiler import CompilerLog, log_compiler

MODEL = Path(__file__).parents[2] / "models" / "himax_cnn" / "model.tflite"
COMPILER = "riscv64-unknown-elf-gcc"


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompilerLog:
    log = log_compiler(COMPILER, tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{log.folder}{os.pathsep}{os.environ['PATH']}")
    return log


def build_demo(target: str, build_root: Path) -> Image:
    return build(DEMO, get_target(target), "qemu_riscv32", build_root=build_root)


def build_model(path: Path, directory: Path) -> tuple[PlannedArtifact, Image]:
    runtime, target = get_runtime("tflm"), get_target("esp32c3")
    artifact = runtime.load(path)
    project = runtime.generate(artifact, "portable", directory / "project")
    return artifact, build(project, target, "qemu_riscv32", build_root=directory / "build")


def with_another_weight(artifact: PlannedArtifact, path: Path) -> Path:
    """The model with one weight one higher, or lower where it is odd."""
    constants = [tensor.data for tensor in artifact.graph.tensors if tensor.data is not None]
    weights = max((data for data in constants if data.dtype == np.int8), key=len)
    content = bytearray(artifact.data)
    content[content.index(weights.tobytes())] ^= 1
    path.write_bytes(content)
    return path


def test_another_weight_compiles_one_file(compiler: CompilerLog, tmp_path: Path) -> None:
    artifact, first = build_model(MODEL, tmp_path)
    assert {"model.c", "model_weights.c", "session.c"} <= set(compiler.compiled())
    assert compiler.links() == 1

    compiler.clear()
    changed, second = build_model(with_another_weight(artifact, tmp_path / "himax_cnn.tflite"), tmp_path)
    assert (compiler.compiled(), compiler.links()) == (["model_weights.c"], 1)
    for loaded, image in ((artifact, first), (changed, second)):
        elf = image.elf.read_bytes()
        assert image.digest.encode() in elf
        assert loaded.digest.encode() in elf
    assert first.digest != second.digest

    compiler.clear()
    assert build_model(changed.path, tmp_path)[1].cached
    assert (compiler.compiled(), compiler.links()) == ([], 0)


def test_another_chip_of_the_same_instruction_set_compiles_its_name(
    compiler: CompilerLog, tmp_path: Path
) -> None:
    build_demo("esp32c3", tmp_path / "build")
    compiler.clear()
    build_demo("esp32c6", tmp_path / "build")
    assert (compiler.compiled(), compiler.links()) == (["identity.c"], 1)


def test_two_processes_compile_each_file_once(compiler: CompilerLog, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(build_demo, [("esp32c3", tmp_path / "build"), ("esp32c6", tmp_path / "build")])
    compiled = compiler.compiled()
    assert compiled.count("identity.c") == 2
    assert len(compiled) == len(set(compiled)) + 1
    assert compiler.links() == 2


def test_an_object_covers_the_headers_it_can_include(tmp_path: Path) -> None:
    include, project = tmp_path / "include", tmp_path / "project"
    include.mkdir()
    project.mkdir()
    source = project / "a.c"
    source.write_text('#if 0\n#  include <outer.h>\n#endif\n#include "missing.h"\n')
    (include / "outer.h").write_text('#include "inner.h"\n')
    (include / "inner.h").write_text("")
    (include / "other.h").write_text("")

    def digest() -> str:
        tree = SourceTree([(project, "project"), (include, "include")], [source], [include])
        return tree.object_digest(source, ("-O2",))

    digests = [digest()]
    (include / "other.h").write_text("/* nobody's */")
    assert digest() == digests[0]
    (include / "inner.h").write_text("#define INNER 1\n")
    digests.append(digest())
    (project / "missing.h").write_text("")
    digests.append(digest())
    source.write_text(source.read_text() + "#include CHOSEN\n")
    digests.append(digest())
    (include / "other.h").write_text("/* perhaps the chosen one */")
    digests.append(digest())
    assert len(set(digests)) == len(digests)
