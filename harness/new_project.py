"""`harness init`: a directory in which a user tests a model: declaration, test, settings, copies of files.

Everything in it is the user's to change; nothing here is needed to run it.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ModelError, UsageError
from harness.inspection.model import Inspection, inspect_model
from harness.inspection.support import NO, QUANTISES, RUNS
from harness.model.preprocess import parse_preprocess
from harness.model.spec import ModelSpec, load_model, spec_text
from harness.model.task import parse_task
from harness.new_directory import check_new, write_new

FIRST_CHOICE = "esp32c3"
"""The chip to begin with, where the model runs on it."""

TEST = '''"""Is {name} right on the chip? pytest --target {target}"""

from harness.result import Result


def test_model(result: Result) -> None:
    """The device answers what the oracle answers: every output, and every layer of the first samples."""
    assert result.failures == ()
'''

SETTINGS = """[pytest]
testpaths = test_{module}.py
harness_model = .
# Each option of pytest --help, group harness, may stand here: harness_samples = 100
"""

README = """# {name}

    pytest --target {target}                  # on a board, or where none is attached on an emulator
    pytest --target {target} --port /dev/ttyUSB0
    harness inspect .                         # operators, memory, and which runtimes take it

`model.toml` declares the model and its data, `test_{module}.py` is the test, `pytest.ini` holds options.
Reports go to `reports/`.
"""

IGNORED = "__pycache__/\n.pytest_cache/\nbuild/\nreports/\n"


@dataclass(frozen=True)
class NewProject:
    """`files` are the names in the directory, `target` a chip that the model runs on."""

    files: tuple[str, ...]
    target: str


def write_project(
    directory: Path,
    model: str,
    data: Path | None,
    calibration: Path | None,
    preprocess: str = "",
    task: str = "",
) -> NewProject:
    """Writes `directory`, which is there afterwards whole or not at all.

    Raises:
        OutputError: there is something in it, or it cannot be written.
        UsageError: the model is a folder of C++, which needs no directory of its own.
        ModelError: no runtime takes the model, or it is a float model without data to quantise it with.
        DataError: the data do not fit it.
    """
    check_new(directory)
    spec = load_model(model)
    if task:
        spec = dataclasses.replace(spec, task=parse_task(task))
    if preprocess:
        spec = dataclasses.replace(spec, preprocess=parse_preprocess(preprocess))
    project = spec.artifacts.get("espdlv1")
    if project is not None and project.is_dir():
        raise UsageError(
            f"{model} is a v1 project, which runs as it is", f"harness run {model} --target esp32"
        )
    spec = dataclasses.replace(spec, test=data or spec.test, calibration=calibration or spec.calibration)
    found = inspect_model(spec, spec.test)
    if spec.calibration is None and not any(one.verdict == RUNS for one in found.support):
        # What there is to calibrate with is what there is to test with.
        spec = dataclasses.replace(spec, calibration=spec.test)
    target = _target(spec, found)
    declared, copies = _copied(spec, found, directory)
    named = {"name": declared.name, "module": declared.name.replace("-", "_"), "target": target}
    texts = {
        "model.toml": spec_text(declared, directory),
        f"test_{named['module']}.py": TEST.format(**named),
        "pytest.ini": SETTINGS.format(**named),
        "README.md": README.format(**named),
        ".gitignore": IGNORED,
    }
    write_new(directory, texts, copies)
    return NewProject((*texts, *copies), target)


def _target(spec: ModelSpec, found: Inspection) -> str:
    """A chip on which some runtime takes the model. Raises ModelError where none does."""
    for verdict in (RUNS, QUANTISES):
        chips = [chip for one in found.support if one.verdict == verdict for chip in one.chips]
        if verdict == QUANTISES and chips and spec.calibration is None:
            raise ModelError(
                f"{spec.name} is a float model, and there are no inputs to quantise it with",
                "Give some 200 typical ones: --calibration FILE, or --data FILE",
            )
        if chips:
            return FIRST_CHOICE if FIRST_CHOICE in chips else chips[0]
    # The runtime whose file it is knows best what is wrong with it.
    own = [one.why for one in found.support if one.verdict == NO and one.runtime == found.runtime]
    reason = (own or [one.why for one in found.support])[0]
    raise ModelError(
        f"{spec.name}: no runtime takes it: {reason}", "Each one's reason: harness inspect MODEL"
    )


def _file_name(kind: str, path: Path) -> str:
    return "saved_model" if kind == "savedmodel" else f"model{path.suffix.lower()}"


def _copied(spec: ModelSpec, found: Inspection, directory: Path) -> tuple[ModelSpec, dict[str, Path]]:
    """The model as it will be declared, and what is copied, by its name in the directory."""
    copies: dict[str, Path] = {}

    def copy(source: Path, name: str) -> Path:
        copies[name] = source
        return directory / name

    alone = len(spec.artifacts) == 1
    artifacts = {
        kind: copy(path, _file_name(kind, path) if alone else path.name)
        for kind, path in spec.artifacts.items()
    }
    test = spec.test and copy(spec.test, f"test_data{spec.test.suffix}")
    calibration = test
    if spec.calibration != spec.test:
        calibration = spec.calibration and copy(spec.calibration, f"calibration{spec.calibration.suffix}")
    elif spec.calibration is None:
        calibration = None
    shape = found.facts.inputs[0].info.shape
    declared = dataclasses.replace(
        spec,
        name=re.sub(r"[^A-Za-z0-9_-]", "_", spec.name),
        artifacts=artifacts,
        input_shape=spec.input_shape or (shape if shape[:1] == (1,) else (1, *shape)),
        test=test,
        calibration=calibration,
    )
    return declared, copies
