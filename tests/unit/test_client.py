"""The client against a device written from docs/protocol.md alone, and over a wire that errs."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.boards.console_watch import ConsoleWatch
from harness.errors import (
    DataError,
    DeviceError,
    HarnessError,
    IdentityError,
    LinkError,
    OutputError,
    PortError,
    SilentError,
)
from harness.link.chaos import Chaos, ChaosPort
from harness.link.client import Link
from harness.link.codec import parse_memory
from harness.link.frames import Frame, encode_frame
from harness.link.messages import InferenceReply, TaskStack
from harness.link.wirelog import Direction, WireLog, escape, read_wire_log
from tests.firmware_demo import demo_layers
from tests.firmware_wire import digest8
from tests.link_devices import (
    ARTIFACT,
    FaultyPort,
    GonePort,
    PythonDevice,
    Restart,
    demo_inputs,
)


def connected(device: PythonDevice, **options: object) -> Link:
    link = Link(device, **options)  # type: ignore[arg-type]
    link.connect(2.0)
    return link


def outputs(link: Link, inputs: list[bytes]) -> list[bytes]:
    return [reply.output for reply in link.infer_stream(inputs)]


def sums(inputs: list[bytes]) -> list[bytes]:
    return [demo_layers(data)[2] for data in inputs]


def test_identity_and_description() -> None:
    link = connected(PythonDevice())
    assert link.identify().model == "demo"
    model = link.describe()
    assert (model.input_bytes, model.output_bytes) == (8, 4)
    assert [layer.op for layer in model.layers] == ["ADD", "MUL", "SUM"]
    assert model.layers[1].output.shape == (1, 8)
    assert (model.inputs[0].scale, model.inputs[0].zero_point, model.layers[0].macs) == (0.5, 3, 7)
    memory = link.memory()
    assert (memory.stack_used_bytes, memory.heap_bytes, memory.tasks) == (300, None, ())


TASKS = struct.pack("<8I", *range(8))
TASKS += struct.pack("<IIB", 16384, 12288, 7) + b"harness" + struct.pack("<IIB", 0xFFFFFFFF, 16, 5) + b"IDLE0"


def test_memory_of_a_device_with_tasks() -> None:
    memory = parse_memory(TASKS)
    assert memory.heap_low_bytes == 6
    assert memory.tasks == (TaskStack("harness", 16384, 12288), TaskStack("IDLE0", None, 16))


@pytest.mark.parametrize("size", [0, 31, 33, 40, 47, len(TASKS) - 1])
def test_a_torn_memory_report_is_refused(size: int) -> None:
    with pytest.raises(LinkError, match="MEMORY reply"):
        parse_memory(TASKS[:size])


def test_stream_is_in_order_and_keeps_within_the_window() -> None:
    device = PythonDevice(rx_window=512)
    inputs = demo_inputs(300)
    assert outputs(connected(device), inputs) == sums(inputs)
    assert 200 < device.peak_buffered <= 512


def test_samples_are_taken_only_as_the_window_allows() -> None:
    taken = itertools.count()
    stream = connected(PythonDevice(rx_window=512)).infer_stream(
        data for data in demo_inputs(1000) if next(taken) >= 0
    )
    next(stream)
    assert next(taken) < 30


def test_layers_counts_and_digests() -> None:
    link = connected(PythonDevice(counter_scale="25/128"))
    (data,) = demo_inputs(1)
    reply = link.infer(data, layer_counts=True, layer_digests=True)
    assert reply.count == round(1000 * 25 / 128)
    assert reply.layer_counts == (20, 39, 59)
    assert reply.layer_digests == tuple(digest8(layer) for layer in demo_layers(data))
    assert [link.read_layer(data, layer) for layer in range(3)] == demo_layers(data)
    assert [link.layer_digest(data, layer) for layer in range(3)] == list(reply.layer_digests)
    with pytest.raises(LinkError, match="from 0 to 2"):
        link.read_layer(data, 3)


def test_the_last_layer_is_not_the_output_of_every_network() -> None:
    link = connected(PythonDevice(wide_output=True))
    (data,) = demo_inputs(1)
    assert link.infer(data).output == demo_layers(data)[1]
    assert link.read_layer(data, 2) == demo_layers(data)[2]


@pytest.mark.parametrize(
    ("max_payload", "both", "digests"), [(4096, True, True), (84, False, True), (67, False, False)]
)
def test_what_fits_one_reply_of_all_layers(max_payload: int, both: bool, digests: bool) -> None:
    link = connected(PythonDevice(max_payload=max_payload))
    assert link.room_for_layers(counts=True, digests=True) is both
    assert link.room_for_layers(counts=False, digests=True) is digests


def test_large_inputs_and_outputs_travel_in_parts() -> None:
    device = PythonDevice(elements=2000, max_payload=128, rx_window=400, wide_output=True)
    link = connected(device)
    inputs = demo_inputs(5, 2000)
    assert outputs(link, inputs) == [demo_layers(data)[1] for data in inputs]
    assert link.read_layer(inputs[0], 0) == demo_layers(inputs[0])[0]
    assert device.peak_buffered <= 400


def test_a_device_that_holds_a_newer_inference_number_is_overtaken() -> None:
    device = PythonDevice(elements=500, max_payload=128)
    inputs = demo_inputs(4, 500)
    link = connected(device)
    link.describe()
    device._held_number = 0x7000_0000
    assert outputs(link, inputs) == sums(inputs)
    # Each was on its way already, twice.
    assert link.statistics.retries == 2 * len(inputs)


def test_wrong_input_size_is_refused_before_it_is_sent() -> None:
    device = PythonDevice()
    with pytest.raises(DataError, match=r"expected 8 input bytes \(in int8\[1, 8\]\), 7 were given"):
        connected(device).infer(bytes(7))
    assert device.inferences == 0


@pytest.mark.parametrize("seed", range(3))
def test_noise_costs_no_inference_and_never_a_wrong_score(seed: int) -> None:
    device = PythonDevice(rx_window=2048)
    wire = FaultyPort(device, seed, every=900)
    link = Link(wire)
    link.connect(5.0)
    inputs = demo_inputs(1500, seed=seed)
    assert outputs(link, inputs) == sums(inputs)
    assert wire.faults > 100
    assert link.statistics.retries > 20
    assert link.statistics.restarts == 0


def test_noise_on_parts() -> None:
    device = PythonDevice(elements=1000, max_payload=200, rx_window=600, wide_output=True)
    wire = FaultyPort(device, 4, every=3000)
    link = Link(wire)
    link.connect(5.0)
    inputs = demo_inputs(40, 1000)
    assert outputs(link, inputs) == [demo_layers(data)[1] for data in inputs]
    assert wire.faults > 20


def test_long_inputs_get_through_where_no_long_frame_does() -> None:
    device = PythonDevice(elements=784, rx_window=8192)
    chaos = Chaos(drop=1e-3, flip=1e-3, dup=1e-3, garbage=1e-3, burst=1e-4, reset=1e-5, seed=5)
    port = ChaosPort(device, chaos, device.restart)
    link = Link(port)
    link.connect(5.0)
    inputs = demo_inputs(60, 784)
    assert outputs(link, inputs) == sums(inputs)
    sent = link.statistics.bytes_sent / (60 * 784)
    assert 1.5 < sent < 4, "parts are chosen badly"
    assert device.inferences < 120


def test_long_inputs_follow_each_other_without_a_wait() -> None:
    device = PythonDevice(elements=6000, max_payload=1024, rx_window=8192)
    link = connected(device)
    link.describe()
    inputs = demo_inputs(6, 6000)
    assert outputs(link, inputs) == sums(inputs)
    # More than one input is larger than, with all its parts: the next one was on its way.
    assert device.peak_buffered > 7000
    assert link.statistics.retries == 0


def test_one_lost_byte_of_a_long_input_costs_that_input_alone() -> None:
    class Stumbles(PythonDevice):
        def write(self, data: bytes) -> None:
            self.writes = getattr(self, "writes", 0) + 1
            super().write(data[:-5] if self.writes == 14 else data)

    device = Stumbles(elements=6000, max_payload=1024, rx_window=8192)
    link = connected(device)
    inputs = demo_inputs(6, 6000)
    assert outputs(link, inputs) == sums(inputs)
    assert link.statistics.device_bad_frames == 1
    assert device.inferences == 6


class Babble:
    """A device that says what it is told, whatever is asked, and then nothing more."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def read(self, timeout_s: float) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        time.sleep(max(0.0, timeout_s))
        return b""

    def write(self, data: bytes) -> None: ...

    def set_baud(self, baud: int) -> None: ...


