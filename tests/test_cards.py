"""The tables of options on the methods' cards say what the classes say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import mixkit
from mixkit.registry import accepted, get_domain, get_method

CARDS = Path(__file__).parents[1] / "docs" / "methods"
FILES = {"pointcutmix_k": "pointcutmix_r"}  # two methods on one card
METHODS = [n for n in mixkit.list_methods() if get_method(n).__module__.partition(".")[0] in ("mixkit", "mixkit_image")]


def options_on(card: str) -> dict[str, str]:
    """Each option of a card's table, and what stands in its column of defaults; not those of another class."""
    table = card.partition("## Options")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| `")
    ]
    found: dict[str, str] = {}
    for names, default, *_ in rows:
        if "(of `" in names or "=" in names:
            continue
        options, defaults = re.findall(r"`(\w+)`", names), default.split(", ")
        found |= dict(zip(options, [*defaults, *defaults[-1:] * len(options)], strict=False))
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_card_lists_each_option_with_its_default(name: str) -> None:
    method, options = get_method(name), options_on((CARDS / f"{FILES.get(name, name)}.md").read_text())
    known = accepted(method)
    of_domains = {option for domain in ("image", "points") for option in accepted(get_domain(domain))}
    assert set(known) <= set(options), "options that the card leaves out"
    assert set(options) - set(known) <= {"p", *of_domains}, "options that there are not"
    for option, default in options.items():
        try:
            stated = ast.literal_eval(default.partition(";")[0].strip("`"))
        except (SyntaxError, ValueError):  # in words
            continue
        if option == "p":
            assert stated == method.p
        elif option in known:
            assert stated == known[option].default, option


def test_the_cards_state_most_defaults_as_values() -> None:
    """Else the comparison above would pass for want of anything to compare."""
    tables = [options_on((CARDS / f"{FILES.get(name, name)}.md").read_text()) for name in METHODS]
    assert sum(len(table) for table in tables) > 30
    assert sum(re.match(r"`?[\"\d TFN]", default) is None for table in tables for default in table.values()) <= 1
