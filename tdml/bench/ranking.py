"""`tdml bench ranking`: what the ranking of updates costs, beside a copy of them and beside what
others do.

All contenders take turns on the same matrix in the same run, so that a busy machine slows all of
them; what counts are the ratios. Where there is a GPU, the ranking is measured on it too, beside
reading the matrix once.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tdml.bench import hardware, json_file
from tdml.bench.turns import Timing, meminfo, take_turn
from tdml.errors import SettingError
from tdml.lab.byzfl_rules import library
from tdml.trust import ranking

_TURNS = 5
_PATIENCE_S = 4.0  # a contender that has taken so long on a matrix gets no further turn
_ONE_IN = {
    "scipy rankdata": 100,
    "torch operations": 10,
}  # the slow get only some of the coordinates,
_LEAST = 1000  # but no fewer than these
_BYTES_PER_VALUE = 32  # the matrix, its copy, and what TrMean's sorting allocates
_GPU_BYTES_PER_VALUE = 12  # the matrix, its copy, and what torch operations need of a tenth
_GPU = "cuda"
_COPY, _READ, _OURS = "copy", "read (sum)", "rank_moments"


@dataclass
class RankingResult:
    """All contenders on one matrix."""

    replicas: int
    coordinates: int
    byzantine: int  # ByzFL's f; on a GPU it takes no part
    device: str  # cpu or cuda
    tool: str  # what rank_moments runs on
    timings: list[Timing]

    @property
    def yardstick(self) -> str:
        """The contender that tells how fast the memory is."""
        return _READ if self.device == _GPU else _COPY

    def ratio(self, name: str, base: str) -> float:
        """How many times as long one contender takes as another."""
        medians = {timing.name: timing.median for timing in self.timings}
        return medians[name] / medians[base]


def run(replicas: Sequence[int], values: int, out: Path | None) -> int:
    """Measure, print, and write JSON to `out` where it is given.

    Raises:
        SettingError: the arguments make no sense, or the machine has too little memory for them.
    """
    _check(replicas, values, out)
    console = Console()
    others, missing = _byzfl()
    if ranking.compiled() is None:
        console.print(
            "rank_moments runs on torch operations, for numba is missing: pip install numba"
        )
    console.print(missing, end="", highlight=False, soft_wrap=True)
    results = [measure(n, values // n, others) for n in replicas]
    if torch.cuda.is_available():
        results += [measure_on_gpu(n, values // n) for n in replicas]
    for result in results:
        console.print(_table(result))
    console.print(_notes(), highlight=False, soft_wrap=True)
    console.print(_sentence(results), highlight=False, soft_wrap=True)
    json_file.write(out, _as_json(results))
    return 0


def _check(replicas: Sequence[int], values: int, out: Path | None) -> None:
    if min(replicas) < 2:
        raise SettingError(f"--replicas {min(replicas)}: a ranking needs at least 2")
    if values < max(replicas):
        raise SettingError(
            f"--values {values} is less than one for each of {max(replicas)} replicas: give more"
        )
    needed, available = values * _BYTES_PER_VALUE, meminfo("/proc/meminfo", "MemAvailable")
    if available is not None and needed > available:
        most = available // _BYTES_PER_VALUE
        raise SettingError(
            f"--values {values} needs {needed / 1e9:.1f} GB of memory: give at most {most}"
        )
    needed = values * _GPU_BYTES_PER_VALUE
    if torch.cuda.is_available() and needed > (free := torch.cuda.mem_get_info()[0]):
        most = free // _GPU_BYTES_PER_VALUE
        raise SettingError(
            f"--values {values} needs {needed / 1e9:.1f} GB of the GPU's memory: give at most "
            f"{most}"
        )
    json_file.check(out)


def measure(
    replicas: int, coordinates: int, others: Callable[[int], dict[str, Callable]]
) -> RankingResult:
    """Time all contenders on one random matrix, in turns."""
    matrix = torch.randn(replicas, coordinates, generator=torch.Generator().manual_seed(0))
    byzantine = (replicas - 1) // 2
    contenders: dict[str, Callable[[torch.Tensor], object]] = {
        _OURS: ranking.rank_moments,
        _COPY: torch.zeros_like(matrix).copy_,
        "torch operations": ranking.lead_sums,
        "scipy rankdata": _by_scipy,
        **others(byzantine),
    }
    ranking.rank_moments(matrix[:, :1])  # compiles
    fast = ranking.compiled()
    tool = "numba" if fast else f"torch operations on {_torch_threads()} threads"
    return RankingResult(
        replicas, coordinates, byzantine, "cpu", tool, _in_turns(matrix, contenders)
    )


def measure_on_gpu(replicas: int, coordinates: int) -> RankingResult:
    """The same on a GPU, for what can run there."""
    matrix = torch.randn(
        replicas, coordinates, device=_GPU, generator=torch.Generator(_GPU).manual_seed(0)
    )
    contenders: dict[str, Callable[[torch.Tensor], object]] = {
        _OURS: ranking.rank_moments,
        _READ: torch.sum,
        _COPY: torch.zeros_like(matrix).copy_,
        "torch operations": ranking.lead_sums,
    }
    # compiles; and a GPU's first launch of anything is slow
    for name, contender in contenders.items():
        contender(_part(matrix, name))
    slow = ranking.on_gpu(matrix.device, matrix.dtype, replicas) is ranking.lead_sums
    tool = "torch operations" if slow else "Triton"
    return RankingResult(replicas, coordinates, 0, _GPU, tool, _in_turns(matrix, contenders))


def _in_turns(
    matrix: torch.Tensor, contenders: dict[str, Callable[[torch.Tensor], object]]
) -> list[Timing]:
    timings = [
        Timing(name, share=_part(matrix, name).shape[1] / matrix.shape[1]) for name in contenders
    ]
    for _ in range(_TURNS):
        for timing in timings:
            if sum(timing.seconds) * timing.share < _PATIENCE_S:
                contender, part = contenders[timing.name], _part(matrix, timing.name)
                take_turn(timing, lambda: contender(part), matrix.device.type)  # noqa: B023 - called at once
    return timings


def _part(matrix: torch.Tensor, name: str) -> torch.Tensor:
    """The coordinates that a contender is given."""
    coordinates = matrix.shape[1]
    return matrix[:, : max(min(_LEAST, coordinates), coordinates // _ONE_IN.get(name, 1))]


def _by_scipy(matrix: torch.Tensor) -> None:
    from scipy.stats import rankdata

    ranks = rankdata(matrix.numpy(), axis=0)
    ranks.mean(axis=1), ranks.std(axis=1, ddof=1)


def _byzfl() -> tuple[Callable[[int], dict[str, Callable]], str]:
    """ByzFL's rules for a number of Byzantine replicas, and a line on what is left out."""
    byzfl = library()
    if byzfl is None:
        line = "Left out: ByzFL's MultiKrum and TrMean: pip install byzfl==0.0.11\n"
        return lambda byzantine: {}, line
    return lambda byzantine: {
        "ByzFL MultiKrum": byzfl.MultiKrum(byzantine),
        "ByzFL TrMean": byzfl.TrMean(byzantine),
    }, ""