@st.composite
def sound_frames(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from([*range(0x81, 0x8B), 0x70, 0x71]) | st.integers(0, 255))
    frame = Frame(kind, draw(st.integers(0, 3)), draw(st.binary(max_size=64)), draw(st.integers(0, 10)))
    return encode_frame(frame)


@settings(max_examples=20, deadline=None)
@given(pieces=st.lists(st.binary(max_size=64) | sound_frames(), max_size=20))
def test_whatever_comes_the_link_ends_in_time_with_an_error_of_ours(pieces: list[bytes]) -> None:
    stranger = Link(Babble(list(pieces)), timeout_s=0.05)
    known = connected(PythonDevice())
    known.describe()
    known._pipeline.timeout_s = 0.05
    known._pipeline.wire._port = Babble(pieces)
    started_s = time.monotonic()
    for link, ask in ((stranger, lambda: stranger.connect(0.05)), (known, lambda: known.infer(bytes(8)))):
        link._pipeline._sequence = 0xFFFF
        with pytest.raises(HarnessError):
            ask()
    assert time.monotonic() - started_s < 3.0


def lie(at: Callable[[int], bool], offset: int) -> Callable[[int, bytes], bytes]:
    """Spoils one byte of some replies, under a valid CRC."""

    def spoil(number: int, payload: bytes) -> bytes:
        spoilt = bytearray(payload)
        spoilt[offset] ^= 1 if at(number) else 0
        return bytes(spoilt)

    return spoil


