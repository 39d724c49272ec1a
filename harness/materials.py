"""What the items of a run share, each made once: models, artifacts, expectations, data, float references.

Nothing here has to do with boards.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from harness.errors import UsageError
from harness.expectation import Expectation, expect, for_task, model_task
from harness.expectation_store import remembered
from harness.items import Item, Workshop, load_artifact, shown
from harness.model.dataset import Dataset, load_dataset, random_dataset
from harness.model.reference import Reference, open_reference
from harness.model.spec import ModelSpec, load_model, zoo
from harness.model.task import RECONSTRUCTION, REGRESSION, Task
from harness.progress import Say, silent
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact
from harness.runtimes.tflm.float_file import stored_as
from harness.runtimes.tflm.stored_weights import FLOAT
from harness.settings import ALL_SAMPLES, RANDOM_SAMPLES, Settings


class Materials:
    """The models a run was asked for, and what is made of them.

    Raises, when made: ModelError for names that do not resolve, UsageError for two models of one name or
    data that are not there.
    """

    def __init__(self, settings: Settings, say: Say = silent) -> None:
        _check_files(settings)
        self._settings = settings
        self._say = say
        names = [name for given in settings.models for name in (zoo() if given == "zoo" else [given])]
        self._models = {name: self._load(name) for name in dict.fromkeys(names)}
        _check_names(self._models)
        self.models = tuple(self._models.values())
        # By model, runtime and the runtime's variant of the chip.
        self._artifacts: dict[tuple[str, str, str], Artifact] = {}
        self._expectations: dict[tuple[str, str, str], Expectation] = {}
        self._datasets: dict[tuple[str, str], Dataset] = {}
        self._references: dict[str, tuple[Reference | None, str]] = {}

    def model(self, name: str) -> ModelSpec:
        """A model of this run by name, or any other by zoo name or path."""
        for given, spec in self._models.items():
            if name in (given, spec.name):
                return spec
        spec = self._models[name] = self._load(name)
        return spec

    def _load(self, name: str) -> ModelSpec:
        spec, given = load_model(name), self._settings
        return dataclasses.replace(
            spec,
            preprocess=given.preprocess or spec.preprocess,
            task=given.task or spec.task,
            conversions=given.build_root / "conversions",
        )

    def artifact(self, item: Item) -> Artifact:
        """What the item's runtime executes, read and verified; quantised where the model brings none."""
        key = _shared(item)
        if key not in self._artifacts:
            workshop = self.workshop(item.model)
            self._artifacts[key] = load_artifact(item.model, item.runtime, item.target, workshop)
        return self._artifacts[key]

    def quantised_here(self, item: Item) -> str | None:
        """How the item's artifact was made, where it was made here."""
        artifact = self.artifact(item)
        if artifact.path.parent != self.workshop(item.model).directory:
            return None
        made = f"quantised here to {artifact.scheme}, {self._calibrated_on(item.model)}"
        file = item.model.artifacts.get("tflite_float")
        if file is None or (how := stored_as(file)) == FLOAT:
            return made
        return f"{made}; the {how} weights of {file.name} were taken as float32"

    def expectation(self, item: Item, artifact: Artifact) -> Expectation:
        """The item's data and what a correct device answers to them."""
        key = _shared(item)
        if key not in self._expectations:
            dataset = self.data(item, artifact)
            whole = self._settings.data is None and self._samples(item.model, artifact) == ALL_SAMPLES
            reference, layer_samples = self.reference(item.model)[0], self._settings.layer_samples

            def compute() -> Expectation:
                oracle = get_runtime(item.runtime).oracle(artifact)
                return expect(artifact, oracle, dataset, reference, layer_samples)

            stored = self._settings.build_root / "expectations"
            known = dataclasses.replace(
                remembered(stored, artifact, key[2], dataset, reference, layer_samples, compute),
                reference_top1_min=item.model.reference_top1_min if whole else None,
            )
            self._expectations[key] = for_task(known, self.task(item, artifact).name, dataset)
        return self._expectations[key]

    def task(self, item: Item, artifact: Artifact) -> Task:
        """What the item's network is for."""
        return model_task(item.model, artifact, self.data(item, artifact))

    def data(self, item: Item, artifact: Artifact) -> Dataset:
        """The item's data, as many samples of them as the run takes."""
        key = item.model.name, item.runtime
        if key not in self._datasets:
            self._datasets[key] = self._dataset(item.model, artifact)
        return self._datasets[key]

    def reference(self, model: ModelSpec) -> tuple[Reference | None, str]:
        """The float model, and why there is none."""
        if model.name not in self._references:
            if self._settings.reference == "none":
                self._references[model.name] = None, "no float reference, as asked"
            else:
                self._references[model.name] = open_reference(model, self._settings.reference)
        return self._references[model.name]

    def pixels(self, model: str, runtime: str) -> np.ndarray | None:
        """The pictures behind a model's samples, where its data are pictures and have been read."""
        dataset = self._datasets.get((model, runtime))
        return dataset.pixels if dataset is not None else None

    def workshop(self, model: ModelSpec) -> Workshop:
        """A model without a calibration set is calibrated on the data it is tested with."""
        own = None if model.calibration else self._settings.data
        directory = self._settings.build_root / "artifacts"
        return Workshop(directory, self._settings.calibration or own, self._say)

    def _samples(self, model: ModelSpec, artifact: Artifact) -> int:
        """At most so many samples of the data; a model's own number is about its own data."""
        samples = self._settings.samples
        if samples is None:
            samples = ALL_SAMPLES if self._settings.data else model.bench_samples or ALL_SAMPLES
        heavy = self._settings.heavy
        if heavy is not None and sum(layer.macs for layer in artifact.layers) > heavy.macs:
            samples = min(samples, heavy.samples)
        return samples

    def _calibrated_on(self, model: ModelSpec) -> str:
        chosen = self.workshop(model).calibration
        if chosen is None:
            return "calibrated on the model's own set"
        tested = " - the very data of the test" if chosen == self._settings.data else ""
        return f"calibrated on {shown(str(chosen))}{tested}"

    def _dataset(self, model: ModelSpec, artifact: Artifact) -> Dataset:
        source, samples = self._settings.data or model.test, self._samples(model, artifact)
        if source is None:
            some = RANDOM_SAMPLES if samples == ALL_SAMPLES else samples
            return random_dataset(artifact.inputs, some, self._settings.seed)
        elements = artifact.outputs[0].elements
        classes = 2 if model.task == RECONSTRUCTION else elements if elements > 1 else None
        labelled = model.task != REGRESSION
        dataset = load_dataset(
            source, artifact.inputs, model.preprocess, classes, model.classes, labelled=labelled
        )
        return dataset.take(samples)


def _check_files(settings: Settings) -> None:
    """Ahead of all items: each would find the same."""
    for flag, path in (("--data", settings.data), ("--calibration", settings.calibration)):
        if path is not None and not os.access(path, os.R_OK):
            why = "may not be read" if path.exists() else "no such file or folder"
            raise UsageError(f"{flag} {path}: {why}", "Give an .npz, .npy, .csv, .bin or a folder of images")


def _check_names(models: dict[str, ModelSpec]) -> None:
    """Records go by model name: two files of one name would be one model."""
    first: dict[str, str] = {}
    for given, spec in models.items():
        if (other := first.setdefault(spec.name, given)) != given:
            raise UsageError(f"{other} and {given} are both called {spec.name}", "Rename one of the files")


def _shared(item: Item) -> tuple[str, str, str]:
    """What artifact and expectation depend on."""
    return item.model.name, item.runtime, get_runtime(item.runtime).variant(item.target)
