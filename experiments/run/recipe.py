"""Recipe files, and how one of them and the command line make the configuration of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from experiments.base import grammar
from experiments.base.errors import ExperimentError
from experiments.base.files import read_bounded
from experiments.run.config import FIELDS, Config
from experiments.run.limits import read_method

RECIPES = Path(__file__).parents[1] / "recipes"
MOST = 2**20  # bytes of a recipe
VARIANTS = ("paper", "equal")


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
        overrides = {key: value for key, value in overrides.items() if value is not None}
        first = {**self.defaults, **overrides}
        for name in ("dataset", "model", "method"):
            if not isinstance(first.get(name, ""), str):
                raise ExperimentError(f"recipe {self.name}: {name} must be text, got {first[name]!r}.")
        method = first.get("method", "vanilla")
        chosen = {
            "datasets": first.get("dataset"),
            "models": first.get("model"),
            "methods": read_method(method)[0],
            "variants": variant,
        }
        values = {**_collect(self.defaults, chosen), **overrides}
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
            own = _collect(_table(special, f"{kind}.{name}"), chosen)
            own["options"] = {**_table(values.get("options", {}), "options"), **own.get("options", {})}
            values.update(own)
    return values


def _table(value: Any, name: str) -> Mapping[str, Any]:
    """A value that must be a TOML table."""
    if not isinstance(value, Mapping):
        raise ExperimentError(f"{name} of a recipe must be a table, got {value!r}.")
    return value


def with_options(method: str, options: Mapping[str, Any]) -> str:
    """The method's text with these options, where it does not say otherwise itself."""
    name, own = read_method(method)
    more = {key: grammar.write(value) for key, value in options.items() if key not in own}
    return grammar.write_call(name, {**more, **own}) if more else method


def load_recipe(name: str | Path, *, above: tuple[Path, ...] = ()) -> Recipe:
    """Read a recipe by its name in experiments/recipes, or a file: a recipe, or the recipe.toml of a run.

    Args:
        name: the name of the recipe, or a path that ends in .toml.
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