@pytest.mark.parametrize("offset", [8, 16, 44], ids=["input digest", "output digest", "output"])
def test_a_reply_whose_digests_do_not_hold_is_asked_for_again(offset: int) -> None:
    device = PythonDevice(on_infer=lie(lambda number: number == 3, offset))
    link = connected(device)
    inputs = demo_inputs(10)
    replies = list(link.infer_stream(inputs))
    assert [reply.output for reply in replies] == sums(inputs)
    assert [reply.retries for reply in replies].count(1) == 1
    assert link.statistics.retries == 1


@pytest.mark.parametrize("offset", [8, 16, 44])
def test_a_device_that_keeps_lying_is_never_scored(offset: int) -> None:
    link = connected(PythonDevice(on_infer=lie(lambda _: True, offset)))
    with pytest.raises(LinkError, match="digests disagree"):
        link.infer(demo_inputs(1)[0])


@pytest.mark.parametrize("change", [-1, 1])
def test_an_output_of_another_length_than_described_is_never_scored(change: int) -> None:
    def resized(_: int, payload: bytes) -> bytes:
        output = (payload[44:] + b"\1")[: len(payload) - 44 + change]
        return payload[:16] + digest8(output) + payload[24:40] + struct.pack("<I", len(output)) + output

    link = connected(PythonDevice(on_infer=resized))
    described = link.describe().output_bytes
    with pytest.raises(LinkError, match=f"output of {described} bytes, the device sent {described + change}"):
        link.infer(demo_inputs(1)[0])


def test_a_restart_in_mid_run_is_survived_and_counted() -> None:
    pending = {40, 90}

    def crash(number: int, payload: bytes) -> bytes:
        if number in pending:
            pending.remove(number)
            raise Restart
        return payload

    device = PythonDevice(on_infer=crash, rx_window=1024, banner=b"rst:0x3\r\n")
    link = connected(device)
    inputs = demo_inputs(150)
    assert outputs(link, inputs) == sums(inputs)
    assert (link.statistics.restarts, device.boots) == (2, 3)


def test_a_device_that_restarts_at_every_inference_is_given_up() -> None:
    def crash(_: int, __: bytes) -> bytes:
        raise Restart(reason=4)

    device = PythonDevice(on_infer=crash, banner=b"Guru Meditation Error\r\n")
    with pytest.raises(DeviceError, match=r"restarted 3 times in a row.*INFER 1.*panic") as caught:
        connected(device).infer(demo_inputs(1)[0])
    assert "| Guru Meditation Error" in str(caught.value)


@pytest.mark.parametrize("ready", [True, False], ids=["READY seen", "READY lost"])
def test_a_device_that_comes_back_as_another_is_not_scored(ready: bool) -> None:
    class TwoSlots(PythonDevice):
        def _send(self, kind: int, sequence: int, status: int, payload: bytes) -> None:
            if kind != 0x70 or ready:
                super()._send(kind, sequence, status, payload)

    def crash(number: int, payload: bytes) -> bytes:
        if number == 5 and device.boots == 1:
            device.artifact = "ee" * 32
            raise Restart
        return payload

    device = TwoSlots(on_infer=crash)
    link = connected(device)
    given: list[InferenceReply] = []
    with pytest.raises(IdentityError, match=r"restarted as another: model demo \(artifact e{16}"):
        given.extend(link.infer_stream(demo_inputs(20)))
    # Where READY is lost the end of the stream tells.
    assert len(given) == (4 if ready else 20)


