"""How the documentation is built: `nox -s docs`. Markdown by MyST, theme Furo; nothing is fetched by any page."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "tests" / "analyzer")]

project = "noclobber"
author = "the noclobber authors"
copyright = "the noclobber authors, Apache-2.0"
extensions = ["myst_parser", "kind_pages", "architecture"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "recorded", "guide/README.md"]
suppress_warnings: list[str] = []
nitpicky = True
html_theme = "furo"
html_title = "noclobber"
html_static_path = ["_static"]
html_css_files = ["noclobber.css"]
html_js_files = [("noclobber.js", {"defer": "defer"})]
html_show_sphinx = False
linkcheck_ignore = [r"http://(127\.0\.0\.1|localhost|jaeger|clickhouse).*"]
