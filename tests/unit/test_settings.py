"""The option table and what becomes of its texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards import Attachment
from harness.errors import UsageError
from harness.settings import ALL_SAMPLES, OPTIONS, Option, Settings, settings_from, split_list
from harness.toolchains.esp_idf.engines import KERNELS


def parse(target: str = "esp32c3", **texts: str) -> Settings:
    def value(option: Option) -> str:
        return texts.get(option.field, option.default)

    board = {"port": texts.get("port"), "baud": texts.get("baud")}
    return settings_from(value, target=target, root=Path("/project"), **board)


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_BUILD_ROOT", raising=False)
    settings = parse("esp32s3, esp32c3,esp32s3")
    assert settings.targets == ("esp32s3", "esp32c3")
    assert (settings.models, settings.runtimes, settings.kernels) == (("zoo",), ("all",), "portable")
    assert (settings.samples, settings.layer_samples, settings.infer_timeout_s) == (None, 10, 60.0)
    assert (settings.data, settings.report_dir) == (None, None)
    assert settings.attachment == Attachment()
    assert settings.build_root == Path("/project/build")


def test_the_kernels_offered_are_those_there_are() -> None:
    (kernels,) = (option for option in OPTIONS if option.name == "kernels")
    assert kernels.choices == KERNELS


def test_the_build_root_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_BUILD_ROOT", "/elsewhere")
    assert parse().build_root == Path("/elsewhere")


def test_values_are_parsed() -> None:
    settings = parse(samples="7", data="d.npz", model="a, b,", baud="921600", report_dir="out")
    assert (settings.samples, settings.data, settings.models) == (7, Path("d.npz"), ("a", "b"))
    assert parse(samples="all").samples == ALL_SAMPLES
    assert (settings.attachment.baud, settings.report_dir) == (921600, Path("out"))


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("samples", "many", "--samples expects a whole number of at least 1, got 'many'"),
        ("layer_samples", "-1", "--layer-samples expects a whole number of at least 0, got '-1'"),
        ("baud", "fast", "--baud expects a whole number of at least 1, got 'fast'"),
        ("port", "", "--port is empty. Name a port, or leave --port out for an emulator"),
        ("infer_timeout", "nan", "--infer-timeout expects seconds above 0, got 'nan'"),
        ("wait", "-1", "--wait expects seconds of at least 0, got '-1'"),
        ("lease", "0", "--lease expects seconds above 0, got '0'"),
        ("farm", "nowhere.toml", "nowhere.toml: cannot be read: No such file or directory"),
        ("reference", "torch", "--reference takes onnx, keras, none, not 'torch'"),
        ("model", " , ", "--model expects a comma-separated list"),
    ],
)
def test_what_cannot_be_parsed_is_named(field: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(**{field: text})
    assert message in str(caught.value)


def test_every_option_has_help_and_a_choice_for_its_default() -> None:
    for option in OPTIONS:
        assert option.help
        assert not option.choices or option.default in option.choices


def test_a_list_keeps_its_order_and_drops_doubles() -> None:
    assert split_list("--x", "b,a,,b") == ("b", "a")
