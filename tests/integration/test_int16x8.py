"""int16 activations with int8 weights: every operator tflite-micro has for them, 0 LSB, with sanitizers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.runtimes.tflm import Tflm
from tests.engine_host import assert_exact
from tests.int16x8_cases import CASES, bundle


@pytest.mark.parametrize("operator", CASES)
def test_operator_is_exact(operator: str, tmp_path: Path) -> None:
    path = tmp_path / f"{operator}.tflite"
    path.write_bytes(bundle([operator], seed=1, count=12))
    assert_exact(Tflm().load(path), tmp_path / "project", seed=2)
