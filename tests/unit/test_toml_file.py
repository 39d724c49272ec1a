"""Configuration files: values as tomllib reads them, and the line of each complaint."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.toml_file import Table, load

TEXT = '''\
# comment
name = "night"   # [not a table]
big = """
[not.a.table]
"""
models = [
    "a",   # one
    "b", "c",

    3,
]

[limits]
"a.b" = 1
inner.deep = true
until = 2027-01-31

[[boards]]
name = "one"
[boards.power]
hub = "1-2"

[[boards]]
name = "two"
tags = []
[boards.power]
hub = 5

[limits.more]
x = { y = 1, z = -2 }
'''


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return load(written(tmp_path, TEXT))


def test_values_are_those_of_tomllib(table: Table) -> None:
    assert table.values == tomllib.loads(TEXT)
    assert table.text("name") == "night"
    assert table.table("limits").date("until") == datetime.date(2027, 1, 31)
    assert table.table("absent").values == {}
    assert table.tables("absent") == ()
    assert table.texts("name") == ("night",)
    assert table.whole("absent", 7) == 7
    assert table.texts("absent", ()) == ()


def test_every_line_is_the_one_an_editor_shows(table: Table) -> None:
    limits, (one, two) = table.table("limits"), table.tables("boards")
    assert [table.line(key) for key in ("name", "big", "models", "limits")] == [2, 3, 6, 13]
    assert [table.line("models", index) for index in range(4)] == [7, 8, 8, 10]
    assert [limits.line(key) for key in ("a.b", "inner", "until", "more")] == [14, 15, 16, 29]
    assert limits.table("inner").line("deep") == 15
    assert limits.table("more").table("x").line("z") == 30
    assert [one.line(), one.line("name"), one.table("power").line("hub")] == [18, 19, 21]
    assert [two.line(), two.line("name"), two.table("power").line("hub")] == [23, 24, 27]
    assert two.line("missing") == 23


REFUSED: list[tuple[Callable[[Table], object], str]] = [
    (lambda t: t.texts("models"), "some.toml:10: models: expected text, got 3"),
    (lambda t: t.text("nothing"), "some.toml:1: nothing: expected text, got nothing"),
    (lambda t: t.whole("name"), "some.toml:2: name: expected a whole number of at least 0, got 'night'"),
    (lambda t: t.number("name"), "some.toml:2: name: expected a number of at least 0, got 'night'"),
    (lambda t: t.flag("name"), "some.toml:2: name: expected true or false, got 'night'"),
    (lambda t: t.choice("name", ("day",)), "some.toml:2: name: expected one of day, got 'night'"),
    (lambda t: t.date("name"), "some.toml:2: name: expected a date such as 2027-01-31"),
    (lambda t: t.table("name"), "some.toml:2: name: expected a table: [name], got 'night'"),
    (lambda t: t.tables("limits"), "some.toml:13: limits: expected tables: [[limits]], got a table"),
    (lambda t: t.table("limits").whole("inner"), "some.toml:15: inner: expected a whole number"),
    (lambda t: t.table("limits").whole("a.b", minimum=2), "some.toml:14: a.b: expected a whole number of"),
    (lambda t: t.tables("boards")[1].texts("tags"), "some.toml:25: tags: expected a list of texts"),
    (
        lambda t: t.table("limits").known(["a.b", "inner", "untill", "more"]),
        "some.toml:16: unknown key until",
    ),
    (lambda t: t.tables("boards")[1].known(["name"]), "some.toml:25: unknown key tags in [boards]"),
]


@pytest.mark.parametrize(("ask", "said"), REFUSED, ids=[said.split(":", 1)[1] for _, said in REFUSED])
def test_a_complaint_names_the_line(table: Table, ask: Callable[[Table], object], said: str) -> None:
    with pytest.raises(UsageError) as error:
        ask(table)
    assert said in error.value.message
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = 1\nb = \n", "some.toml:2: expected TOML, got: Invalid value"),
        (b"a = 1\na = 2\n", "some.toml:2: expected TOML, got: Cannot overwrite a value"),
        (b"a = 1\nb = [\n", "some.toml:3: expected TOML, got: "),
        (b"a = 1\nb = '\xff'\n", "some.toml:2: expected UTF-8 text"),
    ],
)
def test_what_is_no_toml_is_refused_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "some.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load(path)
    assert said in error.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")


VALUES = st.sampled_from(
    ["1", '"[x]"', '"""\n[y]\nz = 1\n"""', "[\n 1,\n [2, 3],\n]", "{ k = 1 }", "[{ k = 1 }]"]
)


@given(st.lists(VALUES, max_size=6), st.lists(VALUES, max_size=6))
def test_lines_are_right_whatever_stands_between(
    tmp_path_factory: pytest.TempPathFactory, above: list[str], below: list[str]
) -> None:
    statements = [f"k{number} = {value}" for number, value in enumerate(above)]
    statements += ["[[list]]", "[list.table]"]
    statements += [f"k{number} = {value}" for number, value in enumerate(below)]
    path = written(tmp_path_factory.mktemp("toml"), "\n".join(statements) + "\n")
    table = load(path)
    begin, starts = 1, []
    for statement in statements:
        starts.append(begin)
        begin += statement.count("\n") + 1
    inner = table.tables("list")[0].table("table")
    assert [table.line(f"k{n}") for n in range(len(above))] == starts[: len(above)]
    assert [inner.line(f"k{n}") for n in range(len(below))] == starts[len(above) + 2 :]
