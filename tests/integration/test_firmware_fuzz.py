"""The core against damaged and hostile byte streams, under address and undefined-behaviour sanitizers.

`HARNESS_FUZZ_SECONDS` is how long libFuzzer looks for new ones; CI gives it a minute. What it found
interesting before is in tests/firmware/corpus, one conversation a file (fuzz_core.c).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.bundled import firmware_dir

SOURCES = Path(__file__).parents[1] / "firmware"
CORPUS = SOURCES / "corpus"
STREAMS = 30_000
SECONDS = os.environ.get("HARNESS_FUZZ_SECONDS", "5")


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
    corpus = sorted(CORPUS.iterdir())
    assert len(corpus) > 100
    done = subprocess.run(
        [program, str(STREAMS), str(seed), *corpus], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.mark.skipif(
    shutil.which("clang") is None, reason="libFuzzer needs clang: apt-get install clang libclang-rt-dev"
)
def test_libfuzzer_finds_nothing_in_its_time(tmp_path: Path) -> None:
    program, found = tmp_path / "fuzz_core", tmp_path / "found"
    found.mkdir()
    compile_fuzzer("clang", program, "-DLIBFUZZER", "-fsanitize=fuzzer,address,undefined")
    done = subprocess.run(
        [
            *(program, f"-max_total_time={SECONDS}", "-seed=1", "-max_len=1024", "-timeout=60"),
            *(f"-artifact_prefix={tmp_path}/", found, CORPUS),
        ],
        capture_output=True,
        text=True,
        timeout=60 + float(SECONDS),
    )
    assert done.returncode == 0, done.stderr[-2000:]
