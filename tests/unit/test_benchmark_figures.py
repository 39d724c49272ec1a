"""What ./run benchmark stores, prints and writes into docs/performance.md."""

from __future__ import annotations

import pytest

from benchmarks import __main__ as command
from benchmarks import figures, machine
from benchmarks.figures import ARENA, FLASH, PER_INFERENCE, PER_MAC

EXACT = {
    PER_MAC: {"conv": {"esp32c3": 2.967, "esp32s3": 4.892}},
    PER_INFERENCE: {"net": {"esp32c3": 1_500_000, "esp32s3": 2_000_000}},
    FLASH: {"net": {"esp32c3": 20_000, "esp32s3": 21_000}},
    ARENA: {"net": {"here": 912, "tflite-micro, activations": 1568, "tflite-micro": 4832}},
}


def part(value: float, cores: int = 2) -> dict[str, object]:
    return {"taken": "2026-01-02", "cores": cores, "load": 0.3, "figures": {"harness --help": value}}


def test_the_page_is_what_the_stored_figures_give() -> None:
    """Otherwise: ./run benchmark --only exact --store."""
    page = figures.PAGE.read_text(encoding="utf-8")
    assert figures.with_tables(page, figures.load(figures.EXACT), figures.load(figures.MACHINE)) == page


def test_every_stored_part_is_one_that_can_be_taken_again() -> None:
    for name, stored in figures.load(figures.MACHINE).items():
        assert set(stored["figures"]) <= set(figures.ROWS[name])


def test_tables_have_every_figure_and_how_it_was_taken() -> None:
    made = figures.tables(EXACT, {"start-up": part(0.1234)})
    assert "| instructions per MAC | rv32imc | Xtensa |\n|---|---:|---:|\n| conv | 2.97 | 4.89 |" in made
    assert "| net | 1,500,000 | 2,000,000 |" in made
    assert "| net | 912 | 1,568 | 4,832 |" in made
    assert (
        "| start-up: harness --help | 0.12 s | below 0.3 | wall time, median of five processes "
        "| 2026-01-02, 2 cores, load 0.3 before |" in made
    )


def test_a_figure_is_printed_with_its_change() -> None:
    stored = {"net": {"esp32c3": 1_000_000, "esp32s3": 2_000_000}}
    line = figures.printed(PER_INFERENCE, EXACT[PER_INFERENCE], stored).splitlines()[1]
    assert line.split() == ["net", "1,500,000", "+50.0", "%", "2,000,000"]
    assert figures.printed(PER_INFERENCE, EXACT[PER_INFERENCE], {}).splitlines()[1].split()[-1] == "new"


def test_a_part_is_printed_beside_what_was_stored_and_where() -> None:
    said = figures.printed_part("start-up", part(0.5), part(0.25, cores=8))
    assert "0.50 s   wanted below 0.3; was 0.25 s, 2026-01-02, 8 cores" in said
    assert "new" in figures.printed_part("start-up", part(0.5), None)


def test_storing_keeps_what_was_not_taken(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path_factory.mktemp("stored")
    for name in ("EXACT", "MACHINE", "PAGE"):
        monkeypatch.setattr(figures, name, directory / getattr(figures, name).name)
    figures.PAGE.write_text(f"above\n{figures.BEGIN}\nold\n{figures.END}\nbelow\n", encoding="utf-8")
    figures.store(EXACT, {"start-up": part(0.1)})
    figures.store({}, {"own-time": {**part(0.1), "figures": {"of the harness, per image": 0.7}}})
    assert set(figures.load(figures.MACHINE)) == {"start-up", "own-time"}
    assert figures.load(figures.EXACT) == EXACT
    page = figures.PAGE.read_text(encoding="utf-8")
    assert page.startswith("above\n")
    assert page.endswith("below\n")
    assert "old" not in page
    assert "0.70 ms" in page


def test_an_unknown_part_is_refused_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--only", "link,nonsense"])
    with pytest.raises(SystemExit) as left:
        command.main()
    assert left.value.code == 2
    assert (
        "no part 'nonsense'; there are exact, start-up, own-time, link, night, and all"
        in capsys.readouterr().err
    )


def test_every_part_has_rows_and_somebody_who_takes_them() -> None:
    assert machine.PARTS.keys() == figures.ROWS.keys()


def test_what_a_night_prints_is_read() -> None:
    said = "".join(
        f"{name}: {passed} of 152 items passed, 22000 images, {minutes} min on 2 processes, "
        "the harness's own time 0.81 ms per image\n"
        for name, passed, minutes in (("cold", 150, 24.5), ("warm", 152, 9.5))
    )
    assert machine.night_figures(said) == {
        "cold": 24.5,
        "warm": 9.5,
        "items": 152,
        "items passed": 150,
        "images": 22000,
        "own time of the harness, per image": 0.81,
    }


def test_half_a_night_gives_no_figures() -> None:
    with pytest.raises(SystemExit, match="did not run to its end; it said:\nno board"):
        machine.night_figures("no board\n")
