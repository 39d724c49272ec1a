"""What `harness fit` estimates without a compiler beside what a build then has; docs/fit.md says how near."""

from pathlib import Path

import pytest

from harness.fit.code_size import constant_bytes, estimate
from harness.items import Workshop, load_artifact
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.runtimes.planned import PlannedArtifact
from harness.targets import get_target
from harness.toolchains.bare_metal import build


@pytest.mark.parametrize("target_id", ["esp32c3", "esp32s3"])
@pytest.mark.parametrize(
    ("model", "runtime"),
    [
        ("test18_conv_pool", "tflm"),
        ("test21_mnist_29k", "tflm"),
        ("himax_cnn", "tflm"),
        ("himax_cnn", "espdl"),
        ("test20_mnist", "espdl-v1"),
    ],
)
def test_flash_ram_and_arena_within_2_per_cent(
    model: str, runtime: str, target_id: str, tmp_path: Path
) -> None:
    target = get_target(target_id)
    artifact = load_artifact(load_model(model), runtime, target, Workshop(tmp_path))
    assert isinstance(artifact, PlannedArtifact)
    guess = estimate(artifact, target.isa)
    project = get_runtime(runtime).generate(artifact, "portable", tmp_path / "project")
    image = build(project, target, str(target.isa_platform), build_root=tmp_path / "images")
    assert guess.unknown == ()
    assert guess.arena_bytes == project.arena_bytes
    assert guess.flash_bytes == pytest.approx(image.flash_bytes, rel=0.02)
    assert guess.ram_bytes == pytest.approx(image.ram_bytes, rel=0.02)


@pytest.mark.parametrize("target_id", ["esp32c3", "esp32s3"])
def test_the_zoos_deepest_network_has_at_most_12_kib_beside_its_weights(
    target_id: str, tmp_path: Path
) -> None:
    target = get_target(target_id)
    artifact = load_artifact(load_model("test21_mnist_29k"), "tflm", target, Workshop(tmp_path))
    assert isinstance(artifact, PlannedArtifact)
    project = get_runtime("tflm").generate(artifact, "portable", tmp_path / "project")
    image = build(project, target, str(target.isa_platform), build_root=tmp_path / "images")
    assert image.flash_bytes - constant_bytes(artifact.plan) <= 12 * 1024
