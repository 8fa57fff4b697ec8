"""Where a benchmark's options `--json` and `--keep` have its figures written."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
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


def check_docs(docs: Path | None) -> None:
    """To be called before anything is measured.

    Raises:
        SettingError: no page can be kept there.
    """
    if docs is not None and not _writable(docs if docs.exists() else docs.absolute().parent):
        raise SettingError(f"--keep {docs}: give a folder that you may write into")


def _writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def write(file: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the figures, where a file is given."""
    if file is not None:
        replace_file(file, json.dumps(figures, indent=2) + "\n")


def keep(
    docs: Path,
    benchmark: str,
    measured: Mapping[str, Any],
    page_text: Callable[[Sequence[Mapping[str, Any]]], str],
) -> Path:
    """Keep what a benchmark has measured of a job, by its name, and make the benchmark's page of
    all that is kept. Returns the page's path."""
    folder = docs / "results" / benchmark
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / f"{measured['name'].replace('/', '-')}.json", measured)
    page = folder.with_suffix(".md")
    kept = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    replace_file(page, page_text(kept))
    return page
