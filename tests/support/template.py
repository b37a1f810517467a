# SPDX-License-Identifier: Apache-2.0
"""Fills in the files of templates/."""

import json
from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent / "templates"


def fill(name, templates=FOLDER, **values):
    """The template's text; KeyError for a name that it uses and the caller does not give."""
    return Template((templates / name).read_text(encoding="utf-8")).substitute(values)


def setting_lines(settings):
    """TOML lines of a dict of numbers, texts and lists of texts."""
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in (settings or {}).items())
