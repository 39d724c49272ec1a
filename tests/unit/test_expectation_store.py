"""Answers of oracle and float model on disk: the same question is computed once, any other anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from harness import expectation_store
from harness.expectation import Expectation, expect
from harness.expectation_store import remembered
from harness.items import load_artifact
from harness.model.dataset import Dataset, load_dataset
from harness.model.reference import open_reference
from harness.model.spec import load_model
from harness.runtimes import get_runtime

MODEL = load_model("test17_conv1x1")
ARTIFACT = load_artifact(MODEL, "tflm")
REFERENCE = open_reference(MODEL)[0]


class Question:
    """Asks the store as the bench does, and counts what had to be computed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.computed = 0
        assert MODEL.test is not None
        self.data: Dataset = load_dataset(MODEL.test, ARTIFACT.inputs, MODEL.preprocess).take(5)

    def ask(
        self, layer_samples: int = 2, data: Dataset | None = None, float_model: bool = True
    ) -> Expectation:
        dataset, reference = data or self.data, REFERENCE if float_model else None

        def compute() -> Expectation:
            self.computed += 1
            return expect(ARTIFACT, get_runtime("tflm").oracle(ARTIFACT), dataset, reference, layer_samples)

        return remembered(self.directory, ARTIFACT, "", dataset, reference, layer_samples, compute)


@pytest.fixture
def question(tmp_path: Path) -> Question:
    return Question(tmp_path / "expectations")


def same(one: Expectation, other: Expectation) -> None:
    for ours, theirs in (
        (one.inputs, other.inputs),
        (one.outputs, other.outputs),
        *zip(one.layers, other.layers, strict=True),
        ([one.reference], [other.reference]),
        ([one.labels], [other.labels]),
    ):
        for mine, yours in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, yours)
            assert getattr(mine, "dtype", None) == getattr(yours, "dtype", None)
    facts = [(each.data_source, each.data_digest, each.reference_name) for each in (one, other)]
    assert facts[0] == facts[1]


def test_the_same_question_is_computed_once_and_answered_the_same(question: Question) -> None:
    first, second = question.ask(), question.ask()
    assert question.computed == 1
    assert len(first.layers) == 2
    same(first, second)


def test_any_other_question_is_computed_anew(question: Question) -> None:
    question.ask()
    question.ask(layer_samples=3)
    question.ask(float_model=False)
    question.ask(data=question.data.take(4))
    other = dataclasses.replace(question.data, inputs=tuple(values[::-1] for values in question.data.inputs))
    question.ask(data=other)
    assert question.computed == 5
    assert question.ask(float_model=False).reference is None
    assert question.computed == 5


def test_changed_sources_make_every_answer_anew(question: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    question.ask()
    monkeypatch.setattr(expectation_store, "_code", lambda: "other")
    question.ask()
    assert question.computed == 2


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_damaged_entry_is_made_again(question: Question, keep: float) -> None:
    first = question.ask()
    (path,) = question.directory.glob("*.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    same(question.ask(), first)
    assert question.computed == 2
    assert path.stat().st_size == len(whole)


def test_a_flipped_bit_is_noticed(question: Question) -> None:
    first = question.ask()
    (path,) = question.directory.glob("*.npz")
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"output_0.npy") + 60] ^= 1  # inside the compressed array
    path.write_bytes(whole)
    same(question.ask(), first)
    assert question.computed == 2
