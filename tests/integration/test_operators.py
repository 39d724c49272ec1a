"""Every operator against the oracle: the generated C, built with sanitizers, must return its integers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.runtimes.tflm import Tflm
from tests.engine_host import assert_exact
from tests.operator_cases import CASES, bundle

CONFIGURATIONS = 12


@pytest.mark.parametrize("operator", CASES)
def test_operator_is_exact(operator: str, tmp_path: Path) -> None:
    path = tmp_path / f"{operator}.tflite"
    path.write_bytes(bundle(operator, seed=1, count=CONFIGURATIONS))
    assert_exact(Tflm().load(path), tmp_path / "project", seed=2)