def test_an_abandoned_stream_does_not_disturb_what_follows() -> None:
    device = PythonDevice(rx_window=512)
    link = connected(device)
    inputs = demo_inputs(100)
    stream = link.infer_stream(inputs)
    assert next(stream).output == sums(inputs)[0]
    stream.close()  # type: ignore[attr-defined]
    assert outputs(link, inputs[50:]) == sums(inputs[50:])
    assert link.echo(b"abc") == b"abc"
    assert device.peak_buffered <= 512


def test_reset_is_not_counted_as_a_failure() -> None:
    device = PythonDevice()
    link = connected(device)
    assert link.reset().boot_reason == 2
    assert (device.boots, link.statistics.restarts) == (2, 0)


def test_baud_changes_on_both_ends_or_on_neither() -> None:
    device = PythonDevice()
    link = connected(device, baud=115200)
    link.set_baud(921600)
    assert (device.bauds, link.statistics.baud) == ([921600], 921600)
    with pytest.raises(LinkError, match="SET_BAUD 3: RANGE no such rate"):
        link.set_baud(3)
    assert device.bauds == [921600]


def test_a_silent_device_shows_its_last_lines_and_the_log(tmp_path: Path) -> None:
    device = PythonDevice(mute=True, banner=b"".join(b"line %d\n" % i for i in range(20)) + b"Backtr\x07ace")
    log = WireLog(text=tmp_path / "uart.log")
    link = Link(device, log=log, board_state=lambda: "QEMU is running at pc 0x42")
    with pytest.raises(SilentError) as caught:
        link.connect(0.3)
    message = str(caught.value)
    assert "expected the answer to HELLO, nothing valid came for 0.3 s" in message
    assert "QEMU is running at pc 0x42" in message
    assert f"whole log: {tmp_path / 'uart.log'}" in message
    assert "line 10\n" not in message
    assert message.endswith("  | line 19\n  | Backtr\\x07ace")
    link.close()
    assert (tmp_path / "uart.log").read_text().splitlines()[-1].endswith("] Backtr\\x07ace")


def test_a_device_that_falls_silent_in_mid_run() -> None:
    device = PythonDevice()
    link = connected(device, timeout_s=0.5)
    link.identify()
    link.describe()
    device.mute = True
    with pytest.raises(SilentError, match=r"INFER 1, nothing valid came for 0\.5 s.*printed nothing"):
        link.infer(demo_inputs(1)[0])


def test_another_model_names_both_and_the_remedy() -> None:
    link = connected(PythonDevice(artifact="ab" * 32))
    with pytest.raises(IdentityError) as caught:
        link.expect_identity(artifact=ARTIFACT, model="mnist_mlp", remedy="flash build/x/firmware.elf")
    assert str(caught.value) == (
        "expected model mnist_mlp (artifact 0011223344556677), "
        "the device runs demo (artifact abababababababab). flash build/x/firmware.elf"
    )
    with pytest.raises(IdentityError, match="another firmware build"):
        link.expect_identity(artifact="ab" * 32, firmware="0" * 64)
    with pytest.raises(IdentityError, match="for esp32s3, the device's was built for esp32c3"):
        link.expect_identity(artifact="ab" * 32, target="esp32s3")
    assert link.expect_identity(artifact="ab" * 32, firmware="f" * 64, target="esp32c3").model == "demo"


def test_no_common_version() -> None:
    with pytest.raises(LinkError, match="speaks protocol version 2 to 2, this bench speaks 1"):
        connected(PythonDevice(version=2))


def test_garbage_and_stale_answers_before_the_handshake() -> None:
    device = PythonDevice(banner=bytes(range(256)) * 5)
    outputs_before = connected(device)
    outputs_before._pipeline.submit(0x0A, b"stale", "ECHO")
    link = connected(device)
    assert link.echo(b"fresh") == b"fresh"


