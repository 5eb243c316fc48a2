"""A run goes on only as it began: with its own data, its own recipe, and its own checkpoint."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric

from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.data.base import DataSet
from experiments.data.fingerprint import differs, fingerprint
from experiments.run.config import Config, to_toml
from experiments.run.folder import BEST, LAST, RunFolder
from experiments.run.loop import Watcher
from experiments.run.recipe import load_recipe
from experiments.run.runner import run

CONFIG = Config(dataset="blobs", model="pointnet", width=4, epochs=3, batch_size=16, optimizer="adam", lr=1e-2)
CPU = ["--threads", "1", "--accelerator", "cpu"]


@pytest.fixture
def begun(fabric: Fabric, two_blobs: DataSet, tmp_path: Path) -> Path:
    """A run that was interrupted after its second epoch."""

    def interrupt(record: Any) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(fabric, CONFIG, two_blobs, RunFolder(tmp_path / "begun"), watcher=Watcher(epoch=interrupt))
    return tmp_path / "begun"


def test_other_data_are_refused(fabric: Fabric, two_blobs: DataSet, begun: Path) -> None:
    points, labels = two_blobs.train.clone(), two_blobs.train_labels.clone()
    points[17, 3, 1] += 0.01
    labels[5] = 1 - labels[5]
    for other, message in (
        (replace(two_blobs, train_labels=1 - two_blobs.train_labels), "labels or classes are others"),
        (replace(two_blobs, train_labels=labels), "labels or classes are others"),
        (replace(two_blobs, classes=("right", "left")), "labels or classes are others"),
        (replace(two_blobs, train=two_blobs.train.flip(0)), "the train samples are others"),
        (replace(two_blobs, train=points), "the train samples are others"),
        (replace(two_blobs, test=two_blobs.test * 1.001), "the test samples are others"),
        (
            two_blobs.pick(torch.arange(47), torch.arange(16)),
            r"the train samples are \[47, 8, 3\], and were \[48, 8, 3",
        ),
        (replace(two_blobs, held=points, held_labels=labels), r"the held samples are \[48, 8, 3\], and were None"),
    ):
        with pytest.raises(ExperimentError, match=message):
            run(fabric, CONFIG, other, RunFolder(begun), resume=True)
    assert len(RunFolder(begun).read().records) == 2
    result = run(fabric, CONFIG, two_blobs, RunFolder(begun), resume=True)
    assert [record.epoch for record in result.records] == [1, 2, 3]
    assert RunFolder(begun).read().status == "complete"


def test_rounding_is_no_difference(two_blobs: DataSet) -> None:
    before = fingerprint(two_blobs)
    assert json.loads(json.dumps(before)) == before
    rounded = replace(two_blobs, train=two_blobs.train * (1 + 2e-7 * torch.randn(two_blobs.train.shape)))
    assert differs(before, fingerprint(rounded)) is None
    shuffled = replace(two_blobs, train=two_blobs.train.flip(1))
    assert differs(before, fingerprint(shuffled)) == "the train samples are others"
    turned = replace(two_blobs, train=two_blobs.train.roll(1, 2))
    assert differs(before, fingerprint(turned)) == "the train samples are others"


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.5), ("epochs", 2), ("epochs", 9), ("method", "mixup"), ("seed", 1), ("milestones", (2, 3)), ("width", 8)],
)
def test_an_edited_recipe_is_refused(
    fabric: Fabric, two_blobs: DataSet, begun: Path, name: str, value: Any, capsys: pytest.CaptureFixture
) -> None:
    edited = replace(CONFIG, **{name: value})
    (begun / "recipe.toml").write_text(to_toml(edited))
    with pytest.raises(ExperimentError, match=f"is of a run with {name} = .*, but its recipe.toml says .*as it began"):
        run(fabric, edited, two_blobs, RunFolder(begun), resume=True)
    assert main(["report", str(begun), "--output", str(begun / "report")]) == 2
    error = capsys.readouterr().err
    assert "was changed: recipe.toml says" in error
    assert error.count("\n") == 1


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs from the command line, by their methods."""
    folder = tmp_path_factory.mktemp("digits")
    command = [
        "pointcloud", "--recipe", "short", "--dataset", "digits", "--model", "pointnet", "--num-points", "32",
        "--limit", "64", "--width", "4", "--epochs", "2", *CPU,
    ]  # fmt: skip
    for method in ("vanilla", "mixup"):
        assert main([*command, "--method", method, "--output", str(folder / method)]) == 0
    return {method: folder / method for method in ("vanilla", "mixup")}


def test_a_checkpoint_of_another_method_is_refused(
    digits: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mine = Path(shutil.copytree(digits["vanilla"], tmp_path / "run"))
    for name in (LAST, BEST):
        shutil.copy(digits["mixup"] / "checkpoints" / name, mine / "checkpoints")
    for command in (["pointcloud", "--resume"], ["evaluate"], ["evaluate", "--best"], ["figures", "--run"]):
        assert main([*command, str(mine), *(CPU if command[0] != "figures" else [])]) == 2
        error = capsys.readouterr().err
        assert "the checkpoint is of a run with method = 'mixup', but its recipe.toml says 'vanilla'" in error
        assert error.count("\n") == 1


def test_metrics_that_lack_epochs_are_told_and_a_resumed_run_writes_them_anew(
    digits: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mine = Path(shutil.copytree(digits["vanilla"], tmp_path / "run"))
    whole = (mine / "metrics.jsonl").read_text()
    first, second = whole.splitlines()
    for text in (first + "\n", "", whole.replace('"epoch": 2', '"epoch": 1'), f"{first}\n{second}\n{second}\n"):
        (mine / "metrics.jsonl").write_text(text)
        assert main(["report", str(mine), "--output", str(tmp_path / "report")]) == 2
        assert "is damaged or was changed: metrics.jsonl" in capsys.readouterr().err
    assert main(["pointcloud", "--resume", str(mine), *CPU]) == 0
    assert (mine / "metrics.jsonl").read_text() == whole
    assert RunFolder(mine).read().scores() == RunFolder(digits["vanilla"]).read().scores()


def test_a_run_that_an_older_version_began_goes_on(digits: dict[str, Path], tmp_path: Path) -> None:
    """Neither its summary nor its checkpoint says which run it is."""
    mine = Path(shutil.copytree(digits["vanilla"], tmp_path / "run"))
    summary = json.loads((mine / "summary.json").read_text())
    del summary["config"]
    (mine / "summary.json").write_text(json.dumps(summary))
    content = torch.load(mine / "checkpoints" / LAST, weights_only=True)
    assert content.pop("origin")["config"] == load_recipe(mine / "recipe.toml").resolve(None, {}).values()
    from experiments.run.checkpoint import seal

    torch.save(content, tmp_path / "plain")
    (mine / "checkpoints" / LAST).write_bytes(seal((tmp_path / "plain").read_bytes()))
    assert main(["pointcloud", "--resume", str(mine), *CPU]) == 0
    assert RunFolder(mine).read().status == "complete"
