"""The verdict of `harness fit` is that of the sizes which building and running shows, and its memory too."""

from __future__ import annotations

import pytest

from benchmarks.fit_verdicts import Row, rows

# Of int16, the second one's weights leave no room for an ESP-IDF application in 1 MB.
NETWORKS = {"himax_cnn": True, "test21_mnist_300k": False}
RUNTIME = "espdl-v1"
TARGETS = ["esp32c3", "esp32s3"]


@pytest.fixture(scope="module")
def found() -> dict[str, Row]:
    return {row.label: row for row in rows(list(NETWORKS), ",".join(TARGETS), RUNTIME, build=False)}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", NETWORKS)
def test_verdict_and_memory_are_those_of_the_run(network: str, target: str, found: dict[str, Row]) -> None:
    row = found[f"{target} {network} {RUNTIME}"]
    assert row.passed
    assert row.guess.fits == row.real.fits == NETWORKS[network]
    assert not row.guess.size.built
    assert row.guess.size.arena_bytes == row.arena_used_bytes
    assert row.off("ram_bytes") == pytest.approx(0, abs=2)
    assert row.off("flash_bytes") == pytest.approx(0, abs=2)
