"""The `tdml` command."""

import argparse
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tdml import __version__
from tdml import config as settings
from tdml.cluster import keys_command as keys
from tdml.errors import SettingError, one_line, watch_warnings, write_any_text
from tdml.ledger import command as ledger
from tdml.overrides import add_arguments, overrides_of
from tdml.paper import command as paper
from tdml.rewards import command as rewards

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


def main() -> None:
    """Entry point; exits with the command's status."""
    write_any_text()
    watch_warnings(shown=True)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; the exit status."""
    parser = _parser()
    parsed, more = parser.parse_known_args(arguments)
    try:
        if "overrides" in parsed:
            parsed.overrides = overrides_of(parsed, more)
        elif more:
            parser.error(f"unrecognized arguments: {' '.join(more)}")
        status = parsed.command(parsed)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SettingError, OSError) as error:
        print(f"tdml: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tdml: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tdml", description="Trustworthy distributed machine learning.")
    parser.add_argument("--version", action="version", version=f"tdml {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    train = commands.add_parser(
        "train", allow_abbrev=False, help="run a job on this machine: starts torchrun with the ranks that it needs"
    )
    train.add_argument("--show-config", action="store_true", help="print the settings and end")
    add_arguments(train)
    train.set_defaults(command=_train)
    _add_report(commands)
    export = commands.add_parser("export", help="write a run's model as safetensors")
    export.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    export.add_argument("out", type=Path, metavar="OUT.safetensors")
    export.set_defaults(command=_export)
    keys.add_to(commands)
    ledger.add_to(commands)
    rewards.add_to(commands)
    paper.add_to(commands)
    _add_bench(commands)
    return parser


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    report = commands.add_parser("report", help="write RUN/report.html, or one page that compares several runs")
    one_or_several = report.add_mutually_exclusive_group(required=True)
    one_or_several.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a run folder")
    one_or_several.add_argument(
        "--compare", nargs="+", type=Path, metavar="RUN", help="run folders, or what docs/results keeps of runs"
    )
    out = Path("runs/compare")
    report.add_argument("--out", type=Path, default=out, metavar="FOLDER", help="of the comparison: %(default)s")
    report.set_defaults(command=_report)


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    bench = commands.add_parser("bench", help="measure this version on this machine")
    benchmarks = bench.add_subparsers(required=True, metavar="benchmark")
    ranking = benchmarks.add_parser("ranking", help="time and memory of the ranking of updates; about a minute")
    ranking.add_argument(
        "--replicas", nargs="+", type=int, default=[8, 16, 100], metavar="N", help="updates in a matrix: %(default)s"
    )
    ranking.add_argument(
        "--values", type=int, default=188_000_000, help="values in a matrix (%(default)s: eight updates of a ResNet-50)"
    )
    ranking.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    ranking.set_defaults(command=_bench_ranking)
    throughput = benchmarks.add_parser(
        "throughput",
        allow_abbrev=False,
        help="what a job computes beside a plain loop, and where its rounds' time goes; a few minutes",
    )
    add_arguments(throughput)
    throughput.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    throughput.set_defaults(command=_bench_throughput)
    _add_detection(benchmarks)


def _add_detection(benchmarks: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    detection = benchmarks.add_parser("detection", help="whom the defences find, and whom they accuse wrongly")
    add = detection.add_argument
    add_several = partial(add, action="extend", nargs="+")
    add(
        "--grid", default="quick", choices=("quick", "bar", "yardsticks", "budget", "nodes", "full"),
        help="which cases: %(default)s (minutes), … full (days)",
    )  # fmt: skip
    add("--quick", action="store_const", const="quick", dest="grid", help="the same as --grid quick")
    add_several("--attack", metavar="NAME", help="only these of conf/attack; 'none' for the clean cases alone")
    add_several("--setting", metavar="NAME", help="only these: digits-mlp, digits-cnn, cifar-cnn")
    add_several("--defence", metavar="NAME", help="only these, such as tdml mandera trmean")
    add_several("--replicas", type=int, metavar="N", help="only these numbers of replicas")
    add_several("--attackers", type=int, metavar="F", help="only these numbers of attackers")
    add_several("--steps", type=_steps, metavar="H", help="only these numbers of local steps, or epoch")
    add_several("--seeds", type=int, metavar="SEED", help="only these seeds")
    add("--rounds", type=int, metavar="R", help="of every case, instead of the grid's")
    add_several("--set", default=[], metavar="KEY=VALUE", help="settings of every case, as for tdml train")
    add("--cifar", type=Path, metavar="ROOT", help="folder of cifar-10-batches-py, for the cases on CIFAR-10")
    add("--jobs", type=int, default=os.cpu_count(), metavar="J", help="processes: %(default)s")
    add("--out", type=Path, default=Path("runs/bench-detection"), metavar="FOLDER", help="%(default)s")
    detection.set_defaults(command=_bench_detection)
    figures = benchmarks.add_parser("figures", help="the figures of docs/detection.md, from runs; a few minutes")
    figures.add_argument("--out", type=Path, default=Path("runs/bench-figures"), metavar="FOLDER", help="%(default)s")
    figures.set_defaults(command=_bench_figures)


def _train(parsed: argparse.Namespace) -> int:
    _see_own_classes()
    config = settings.load(parsed.overrides)
    if parsed.show_config:
        print(settings.to_yaml(config), end="")
        return 0
    _check(config)
    with TemporaryDirectory(prefix="tdml-") as folder:  # what was interpolated must be the same for all ranks
        handed_on = Path(folder) / "settings.yaml"
        settings.write(config, handed_on)
        return _launch(config, ["--settings", str(handed_on)])


def _launch(config: settings.Config, arguments: list[str]) -> int:
    """Start the ranks by torchrun, and wait for them."""
    workers = config.topology.world_size - 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args
    from torch.distributed.run import run as torchrun

    # The ranks say themselves what went wrong; torchrun would add a page of its own.
    logging.disable(logging.ERROR)
    ranks = ["--standalone", "--nproc-per-node", str(config.topology.world_size)]
    try:
        torchrun(parse_args([*ranks, "-m", "tdml", *arguments]))
    except SignalException:
        return 1
    except ChildFailedError as error:
        return _report_killed(*error.get_first_failure(), config)
    return 0


def _report_killed(rank: int, failure: "ProcessFailure", config: settings.Config) -> int:
    """Say who was killed, which nobody else can: torchrun has ended all other ranks with it."""
    from tdml.cluster.topology import COORDINATOR, node_name

    if failure.exitcode < 0:
        name = "the coordinator" if rank == COORDINATOR else node_name(rank, config.topology)
        text = f"{name} was killed ({failure.signal_name()}; a system that is short of memory does so)"
        print(f"tdml: {text}: after the first round a run goes on with resume=true", file=sys.stderr)
    return 1


def _check(config: settings.Config) -> None:
    """Find here, in seconds, what the ranks would find only once all of them have started."""
    from tdml import job
    from tdml.cluster.own_key import named_identity
    from tdml.cluster.roster import COORDINATOR_NAME, BanList, read_roster
    from tdml.cluster.topology import node_names
    from tdml.data import source
    from tdml.ledger.artifacts import Store
    from tdml.start_notary import terms_of

    read_roster(config.identity.roster, node_names(config.topology))
    BanList(config.identity.ban_list)
    identity = named_identity(config.identity.folder, COORDINATOR_NAME)
    if config.ledger.artifacts:
        Store(config.ledger.artifacts).put(settings.to_yaml(config).encode())
    prepared = job.prepare(config, source.load(config.data, config.seed), checkpoint=None)
    terms_of(config, prepared, identity)


def _see_own_classes() -> None:
    """The user's, in the current folder, as `python -m` has it. Not for commands that look at others' folders."""
    sys.path.insert(0, str(Path.cwd()))


def _report(parsed: argparse.Namespace) -> int:
    if parsed.compare:
        from tdml.monitor.compare import write_comparison

        print(write_comparison(parsed.compare, parsed.out))
    else:
        from tdml.monitor.report import write_report

        print(write_report(parsed.run))
    return 0


def _export(parsed: argparse.Namespace) -> int:
    from safetensors.torch import save_file

    from tdml.ledger.model_file import read_weights

    model = parsed.run / "model.pt"
    if not model.exists():
        raise SettingError(f"{model} does not exist: give the folder of a finished run")
    try:
        weights = read_weights(model)
    except ValueError as error:
        raise SettingError(str(error)) from error
    save_file({name: tensor.clone() for name, tensor in weights.items()}, parsed.out)  # it refuses shared memory
    print(parsed.out)
    return 0


def _bench_ranking(parsed: argparse.Namespace) -> int:
    from tdml.bench import ranking

    return ranking.run(parsed.replicas, parsed.values, parsed.json)


def _bench_throughput(parsed: argparse.Namespace) -> int:
    from tdml.bench import throughput

    _see_own_classes()
    return throughput.run(parsed.overrides, parsed.json)


def _bench_detection(parsed: argparse.Namespace) -> int:
    from tdml.bench import detection

    _see_own_classes()
    fields = ("attack", "setting", "defence", "replicas", "attackers", "steps")
    chosen = {name: values for name in fields if (values := getattr(parsed, name)) is not None}
    if parsed.seeds is not None:
        chosen["seed"] = parsed.seeds
    root = None if parsed.cifar is None else str(parsed.cifar)
    return detection.run(parsed.grid, chosen, parsed.rounds, parsed.set, parsed.jobs, parsed.out, root)


def _bench_figures(parsed: argparse.Namespace) -> int:
    from tdml.bench import figures

    return figures.run(parsed.out)


def _steps(text: str) -> int | None:
    return None if text == "epoch" else int(text)


if __name__ == "__main__":
    main()
