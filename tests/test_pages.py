"""Every page of the documentation is reached from a table of contents; links within the repository lead somewhere."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2`*$", re.M | re.S)
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^()\s>]+(?:\([^()]*\))?)>?\)")
GENERATED = ("docs/examples/", "docs/gallery/", "docs/notebooks/")  # pages of the gallery, made while the site is built


def listed(page: Path) -> Iterator[Path]:
    """The pages that a page's tables of contents name."""
    for block in TOCTREE.findall(page.read_text(encoding="utf-8")):
        for entry in (line.strip() for line in block.splitlines()):
            if not entry or entry.startswith(":"):
                continue
            entry = re.sub(r".* <(.*)>", r"\1", entry)  # as in "Results <results>"
            path = (page.parent / f"{entry}.md").resolve()
            if "*" not in entry:
                yield path
            else:
                yield from (other for other in page.parent.glob(f"{entry}.md") if other != page)


def test_every_page_is_in_a_table_of_contents() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.is_file():
            reached.add(page)
            waiting += listed(page)
    pages = {ROOT / name for name in PAGES if name.startswith("docs/") and not name.startswith(GENERATED)}
    assert pages - reached == set()


def anchors(page: Path) -> set[str]:
    """The names by which a page's headings are linked to, as GitHub and MyST make them, and names set by hand."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for title in re.findall(r"^#+ +(.*?) *#*$", text, re.M):
        words = re.sub(r"\]\([^)]*\)", "", title).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        twice = [other for other in found if re.fullmatch(rf"{re.escape(name)}(-\d+)?", other)]
        found.add(f"{name}-{len(twice)}" if twice else name)
    return found | set(re.findall(r"^\(([\w-]+)\)=$", text, re.M)) | set(re.findall(r'(?:id|name)="([\w-]+)"', text))


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures, without those to other sites."""
    text = re.sub(r"`[^`\n]*`", "``", FENCE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in LINK.findall(text) if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_a_file_and_a_heading(name: str) -> None:
    page, broken = ROOT / name, []
    for target in links(page):
        file, _, anchor = unquote(target).partition("#")
        path = (page.parent / file).resolve() if file else page
        made = path.is_relative_to(ROOT) and path.relative_to(ROOT).as_posix().startswith(GENERATED)
        if made and path.suffix != ".py":
            continue
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def test_links_and_headings_are_found() -> None:
    """Else the tests above would pass for want of anything to look at."""
    assert "docs/results.md" in PAGES
    assert sum(len(links(ROOT / name)) for name in PAGES) > 100
    assert "how-much-to-mix" in anchors(DOCS / "results.md")
    assert any(fnmatch.fnmatch(path.name, "sagemix.md") for path in listed(DOCS / "methods" / "README.md"))
