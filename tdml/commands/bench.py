"""`tdml bench …`: the benchmarks' arguments."""

import argparse
import importlib
import os
from functools import partial
from pathlib import Path

from tdml import config as settings
from tdml.lab.models import SETTINGS
from tdml.settings.overrides import add_arguments


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `tdml`."""
    bench = commands.add_parser("bench", help="measure this version on this machine")
    benchmarks = bench.add_subparsers(required=True, metavar="benchmark")
    ranking = benchmarks.add_parser(
        "ranking", help="time and memory of the ranking of updates; about a minute"
    )
    ranking.add_argument(
        "--replicas",
        nargs="+",
        type=int,
        default=[8, 16, 100],
        metavar="N",
        help="updates in a matrix: %(default)s",
    )
    ranking.add_argument(
        "--values",
        type=int,
        default=188_000_000,
        help="values in a matrix (%(default)s: eight updates of a ResNet-50)",
    )
    _add_json(ranking)
    ranking.set_defaults(command=_bench_ranking)
    for name, text, keeps in (
        (
            "throughput",
            "what a job computes beside a plain loop, and where its rounds' time goes",
            True,
        ),
        (
            "repeat",
            "whether this machine repeats audited steps bit for bit, and what that costs",
            False,
        ),
        ("kinds", "how far the GPU's steps are from the processor's", False),
        (
            "averaging",
            "loss and traffic of averaging once a round beside averaging in every step",
            True,
        ),
    ):
        measured = benchmarks.add_parser(name, allow_abbrev=False, help=f"{text}; a few minutes")
        add_arguments(measured)
        _add_json(measured)
        if keeps:
            _add_keep(measured)
        measured.set_defaults(command=partial(_bench_job, name))
    _add_scale(benchmarks)
    outcome = benchmarks.add_parser(
        "outcome", help="what came of runs: accuracy, who was accused, seconds by phase"
    )
    outcome.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    _add_json(outcome)
    outcome.set_defaults(command=_bench_outcome)
    _add_detection(benchmarks)


def _add_json(benchmark: argparse.ArgumentParser) -> None:
    benchmark.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")


def _add_keep(benchmark: argparse.ArgumentParser) -> None:
    benchmark.add_argument(
        "--keep", type=Path, metavar="DOCS", help="keep the results in this folder's page, too"
    )


def _add_scale(benchmarks: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    scale = benchmarks.add_parser(
        "scale",
        allow_abbrev=False,
        help="seconds and memory of the coordinator over numbers of replicas; some minutes",
    )
    add_arguments(scale)
    for name, default, what in (
        ("replicas", [2, 4, 8, 16, 32, 64], "replicas"),
        ("stages", [1, 4, 8], "stages of each"),
    ):
        scale.add_argument(
            f"--{name}",
            nargs="+",
            type=int,
            default=default,
            metavar="N",
            help=f"{what}: %(default)s",
        )
    _add_json(scale)
    scale.set_defaults(command=_bench_scale)


def _add_detection(benchmarks: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    detection = benchmarks.add_parser(
        "detection", help="whom the defences find, and whom they accuse wrongly"
    )
    add = detection.add_argument
    add_several = partial(add, action="extend", nargs="+")
    add(
        "--grid",
        default="quick",
        choices=("quick", "bar", "clean", "yardsticks", "few", "nodes", "language", "full"),
        help="which cases: %(default)s (minutes), … full (days)",
    )
    add(
        "--quick", action="store_const", const="quick", dest="grid", help="the same as --grid quick"
    )
    add_several(
        "--attack",
        metavar="NAME",
        help="only these of conf/attack; 'none' for the clean cases alone",
    )
    add_several("--setting", metavar="NAME", help=f"only these: {', '.join(SETTINGS)}")
    add_several("--defence", metavar="NAME", help="only these, such as tdml mandera trmean")
    add_several("--replicas", type=int, metavar="N", help="only these numbers of replicas")
    add_several("--attackers", type=int, metavar="F", help="only these numbers of attackers")
    add_several(
        "--steps", type=_steps, metavar="H", help="only these numbers of local steps, or epoch"
    )
    add_several("--seeds", type=int, metavar="SEED", help="only these seeds")
    add("--rounds", type=int, metavar="R", help="of every case, instead of the grid's")
    add_several(
        "--set", default=[], metavar="KEY=VALUE", help="settings of every case, as for tdml train"
    )
    add(
        "--cifar",
        type=Path,
        metavar="ROOT",
        help="folder of cifar-10-batches-py, for the cases on CIFAR-10",
    )
    add("--jobs", type=int, default=os.cpu_count(), metavar="J", help="processes: %(default)s")
    add(
        "--out",
        type=Path,
        default=Path("runs/bench-detection"),
        metavar="FOLDER",
        help="%(default)s",
    )
    _add_keep(detection)
    detection.set_defaults(command=_bench_detection)


def _bench_ranking(parsed: argparse.Namespace) -> int:
    from tdml.bench import ranking

    return ranking.run(parsed.replicas, parsed.values, parsed.json)


def _bench_job(name: str, parsed: argparse.Namespace) -> int:
    """Of the benchmarks that measure a job with some settings one."""
    settings.see_own_classes()
    kept = (parsed.keep,) if "keep" in parsed else ()
    return importlib.import_module(f"tdml.bench.{name}").run(parsed.overrides, parsed.json, *kept)


def _bench_scale(parsed: argparse.Namespace) -> int:
    from tdml.bench import scale

    settings.see_own_classes()
    return scale.run(parsed.replicas, parsed.stages, parsed.overrides, parsed.json)


def _bench_outcome(parsed: argparse.Namespace) -> int:
    from tdml.bench import outcome

    return outcome.run(parsed.runs, parsed.json)


def _bench_detection(parsed: argparse.Namespace) -> int:
    from tdml.bench import json_file
    from tdml.lab import detection

    settings.see_own_classes()
    json_file.check_docs(parsed.keep)
    fields = ("attack", "setting", "defence", "replicas", "attackers", "steps")
    chosen = {name: values for name in fields if (values := getattr(parsed, name)) is not None}
    if parsed.seeds is not None:
        chosen["seed"] = parsed.seeds
    root = None if parsed.cifar is None else str(parsed.cifar)
    status = detection.run(
        parsed.grid, chosen, parsed.rounds, parsed.set, parsed.jobs, parsed.out, root
    )
    if parsed.keep is not None:
        from tdml.lab.page import keep

        print(keep(parsed.out / "results.json", parsed.keep))
    return status


def _steps(text: str) -> int | None:
    if text == "epoch":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of steps nor epoch")
    return int(text)