def _table(result: RankingResult) -> Table:
    size = 4 * result.replicas * result.coordinates
    shape = f"{result.replicas} replicas × {result.coordinates:,} coordinates"
    title = f"{shape}, {size / 1e6:,.0f} MB of float32 on {result.device}"
    table = Table(
        "",
        "seconds",
        f"× {result.yardstick}",
        "× rank_moments",
        "extra memory",
        "turns",
        title=title,
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for timing in sorted(result.timings, key=lambda timing: timing.median):
        extra = (
            "?" if timing.extra_bytes is None else f"{timing.extra_bytes / size / timing.share:.1%}"
        )
        name = (
            timing.name if timing.share == 1 else f"{timing.name} (on {timing.share:.1%}, scaled)"
        )
        table.add_row(
            name,
            f"{timing.median:.3f}" if result.device == "cpu" else f"{timing.median:.6f}",
            f"{result.ratio(timing.name, result.yardstick):.2f}",
            f"{result.ratio(timing.name, _OURS):.2f}",
            extra,
            str(len(timing.seconds)),
        )
    byzfl = f"; ByzFL with f = ⌊(n − 1)/2⌋ = {result.byzantine}" if result.device == "cpu" else ""
    table.caption = f"rank_moments by {result.tool}{byzfl}"
    return table


def _notes() -> str:
    return (
        f"Medians of up to {_TURNS} turns, taken in rotation; a contender that has had "
        f"{_PATIENCE_S:.0f} s gets no further one.\nCopy: into memory that is there already. "
        f"Extra memory: the most beyond the matrix in a first turn, as a share of it.\n"
        f"{hardware.processors()}; GPU: {hardware.gpu() or 'none'}; "
        f"torch {torch.__version__} on {_torch_threads()} threads."
    )


def _sentence(results: Sequence[RankingResult]) -> str:
    last = results[-1]  # the GPU's come last
    there = [result for result in results if result.device == last.device]
    times = ", ".join(
        f"{result.ratio(_OURS, last.yardstick):.2f} ({result.replicas} replicas)"
        for result in there
    )
    who = f"rank_moments by {last.tool} on {last.device}"
    return f"{who} takes so many times as long as {last.yardstick}: {times}"


def _as_json(results: Sequence[RankingResult]) -> dict:
    return hardware.describe() | {
        "results": [
            asdict(result)
            | {
                "yardstick": result.yardstick,
                "times_yardstick": {
                    t.name: result.ratio(t.name, result.yardstick) for t in result.timings
                },
                "times_copy": {
                    timing.name: result.ratio(timing.name, _COPY) for timing in result.timings
                },
                "times_rank_moments": {
                    timing.name: result.ratio(timing.name, _OURS) for timing in result.timings
                },
            }
            for result in results
        ],
    }


def _torch_threads() -> int:
    return torch.get_num_threads()
