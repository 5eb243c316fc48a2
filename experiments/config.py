"""What one training run is: its resolved configuration, and how a recipe file and the command line make one."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from experiments import grammar, limits
from experiments.errors import ExperimentError
from experiments.files import read_bounded

RECIPES = Path(__file__).parent / "recipes"
MOST = 2**20  # bytes of a recipe
VARIANTS = ("paper", "equal")
POINT_MODELS = ("pointnet", "pointnet2_ssg", "pointnet2_msg", "dgcnn", "pointnet2_partseg", "dgcnn_partseg")


def domain_of(model: str) -> str:
    """What a model reads: "image" or "points"."""
    return "points" if model in POINT_MODELS else "image"


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run, every value resolved; what recipe.toml in a run's folder holds.

    Attributes:
        dataset, model, method: names; the method may carry options, ``sagemix:sigma=2.0``.
        seed: of weights, data order, augmentation and mixing.
        epochs, batch_size: the budget; a batch is shared by all devices, and the last incomplete one is dropped.
        width: channels of the model's first layer, 64 in the papers; torchvision's and timm's models ignore it.
        num_points: of a point set. Default None: as the data set has them.
        limit: training samples, class-balanced. Default None: all.
        validation: training samples that are scored in place of the test samples, which are not looked at; below 1 a
            share of the training samples, from 1 on a number, class-balanced, the same ones for every seed. They come
            from what `limit` leaves out where that serves, else they are cut from what is trained on. Default 0: none.
        calibration: training samples to fit a temperature on, alike. Default None: up to 1,000 that `limit` leaves out;
            none where it leaves out fewer than 100, or where parts are labelled.
        optimizer, lr, momentum, nesterov, weight_decay: the last applies to every parameter.
        schedule: "constant", "one-cycle" (up for 30 % of the steps, then down to nothing), "cosine" (to `min_lr`), or
            "step" (times `gamma` after each epoch of `milestones`).
        loss: "cross-entropy" with soft targets, or "bce": binary cross entropy of the softmax, mean over batch and
            classes, as in Co-Mixup's code.
        label_smoothing: epsilon: the true class has 1 - epsilon, every other epsilon / (K - 1).
        precision: "32", or "bf16" by autocast.
        test_every: epochs between tests; the last epoch is always tested.
        corrupted: whether the last epoch is also scored on corrupted samples (`robustness.COMPARED`); not with parts.
    """

    dataset: str
    model: str
    method: str = "vanilla"
    seed: int = 0
    epochs: int
    batch_size: int
    width: int = 64
    num_points: int | None = None
    limit: int | None = None
    validation: float = 0
    calibration: float | None = None
    optimizer: str = "sgd"
    lr: float
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    min_lr: float = 0.0
    loss: str = "cross-entropy"
    label_smoothing: float = 0.0
    precision: str = "32"
    test_every: int = 1
    corrupted: bool = False

    def __post_init__(self) -> None:
        limits.check(self, HINTS)

    @property
    def domain(self) -> str:
        """What the model decides: "image" or "points"."""
        return domain_of(self.model)

    @property
    def parts(self) -> bool:
        """Whether the run labels every point of a shape rather than the shape."""
        return self.model.endswith("_partseg")

    @property
    def scored(self) -> str:
        """What the scores are of: "test", or "validation"."""
        return "validation" if self.validation else "test"

    @property
    def fold(self) -> str:
        """Which fold of a data set is tested on, "fold0" for one; "" where there are none."""
        found = re.search(r"-(fold\d+)$", self.dataset)
        return found[1] if found else ""

    @property
    def arm(self) -> str:
        """What runs must have in common to be compared: data set (any fold), model, and what they are scored on."""
        dataset = self.dataset.removesuffix(f"-{self.fold}")
        return f"{dataset}-{self.model.replace('/', '-')}{'-validation' if self.validation else ''}"

    @property
    def title(self) -> str:
        """The run in a few words."""
        scored = ", validation" if self.validation else ""
        return f"{self.dataset}, {self.model}, {self.method}, seed {self.seed}{scored}"

    def values(self) -> dict[str, Any]:
        """Every value by its name, as JSON has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    def describe(self) -> str:
        """The recipe in words."""
        optimizer = {"sgd": f"SGD with momentum {self.momentum:g}", "adam": "Adam", "adamw": "AdamW"}[self.optimizer]
        schedule = {
            "constant": "constant",
            "one-cycle": "peak of one cycle",
            "cosine": f"cosine to {self.min_lr:g}",
            "step": f"times {self.gamma:g} after epochs {', '.join(map(str, self.milestones))}",
        }[self.schedule]
        loss = {"cross-entropy": "soft cross entropy", "bce": "binary cross entropy of the softmax"}[self.loss]
        smoothing = f", label smoothing {self.label_smoothing:g}" if self.label_smoothing else ""
        return (
            f"{self.epochs} epochs, batches of {self.batch_size}, {optimizer}{' (Nesterov)' if self.nesterov else ''}, "
            f"learning rate {self.lr:g} ({schedule}), weight decay {self.weight_decay:g}, {loss}{smoothing}"
        )


FIELDS = {f.name: f for f in dataclasses.fields(Config)}
HINTS = typing.get_type_hints(Config)


@dataclass(frozen=True)
class Recipe:
    """A recipe file: defaults, what differs by data set, model, method and variant, and the paper's figures.

    Attributes:
        name, title: the file's name, and what it reproduces.
        defaults: the table ``[defaults]``: values of `Config`, and tables ``datasets``, ``models``, ``methods`` and
            ``variants`` of values that hold for one of them only, to any depth.
        sweep: the table ``[sweep]``: which datasets, models, methods and seeds the paper's table has.
        paper: the paper's figures, a row each: dataset, model, method and figures.
    """

    name: str
    title: str
    defaults: Mapping[str, Any]
    sweep: Mapping[str, Any] = field(default_factory=dict)
    paper: tuple[Mapping[str, Any], ...] = ()

    def resolve(self, variant: str | None, overrides: Mapping[str, Any]) -> Config:
        """The configuration of one run: the more special a table is, the later it counts; `overrides` come last.

        Raises:
            ExperimentError: a name or value that `Config` does not take, or one that it lacks.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        first = {**self.defaults, **given}
        for name in ("dataset", "model", "method"):
            if not isinstance(first.get(name, ""), str):
                raise ExperimentError(f"recipe {self.name}: {name} must be text, got {first[name]!r}.")
        method = str(first.get("method", "vanilla"))
        chosen = {
            "datasets": first.get("dataset"),
            "models": first.get("model"),
            "methods": method.partition(":")[0],
            "variants": variant,
        }
        values = {**_collect(self.defaults, chosen), **given}
        options = _table(values.pop("options", {}), "options")
        values["method"] = with_options(method, options)
        if unknown := [key for key in values if key not in FIELDS]:
            raise ExperimentError(f"recipe {self.name}: unknown name {unknown[0]!r}; known: {', '.join(FIELDS)}.")
        if missing := [n for n, f in FIELDS.items() if f.default is dataclasses.MISSING and n not in values]:
            model, dataset = first.get("model"), first.get("dataset")
            raise ExperimentError(
                f"recipe {self.name} says nothing of {', '.join(missing)} for {model} on {dataset}: "
                "give it on the command line, or choose another recipe."
            )
        if isinstance(values.get("milestones"), list):
            values["milestones"] = tuple(values["milestones"])
        return Config(**values)


