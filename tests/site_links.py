"""The broken links within a built site: ``python tests/site_links.py site``. Links to other sites are only counted."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote


class Page(HTMLParser):
    """What a page links to, and the names that it can be linked to by."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("href", "src") and value:
                self.targets.append(value)
            elif key == "id" and value:
                self.names.add(value)


def broken_links(site: Path) -> tuple[list[str], int, int]:
    """The links that lead nowhere, as "page: target", and the numbers of links within the site and to others."""
    paths = [path for path in site.rglob("*.html") if path.name != "webpack-macros.html"]  # the theme's, no page
    pages = {path.resolve(): Page(path) for path in paths}
    broken, within, others = [], 0, 0
    for path, page in pages.items():
        for target in page.targets:
            if target.startswith(("http:", "https:", "mailto:", "data:", "javascript:")):
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
