"""Values as words: the same in method texts, in --set and in recipes, by the type that the signature names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.__main__ import main
from experiments.base import grammar
from experiments.base.errors import ExperimentError
from experiments.run.config import Config
from experiments.run.methods import parse_method
from experiments.run.recipe import load_recipe, with_options


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("false", bool, False), ("No", bool, False), ("OFF", bool, False),
        ("true", bool, True), ("yes", bool, True), ("On", bool, True),
        ("3", int, 3), ("-2", float, -2), ("1e-3", float, 0.001), (".5", float | None, 0.5),
        ("None", float | None, None),
        ("no", str, "no"), ("'a'", str, "a"), ("max", str, "max"), ("none", str | None, None),
        ("[1, 2]", tuple[int, ...], (1, 2)), ("(3)", list[int], (3,)), ("[]", tuple[int, ...], ()),
        ("off", Any, False), ("7", Any, 7), ("word", Any, "word"),
    ],
)  # fmt: skip
def test_a_text_is_read_by_its_type(text: str, hint: Any, value: Any) -> None:
    assert grammar.read("x", text, hint) == value
    assert type(grammar.read("x", text, hint)) is type(value)
    grammar.check("x", value, hint)
    assert grammar.read("x", grammar.write(value), hint) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("0", bool), ("falsch", bool), ("2.5", int), ("true", int), ("yes", float), ("1e999", float), ("nan", float),
        ("inf", float), ("none", float), ("5", tuple[int, ...]), ("[1, a]", tuple[int, ...]), ("", float),
        ("{}", dict[str, int]),
    ],
)  # fmt: skip
def test_another_type_is_refused(text: str, hint: Any) -> None:
    with pytest.raises(ValueError, match=r"x must be .*, got"):
        grammar.read("x", text, hint)


@pytest.mark.parametrize("value", [True, 1.5, "a", None, [1, True], [1.5]])
def test_another_value_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"x must be"):
        grammar.check("x", value, tuple[int, ...] if isinstance(value, list) else int)


@pytest.mark.parametrize(
    ("text", "domain", "option", "value"),
    [
        ("rsmix:knn=false", "points", "knn", False),
        ("rsmix:knn=On", "points", "knn", True),
        ("puzzlemix:transport=false", "image", "transport", False),
        ("cutmix:per_sample=no", "image", "per_sample", False),
        ("sagemix:sigma=none", "points", "sigma", None),
        ("mixup:solver=exact,tolerance=0.5", "points", "solver", "exact"),
    ],
)
def test_words_of_options_mean_what_they_say(text: str, domain: str, option: str, value: object) -> None:
    assert parse_method(text, domain).options[option] == value


@pytest.mark.parametrize(
    ("text", "domain", "message"),
    [
        ("rsmix:knn=falsch", "points", "knn must be true or false, got 'falsch'"),
        ("sagemix:loss=1", "points", "unknown option 'loss'"),
        ("mixup:solver=nope", "points", "solver"),
        ("mixup:tolerance=-1", "points", "tolerance"),
        ("comixup:alpha=1e999", "image", "alpha must be a number, got '1e999'"),
        ("mixup:alpha=1,alpha=2", "image", "alpha is given twice"),
        ("mixup:per_sample=1", "image", "per_sample must be true or false"),
        ("sagemix:p=yes", "image", "p must be a number"),
        ("mixup:assign_options=3", "points", "assign_options"),
    ],
)
def test_a_methods_mistakes_are_one_sentence(text: str, domain: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message) as caught:
        parse_method(text, domain)
    assert "\n" not in str(caught.value)


RUN = ["pointcloud", "--recipe", "short", "--dataset", "digits", "--model", "pointnet", "--dry-run"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("milestones=5", "milestones must be a list, got '5'"),
        ("milestones=[0]", "milestones are epochs"),
        ("loss=1", "loss is one of"),
        ("nesterov=1", "nesterov must be true or false, got '1'"),
        ("momentum=2", "momentum is a number from 0"),
        ("epochs=2.5", "epochs must be a whole number, got '2.5'"),
        ("seed=true", "seed must be a whole number"),
        ("lr=nan", "lr must be a number, got 'nan'"),
    ],
)
def test_set_has_the_same_grammar(value: str, message: str, capsys: pytest.CaptureFixture) -> None:
    assert main([*RUN, "--set", value]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_set_takes_words_and_lists(capsys: pytest.CaptureFixture) -> None:
    assert main([*RUN, "--set", "nesterov=off", "milestones=[2, 3]", "corrupted=yes", "limit=none"]) == 0
    out = capsys.readouterr().out
    assert "nesterov = false" in out
    assert "milestones = [2, 3]" in out
    assert "corrupted = true" in out


def test_a_recipes_options_are_words_too() -> None:
    assert with_options("rsmix:beta=2", {"knn": False}) == "rsmix:knn=false,beta=2"
    assert with_options("rsmix:knn=yes", {"knn": False}) == "rsmix:knn=yes"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('base = "BASE"\n[defaults]\n', "is the base of itself"),
        ("base = 3\n[defaults]\n", "base must be the name of a recipe"),
        ("defaults = 3\n", "defaults must be a table"),
        ("sweep = 3\n[defaults]\n", "sweep must be a table"),
        ("[defaults]\n[sweep]\nseeds = [true]\n", "each of seeds must be a whole number"),
        ("[defaults]\nmethods = 3\n", "methods of a recipe must be a table"),
        ("[defaults]\nlr = true\n", "lr must be a number, got True"),
        ("[defaults]\nmethod = 3\n", "method must be text"),
        ("[defaults]\nlr = 0.1\nmilestones = 5\n", "milestones must be a list"),
        ("a = " + "[" * 3000, "is not a TOML file"),
        ("\x00", "is not a TOML file"),
    ],
)
def test_a_recipes_mistakes_are_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content.replace("BASE", str(path)))
    with pytest.raises(ExperimentError, match=message) as caught:
        load_recipe(path).resolve(None, {"dataset": "digits", "model": "pointnet", "epochs": 1, "batch_size": 2})
    assert "\n" not in str(caught.value)


def test_two_recipes_that_are_each_others_base(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(f'base = "{two}"\n[defaults]\n')
    two.write_text(f'base = "{one}"\n[defaults]\n')
    with pytest.raises(ExperimentError, match="is the base of itself"):
        load_recipe(one)


@pytest.mark.parametrize("name", ["../x", "a/../b", "a<b", 'a"b', "", "/a", "a\nb", "a b"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(ExperimentError, match="model is a name of"):
        Config(dataset="digits", model=name, epochs=1, batch_size=2, lr=0.1)


def test_a_configuration_checks_its_types() -> None:
    with pytest.raises(ExperimentError, match=r"width must be a whole number, got 2\.5"):
        Config(dataset="digits", model="pointnet", epochs=1, batch_size=2, lr=0.1, width=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("width", 10**6, "width is a whole number of at most 4,096"),
        ("epochs", 10**7, "epochs is a whole number of at most 1,000,000"),
        ("num_points", 10**9, "num_points is a whole number of at most 100,000"),
        ("seed", 10**400, "seed must be a whole number, got one of more than 18 digits"),
        ("limit", 0, "limit is a whole number of at least 1"),
        ("method", "mixup\nmixup", "method is a line of"),
        ("method", "m" * 2000, "method is a line of"),
        ("dataset", "d" * 300, "dataset is a name of"),
        ("validation", float("inf"), "validation must be a number"),
    ],
)
def test_a_configuration_asks_for_no_more_than_a_machine_has(name: str, value: Any, message: str) -> None:
    values = {"dataset": "digits", "model": "pointnet", "epochs": 1, "batch_size": 2, "lr": 0.1, name: value}
    with pytest.raises(ExperimentError, match=message) as caught:
        Config(**values)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["alpha=1e999", "alpha=-1", "eta=1e200", "beta=1e300", "solver=nope"])
def test_options_outside_any_sense_are_one_sentence(text: str) -> None:
    with pytest.raises(ExperimentError, match=f"--method comixup:{text}: .*{text.partition('=')[0]}") as caught:
        parse_method(f"comixup:{text}", "image")
    assert str(caught.value).isprintable()
