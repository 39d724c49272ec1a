"""The .espdl reader: what it understands, and that nothing a file says can break it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from harness.bundled import zoo_directory
from harness.errors import HarnessError, ModelError, UnsupportedError
from harness.portable.ops.power_of_two_operators import ESPDL_OPERATORS
from harness.runtimes.espdl import Espdl
from harness.runtimes.espdl.oracle import KERNELS
from harness.runtimes.espdl.reader import read
from harness.runtimes.espdl.shapes import SHAPES
from harness.runtimes.espdl.variants import CHIPS, VARIANTS, unpack_filter, variant_of
from harness.targets import TARGETS, get_target
from tests.espdl_builder import EspdlBuilder, pack

ZOO = zoo_directory()
PLAIN = VARIANTS["c"]


def small(variant: str = "c", **options: object) -> bytes:
    """One convolution of 20 filters."""
    rng = np.random.default_rng(0)
    model = EspdlBuilder(variant)
    x = model.input("x", (1, 4, 5, 3))
    w = model.filter("w", rng.integers(-128, 128, (20, 3, 2, 3), np.int8), [-7])
    b = model.constant("b", rng.integers(-900, 900, 20, np.int32), [-12])
    return model.build([model.operator("Conv", [x, w, b], "y", exponent=-4, **options)])


def test_the_three_tables_of_operators_agree() -> None:
    assert set(SHAPES) == set(ESPDL_OPERATORS) == set(KERNELS)


def test_every_espressif_chip_but_the_h2_has_a_variant() -> None:
    assert {chip: variant_of(chip) for chip in CHIPS} == CHIPS
    assert set(TARGETS) - set(CHIPS) == {"esp32h2", "himax_we1"}
    with pytest.raises(UnsupportedError, match="ESP-DL does not support esp32h2"):
        Espdl().variant(get_target("esp32h2"))


@pytest.mark.parametrize("name", ["mnist_mlp", "himax_cnn"])
def test_the_same_network_is_read_from_the_files_of_either_layout(name: str) -> None:
    graphs = [
        read((ZOO / name / f"model.{variant}.espdl").read_bytes(), VARIANTS[variant]).graph
        for variant in ("c", "esp32s3")
    ]
    assert [operator.op for operator in graphs[0].operators] == [o.op for o in graphs[1].operators]
    for plain, blocked in zip(graphs[0].operators, graphs[1].operators, strict=True):
        for a, b in zip(plain.inputs, blocked.inputs, strict=True):
            one, other = graphs[0].tensors[a], graphs[1].tensors[b]
            assert one.info == other.info
            assert (one.data is None) == (other.data is None)
            assert one.data is None or np.array_equal(one.data, other.data)


@pytest.mark.parametrize("lanes", [16, 8])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("shape", [(8, 3, 2, 5), (16, 1, 1, 4), (35, 2, 3, 1)])
@pytest.mark.parametrize("variant", ["c", "esp32s3"])
def test_filters_come_out_as_they_went_in(
    variant: str, shape: tuple[int, ...], grouped: bool, lanes: int
) -> None:
    data = np.random.default_rng(1).integers(-128, 128, shape, np.int8)
    packed, layout = pack(data, variant, grouped, lanes)
    assert layout in VARIANTS[variant].layouts(lanes)
    n, h, w, c = shape
    dims = (h, w, n, c) if grouped else (h, w, c, n)
    np.testing.assert_array_equal(unpack_filter(packed, dims, layout, lanes, grouped), data)


def test_shapes_attributes_and_exponents() -> None:
    graph = read(small(pads=[1, 0, 0, 2], strides=[2, 1], activation="Relu"), PLAIN).graph
    (conv,) = graph.operators
    output = graph.tensors[conv.outputs[0]].info
    assert (output.shape, output.scale, output.zero_point) == ((1, 2, 6, 20), 2.0**-4, 0)
    assert output.rounding == "half_up"
    assert conv.options["relu"] is True
    assert graph.tensors[conv.inputs[1]].info.shape == (20, 3, 2, 3)
    assert read(small("esp32p4"), VARIANTS["esp32p4"]).graph.tensors[0].info.rounding == "half_even"


def test_the_blocked_layout_goes_by_an_older_name_too() -> None:
    graphs = []
    for older in (False, True):
        model = EspdlBuilder("esp32s3")
        x = model.input("x", (1, 1, 1, 2))
        w = model.filter("w", np.arange(64).astype(np.int8).reshape(32, 1, 1, 2), [-7])
        *stored, layout = model.constants[w]
        model.constants[w] = (*stored, layout.replace("(N/16)", "N16") if older else layout)
        y = model.operator("Conv", [x, w], "y", exponent=-4)
        graphs.append(read(model.build([y]), VARIANTS["esp32s3"]).graph)
    np.testing.assert_array_equal(graphs[0].tensors[1].data, graphs[1].tensors[1].data)


def header(data: bytes, magic: bytes = b"EDL2", mode: int = 0) -> bytes:
    return magic + struct.pack("<III", mode, len(data) - 16, 0) + data[16:]


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda data: data[:-1], ModelError, r"truncated: \d+ bytes behind its header, expected \d+"),
        (lambda data: data[:9], ModelError, "not an .espdl file: 9 bytes"),
        (lambda data: header(data, b"TFL3"), ModelError, "not an .espdl file"),
        (lambda data: header(data, mode=1), UnsupportedError, r"encrypted \(mode 1\)"),
        (lambda data: header(data, b"PDL1"), UnsupportedError, "packed into one file"),
        (lambda data: header(data[:60]), ModelError, "damaged: it points to byte"),
    ],
)
def test_what_is_no_whole_plain_file_is_refused(damage, error, words) -> None:
    with pytest.raises(error, match=words):
        read(damage(small()), PLAIN)


def test_a_file_laid_out_for_another_chip_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"layout \(N/16\)HWC16_UNALIGNED, that of esp32s3 and esp32p4"
    ) as caught:
        read(small("esp32s3"), PLAIN)
    assert "Export the model for this chip (esp-ppq target c)" in str(caught.value)
    with pytest.raises(ModelError, match="layout NHWC, that of c; esp32s3 expect"):
        read(small("c"), VARIANTS["esp32s3"])


def test_a_file_that_rounds_for_another_chip_is_refused_by_its_test_values(tmp_path: Path) -> None:
    """An ESP32-S3 file in ESP32-P4 hands: the same layout, but halves go another way."""
    model = EspdlBuilder("esp32s3")
    x = model.input("x", (1, 1), exponent=0)
    w = model.filter("w", np.ones((1, 1, 1, 1), np.int8), [0])
    y = model.operator("Gemm", [x, w], "y", exponent=1)
    for value, result in ((1, 1), (5, 3)):  # 0.5 and 2.5, halves up
        tests = ({"x": np.array([[value]], np.int8)}, {"y": np.array([[result]], np.int8)})
        path = tmp_path / "model.espdl"
        path.write_bytes(model.build([y], tests))
        assert Espdl().load(path, "esp32s3").test_outputs["y"] == result
        with pytest.raises(ModelError, match="test values in the file do not come out: output 'y'"):
            Espdl().load(path, "esp32p4")


def test_test_values_of_another_shape_are_refused(tmp_path: Path) -> None:
    model = EspdlBuilder()
    x = model.input("x", (1, 4))
    y = model.operator("Relu", [x], "y", exponent=-5)
    path = tmp_path / "model.espdl"
    path.write_bytes(model.build([y], ({"x": np.zeros((1, 3), np.int8)}, {"y": np.zeros((1, 4), np.int8)})))
    with pytest.raises(
        ModelError, match=r"model.espdl: its test values do not fit: input 'x' is int8 \[1, 4\]"
    ):
        Espdl().load(path, "c")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quant_type": "S16"}, r"operator 0 \(Conv\) is S16, but 'x' is int8"),
        ({"quant_type": "S4"}, "is quantised as S4; runtime espdl takes S8, S16, W8A16"),
        ({"quant_type": "F32"}, "is quantised as F32"),
        ({"activation": "Sigmoid"}, r"operator 0 \(Conv\): fused activation Sigmoid"),
        ({"strides": [0, 1]}, r"operator 0 \(Conv\): strides"),
        ({"pads": "SAME"}, "attribute pads of operator 0"),
        ({"group": 7}, "group|channels"),
    ],
)
def test_attributes_outside_the_list_are_refused(
    options: dict[str, object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.espdl"
    path.write_bytes(small(**options))
    with pytest.raises(HarnessError, match=words):
        Espdl().load(path, "c")


def test_an_unknown_operator_is_named_with_its_index() -> None:
    model = EspdlBuilder()
    x = model.input("x", (1, 4))
    y = model.operator("Relu", [x], "y", exponent=-5)
    z = model.operator("Einsum", [y], "z")
    with pytest.raises(UnsupportedError, match=r"operator 1 \(Einsum\) is not supported"):
        read(model.build([z]), PLAIN)


def test_an_operator_left_in_float_is_named_before_its_casts() -> None:
    model = EspdlBuilder()
    x = model.input("x", (1, 4))
    y = model.operator("DequantizeLinear", [x], "y", dtype="float32")
    with pytest.raises(UnsupportedError, match=r"operator 0 \(DequantizeLinear\) is not supported"):
        read(model.build([y]), PLAIN)
    z = model.operator("Erf", [y], "z", dtype="float32")
    with pytest.raises(UnsupportedError, match=r"operator 1 \(Erf\) is not supported"):
        read(model.build([z]), PLAIN)


def image_operator(op: str, *constants: np.ndarray, exponent: int = -5, **options: object) -> bytes:
    """On an image of 6 x 5 with 4 channels and exponent -5; int8 constants have the exponent -5, too."""
    model = EspdlBuilder()
    names = [model.input("x", (1, 6, 5, 4))]
    names += [model.constant(f"c{i}", values, [-5]) for i, values in enumerate(constants)]
    return model.build([model.operator(op, names, "y", exponent, **options)])


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (image_operator("Add", np.ones(4, np.int8), exponent=-4), "'x' and 'y' differ in scale"),
        (image_operator("Sub", np.ones((3, 1), np.int8)), r"\(1, 6, 5, 4\) and \(3, 1\) do not broadcast"),
        (image_operator("Mul", np.ones(1, np.int8), exponent=30), "products scaled by 2"),
        (image_operator("PRelu", np.ones((4, 1, 1), np.int8), exponent=-4), "copies positive values"),
        (image_operator("PRelu", np.ones((3, 1, 1), np.int8)), "3 slopes for 4 channels"),
        (image_operator("Clip", np.ones((), np.int8)), "no table of its results"),
        (image_operator("AveragePool", kernel_shape=[2, 2], ceil_mode=1), "an output size rounded up"),
        (image_operator("AveragePool", kernel_shape=[2, 2], exponent=9), "a mean scaled by 2"),
        (image_operator("ReduceMean", ints(4)), r"axes \[4\] of 4 dimensions"),
        (image_operator("Pad", ints(*[0] * 8), mode="reflect"), "mode 'reflect'; runtime espdl has constant"),
        (image_operator("Pad", ints(*[-1] * 8), mode="constant"), "paddings"),
        (image_operator("Slice", ints(-1), ints(-7), ints(1), ints(-1)), "a step of -1"),
        (image_operator("Slice", ints(3), ints(3)), "from 3 to 3 of 1 is empty"),
        (image_operator("Slice", ints(0), ints(1), ints(4)), r"along axes \[4\]"),
        (image_operator("Unsqueeze", ints(0, 0)), r"axes \[0, 0\]"),
        (image_operator("Squeeze", ints(1)), "are not all 1"),
        (image_operator("MatMul", np.ones(4, np.int8)), "layout"),
    ],
)
def test_forms_that_cannot_be_exact_are_refused_by_name(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "form.espdl"
    path.write_bytes(data)
    with pytest.raises(HarnessError, match=rf"form.espdl: .*{words}"):
        Espdl().load(path, "c")


def test_a_computed_matrix_rearranged_as_a_filter_is_refused() -> None:
    """As esp-ppq wrote it before 1.3.12; of the same name, but by rows, it is taken."""
    for layout in ("packed", "native_kn"):
        model = EspdlBuilder()
        x, w = model.input("x", (2, 3)), model.input("w", (3, 4))
        data = model.build([model.operator("MatMul", [x, w], "y", input1_layout=layout)])
        if layout == "native_kn":
            assert read(data, PLAIN).graph.tensors[-1].info.shape == (2, 4)
            continue
        with pytest.raises(UnsupportedError, match=r"operator 0 \(MatMul\): its second input is computed"):
            read(data, PLAIN)


def test_only_the_nearest_of_resize() -> None:
    model = EspdlBuilder()
    scales = model.constant("scales", np.array([1, 1, 2, 2], np.float32))
    y = model.operator("Resize", [model.input("x", (1, 2, 2, 1)), "", scales], "y", mode="linear")
    with pytest.raises(UnsupportedError, match=r"operator 0 \(Resize\): mode 'linear'; runtime espdl has"):
        read(model.build([y]), PLAIN)


def test_a_softmax_that_would_overflow_on_the_chip_is_refused(tmp_path: Path) -> None:
    """exp(127 * 1) is no float32: ESP-DL's own table would hold infinity."""
    model = EspdlBuilder()
    x = model.input("x", (1, 4), exponent=0)
    y = model.operator("Softmax", [x], "y", dtype="float32", axis=-1)
    path = tmp_path / "steep.espdl"
    path.write_bytes(model.build([y]))
    with pytest.raises(UnsupportedError, match=r"operator 0 \(Softmax\): its input reaches 127"):
        Espdl().load(path, "c")


