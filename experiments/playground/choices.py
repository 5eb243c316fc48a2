"""What one chooses in the playground: widgets' values become settings, and settings a scene, code, or one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.base.errors import ExperimentError, plain
from experiments.playground.controls import Control
from experiments.playground.mixing import Mixed, Settings, mix
from experiments.playground.scene import make_scene
from experiments.playground.snippet import snippet
from experiments.playground.uploads import WANTED

UPLOAD = "upload"
QUERY, PAINT = "sets its query", "paints saliency"
SPECIAL = frozenset("\\`*_{}[]()#+-.!<>|~$&:/@")  # of Markdown, and what it makes links of


@dataclass(frozen=True)
class Chosen:
    """The values of a tab's widgets, in the order of the widgets.

    Attributes:
        source_a, member_a, file_a: where A is from: a source and a class of it, or an uploaded file.
        source_b, member_b, file_b: where B is from.
        method: a method's name.
        kind: where saliency comes from.
        prior: pi, where queries are set by hand.
        seed: of the draws.
        memory: what clicks and the method's controls have set: "options", "queries", "painted".
        scale: the length scale of what is shown; None at first.
    """

    source_a: str
    member_a: str | None
    file_a: str | None
    source_b: str
    member_b: str | None
    file_b: str | None
    method: str
    kind: str
    prior: float
    seed: float | None
    memory: dict[str, Any] = field(default_factory=dict)
    scale: float | None = None

    def settings(self, domain: str, roots: tuple[Path, ...]) -> Settings:
        """The settings that they stand for; ExperimentError where nothing has been uploaded."""
        painted = self.memory.get("painted", ((), ()))
        queries = self.memory.get("queries")
        return Settings(
            domain,
            _name(domain, self.source_a, self.member_a, self.file_a),
            _name(domain, self.source_b, self.member_b, self.file_b),
            self.method,
            self.memory.get("options", {}),
            self.kind,
            (tuple(painted[0]), tuple(painted[1])),
            None if queries is None else (queries[0], queries[1]),
            self.prior,
            int(self.seed or 0),
            roots,
        )


def _name(domain: str, source: str, member: str | None, file: str | None) -> str:
    if source != UPLOAD:
        return f"{source}/{member}"
    if not file:
        raise ExperimentError(f"Nothing has been uploaded yet; wanted {WANTED[domain]}.")
    return file


@dataclass(frozen=True)
class Shown:
    """What is shown of choices.

    Attributes:
        chosen: the choices, where showing them has changed some.
        sentence: what is wrong with them, as Markdown; "" where nothing is.
        scene: JSON for the view; None where something is wrong.
        code: Python; None where something is wrong.
        mixed: what was mixed; None where something is wrong.
    """

    chosen: Chosen
    sentence: str = ""
    scene: str | None = None
    code: str | None = None
    mixed: Mixed | None = None


def show(domain: str, roots: tuple[Path, ...], chosen: Chosen) -> Shown:
    """Mix what is chosen; whatever is wrong with it becomes a sentence."""
    try:
        settings = chosen.settings(domain, roots)
        mixed = mix(settings)
        if chosen.scale != mixed.length_scale:
            # what was set in other units, on other elements, means nothing here
            chosen = replace(chosen, scale=mixed.length_scale, memory={})
            settings = chosen.settings(domain, roots)
            mixed = mix(settings)
    except (ExperimentError, ValueError, TypeError) as error:
        return Shown(chosen, sentence(str(error)))
    scene = json.dumps(make_scene(domain, settings.names, mixed), separators=(",", ":"))
    return Shown(chosen, "", scene, snippet(settings), mixed)


def click(domain: str, roots: tuple[Path, ...], chosen: Chosen, panel: str, place: int, does: str) -> Shown:
    """What is shown after a click on an element of "a" or "b".

    It shows at once what it does: queries are SageMix's, and spots are for saliency that is painted.

    Args:
        domain: "image" or "points".
        roots: the folders that hold data sets.
        chosen: before the click.
        panel: "a" or "b".
        place: the element.
        does: `QUERY` sets the query, `PAINT` puts saliency around the element.
    """
    before = show(domain, roots, chosen)
    if before.mixed is None or panel not in ("a", "b"):
        return before
    chosen, at, count = before.chosen, "ab".index(panel), before.mixed.own.numel()
    place = min(max(int(place), 0), count - 1)
    if does == PAINT:
        painted = [list(spots) for spots in chosen.memory.get("painted", ((), ()))]
        painted[at].append(place)
        return show(domain, roots, replace(chosen, kind="painted", memory={**chosen.memory, "painted": painted}))
    queries = list(before.mixed.queries or (count // 2, count // 2))
    queries[at] = place
    memory = {**chosen.memory, "queries": queries}
    if chosen.method != "sagemix":
        memory["options"] = {}
    return show(domain, roots, replace(chosen, method="sagemix", memory=memory))


def set_option(memory: Mapping[str, Any], control: Control, value: Any) -> dict[str, Any]:
    """The memory with an option set, or left out where it has its default; ValueError where it has no such value."""
    options = {name: one for name, one in memory.get("options", {}).items() if name != control.name}
    read = control.read(value)
    if read is not None and read != control.default:
        options[control.name] = read
    return {**memory, "options": options}


def forget(memory: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The memory without some of its entries."""
    return {name: one for name, one in memory.items() if name not in names}


def sentence(text: str) -> str:
    """A sentence as Markdown that shows it letter by letter."""
    return "⚠ " + "".join(f"\\{letter}" if letter in SPECIAL else letter for letter in plain(text))
