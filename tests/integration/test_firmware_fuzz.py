"""The core against damaged and hostile byte streams, under address and undefined-behaviour sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.bundled import firmware_dir

SOURCES = Path(__file__).parents[1] / "firmware"
STREAMS = 30_000


def compile_fuzzer(compiler: str, program: Path, *flags: str) -> None:
    firmware = firmware_dir()
    sources = [SOURCES / "fuzz_core.c", SOURCES / "demo_engine.c", *sorted((firmware / "core").glob("*.c"))]
    subprocess.run(
        [
            *(compiler, "-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror"),
            *("-fno-sanitize-recover=all", *flags, '-DFIRMWARE_TARGET="t"', '-DFIRMWARE_DIGEST="d"'),
            *(f"-I{firmware}", f"-I{firmware / 'core'}", *map(str, sources), "-o", str(program)),
        ],
        check=True,
    )


@pytest.mark.parametrize("seed", [1, 2026])
def test_any_stream_leaves_the_core_answering(tmp_path: Path, seed: int) -> None:
    program = tmp_path / "fuzz_core"
    compile_fuzzer("gcc", program, "-fsanitize=address,undefined")
    done = subprocess.run([program, str(STREAMS), str(seed)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.mark.skipif(shutil.which("clang") is None, reason="libFuzzer needs clang: apt-get install clang")
def test_libfuzzer_finds_nothing_in_its_first_runs(tmp_path: Path) -> None:
    program = tmp_path / "fuzz_core"
    compile_fuzzer("clang", program, "-DLIBFUZZER", "-fsanitize=fuzzer,address,undefined")
    done = subprocess.run(
        [program, "-runs=50000", "-seed=1", "-max_len=5000", f"-artifact_prefix={tmp_path}/"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
