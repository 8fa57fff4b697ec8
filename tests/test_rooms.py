"""The rooms of the house stand in an order: what is below knows nothing of what is above."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_HOUSE = Path(__file__).resolve().parent.parent
_ENTRIES = {"__init__", "__main__", "entry"}  # a start into any room


def _order() -> dict[str, int]:
    """The rooms and the place that each has, as the page for contributors has them."""
    page = (_HOUSE / "CONTRIBUTING.md").read_text()
    table = page.partition("**Rooms.**")[2].partition("**Read**")[0]
    lines = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    rooms = [room for cell in lines for room in re.findall(r"`(\w+)`", cell)]
    return {room: n for n, room in enumerate(rooms)}


def _imports(file: Path) -> Iterator[str]:
    """The rooms that a file imports from, wherever it does so."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "tdml":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tdml."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (
                name.name.split(".")[1] for name in node.names if name.name.startswith("tdml.")
            )


def test_no_room_knows_what_is_above_it() -> None:
    order = _order()
    house = _HOUSE / "tdml"
    rooms = {path.stem for path in house.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__pycache__", "conf", "py"} - _ENTRIES == set(order)
    upwards = [
        f"{file.relative_to(house)} imports tdml.{room}"
        for file in house.rglob("*.py")
        for own in [file.relative_to(house).with_suffix("").parts[0]]
        if own not in _ENTRIES
        for room in _imports(file)
        if room in order and order[room] > order[own]
    ]
    assert upwards == []


def test_files_and_functions_are_short() -> None:
    files = [file for part in ("tdml", "tests") for file in (_HOUSE / part).rglob("*.py")]
    long = [str(file) for file in files if len(file.read_text().splitlines()) > 300]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60:
                long.append(f"{file}: {node.name}")
    assert long == []
