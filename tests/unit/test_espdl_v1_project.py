"""A v1 project read back: what was exported, what a person wrote, and what is wrong in either."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError, HarnessError, ModelError, UnsupportedError, UsageError
from harness.model.spec import load_model
from harness.runtimes.espdl_v1 import EspdlV1
from harness.runtimes.espdl_v1.artifact import write_artifact
from harness.runtimes.espdl_v1.calibrate import SCHEMES
from harness.runtimes.espdl_v1.export import Export, export_v1
from harness.runtimes.espdl_v1.layout import CHIPS, pack_filter, unpack_filter
from harness.runtimes.espdl_v1.project_reader import read_project
from harness.runtimes.espdl_v1.quantise import QuantisedNetwork

# In the form of the tutorials, with what the exporter does not write: defaults left out, a branch
# that is joined again, SAME padding, a FullyConnected, names in the input's shape.
MODEL = """
#pragma once
#include "dl_layer_model.hpp" // and so on
using namespace dl; using namespace layer; using namespace hand_coefficient;
class HAND : public Model<int16_t> // Derive the Model class
{
private:
    Conv2D<int16_t> l1;  /* Conv2D<int16_t> old; */
    Relu<int16_t> l2_a;
    MaxPool2D<int16_t> l2_b;
    Concat<int16_t> l3;
public:
    FullyConnected<int16_t> l4;
    HAND() : l1(Conv2D<int16_t>(-10, get_l1_filter(), get_l1_bias(), get_l1_activation(), PADDING_SAME_END)),
             l2_a(Relu<int16_t>("l2_a")),
             l2_b(MaxPool2D<int16_t>({1, 1})),
             l3(-1, "l3"),
             l4(FullyConnected<int16_t>(-9, hand_coefficient::get_l4_filter())) {}
    void build(Tensor<int16_t> &input)
    {
        this->l1.build(input);
        this->l2_a.build(this->l1.get_output());
        this->l2_b.build(this->l1.get_output());
        this->l3.build({&this->l2_a.get_output(), &this->l2_b.get_output()});
        this->l4.build(this->l3.get_output());
    }
    void call(Tensor<int16_t> &input)
    {
        this->l1.call(input);
        input.free_element();
        this->l2_a.call(this->l1.get_output());
        this->l2_b.call(this->l1.get_output());
        this->l3.call({&this->l2_a.get_output(), &this->l2_b.get_output()}, true);
        this->l4.call(this->l3.get_output());
    }
};
"""
COEFFICIENTS = """
#include "hand_coefficient.hpp"
using namespace dl;
namespace hand_coefficient {
    const static __attribute__((aligned(16))) int16_t l1_filter_element[] = {1, -2, 3, 0x10,};
    const static Filter<int16_t> l1_filter(l1_filter_element, -12, {2, 1, 1, 2}, {1, 1});
    const static int16_t l1_bias_element[2] = {100, -100};
    const static Bias<int16_t> l1_bias(l1_bias_element, -10, {2,});
    const static int16_t l1_activation_element[] = {8192};
    const static Activation<int16_t> l1_activation(LeakyReLU, l1_activation_element, -15, {1,});
    const static int16_t l4_filter_element[] = {ELEMENTS};
    const static Filter<int16_t> l4_filter(l4_filter_element, -13, {1, 1, 24, 1}, {1, 1});
}
"""
APP = """
extern "C" void app_main(void) {
    int input_height = 3; int input_exponent = -8;
    #define WIDTH 2
    Tensor<int16_t> input;
    input.set_element(data).set_exponent(input_exponent).set_shape({input_height, WIDTH, 1});
}
"""


MODEL_FILE, SOURCE, APP_FILE = "hand_model.hpp", "hand_coefficient.cpp", "app_main.cpp"


@pytest.fixture
def hand_written(tmp_path: Path) -> Path:
    project = tmp_path / "hand"
    (project / "main").mkdir(parents=True)
    elements = ", ".join(str(value) for value in range(24))
    (project / "main" / "hand_model.hpp").write_text(MODEL)
    (project / "main" / "hand_coefficient.cpp").write_text(COEFFICIENTS.replace("ELEMENTS", elements))
    (project / "main" / "app_main.cpp").write_text(APP)
    return project


def test_a_hand_written_project(hand_written: Path) -> None:
    networks = read_project(hand_written, "esp32")
    assert write_artifact(networks.built) == write_artifact(networks.right)
    first, _, _, both, flat, last = networks.built.layers
    assert networks.built.network.input_shape == (3, 2, 1)
    assert (networks.built.input_exponent, first.output_exponent, last.output_exponent) == (-8, -10, -9)
    assert first.filter is not None
    assert first.filter[..., 0].reshape(-1).tolist() == [1, -2]
    assert first.filter[..., 1].reshape(-1).tolist() == [3, 16]
    assert first.layer.pads == (0, 1, 0, 0)
    assert (first.layer.activation, first.alpha, first.alpha_exponent) == ("LeakyReLU", 8192, -15)
    assert (both.reads, both.layer.output_shape) == ((1, 2), (3, 2, 4))
    assert (flat.layer.output_shape, last.layer.output_shape) == ((1, 1, 24), (1, 1, 1))


def spoil(project: Path, name: str, pattern: str, replacement: str) -> None:
    (path,) = project.rglob(name)
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    path.write_text(changed)


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "error", "message"),
    [
        (
            "hand_model.hpp",
            r"Relu<int16_t> l2_a;",
            "Add2D<int16_t> l2_a;",
            UnsupportedError,
            "Add2D l2_a.*closed",
        ),
        (MODEL_FILE, r"l2_a\(Relu<int16_t>\(\"l2_a\"\)\),", "", DataError, "l2_a is not in the constr"),
        (MODEL_FILE, r"this->l3\.call[^;]*;", "", DataError, "never in call"),
        (
            "hand_model.hpp",
            r"this->l2_a\.call\(this->l1",
            "this->l2_a.call(this->l9",
            DataError,
            "reads l9, which",
        ),
        (MODEL_FILE, r"l3\.call\(\{&this->l2_a", "l3.call({&input", ModelError, "reads 2 tensors, of exp"),
        (MODEL_FILE, r"l3\(-1", "l3(0", UnsupportedError, "axis 0"),
        (MODEL_FILE, r"Model<int16_t>", "Model<float>", DataError, "came float"),
        (MODEL_FILE, r"Conv2D<int16_t>\(-10", "Conv2D<int16_t>(OUT", DataError, "number, came 'OUT'"),
        (MODEL_FILE, r"PADDING_SAME_END", "PADDING_NOT_SET", DataError, "padding type and its sizes"),
        (MODEL_FILE, r"\{1, 1\}\)\)", "{1}))", DataError, "window of two sizes, came 1"),
        (MODEL_FILE, r"get_l4_filter", "get_l5_filter", DataError, r"get_l5_filter\(\) is in no coeff"),
        (SOURCE, r"0x10", "many", DataError, "expected integers, came 'many'"),
        (SOURCE, r"0x10", "70000", DataError, "70000 does not fit int16_t"),
        (SOURCE, r"0x10", "1.5", DataError, "came '1.5'"),
        (SOURCE, r"\{1, -2, 3", "{1, -2", DataError, "needs 4 elements, the array has 3"),
        (
            "hand_coefficient.cpp",
            r"\(l1_filter_element, -12",
            "(l1_filter_element, E",
            DataError,
            "exponent, came E",
        ),
        (SOURCE, r"LeakyReLU", "PReLU", UnsupportedError, "PReLU: its numerics"),
        (
            "hand_coefficient.cpp",
            r"\{1, 1, 24, 1\}",
            "{1, 1, 12, 2}",
            ModelError,
            "its input has 24 channels",
        ),
        (
            "hand_coefficient.cpp",
            r"l1_filter\(l1_filter_element",
            "l1_filter(elsewhere",
            DataError,
            "came none",
        ),
        (APP_FILE, r"set_exponent\(input_exponent\)", "", DataError, "no .cpp file sets the input"),
        (APP_FILE, r"WIDTH, 1\}", "WIDTH}", DataError, "height, width, channels"),
        (APP_FILE, r"define WIDTH 2", "define WIDE 2", DataError, "number, came 'WIDTH'"),
    ],
)
def test_each_fault_in_it_is_named(
    name: str, pattern: str, replacement: str, error: type[HarnessError], message: str, hand_written: Path
) -> None:
    spoil(hand_written, name, pattern, replacement)
    with pytest.raises(error, match=message) as caught:
        EspdlV1().load(hand_written, "esp32")
    assert str(hand_written) in str(caught.value)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Export]:
    """A zoo model for each chip, in each way that changes the files' form."""
    spec = load_model("himax_cnn")
    assert spec.calibration is not None
    made = {}
    for chip, scheme in zip(CHIPS, ("int16", "int8", "int16", "int8-per-channel"), strict=True):
        made[chip] = export_v1(
            spec.artifacts["onnx"],
            spec.calibration,
            tmp_path_factory.mktemp("v1") / "net",
            chip=chip,
            scheme=SCHEMES[scheme],
            name="net",
            preprocess=spec.preprocess,
        )
    return made


