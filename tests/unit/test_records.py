"""Records to JSON and back: lossless for every value of the schema, strict about the rest."""

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError
from harness.records import ItemRecord, RunRecord, Sample, from_json, to_json

records = st.one_of(*(st.from_type(kind) for kind in (RunRecord, ItemRecord, Sample)))


def comparable(value: Any) -> Any:
    """NaN is unequal to itself, so it is compared by name."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value), [comparable(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple):
        return tuple(map(comparable, value))
    return value


@settings(deadline=None)
@given(records)
def test_every_record_survives_the_round_trip(record: RunRecord | ItemRecord | Sample) -> None:
    line = to_json(record)
    assert "\n" not in line
    assert comparable(from_json(line)) == comparable(record)


def test_none_stays_none_and_zero_stays_zero() -> None:
    sample = Sample(0, None, 0, 0, None, 0, 0, None, 0, 0, (), (), None)
    data = json.loads(to_json(sample))
    assert data["count"] is None
    assert data["time_us"] == 0


def test_json_is_strict_even_for_nan() -> None:
    sample = Sample(0, None, 0, 0, None, 0, 0, None, None, 0, (math.nan, -math.inf), (), None)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    assert json.loads(to_json(sample), parse_constant=refuse)["device_scores"] == ["nan", "-inf"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "this is a list"),
        ('{"schema":2,"kind":"item"}', "schema 1"),
        ('{"schema":1,"kind":"board"}', "'board'"),
        ('{"schema":1,"kind":"item","target":"esp32"}', "every field of ItemRecord"),
        ('{"schema":1,"kind":"run","colour":"red"}', "colour"),
        (
            '{"schema":1,"kind":"item","target":5,"model":"","runtime":"","kernels":"","outcome":""}',
            "ItemRecord.target",
        ),
    ],
)
def test_what_is_no_record_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_json(text)


def test_key_names_kernels_only_when_they_are_not_portable() -> None:
    item = ItemRecord("esp32c3", "mnist_mlp", "tflm", "portable", "passed")
    assert item.key == "esp32c3-mnist_mlp-tflm"
    assert dataclasses.replace(item, kernels="vendor").key == "esp32c3-mnist_mlp-tflm-vendor"
