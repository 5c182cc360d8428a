"""Sphinx: the guide and the gallery are executed scripts, the reference comes from docstrings."""

import os
import re
import sys
from pathlib import Path

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

import fastnn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for house_style, which sphinx-gallery imports by name

# Scripts run beside each other, one thread each: results are the same for any number of threads.
os.environ["FASTNN_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

project = "fastnn"
author = "The fastnn developers"
version = release = fastnn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
templates_path = ["_templates"]
default_role = "py:obj"  # `fit` in a docstring is code, and a link where there is a page for it

# ---- reference ----

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# ---- guide and gallery ----

sphinx_gallery_conf = {
    "examples_dirs": ["examples/guide", "examples/gallery"],
    "gallery_dirs": ["guide", "gallery"],
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("house_style.apply",),
    "parallel": max(1, min(len(os.sched_getaffinity(0)), 4)) if hasattr(os, "sched_getaffinity") else 1,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 3600,
    "write_computation_times": False,
    "copyfile_regex": "",
    "capture_repr": ("_repr_html_", "__repr__"),
}

# ---- pages ----

html_theme = "pydata_sphinx_theme"
html_title = "fastnn"
html_static_path = ["_static"]
html_css_files = ["fastnn.css"]
html_show_sourcelink = False
html_copy_source = False
html_use_index = html_domain_indices = False  # the search and the pages of the modules do that
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "show_nav_level": 1,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "friendly",
    "pygments_dark_style": "github-dark",
}
html_sidebars = {"index": []}
html_math_renderer = "mathml"


def formula(translator, node):
    """Browsers draw MathML themselves: no script, no network, and the colours of the page."""
    block = node.tagname == "math_block"
    translator.body.append(tex2mathml(node.astext(), as_block=block))
    raise SkipNode


def left_out(app, what, name, object, skip, options):
    """What scikit-learn adds to its estimators by itself is described there."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app):
    app.connect("autodoc-skip-member", left_out)
    app.add_html_math_renderer("mathml", inline_renderers=(formula, None), block_renderers=(formula, None))
