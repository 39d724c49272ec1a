"""Which file of a model a runtime of another quantisation takes, and which it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.items import load_artifact
from harness.model.spec import load_model
from harness.targets import get_target
from tests.espdl_builder import EspdlBuilder

CHIP = get_target("esp32c3")


def write(path: Path, scheme: str) -> Path:
    model = EspdlBuilder(scheme=scheme)
    x = model.input("x", (1, 4))
    path.write_bytes(model.build([model.operator("Relu", [x], "y", exponent=-5)]))
    return path


def folder(directory: Path, artifacts: dict[str, str]) -> Path:
    """A model with a model.toml; `artifacts` are kinds and what the file is quantised to."""
    lines = ['name = "m"', "[input]", "shape = [1, 4]", "[artifacts]"]
    for kind, scheme in artifacts.items():
        write(directory / f"{kind}.espdl", scheme)
        lines.append(f'{kind} = "{kind}.espdl"')
    (directory / "model.toml").write_text("\n".join(lines))
    return directory


def test_a_folder_names_a_file_for_each_scheme(tmp_path: Path) -> None:
    model = load_model(folder(tmp_path, {"espdl_c": "int8", "espdl_int16_c": "int16"}))
    for runtime, scheme in (("espdl", "int8"), ("espdl:int8", "int8"), ("espdl:int16", "int16")):
        artifact = load_artifact(model, runtime, CHIP)
        assert artifact.scheme == scheme
        assert artifact.runtime == ("espdl:int16" if scheme == "int16" else "espdl")
    with pytest.raises(ModelError, match=r"takes a .espdl file for esp32c3.* --scheme w8a16"):
        load_artifact(model, "espdl:w8a16", CHIP)


def test_a_file_under_a_key_of_another_scheme_is_refused(tmp_path: Path) -> None:
    model = load_model(folder(tmp_path, {"espdl_int16_c": "int8"}))
    with pytest.raises(
        ModelError, match=r"is int8; runtime espdl:int16 takes int16. Run it as --runtime espdl$"
    ):
        load_artifact(model, "espdl:int16", CHIP)


def test_a_single_file_says_itself_what_it_is(tmp_path: Path) -> None:
    model = load_model(write(tmp_path / "mine.espdl", "int16"))
    assert load_artifact(model, "espdl", CHIP).scheme == "int16"
    assert load_artifact(model, "espdl:int16", CHIP).runtime == "espdl:int16"
    with pytest.raises(
        ModelError, match=r"is int16; runtime espdl:w8a16 takes w8a16. Run it as .* espdl:int16"
    ):
        load_artifact(model, "espdl:w8a16", CHIP)
