"""nightly.toml: what its matrix spells out, and that every mistake is named by its line."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.nightly.config import Night, read_night
from harness.settings import Heavy

GOOD = """\
budget_minutes = 60
retries = 2
against = "baseline"

[[matrix]]
targets = ["esp32s3", "esp32c3"]
models = ["mnist_mlp", "himax_cnn"]
runtimes = ["tflm", "espdl"]
samples = 200
heavy_samples = 20
layer_samples = 2
chaos = "drop=1e-4,seed=1"

[[matrix]]
targets = ["esp32c3"]
boards = ["qemu", "host"]
models = ["mnist_mlp"]
runtimes = ["tflm"]

[[known_failure]]
items = "*-himax_cnn-*"
owner = "anna@example.org"
reason = "exceeds the arena"
until = 2027-01-31
"""


def read(tmp_path: Path, text: str) -> Night:
    path = tmp_path / "nightly.toml"
    path.write_text(text, encoding="utf-8")
    return read_night(path, tmp_path)


def test_the_matrix_is_spelt_out(tmp_path: Path) -> None:
    night = read(tmp_path, GOOD)
    keys = [job.key for job in night.jobs]
    axes = [
        (m, t, r)
        for m in ("mnist_mlp", "himax_cnn")
        for t in ("esp32s3", "esp32c3")
        for r in ("tflm", "espdl")
    ]
    assert keys[:8] == [f"{target}-{model}-{runtime}" for model, target, runtime in axes]
    assert keys[8:] == ["esp32c3-mnist_mlp-tflm-qemu", "esp32c3-mnist_mlp-tflm-host"]
    first, *_, last = night.settings
    assert (first.samples, first.layer_samples, first.heavy) == (200, 2, Heavy(10_000_000, 20))
    assert first.chaos is not None
    assert (last.board, last.samples, last.heavy) == ("host", None, None)
    assert [job.line for job in night.jobs][-1] == 14
    assert (night.budget_s, night.item_s, night.retries, night.against) == (3600, 1800, 2, "baseline")
    assert night.known[0].until == datetime.date(2027, 1, 31)
    assert (night.known[0].line, night.known[0].covers(keys[4]), night.known[0].covers(keys[0])) == (
        20,
        True,
        False,
    )


def test_the_zoo_leaves_out_what_a_chip_has_no_file_for(tmp_path: Path) -> None:
    night = read(tmp_path, '[[matrix]]\ntargets = "esp32p4"\n')
    assert {job.model for job in night.jobs} >= {"mnist_mlp", "test21_mnist_300k"}
    assert len(night.jobs) == len({job.key for job in night.jobs})


def test_schemes_choose_among_a_runtimes_quantisations(tmp_path: Path) -> None:
    text = '[[matrix]]\ntargets = "esp32s3"\nmodels = "himax_cnn"\n'
    text += 'runtimes = ["tflm", "espdl-v1"]\nschemes = ["int16"]\n'
    assert [job.key for job in read(tmp_path, text).jobs] == ["esp32s3-himax_cnn-espdl-v1"]


MATRIX = '[[matrix]]\ntargets = ["esp32c3"]\nmodels = ["mnist_mlp"]\n'
BAD = [
    ("budget = 3\n" + MATRIX, ":1: unknown key budget. Did you mean budget_minutes?"),
    ("retrys = 3\n" + MATRIX, ":1: unknown key retrys. Did you mean retries?"),
    ('retries = "2"\n' + MATRIX, ":1: retries: expected a whole number of at least 0, got '2'"),
    ("budget_minutes = 0\n" + MATRIX, ":1: budget_minutes: expected a number of at least 0.01, got 0"),
    ('against = "yesterday"\n' + MATRIX, ":1: against: expected one of last, baseline, got 'yesterday'"),
    ("retries = 1\n", ":1: matrix: expected at least one [[matrix]], got nothing"),
    ('[[matrix]]\nmodels = ["mnist_mlp"]\n', ":1: targets: expected a list of texts, got nothing"),
    (
        '[[matrix]]\ntargets = [\n  "esp32c3",\n  "esp23"]\n',
        ":4: targets: unknown target 'esp23'. Known targets: ",
    ),
    ('[[matrix]]\ntargets = "himax_we1"\n', ":2: targets: himax_we1: generate only"),
    (
        MATRIX.replace("mnist_mlp", "mnist_mpl"),
        ":3: models: mnist_mpl: no such model. Did you mean mnist_mlp?",
    ),
    (MATRIX + 'runtimes = "tflmm"\n', ":4: runtimes: unknown runtime 'tflmm'. Known: tflm, "),
    (MATRIX + 'runtimes = "tflm:int4"\n', ":4: runtimes: runtime tflm has no scheme 'int4'"),
    (MATRIX + 'boards = ["qemu", "moon"]\n', ":4: boards: --board takes auto, serial, "),
    (MATRIX + "samples = 0\n", ":4: samples: --samples expects a whole number of at least 1, got '0'"),
    (MATRIX + "samples = []\n", ":4: samples: expected text or a number, got []"),
    (MATRIX + 'chaos = "dorp=1"\n', ":4: chaos: "),
    (MATRIX + 'data = "none.npz"\n', ":4: data: expected an .npz file that is there, got 'none.npz'"),
    (MATRIX + "heavy_macs = 5\n", ":1: heavy_samples: expected a number of samples, as heavy_macs is given"),
    (MATRIX + 'schemes = ["int5"]\n', ":1: matrix 1 has no item"),
    (MATRIX + "\n" + MATRIX, ":5: item esp32c3-mnist_mlp-tflm stands in the matrix of line 1 already"),
    (MATRIX + '[[known_failure]]\nitems = "x"\n', ":4: owner: expected text, got nothing"),
    (
        MATRIX + '[[known_failure]]\nitems = "x"\nowner = "a"\nreason = "b"\nuntil = "2027-01-31"\n',
        ":8: until: expected a date such as 2027-01-31, without quotes, got '2027-01-31'",
    ),
    (
        MATRIX + '[[known_failure]]\nitems = "x"\nowner = "a"\nreason = "b"\nuntil = 2027-01-31\n',
        ":5: items: expected a pattern of item keys, such as esp32c3-mnist_mlp-tflm, got 'x'",
    ),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said for _, said in BAD])
def test_every_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert f"nightly.toml{said}" in str(error.value)
    assert "\n" not in str(error.value)
