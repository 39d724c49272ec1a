"""Routes a bare `pytest --target CHIP` in this checkout to tests/hil, and a bare `pytest` to the rest."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    if config.args_source is pytest.Config.ArgsSource.ARGS or config.invocation_params.dir != HERE:
        return
    # The long ones first: at the end, two workers have short ones to share.
    folders = ["hil"] if config.getoption("target") else ["integration", "unit"]
    config.args = [str(HERE / "tests" / folder) for folder in folders]
