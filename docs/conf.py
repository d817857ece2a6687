"""Sphinx settings. Build with `make docs`; a warning is an error there."""

import configparser
from pathlib import Path

_config = configparser.ConfigParser()
_config.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")

project = _config["metadata"]["name"]
release = _config["metadata"]["version"]
author = "the chat-envs contributors"
copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
nitpicky = False

# Markdown: equations in dollars, directives in colons, links to headings down to ###.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Signatures as they are written; a member without a docstring is not documented.
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"{project} {release}"
