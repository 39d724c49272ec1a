"""The model image: what Python writes, firmware/runtimes/vendor/model_image.c reads on the chip."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bundled import firmware_dir
from harness.items import load_artifact
from harness.model.spec import load_model
from harness.runtimes.base import Artifact
from harness.targets import get_target
from harness.tensors import TensorInfo
from harness.toolchains.bare_metal import LANGUAGE_FLAGS
from harness.toolchains.esp_idf.model_image import ALIGNMENT, encode

TARGET = get_target("esp32c3")
SANITIZED = ("-shared", "-fPIC", "-fsanitize=undefined", "-fno-sanitize-recover=all")


class Tensor(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int),
        ("rank", ctypes.c_uint8),
        ("dims", ctypes.c_int32 * 6),
        ("bytes", ctypes.c_uint32),
        ("scale_bits", ctypes.c_uint32),
        ("zero_point", ctypes.c_int32),
    )


class Layer(ctypes.Structure):
    _fields_ = (("op", ctypes.c_char_p), ("macs", ctypes.c_uint64), ("output", Tensor))


class Image(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("artifact", ctypes.c_void_p),
        ("artifact_bytes", ctypes.c_uint32),
        *((name, ctypes.c_char_p) for name in ("runtime", "model", "sha256")),
        *((name, ctypes.c_uint16) for name in ("inputs", "outputs", "layers")),
    )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("reader") / "model_image.so"
    firmware = firmware_dir()
    core = [firmware / "core" / name for name in ("bytes.c", "crc32.c")]
    sources = [firmware / "runtimes/vendor/model_image.c", *core]
    includes = [f"-I{firmware}", f"-I{firmware / 'core'}"]
    subprocess.run(["gcc", *LANGUAGE_FLAGS, *SANITIZED, *includes, *sources, "-o", library], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.model_image_open.restype = ctypes.c_char_p
    loaded.model_image_open.argtypes = (ctypes.POINTER(Image), ctypes.c_void_p, ctypes.c_size_t)
    for name in ("model_image_tensor", "model_image_layer"):
        getattr(loaded, name).restype = None
        getattr(loaded, name).argtypes = (ctypes.POINTER(Image), ctypes.c_uint16, ctypes.c_void_p)
    return loaded


def open_image(reader: ctypes.CDLL, data: bytes) -> tuple[Image, bytes | None, object]:
    """The image, why it is none, and the memory it lies in: exactly as large as `data`."""
    memory = ctypes.create_string_buffer(data, len(data)) if data else None
    image = Image()
    return image, reader.model_image_open(image, memory, len(data)), memory


@pytest.fixture(scope="module", params=["tflm", "espdl"])
def artifact(request: pytest.FixtureRequest) -> Artifact:
    return load_artifact(load_model("himax_cnn"), request.param, TARGET)


def assert_same(read: Tensor, info: TensorInfo) -> None:
    assert read.name.decode() == info.name
    assert tuple(read.dims[: read.rank]) == info.shape
    assert read.bytes == info.size_bytes
    assert struct.pack("<I", read.scale_bits) == struct.pack("<f", info.scale)
    assert read.zero_point == info.zero_point


def test_the_chip_reads_what_was_written(reader: ctypes.CDLL, artifact: Artifact) -> None:
    data = encode(artifact)
    image, failure, memory = open_image(reader, data)
    assert failure is None
    assert image.model.decode() == "himax_cnn"
    assert image.runtime.decode() == artifact.runtime
    assert image.sha256.decode() == artifact.digest
    offset = image.artifact - ctypes.addressof(memory)
    assert offset % ALIGNMENT == 0
    assert data[offset : offset + image.artifact_bytes] == artifact.data
    tensor, layer = Tensor(), Layer()
    for index, info in enumerate((*artifact.inputs, *artifact.outputs)):
        reader.model_image_tensor(image, index, ctypes.byref(tensor))
        assert_same(tensor, info)
    for index, known in enumerate(artifact.layers):
        reader.model_image_layer(image, index, ctypes.byref(layer))
        assert (layer.op.decode(), layer.macs) == (known.op, known.macs)
        assert_same(layer.output, known.output)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _: b"", "no model image"),
        (lambda _: b"\xff" * 4096, "no model image"),
        (lambda image: image[:-1], "cut short"),
        (lambda image: image[:40], "no model image"),
        (lambda image: image[:-1] + bytes([image[-1] ^ 1]), "damaged"),
    ],
)
def test_a_bad_partition_is_named(reader: ctypes.CDLL, artifact: Artifact, damage, said: str) -> None:
    _, failure, _ = open_image(reader, damage(encode(artifact)))
    assert failure is not None
    assert said in failure.decode()


@settings(max_examples=200, deadline=None)
@given(places=st.lists(st.tuples(st.integers(16, 1023), st.integers(0, 255)), min_size=1, max_size=6))
def test_no_header_leads_out_of_the_image(
    reader: ctypes.CDLL, artifact: Artifact, places: list[tuple[int, int]]
) -> None:
    """With a CRC that fits, so that the checks behind it are reached."""
    data = bytearray(encode(artifact))
    for place, value in places:
        data[place] = value
    struct.pack_into("<I", data, 12, zlib.crc32(data[16:]))
    image, failure, memory = open_image(reader, bytes(data))
    if failure is not None:
        return
    start = ctypes.addressof(memory)
    assert start <= image.artifact <= image.artifact + image.artifact_bytes <= start + len(data)
    layer = Layer()
    for index in range(image.layers):
        reader.model_image_layer(image, index, ctypes.byref(layer))
        assert layer.output.rank <= 6
        assert len(layer.op) < len(data)


def test_the_same_artifact_gives_the_same_bytes(artifact: Artifact) -> None:
    assert encode(artifact) == encode(artifact)


def test_the_reader_compiles_for_32_bits(tmp_path: Path) -> None:
    firmware = firmware_dir()
    includes = [f"-I{firmware}", f"-I{firmware / 'core'}", f"-I{firmware / 'platforms/qemu_common/include'}"]
    source = firmware / "runtimes/vendor/model_image.c"
    for compiler in ("riscv64-unknown-elf-gcc", "xtensa-lx106-elf-gcc"):
        flags = ("-march=rv32imc", "-mabi=ilp32") if compiler.startswith("riscv") else ("-mlongcalls",)
        command = [compiler, *LANGUAGE_FLAGS, *flags, "-ffreestanding", *includes, "-c", str(source)]
        subprocess.run([*command, "-o", str(tmp_path / "out.o")], check=True)
