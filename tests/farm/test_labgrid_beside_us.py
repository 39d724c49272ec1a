"""labgrid in reach of our own Python, in either order: refused aloud, or every item would be skipped.

Its environment's packages are put before ours, and after ours, on the path of a pytest that runs the bench.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.farm.labgrid import find_client
from tests.bench_runs import CHECKOUT, Run, run_pytest

WORDS = ("--target", "esp32c3", "--model", "mnist_mlp", "--runtime", "tflm", "--samples", "3")
AFTER = "import sys; sys.path.append({path!r})\n"


def packages() -> str:
    """Where the client's environment keeps labgrid and its fork of pyserial."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = Path(find_client()).parents[1] / "lib" / version / "site-packages"
    assert (found / "labgrid").is_dir()
    return str(found)


def run(directory: Path, order: str, *more: str) -> Run:
    (directory / "test_one.py").write_text("def test_one(result):\n    assert result.failures == ()\n")
    path = [str(CHECKOUT)]
    if order == "before ours":
        path = [packages(), *path]
    else:
        late = directory / "late"
        late.mkdir()
        (late / "sitecustomize.py").write_text(AFTER.format(path=packages()))
        path = [str(late), *path]
    environment = {"PYTHONPATH": ":".join(path)}
    return run_pytest(directory / "r", *more, *WORDS, cwd=directory, environment=environment)


@pytest.mark.parametrize("order", ["before ours", "after ours"])
def test_its_plugin_is_refused_with_the_remedy(order: str, tmp_path: Path) -> None:
    ran = run(tmp_path, order)
    assert ran.code == pytest.ExitCode.USAGE_ERROR, ran.output
    assert "Run pytest with -p no:labgrid" in ran.output
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("order", ["before ours", "after ours"])
def test_without_its_plugin_items_run(order: str, tmp_path: Path) -> None:
    ran = run(tmp_path, order, "-p", "no:labgrid")
    assert ran.code == 0, ran.output
    assert "1 passed" in ran.output
