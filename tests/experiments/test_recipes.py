"""Recipes and the options that change them, up to the data that they name."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch.nn.functional as F

import mixkit
from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.models import MODELS, create_model
from experiments.run.config import Config, to_toml
from experiments.run.methods import parse_method
from experiments.run.mixing import Mixing
from experiments.run.recipe import load_recipe, recipe_names
from tests.experiments.tiny_runs import TINY


def test_every_recipe_resolves_for_all_that_it_names() -> None:
    assert {f"table{number}" for number in (2, 3, 4, 5, 6, 8, 9, 10, 11)} <= set(recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name)
        datasets = recipe.sweep.get("datasets", [recipe.defaults.get("dataset")])
        models = recipe.sweep.get("models", [recipe.defaults.get("model")])
        for dataset in datasets if name != "short" else ():
            for model in models:
                assert model in MODELS
                for method in recipe.sweep["methods"]:
                    for variant in ("paper", "equal"):
                        given = {"dataset": dataset, "model": model, "method": method}
                        config = recipe.resolve(variant, given)
                        parse_method(config.method, config.domain)
                        authors = name.startswith("table") and variant == "paper" and config.domain == "points"
                        smooth = authors and method in ("vanilla", "rsmix")
                        assert config.label_smoothing == (0.2 if smooth else 0)


def test_the_papers_settings() -> None:
    point = load_recipe("table2").resolve("paper", {"dataset": "modelnet40", "model": "pointnet", "method": "sagemix"})
    assert (point.epochs, point.batch_size, point.optimizer, point.lr) == (500, 32, "adam", 1e-3)
    assert point.method == "sagemix:sigma=2.0"
    graph = load_recipe("table3").resolve("paper", {"method": "sagemix:theta=1.0"})
    assert (graph.dataset, graph.optimizer, graph.lr, graph.min_lr) == ("scanobjectnn-obj-only", "sgd", 0.1, 1e-3)
    assert graph.method == "sagemix:theta=1.0"
    image = load_recipe("table11").resolve("paper", {})
    assert (image.epochs, image.batch_size, image.loss, image.milestones) == (300, 128, "bce", (100, 200))


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = Config(dataset="digits", model="dgcnn", epochs=3, batch_size=8, lr=0.1, milestones=(1, 2), nesterov=True)
    (tmp_path / "recipe.toml").write_text(to_toml(config))
    assert load_recipe(tmp_path / "recipe.toml").resolve(None, {}) == config


def test_resolution_is_that_of_the_saliency_pass_and_keeps_the_loss() -> None:
    spec = parse_method("sagemix:resolution=0.5", "points")
    model = create_model("pointnet", channels=3, num_classes=4, width=4)
    about = {"num_samples": 8, "num_elements": 32, "epochs": 3, "autocast": contextlib.nullcontext}
    mixing = Mixing(spec, "points", num_classes=4, model=model, loss=F.multi_margin_loss, **about)
    saliency = mixing.mixer.saliency
    assert isinstance(saliency, mixkit.GradientSaliency)
    assert (saliency.resolution, saliency.loss, saliency.model) == (0.5, F.multi_margin_loss, model)
    assert spec.label == "sagemix (resolution 0.5)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "table1"], "unknown recipe 'table1'"),
        (["--set", "smoothing=0.1"], "unknown name 'smoothing'"),
        (["--set", "loss=hinge"], "loss is one of cross-entropy, bce"),
        (["--set", "nesterov"], "NAME=VALUE"),
        (["--set", "gamma=a b"], "gamma must be a number, got 'a b'"),
        (["--set", "precision=16"], "precision is one of 32, bf16"),
        (["--method", "mixup:saliency=bank"], "no saliency of its own to remember"),
        (["--method", "mixup:resolution=0.5"], "makes no saliency pass of its own"),
        (["--method", "sagemix:resolution=2"], "resolution must be above 0 and at most 1"),
        (["--method", "sagemix:resolution=0.5,saliency=bank"], "resolution is that of the gradient"),
        (["--method", "sagemix:sharpness=0"], "sharpness must be > 0"),
        (["--method", "sagemix:sharpness=a"], "sharpness must be a number, got 'a'"),
        (["--method", "sagemix:resolution=a"], "resolution must be a number, got 'a'"),
        (["--model", "pointnet3"], "pointnet3"),
        (["--model", "pointnet3", "--batch-size", "8", "--lr", "1"], "no model 'pointnet3'"),
        (
            ["--model", "dgcnn_partseg", "--batch-size", "8", "--lr", "1", "--method", "manifold_mixup"],
            "for whole samples, not for parts",
        ),
        (["--method", "sagemix:sigma"], "options are written name:option=value, got 'sigma'"),
        (["--method", "sagemix:sigma=1,sigma=2"], "sigma is given twice"),
        (["--method", "sagemix:adaptive=0.4,schedule=mwh"], "takes no schedule beside it"),
        (["--method", "puzzlemix"], "unknown method 'puzzlemix' for points"),
        (["--method", "sagemix:space=middle"], "space is one of input, feature"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str], message: str, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert main([*TINY, *options, "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_dry_run_prints_the_recipe(capsys: pytest.CaptureFixture) -> None:
    assert main([*TINY, "--set", "label_smoothing=0.2", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "label_smoothing = 0.2" in out
    assert 'model = "pointnet"' in out


def test_a_broken_recipe_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("epochs = = 3")
    with pytest.raises(ExperimentError, match=r"mine\.toml is not a TOML file"):
        load_recipe(tmp_path / "mine.toml")


def test_data_are_fetched_before_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    archive = tmp_path / "modelnet40.zip"
    archive.write_bytes(b"not what it should be")
    command = [
        "pointcloud",
        "--dataset",
        "modelnet40",
        "--data-root",
        str(tmp_path / "data"),
        "--output",
        str(tmp_path / "run"),
    ]
    assert main([*command, "--download", archive.as_uri()]) == 2
    assert "md5" in capsys.readouterr().err
