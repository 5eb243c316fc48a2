"""The documentation's site: ``python -m sphinx -W --keep-going -b html docs site``. It is built without a network."""

from __future__ import annotations

import logging
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
    "sphinx.ext.doctest",
    "sphinx_design",
    "sphinx_copybutton",
]
exclude_patterns = ["gallery", "notebooks", "**/.ipynb_checkpoints"]
suppress_warnings = ["config.cache"]  # the gallery's settings hold functions
logging.getLogger("sphinx.sphinx.directives.other").addFilter(  # a section may be empty
    lambda record: "didn't match any documents" not in str(record.msg)
)

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

default_role = "py:obj"  # the docstrings' `names` are links where there is such a name
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature's types are those that the docstring tells in words
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
doctest_global_setup = "import torch\nimport mixkit"
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = f"mixkit {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {
    "logo": {"text": "mixkit"},
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_sidebars = {"index": []}
project_copyright = "The mixkit founders, MIT licence"

if (HERE / "gallery").is_dir():
    extensions.append("sphinx_gallery.gen_gallery")
    sphinx_gallery_conf: dict[str, Any] = {
        "examples_dirs": "gallery",
        "gallery_dirs": "examples",
        "filename_pattern": r"\.py$",
        "within_subsection_order": "FileNameSortKey",
        "abort_on_example_error": True,
        "download_all_examples": False,
        "remove_config_comments": True,
        "show_memory": False,
        "capture_repr": (
            "_repr_html_",
        ),  # a cell that ends with a plan shows it, one that ends with axes shows the picture alone
        "min_reported_time": 60,
    }


class OutsideLinks(SphinxTransform):
    """Links to files of the repository that are no pages of the site, such as ``../README.md``.

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
            if path.is_relative_to(HERE) or not path.exists():
                continue
            shown = path.relative_to(HERE.parent).as_posix()
            if self.config.repository:
                link = nodes.reference("", "", *node.children, refuri=f"{self.config.repository}/{shown}")
                node.replace_self(link)
            else:
                node.replace_self(node.children)


def setup(app: Any) -> None:
    """Tell Sphinx of the repository's address and of the links that need it."""
    app.add_config_value("repository", "", "env", [str])
    app.add_transform(OutsideLinks)