@pytest.mark.parametrize(
    ("scheme", "filter_type", "expected"),
    [("int8", "int8", "int8"), ("int16", "int16", "int16"), ("w8a16", "int8", "w8a16")],
)
def test_the_scheme_is_read_from_the_operators(scheme: str, filter_type: str, expected: str) -> None:
    model = EspdlBuilder("esp32s3", scheme)
    x = model.input("x", (1, 1, 1, 2))
    w = model.filter("w", np.ones((9, 1, 1, 2), filter_type), [-7])
    y = model.operator("Conv", [x, w], "y", exponent=-4)
    z = model.operator("Relu", [y], "z", exponent=-4)
    assert read(model.build([z]), VARIANTS["esp32s3"]).scheme == expected


def test_a_file_of_both_widths_is_mixed_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "both.espdl"
    path.write_bytes(both_widths("S16"))
    artifact = Espdl().load(path, "c")
    assert artifact.scheme == "mixed"
    assert [info.dtype for info in (*artifact.inputs, *artifact.outputs)] == ["int8", "int16"]


def both_widths(quant_type: str) -> bytes:
    """Relu in 8 bits, a change to 16, Relu there as `quant_type` says."""
    model = EspdlBuilder()
    x = model.input("x", (1, 4))
    narrow = model.operator("Relu", [x], "narrow", exponent=-5)
    wide = model.operator("RequantizeLinear", [narrow], "wide", exponent=-13, dtype="int16")
    y = model.operator("Relu", [wide], "y", exponent=-13, dtype="int16", quant_type=quant_type)
    return model.build([y])


