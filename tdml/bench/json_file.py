"""Where a benchmark's option `--json` has its figures written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tdml.common.files import replace_file
from tdml.errors import SettingError


def check(file: Path | None) -> None:
    """To be called before anything is measured.

    Raises:
        SettingError: the file cannot be written.
    """
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        raise SettingError(f"--json {file}: give a file in a folder that exists")


def write(file: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the figures, where a file is given."""
    if file is not None:
        replace_file(file, json.dumps(figures, indent=2) + "\n")
