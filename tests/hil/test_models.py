"""What `pytest --target CHIP` runs: one item per target, model and runtime."""

from harness.result import Result


def test_model(result: Result) -> None:
    """The device answers what the oracle answers, integer for integer, outputs and layers."""
    assert result.failures == ()
