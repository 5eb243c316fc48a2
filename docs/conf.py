"""The documentation's site: ``python -m sphinx -W --keep-going -b html docs site``. It is built without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.transforms import SphinxTransform

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "plugins")]  # a clone builds its own pages, installed or not

import mixkit  # noqa: E402

project = "mixkit"
author = "The mixkit founders"
version = release = mixkit.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["gallery", "notebooks", "**/.ipynb_checkpoints"]
suppress_warnings = ["config.cache"]  # the gallery's settings hold functions

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

default_role = "py:obj"  # the docstrings' `names` are links where there is such a name
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature's types are those that the docstring tells in words
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
highlight_language = "text"  # of what names no language
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = f"mixkit {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}  # without it the theme complains of none on a first visit
TABLES = ("results", "results/paper", "methods/README")  # pages whose tables can be sorted and filtered
html_copy_source = False
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {
    "logo": {"text": "mixkit"},
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_sidebars: dict[str, list[str]] = {"index": [], "choose": [], "playground": []}  # no page is below these
project_copyright = "The mixkit founders, MIT licence"

sphinx_gallery_conf: dict[str, Any] = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": ("_repr_html_",),  # of a plan at a cell's end; of axes there, the picture alone
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "write_computation_times": False,  # a page that fetches its scripts from elsewhere
}


class OutsideLinks(SphinxTransform):
    """Links to files and folders of the repository that are no pages of the site, such as ``../README.md``.

    On a repository's page they work as they are. Here they lead to ``repository`` if that is set, as by
    ``-D repository=https://host/owner/mixkit/blob/main``; else their text stands alone.
    """

    default_priority = 500  # before files to download are copied, which happens once a page is read

    def apply(self, **kwargs: Any) -> None:
        """Replace each such link of a page."""
        page = Path(self.env.doc2path(self.env.docname)).parent
        for node in [*self.document.findall(pending_xref), *self.document.findall(download_reference)]:
            target = node.get("reftarget", "")
            if node.get("reftype") != "myst" or "://" in target:
                continue
            if node.get("refdomain") == "doc":  # a name from the root of the documentation
                path = (HERE / f"{target}.md").resolve()
            else:
                path = (page / unquote(target.partition("#")[0])).resolve()
            if path.parent == HERE / "gallery" and path.suffix == ".py":  # a script, whose page is made of it
                words = {"refdomain": "std", "reftype": "doc", "refexplicit": True, "refdoc": self.env.docname}
                node.replace_self(pending_xref("", *node.children, reftarget=f"/examples/{path.stem}", **words))
                continue
            if not path.exists() or (path.is_relative_to(HERE) and not path.is_dir()):
                continue
            shown = path.relative_to(HERE.parent).as_posix()
            if self.config.repository:
                link = nodes.reference("", "", *node.children, refuri=f"{self.config.repository}/{shown}")
                node.replace_self(link)
            else:
                node.replace_self(node.children)


class UnbrokenFigures(SphinxTransform):
    """Figures with their deviation, such as 98.2 ± 0.6, on one line of a table's cell."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Put no-break spaces around each sign."""
        for cell in self.document.findall(nodes.entry):
            for text in [text for text in cell.findall(nodes.Text) if " ± " in text]:
                text.parent.replace(text, nodes.Text(text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")))


def add_scripts(app: Any, pagename: str, *rest: Any) -> None:
    """Tables of figures can be sorted and filtered, on the pages that are about them."""
    if pagename in TABLES:
        app.add_js_file("tables.js")


def write_playground(app: Any, exception: Exception | None) -> None:
    """The scripts and tables that the page of the playground loads, beside the site's own."""
    if exception is None and app.builder.format == "html":
        from experiments.playground.page import write_page

        write_page(Path(app.outdir) / "_static" / "playground")


def setup(app: Any) -> None:
    """Tell Sphinx of the repository's address, and of what is done to a page beyond what Sphinx does."""
    app.add_config_value("repository", "", "env", [str])
    app.add_transform(OutsideLinks)
    app.add_transform(UnbrokenFigures)
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_playground)