def _collect(table: Mapping[str, Any], chosen: Mapping[str, str | None]) -> dict[str, Any]:
    """The plain values of a table, overlaid by those of its tables for the chosen names."""
    values = {key: value for key, value in table.items() if key not in chosen}
    for kind, name in chosen.items():
        special = None if name is None else _table(table.get(kind, {}), kind).get(name)
        if special is not None:
            found = _collect(_table(special, f"{kind}.{name}"), chosen)
            found["options"] = {**_table(values.get("options", {}), "options"), **found.get("options", {})}
            values.update(found)
    return values


def _table(value: Any, name: str) -> Mapping[str, Any]:
    """A value that must be a TOML table."""
    if not isinstance(value, Mapping):
        raise ExperimentError(f"{name} of a recipe must be a table, got {value!r}.")
    return value


def with_options(method: str, options: Mapping[str, Any]) -> str:
    """The method's text with these options, where it does not say otherwise itself."""
    name, _, own = method.partition(":")
    said = {part.partition("=")[0] for part in grammar.split(own)}
    more = [f"{key}={grammar.write(value)}" for key, value in options.items() if key not in said]
    text = ",".join([*more, *([own] if own else [])])
    return f"{name}:{text}" if text else name


def load_recipe(name: str | Path, *, above: tuple[Path, ...] = ()) -> Recipe:
    """Read a recipe by its name in experiments/recipes, or a file: a recipe, or the recipe.toml of a run.

    Args:
        name: of the recipe, or a path that ends in .toml.
        above: the recipes whose base this one is.

    Raises:
        ExperimentError: no such recipe, not a TOML file, a value that must be a table or a list, or a recipe that is
            the base of itself.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = RECIPES / f"{name}.toml"
        if not path.is_file():
            raise ExperimentError(f"unknown recipe {str(name)!r}; there are {', '.join(recipe_names())}.")
    if (own := path.resolve()) in above:
        raise ExperimentError(f"the recipe {path} is the base of itself.")
    try:
        content = tomlkit.parse(read_bounded(path, MOST)).unwrap()
    except OSError as error:
        raise ExperimentError(f"the recipe {path} cannot be read: {error.strerror}.") from error
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise ExperimentError(f"{path} is not a TOML file: {_first_line(error)}.") from error
    if "defaults" not in content:
        return Recipe(path.stem, path.stem, content)
    defaults, sweep, paper = content["defaults"], content.get("sweep", {}), content.get("paper", [])
    for key, value, kind in (("defaults", defaults, dict), ("sweep", sweep, dict), ("paper", paper, list)):
        if not isinstance(value, kind):
            raise ExperimentError(f"{path}: {key} must be a {'table' if kind is dict else 'list'}, got {value!r}.")
    for key in ("datasets", "models", "methods", "seeds"):
        try:
            grammar.check(key, sweep.get(key, []), list[int] if key == "seeds" else list[str])
        except ValueError as error:
            raise ExperimentError(f"{path}: {error}.") from error
    if "base" in content:
        if not isinstance(content["base"], str):
            raise ExperimentError(f"{path}: base must be the name of a recipe, got {content['base']!r}.")
        defaults = _merge(load_recipe(content["base"], above=(*above, own)).defaults, defaults)
    return Recipe(path.stem, str(content.get("title", path.stem)), defaults, sweep, tuple(paper))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0][:160]


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables, `high` before `low`, to any depth."""
    both = {
        key: _merge(low[key], high[key])
        for key in low
        if isinstance(low[key], dict) and isinstance(high.get(key), dict)
    }
    return {**low, **high, **both}


def recipe_names() -> list[str]:
    """The recipes that come with the experiments."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def to_toml(config: Config) -> str:
    """A configuration as a TOML file; what is None is left out."""
    return tomlkit.dumps({key: value for key, value in config.values().items() if value is not None})