def test_a_port_that_goes_away_tells_what_the_device_said_last() -> None:
    link = Link(GonePort(PythonDevice(banner=b"abort() was called\n"), reads=2))
    link.connect()
    with pytest.raises(PortError, match=r"(?s)the port is gone\. Attach it again\..*\| abort\(\) was called"):
        link.memory()


def test_what_the_device_cannot_take_is_not_sent() -> None:
    with pytest.raises(LinkError, match="ECHO has 4097 bytes, the device takes at most"):
        connected(PythonDevice(rx_window=9000)).echo(bytes(4097))


def test_text_between_frames_reaches_the_log(tmp_path: Path) -> None:
    device = PythonDevice(on_infer=lambda number, payload: (device.say(b"I (%d) run\n" % number), payload)[1])
    log = WireLog(wire=tmp_path / "wire.bin", text=tmp_path / "uart.log")
    link = connected(device, log=log)
    inputs = demo_inputs(3)
    assert outputs(link, inputs) == sums(inputs)
    # Not closed: a killed run keeps what was there.
    text = (tmp_path / "uart.log").read_text()
    assert [line.partition("] ")[2] for line in text.splitlines()] == [f"I ({i}) run" for i in (1, 2, 3)]
    records = list(read_wire_log(tmp_path / "wire.bin"))
    sent = b"".join(record.data for record in records if record.direction is Direction.TO_DEVICE)
    received = b"".join(record.data for record in records if record.direction is Direction.FROM_DEVICE)
    assert (len(sent), len(received)) == (link.statistics.bytes_sent, link.statistics.bytes_received)
    assert [record.time_ns for record in records] == sorted(record.time_ns for record in records)
    log.close()


def test_a_wire_log_cut_short_is_readable_to_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "wire.bin"
    with WireLog(wire=path) as log:
        log.data(Direction.TO_DEVICE, b"one")
        log.data(Direction.FROM_DEVICE, b"two")
    path.write_bytes(path.read_bytes()[:-1])
    assert [record.data for record in read_wire_log(path)] == [b"one"]
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="not a wire log"):
        list(read_wire_log(path))
    with pytest.raises(OutputError, match="cannot write the wire log"):
        WireLog(wire=tmp_path / "absent" / "wire.bin")


def test_escaping_leaves_no_control_character() -> None:
    assert escape(b"\x1b[31mred\xff \xc2\xb5s") == "\\x1b[31mred\\xff µs"


def test_malformed_replies_are_link_errors() -> None:
    for size in (0, 39, 43, 45):
        device = PythonDevice(on_infer=lambda _, payload, size=size: payload[:size].ljust(size, b"\0"))
        with pytest.raises(LinkError, match="INFER reply"):
            connected(device).infer(demo_inputs(1)[0])


def test_counts_scale_to_the_nearest() -> None:
    for scale, expected in (("1/3", 333), ("2/3", 667), ("25/128", 195)):
        assert connected(PythonDevice(counter_scale=scale)).infer(demo_inputs(1)[0]).count == expected
    with pytest.raises(LinkError, match="counter_scale"):
        connected(PythonDevice(counter_scale="1/0")).identify()


def test_a_panic_in_mid_run_ends_the_wait_at_once() -> None:
    def panic(_: int, payload: bytes) -> bytes:
        device.say(b"Guru Meditation Error: Core  0 panic'ed (LoadProhibited)\r\n")
        device.mute = True
        device._send = lambda *_: None  # type: ignore[method-assign]
        return payload

    device = PythonDevice(on_infer=panic)
    link = Link(device, timeout_s=60.0, watch=ConsoleWatch())
    link.connect()
    started_s = time.monotonic()
    with pytest.raises(DeviceError, match="the firmware crashed on core 0: LoadProhibited"):
        link.infer(demo_inputs(1)[0])
    assert time.monotonic() - started_s < 5


def test_answers_to_no_open_request_are_named() -> None:
    class Old(PythonDevice):
        def _send(self, kind: int, sequence: int, status: int, payload: bytes) -> None:
            super()._send(kind, (sequence - 1) & 0xFFFF, status, payload)

    with pytest.raises(SilentError, match=r"answers bore the sequence number of no open request"):
        Link(Old()).connect(0.5)


def test_a_reset_that_is_not_heard_still_brings_the_device_back() -> None:
    device = PythonDevice()
    link = connected(device)
    boots = device.boots
    link.reset_unheard(2.0)
    assert device.boots == boots + 1
    assert link.echo(b"back") == b"back"
