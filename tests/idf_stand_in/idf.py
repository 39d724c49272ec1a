#!/usr/bin/env python3
"""A stand-in for ESP-IDF's idf.py: records how it was called and leaves the files a build would.

It compiles nothing of the project: its app is a text that says what the firmware would be, which
tests/stand_in/idf_builds.py boots by other firmware. IDF_STAND_IN_RECORD: where each call is appended;
IDF_STAND_IN_FAILS: a file with what it says before it fails; IDF_STAND_IN_UNKNOWN: a setting it passes over.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

arguments = sys.argv[1:]
tree, made = Path(arguments[arguments.index("-C") + 1]), Path(arguments[arguments.index("-B") + 1])
with open(os.environ["IDF_STAND_IN_RECORD"], "a", encoding="utf-8") as record:
    files = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
    record.write(json.dumps({"arguments": arguments, "files": files}) + "\n")

if said := os.environ.get("IDF_STAND_IN_FAILS"):
    print(Path(said).read_text(encoding="utf-8"))
    sys.exit(2)
if arguments[-1] == "size":
    print(
        "Executing action: size\nRunning ninja in directory build\n[1/1] size\nTotal image size: 4711 bytes"
    )
    sys.exit(0)


def given(name: str) -> str:
    return next(text.partition("=")[2] for text in arguments if text.startswith(f"-D{name}="))


for folder in ("bootloader", "partition_table"):
    (made / folder).mkdir(parents=True)
(made / "bootloader/bootloader.bin").write_bytes(b"bootloader")
shutil.copy(tree / "partitions.csv", made / "partition_table/partition-table.bin")
weights = tree / "model/model_weights.c"
app = {
    "digest": given("FIRMWARE_DIGEST"),
    "kernels": re.search(r'ENGINE_KERNELS="(.*?)"', (tree / "main/CMakeLists.txt").read_text())[1],
    "artifact": re.search(r'"(\w{64})"', weights.read_text())[1] if weights.exists() else None,
}
(made / "firmware.bin").write_bytes(json.dumps(app).encode() + bytes(20_000))
(made / "firmware.map").write_text("map\n", encoding="utf-8")
(made / "empty.c").write_text("int main(void) { return 0; }\n", encoding="utf-8")
subprocess.run([shutil.which("gcc"), made / "empty.c", "-o", made / "firmware.elf"], check=True)
(tree / "dependencies.lock").write_text("version: 2.0.0\n", encoding="utf-8")
settings = {}
for file in ("sdkconfig.defaults", f"sdkconfig.defaults.{given('IDF_TARGET')}"):
    settings |= dict(line.split("=", 1) for line in (tree / file).read_text(encoding="utf-8").splitlines())
unknown = os.environ.get("IDF_STAND_IN_UNKNOWN", "")
taken = {name: value for name, value in settings.items() if name != unknown}
lines = [f"# {name} is not set" if value == "n" else f"{name}={value}" for name, value in taken.items()]
(tree / "sdkconfig").write_text("\n".join([*lines, ""]), encoding="utf-8")
(made / "config").mkdir()
(made / "config/sdkconfig.json").write_text(json.dumps({"IDF_TARGET": given("IDF_TARGET")}), encoding="utf-8")
(size,) = (name.rpartition("_")[2] for name in settings if name.startswith("CONFIG_ESPTOOLPY_FLASHSIZE_"))
flash = {
    "write_flash_args": ["--flash_mode", "dio", "--flash_size", size, "--flash_freq", "80m"],
    "flash_settings": {"flash_mode": "dio", "flash_size": size, "flash_freq": "80m"},
    "flash_files": {
        "0x0": "bootloader/bootloader.bin",
        "0x10000": "firmware.bin",
        "0x8000": "partition_table/partition-table.bin",
    },
    "app": {"offset": "0x10000", "file": "firmware.bin", "encrypted": "false"},
    "bootloader": {"offset": "0x0", "file": "bootloader/bootloader.bin", "encrypted": "false"},
    "partition-table": {
        "offset": "0x8000",
        "file": "partition_table/partition-table.bin",
        "encrypted": "false",
    },
    "extra_esptool_args": {
        "after": "hard_reset",
        "before": "default_reset",
        "stub": True,
        "chip": given("IDF_TARGET"),
    },
}
(made / "flasher_args.json").write_text(json.dumps(flash), encoding="utf-8")
print("Project build complete.")
