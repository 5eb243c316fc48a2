"""The broken links within a built site: ``python tests/site_links.py site``; and what it would fetch from others.

Links to other sites are only counted: they are not tried.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote


def is_elsewhere(target: str) -> bool:
    """Whether a target is on another site."""
    return target.startswith(("http:", "https:", "//"))


class Page(HTMLParser):
    """What a page links to, what it fetches from other sites, and the names that it can be linked to by."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.fetched: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("href", "src") and value:
                self.targets.append(value)
                if tag != "a" and is_elsewhere(value):
                    self.fetched.append(value)
            elif key == "id" and value:
                self.names.add(value)


def broken_links(site: Path) -> tuple[list[str], int, int]:
    """The links that lead nowhere and what is fetched from elsewhere, and the numbers of links within and to others."""
    paths = [path for path in site.rglob("*.html") if path.name != "webpack-macros.html"]  # the theme's, no page
    pages = {path.resolve(): Page(path) for path in paths}
    broken, within, others = [], 0, 0
    for path, page in pages.items():
        broken += [f"{path.relative_to(site.resolve())} fetches {target}" for target in page.fetched]
        for target in page.targets:
            if is_elsewhere(target) or target.startswith(("mailto:", "data:", "javascript:")):
                others += 1
                continue
            within += 1
            file, _, name = unquote(target).partition("#")
            aim = (path.parent / file.partition("?")[0]).resolve() if file else path
            if not aim.exists() or (name and aim in pages and name not in pages[aim].names):
                broken.append(f"{path.relative_to(site.resolve())}: {target}")
    return broken, within, others


if __name__ == "__main__":
    broken, within, others = broken_links(Path(sys.argv[1]))
    print(*broken, f"{within} links within the site, {len(broken)} broken; {others} to others, not tried", sep="\n")
    sys.exit(bool(broken))
