import tomllib
from pathlib import Path

import pytest

from harness import extras
from harness.errors import MissingError

ROOT = Path(__file__).parents[2]


def test_the_table_names_every_extra_of_pyproject():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.EXTRAS) == set(declared)


def test_an_installed_module_is_returned():
    assert extras.require("json.decoder", "keras").__name__ == "json.decoder"
    extras.require_installed("json.decoder", "keras")


@pytest.mark.parametrize("check", [extras.require, extras.require_installed])
def test_a_missing_module_names_the_pip_line_of_this_checkout(check):
    with pytest.raises(MissingError) as caught:
        check("no_such_module", "keras")
    assert caught.value.message.startswith("This needs the Python package 'no_such_module'")
    assert caught.value.remedy == "Install it: .venv/bin/pip install -e '.[keras]'"


def test_a_module_whose_own_import_fails_says_why(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match="no_such_dependency"):
        extras.require("half_installed", "tvm")


def test_a_fault_inside_a_module_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "faulty_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        extras.require("faulty_module", "tvm")


def test_torch_is_installed_before_esp_ppq():
    command = extras.install_command("espdl")
    assert command == ".venv/bin/pip install torch==2.13.0 && .venv/bin/pip install -e '.[espdl]'"
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "torch==2.13.0" in declared["espdl"]


def test_outside_a_checkout_the_package_name_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "harness" / "extras.py"))
    assert extras.install_command("tvm") == "pip install 'esp32-nn-harness[tvm]'"
