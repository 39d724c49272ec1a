"""Routes a bare `pytest --target CHIP` in this checkout to tests/hil, and a bare `pytest` to the rest."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    if config.getoption("target"):
        config.args = [str(HERE / "tests" / "hil")]
    else:
        config.args = [str(HERE / "tests" / "unit"), str(HERE / "tests" / "integration")]