def facts(network: QuantisedNetwork) -> list[tuple[object, ...]]:
    """What a project says of its layers, names left out."""
    return [
        (
            layer.layer.op,
            layer.layer.output_shape,
            layer.output_exponent,
            layer.filter_exponents,
            *(None if values is None else values.tobytes() for values in (layer.filter, layer.bias)),
        )
        for layer in network.layers
    ]


@pytest.mark.parametrize("chip", CHIPS)
def test_what_was_exported_is_read_back(chip: str, exports: dict[str, Export]) -> None:
    export = exports[chip]
    networks = read_project(export.directory, chip)
    assert facts(networks.built) == facts(networks.right) == facts(export.network)
    assert networks.built.input_exponent == export.network.input_exponent


def test_two_places_that_contradict_each_other(exports: dict[str, Export], tmp_path: Path) -> None:
    project = Path(shutil.copytree(exports["esp32"].directory, tmp_path / "p"))
    table = project / "quantization_table.json"
    text = table.read_text()
    spoil(project, table.name, r"(\n[^\n]*\n[^\n]*: )[\d.e-]+", r"\g<1>0.5")
    with pytest.raises(DataError, match=r"output exponent of l1 is -1, that of its bias -7.*Export"):
        read_project(project, "esp32")
    table.write_text("{}")
    with pytest.raises(DataError, match="expected exponents of the input and 5 layers with weights, came 0"):
        read_project(project, "esp32")
    table.write_text(text)
    with pytest.raises(UnsupportedError, match=r"the project is for esp32,.*--target esp32"):
        read_project(project, "esp32s3")
    assert facts(read_project(project, "").built) == facts(exports["esp32"].network)
    (project / "sdkconfig.defaults").unlink()
    with pytest.raises(UsageError, match=r"which no sdkconfig names\. Name it"):
        read_project(project, "")


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("shape", "depthwise"), [((3, 3, 1, 19), False), ((2, 3, 5, 16), False), ((3, 2, 21, 1), True)]
)
def test_unpacking_undoes_packing(chip: str, bits: int, shape: tuple[int, ...], depthwise: bool) -> None:
    values = np.random.default_rng(0).integers(-100, 100, shape)
    packed = pack_filter(values, chip, bits, depthwise=depthwise, dense=False)
    assert np.array_equal(unpack_filter(packed, shape, chip, bits, depthwise=depthwise), values)
    with pytest.raises(DataError, match="elements, the array has"):
        unpack_filter(packed[:-1], shape, chip, bits, depthwise=depthwise)