def test_a_type_that_is_not_the_operators_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"operator 2 \(Relu\) is S8, but 'wide' is int16"):
        read(both_widths("S8"), PLAIN)


def test_sixteen_bits_laid_out_for_another_chip_or_as_eight_are_refused() -> None:
    for variant, scheme, words in (
        ("esp32s3", "int16", r"layout \(N/8\)HWC8_UNALIGNED, that of esp32s3 and esp32p4"),
        ("c", "w8a16", "layout NHWC, that of c; esp32s3 expect"),
    ):
        model = EspdlBuilder(variant, scheme)
        x = model.input("x", (1, 1, 1, 2))
        kind = np.int16 if scheme == "int16" else np.int8
        w = model.filter("w", np.ones((9, 1, 1, 2), kind), [-7])
        data = model.build([model.operator("Conv", [x, w], "y", exponent=-4)])
        with pytest.raises(ModelError, match=words):
            read(data, VARIANTS["c" if variant == "esp32s3" else "esp32s3"])
    with pytest.raises(ModelError, match=r"layout \(N/16\)HWC16_UNALIGNED, that of no chip of this list"):
        read(small("esp32s3", quant_type="W8A16"), VARIANTS["esp32s3"])


def test_exponents_per_channel_are_for_the_esp32p4() -> None:
    model = EspdlBuilder("esp32s3")
    x = model.input("x", (1, 1, 1, 2))
    w = model.filter("w", np.ones((2, 1, 1, 2), np.int8), [-7, -6])
    data = model.build([model.operator("Conv", [x, w], "y", exponent=-4)])
    assert read(data, VARIANTS["esp32p4"]).scheme == "int8"
    with pytest.raises(ModelError, match="filter 'w' has an exponent for each channel"):
        read(data, VARIANTS["esp32s3"])


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ("Sigmoid", "ESP-DL computes it in floating point, as the file holds no table"),
        ("GlobalAveragePool", "tensor 'x' is int16, expected int8"),
        ("Resize", "ESP-DL's Resize does nothing in 16 bits"),
    ],
)
def test_what_esp_dl_has_not_in_16_bits_is_refused_by_name(op: str, words: str, tmp_path: Path) -> None:
    model = EspdlBuilder(scheme="int16")
    x = model.input("x", (1, 4, 4, 3))
    names, options = [x], {}
    if op == "Resize":
        scales = model.constant("scales", np.array([1, 1, 2, 2], np.float32))
        names, options = [x, "", scales], {"mode": "nearest"}
    if op == "Sigmoid":
        options = {"lut": model.constant("lut", np.zeros(257, np.int16), [-15])}
    path = tmp_path / "wide.espdl"
    path.write_bytes(model.build([model.operator(op, names, "y", exponent=-5, **options)]))
    with pytest.raises(UnsupportedError, match=rf"operator 0 \({op}\): .*{words}"):
        Espdl().load(path, "c")


