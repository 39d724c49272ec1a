"""The main job on a chip: ESP-IDF builds, esptool flashes what changed, the first frame comes, 0 LSB.

Stand-ins play idf.py and the board (tests/stand_in): decisions, order and messages are proved, and neither
a real build nor silicon.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench_runs import run_pytest
from tests.stand_in.attached_board import AttachedBoard
from tests.stand_in.idf_builds import active_idf, idf_builds, idf_calls

CHIP = "esp32s3"
MODELS = ("mnist_mlp", "himax_cnn")


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory):
    items = [*((name, "tflm") for name in MODELS), ("mnist_mlp", "espdl")]
    return idf_builds(tmp_path_factory.mktemp("boots"), CHIP, items)


def test_build_flash_run_then_nothing_then_another_model(boot, tmp_path: Path) -> None:
    with AttachedBoard(CHIP, boot) as board:
        environment = {
            **board.environment,
            **active_idf(tmp_path),
            "HARNESS_BUILD_ROOT": str(tmp_path / "build"),
        }

        def bench(models: str, *options: str) -> dict[str, dict]:
            run = run_pytest(
                tmp_path / "r", "--target", CHIP, "--model", models, "--samples", "10", "--reference", "none",
                f"--port={board.path}", "--kernels", "vendor", *options, environment=environment,
            )  # fmt: skip
            assert run.code == 0, run.output
            items = run.items()
            assert {item["runtime_gap"]["max_lsb"] for item in items.values()} == {0}
            assert {item["kernels"] for item in items.values()} == {"vendor"}
            return items

        both = bench("mnist_mlp,himax_cnn", "--runtime", "tflm")
        first, second = (both[f"{CHIP}-{name}"]["notes"] for name in MODELS)
        everything = "bootloader, partition-table, app, model; what it held before did not answer"
        assert f"flashed onto {board.path}: {everything}" in first
        assert f"flashed onto {board.path}: model; the same firmware ran there, with another model" in second
        assert both[f"{CHIP}-mnist_mlp"]["provenance"]["platform"] == "esp_idf"
        assert both[f"{CHIP}-mnist_mlp"]["size_table"] == "Total image size: 4711 bytes"
        assert "no board has confirmed the vendor kernels of tflm on esp32s3 yet: docs/boards.md" in first
        html = (tmp_path / "r/report.html").read_text(encoding="utf-8")
        assert "Total image size: 4711 bytes" in html
        assert "no board has confirmed" in html
        assert [call["arguments"][-1] for call in idf_calls(tmp_path)] == ["build", "size"]

        written = board.flash.written_bytes
        again = bench("himax_cnn", "--runtime", "tflm")[f"{CHIP}-himax_cnn"]["notes"]
        assert f"nothing flashed: {board.path} already runs this firmware and model" in again
        assert board.flash.written_bytes == written
        assert len(idf_calls(tmp_path)) == 2, "an unchanged firmware is not built again"


def test_a_compile_error_reaches_the_reports(tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_text("[1/9] Building\nmain.c:3:5: error: unknown type name 'foo'\nninja: build stopped\n")
    environment = {
        **active_idf(tmp_path),
        "HARNESS_BUILD_ROOT": str(tmp_path / "build"),
        "IDF_STAND_IN_FAILS": str(said),
    }
    master, slave = os.openpty()
    run = run_pytest(
        tmp_path / "r", "--target", CHIP, "--model", "mnist_mlp", "--runtime", "tflm", "--kernels", "vendor",
        "--reference", "none", f"--port={os.ttyname(slave)}", environment=environment,
    )  # fmt: skip
    os.close(master)
    os.close(slave)
    assert run.code == 1
    error = "esp32s3/esp_idf does not build: main.c:3:5: error: unknown type name 'foo'. The whole log: "
    (item,) = run.items().values()
    assert item["error"].startswith(error)
    assert error in run.output
    assert "unknown type name" in (run.reports / "report.html").read_text(encoding="utf-8")
