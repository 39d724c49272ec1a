"""The .espdlv1 file: what is written is read again, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError, ModelError, UnsupportedError
from harness.runtimes import get_runtime
from harness.runtimes.espdl_v1 import oracle
from harness.runtimes.espdl_v1.artifact import read_artifact, write_artifact
from harness.runtimes.espdl_v1.calibrate import SCHEMES
from harness.runtimes.espdl_v1.quantise import QuantisedNetwork
from tests.espdl_v1_cases import network

DATA = {name: write_artifact(network(np.random.default_rng(0), scheme)) for name, scheme in SCHEMES.items()}


def header_of(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, network and tensors of a file."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return header, json.loads(header["__metadata__"]["network"]), data[8 + size :]


def with_header(header: dict[str, Any]) -> bytes:
    """The int16 file with another header."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + header_of(DATA["int16"])[2]


def outputs(made: QuantisedNetwork) -> list[bytes]:
    limits = np.iinfo(made.integer_dtype)
    values = np.random.default_rng(1).integers(limits.min, limits.max, made.network.input_shape)
    return [layer.tobytes() for layer in oracle.run(made, values.astype(made.integer_dtype))]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_network_comes_back_whole(scheme: str) -> None:
    made = read_artifact(DATA[scheme])
    assert write_artifact(made) == DATA[scheme]
    assert made.scheme.name == scheme
    assert outputs(made) == outputs(network(np.random.default_rng(0), SCHEMES[scheme]))


def test_the_tensors_are_where_the_safetensors_format_has_them() -> None:
    header, facts, blob = header_of(DATA["int16"])
    made = read_artifact(DATA["int16"])
    entry = header["0.filter"]
    start, end = entry["data_offsets"]
    stored = np.frombuffer(blob[start:end], "<i2").reshape(entry["shape"])
    assert np.array_equal(stored, made.layers[0].filter)
    assert facts["layers"][5]["reads"] == [3, 4]
    assert max(entry["data_offsets"][1] for name, entry in header.items() if "." in name) == len(blob)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.update(scheme="int4"), ModelError, "scheme is none of int16, int8"),
        (lambda f: f.update(input_shape=[9, 10]), ModelError, "input_shape is not 3 whole numbers"),
        (lambda f: f.update(input_shape=[0, 10, 3]), ModelError, r"shape \(0, 10, 3\)"),
        (lambda f: f.update(input_shape=[1 << 20, 1 << 20, 3]), ModelError, "the input has shape"),
        (lambda f: f["layers"][0].update(pads=[0, 1 << 24, 0, 9]), ModelError, "makes shape"),
        (lambda f: f.update(input_exponent=1 << 20), ModelError, "input_exponent is 1048576"),
        (
            lambda f: f["layers"][0].update(op="Add2D"),
            UnsupportedError,
            r"layer 0 \(Add2D a\) is not supp",
        ),
        (lambda f: f["layers"][0].update(activation="PReLU"), ModelError, "activation is PReLU"),
        (lambda f: f["layers"][0].update(output_exponent=100), ModelError, "too far apart"),
        (lambda f: f["layers"][0].update(filter_exponents=[1, 2]), ModelError, "2 filter exponents"),
        (lambda f: f["layers"][0].update(strides=[0, 1]), ModelError, "stride"),
        (lambda f: f["layers"][1].update(reads=[7]), ModelError, "reads what no layer before it makes"),
        (lambda f: f["layers"][1].update(reads=[0, -1]), ModelError, "reads 2 tensors"),
        (lambda f: f["layers"][2].update(reads=[-1]), ModelError, "channels"),
        (lambda f: f["layers"][3].update(kernel=[99, 1]), ModelError, "window larger than its input"),
        (lambda f: f["layers"][8].update(shape=[2, 2, 2]), ModelError, "turns shape"),
        (lambda f: f["layers"].append({"op": "Relu", "name": "z"}), UnsupportedError, "floating point"),
        (lambda f: f["layers"].clear(), ModelError, "no layers"),
    ],
)
def test_a_network_that_contradicts_itself(change: Any, error: type[HarnessError], message: str) -> None:
    header, facts, _ = header_of(DATA["int16"])
    change(facts)
    header["__metadata__"]["network"] = json.dumps(facts)
    with pytest.raises(error, match=message):
        read_artifact(with_header(header))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["0.filter"].update(data_offsets=[0, 10**9]), "the file has"),
        (lambda h: h["0.filter"].update(dtype="F32"), "type or shape"),
        (lambda h: h.pop("0.filter"), "no filter"),
        (lambda h: h["__metadata__"].update(format="pt"), "its format is 'pt'"),
    ],
)
def test_tensors_that_are_not_there(change: Any, message: str) -> None:
    header, _, _ = header_of(DATA["int16"])
    change(header)
    with pytest.raises(ModelError, match=message):
        read_artifact(with_header(header))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damage_is_an_error_or_another_sound_network(data: st.DataObject) -> None:
    whole = bytearray(DATA["int8-per-channel"])
    size = int.from_bytes(whole[:8], "little") + 8
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, size))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(whole), len(whole), 7, 100, len(whole) - 1]))
    try:
        made = read_artifact(bytes(whole[:cut]))
    except HarnessError:
        return
    assert cut == len(whole)
    assert outputs(made)


def test_the_path_is_in_the_message(tmp_path: Path) -> None:
    (tmp_path / "net.espdlv1").write_bytes(b"EDL2")
    with pytest.raises(ModelError, match=r"net\.espdlv1: not a sound \.espdlv1 file: it is no safetensors"):
        get_runtime("espdl-v1").load(tmp_path / "net.espdlv1")
