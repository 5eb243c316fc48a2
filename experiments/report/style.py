"""What all pages share: their head, and the style sheet: system fonts, one column, light and dark."""

from __future__ import annotations

import html

#: A page may draw what stands in it, and nothing more: no scripts, nothing fetched, whatever a run's files say.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

CSS = """
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --ink: #1d2430; --soft: #5b6573; --line: #e4e1db;
  --a: #0b6ea8; --b: #b36a00;
  --series-0: #6d7480; --series-1: #d07c00; --series-2: #0072b2; --series-3: #008a64;
  --series-4: #b8508c; --series-5: #b8471b; --series-6: #5a4fb0; --series-7: #1d2430;
  --series-8: #7a8c00; --series-9: #00889c; --series-10: #8a5a2b; --series-11: #d0487a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171c; --card: #1b2027; --ink: #e6e8ec; --soft: #9aa4b2; --line: #2d343e;
    --a: #6cc0f2; --b: #f3b04c;
    --series-0: #a3abb8; --series-1: #f3a536; --series-2: #5cb8f0; --series-3: #35c498;
    --series-4: #e28fbf; --series-5: #f08058; --series-6: #a69df2; --series-7: #e6e8ec;
    --series-8: #c3d34b; --series-9: #4fd0e0; --series-10: #d9a878; --series-11: #ff8fb4;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1060px; margin: 0 auto; padding: 56px 24px 80px; }
.kicker { margin: 0; color: var(--soft); font-size: 14px; }
h1 { margin: 4px 0 16px; font-size: clamp(28px, 5vw, 40px); line-height: 1.15;
  font-weight: 650; letter-spacing: -0.02em; }
h2 { margin: 0 0 12px; font-size: 21px; font-weight: 620; letter-spacing: -0.01em; }
h3 { margin: 28px 0 10px; font-size: 16px; font-weight: 600; }
h3 small { color: var(--soft); font-weight: 400; margin-left: 6px; }
p { max-width: 74ch; margin: 0 0 14px; }
.lead { font-size: 18px; }
.note { color: var(--soft); font-size: 14px; margin-top: 12px; max-width: none; }
section { margin-top: 48px; }
.a { color: var(--a); font-weight: 650; }
.b { color: var(--b); font-weight: 650; }
.wide, .charts figure, pre { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.wide { overflow-x: auto; padding: 8px 20px 14px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 0 7px 22px; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; }
tr.head th { color: var(--soft); font-weight: 500; font-size: 14px; }
th[scope="rowgroup"] { padding-top: 16px; font-weight: 620; }
th[scope="row"] { font-weight: 450; }
th[scope="row"] i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 10px; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
td.stopped { color: var(--b); text-align: left; white-space: normal; padding-left: 22px; font-size: 14px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 20px; }
.charts figure { margin: 0; max-width: 640px; padding: 16px 16px 12px; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit; }
figcaption { color: var(--soft); font-size: 14px; }
.pair { display: grid; grid-template-columns: repeat(6, 1fr); gap: 12px; margin-top: 18px; }
.pair figure { margin: 0; }
.pair img { display: block; width: 100%; border-radius: 8px; }
.pair figcaption { margin-top: 5px; font-size: 13px; line-height: 1.35; }
.bar { height: 5px; margin-top: 8px; border-radius: 3px; overflow: hidden; background: #f0a030; }
.bar span { display: block; height: 100%; background: #56b4e9; border-right: 2px solid var(--page); }
dl { margin: 0; }
dt { font-weight: 600; margin-top: 12px; }
dd { margin: 2px 0 0; color: var(--soft); max-width: 86ch; }
details { margin-top: 18px; color: var(--soft); }
summary { cursor: pointer; }
pre { overflow-x: auto; font-size: 13px; line-height: 1.45; padding: 16px; }
@media (max-width: 720px) {
  main { padding: 32px 16px 56px; }
  .pair { grid-template-columns: repeat(3, 1fr); gap: 10px; }
  .wide { padding: 4px 14px 10px; }
  th, td { padding-left: 13px; font-size: 14px; }
  th[scope="row"] i { margin-right: 6px; }
}
"""


def head(title: str, more_css: str = "") -> str:
    """All that stands before a page's <main>."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)} · mixkit</title>
<link rel="icon" href="data:,">
<style>{CSS}{more_css}</style>
</head>
<body>
"""


def text(value: object) -> str:
    """A value as text of a page or of an attribute in quotes: the one way in for whatever is not written here."""
    return html.escape(str(value))
