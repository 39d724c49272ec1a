"""What a library says becomes part of one line of ours."""

from __future__ import annotations

import pytest

from harness.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no such thing\n\n==> Context: node 3"), "no such thing"),
        (ValueError("\n  it begins below"), "it begins below"),
        (ValueError(), "ValueError"),
        (ValueError(" \n"), "ValueError"),
    ],
)
def test_the_first_line_that_says_something(error: Exception, line: str) -> None:
    assert first_line(error) == line
