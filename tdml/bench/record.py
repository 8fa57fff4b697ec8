"""What `launch/gpu.sh` asks of Python: which machine this is, and to save the result of a check.

`python -m tdml.bench.record RUNS` makes a folder for this machine, and prints device, number of
GPUs and folder. `python -m tdml.bench.record FOLDER CHECK STATUS SECONDS` makes CHECK.json there,
from CHECK.log, from what figures the check has left in CHECK.figures, and from its exit status, and
prints a line.
"""

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from tdml.bench.versions import missing
from tdml.common.checkout import commit
from tdml.common.files import replace_file
from tdml.errors import SettingError, printable, write_any_text

# a check's exit status where the machine lacks what it takes, as in automake's tests
CANNOT_RUN = 77
CUT_OFF = (124, 130, 143)  # of a command that timeout or a signal has ended
_KEPT_LINES = 200


def look(runs: Path) -> str:
    """Describe the machine in a folder of its own; device, number of GPUs and that folder in one
    line.

    Raises:
        SettingError: a package that the project needs is missing.
    """
    if names := missing():
        raise SettingError(
            f"{sys.executable} lacks {', '.join(names)}: set PYTHON to an interpreter that has "
            "them, or WHEELS to a folder with their wheels, as launch/gpu.sh says"
        )
    from tdml.bench import hardware

    machine = hardware.describe()
    folder = runs / (
        re.sub(r"[^\w.]+", "-", machine["gpu"]) if machine["device"] == "cuda" else "cpu"
    )
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "machine.json", json.dumps(machine, indent=2) + "\n")
    return f"{machine['device']} {machine['gpus']} {folder}"


def save(folder: Path, check: str, status: int, seconds: float, at: str | None) -> str:
    """Save what came of a check, unless it cannot run here; one line on it."""
    log = (folder / f"{check}.log").read_text(encoding="utf-8", errors="replace")
    lines = [printable(line) for line in log.splitlines() if line.strip()]
    result = lines[-1].strip() if lines else "it has said nothing"
    if status == CANNOT_RUN:
        return f"{check}: not run: {result}"
    outcome = "done" if status == 0 else "cut off" if status in CUT_OFF else "failed"
    machine = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
    figures = folder / f"{check}.figures"
    record = {
        "check": check, "outcome": outcome, "status": status, "seconds": round(seconds, 1),
        "result": result, "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": at,
        "machine": machine,
        "figures": json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else None,
        "output": lines[-_KEPT_LINES:],
    }  # fmt: skip
    replace_file(folder / f"{check}.json", json.dumps(record, indent=2) + "\n")
    figures.unlink(missing_ok=True)
    return f"{check}: {outcome} in {seconds:.0f} s on {machine['gpu'] or 'a CPU'}: {result}"


if __name__ == "__main__":
    write_any_text()
    try:
        if len(sys.argv) == 2:
            print(look(Path(sys.argv[1])))
        else:
            print(
                save(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), commit())
            )
    except (SettingError, OSError) as error:
        sys.exit(f"tdml: {error}")