@pytest.mark.parametrize("entries", [2048, 3, 65538, 0])
def test_a_table_of_another_length_is_refused(entries: int, tmp_path: Path) -> None:
    model = EspdlBuilder(scheme="int16")
    x = model.input("x", (1, 4))
    lut = model.constant("lut", np.zeros(entries, np.int16), [-5])
    path = tmp_path / "odd.espdl"
    path.write_bytes(model.build([model.operator("LUT", [x], "y", exponent=-5, lut=lut)]))
    if entries == 3:  # two steps of 32768
        assert Espdl().load(path, "c").scheme == "int16"
        return
    with pytest.raises(ModelError, match=r"operator 0 \(LUT\)"):
        Espdl().load(path, "c")


def test_sixteen_bit_test_values_may_be_one_off(tmp_path: Path) -> None:
    """As esp-ppq writes them unless told to be exact, and as ESP-DL's own test allows."""
    model = EspdlBuilder(scheme="int16")
    x = model.input("x", (1, 2))
    y = model.operator("Relu", [x], "y", exponent=-5)
    path = tmp_path / "model.espdl"
    for off in (0, 1, 2):
        sample = np.array([[5, 300]], np.int16)
        path.write_bytes(model.build([y], ({"x": sample}, {"y": sample + np.int16(off)})))
        if off < 2:
            assert Espdl().load(path, "c").scheme == "int16"
        else:
            with pytest.raises(ModelError, match="the test values in the file do not come out"):
                Espdl().load(path, "c")


def test_sums_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = EspdlBuilder()
    x = model.input("x", (1, 140000))
    w = model.filter("w", np.full((1, 1, 1, 140000), -128, np.int8), [-7])
    path = tmp_path / "wide.espdl"
    path.write_bytes(model.build([model.operator("Gemm", [x, w], "y", exponent=-4)]))
    with pytest.raises(UnsupportedError, match="does not fit 32 bits"):
        Espdl().load(path, "c")


def sixteen() -> bytes:
    """A convolution, a table of 2049 entries and a Softmax in w8a16."""
    rng = np.random.default_rng(0)
    model = EspdlBuilder(scheme="w8a16")
    x = model.input("x", (1, 3, 3, 2), exponent=-12)
    w = model.filter("w", rng.integers(-128, 128, (4, 2, 2, 2), np.int8), [-7])
    b = model.constant("b", rng.integers(-900, 900, 4, np.int64), [-19])
    y = model.operator("Conv", [x, w, b], "y", exponent=-11)
    lut = model.constant("lut", rng.integers(-30000, 30000, 2049, np.int16), [-12])
    z = model.operator("LUT", [y], "z", exponent=-12, lut=lut)
    return model.build([model.operator("Softmax", [z], "p", dtype="float32")])


@pytest.mark.parametrize("name", ["mnist_mlp", "small", "sixteen"])
def test_damage_anywhere_is_an_error_of_ours_or_another_valid_file(name: str, tmp_path: Path) -> None:
    """Random bytes overwritten, mostly in the tables, and cuts behind a corrected header."""
    built = {"small": small, "sixteen": sixteen}
    data = built[name]() if name in built else (ZOO / name / "model.c.espdl").read_bytes()
    rng = np.random.default_rng(2)
    path = tmp_path / "damaged.espdl"
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            position = int(rng.integers(16, min(len(data), 4000 if rng.random() < 0.7 else len(data))))
            broken[position] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))
        if rng.random() < 0.2:
            broken = bytearray(header(bytes(broken[: int(rng.integers(16, len(data)))])))
        path.write_bytes(bytes(broken))
        try:
            Espdl().load(path, "c")
        except HarnessError:
            refused += 1
    assert refused > 50
