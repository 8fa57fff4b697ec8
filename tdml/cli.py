"""The `tdml` command."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the current folder, whose files are seen later: `config.see_own_classes`

import argparse
import os
import signal
from pathlib import Path

from tdml import __version__
from tdml import config as settings
from tdml.commands import bench, keys, ledger, paper, rewards
from tdml.common.environment import fix_environment
from tdml.errors import SettingError, fail, one_line, watch_warnings, write_any_text
from tdml.run import launch
from tdml.settings.file import to_yaml
from tdml.settings.overrides import add_arguments, overrides_of


def main() -> None:
    """Entry point; exits with the command's status."""
    fix_environment()
    write_any_text()
    watch_warnings(shown=True)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; the exit status."""
    parser, status = _parser(), 0
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
        return status
    except (SettingError, OSError) as error:
        print(f"tdml: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tdml: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tdml", description="Trustworthy distributed machine learning."
    )
    parser.add_argument("--version", action="version", version=f"tdml {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    train = commands.add_parser(
        "train",
        allow_abbrev=False,
        help="run a job on this machine: starts the ranks that it needs",
    )
    train.add_argument("--show-config", action="store_true", help="print the settings and end")
    add_arguments(train)
    train.set_defaults(command=_train)
    _add_join(commands)
    _add_report(commands)
    export = commands.add_parser(
        "export", help="write a run's model as safetensors, and for transformers"
    )
    export.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    export.add_argument(
        "out", type=Path, metavar="OUT", help="a file.safetensors; or a folder, for from_pretrained"
    )
    export.set_defaults(command=_export)
    _add_tokenize(commands)
    keys.add_to(commands)
    ledger.add_to(commands)
    rewards.add_to(commands)
    paper.add_to(commands)
    bench.add_to(commands)
    return parser


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    report = commands.add_parser(
        "report", help="write RUN/report.html, or one page that compares several runs"
    )
    report.add_argument("run", nargs="*", type=Path, metavar="RUN", help="a run folder")
    report.add_argument(
        "--compare",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="run folders, or what docs/results keeps of runs",
    )
    report.add_argument(
        "--out", type=Path, metavar="FOLDER", help="of the comparison: runs/compare"
    )
    report.set_defaults(command=_report)


def _add_tokenize(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    tokenize = commands.add_parser("tokenize", help="learn a tokenizer for data=text from text")
    tokenize.add_argument("out", type=Path, metavar="OUT", help="the tokenizer.json to write")
    tokenize.add_argument(
        "text",
        nargs="*",
        default=[],
        metavar="TEXT",
        help="files or folders of UTF-8 text; none: the topics of Python's help()",
    )
    tokenize.add_argument(
        "--vocabulary", type=int, default=4096, metavar="N", help="tokens: %(default)s"
    )
    tokenize.set_defaults(command=_tokenize)


def _train(parsed: argparse.Namespace) -> int:
    settings.see_own_classes()
    # also while settings are composed: the library makes another error of what a handler raises
    with launch.handled_by(launch.leave):
        config = settings.load(parsed.overrides)
        if parsed.show_config:
            print(to_yaml(config), end="")
            return 0
        # before torch is imported
        os.environ.setdefault("OMP_NUM_THREADS", str(launch.threads_per_rank(config.topology)))
        return launch.run_ranks(config)


def _add_join(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    join = commands.add_parser(
        "join",
        allow_abbrev=False,
        help="add this machine to a job that runs elsewhere, as one node, at any time",
    )
    join.add_argument(
        "address", metavar="HOST:PORT", help="of the job's store, as its first lines say"
    )
    add_arguments(join)
    join.set_defaults(command=_join)


def _join(parsed: argparse.Namespace) -> int:
    settings.see_own_classes()
    from tdml.run.interruption import Interruption
    from tdml.run.rank import join, leave_with

    interruption = Interruption()
    try:
        status = join(parsed.address, parsed.overrides, interruption)
    except SettingError as error:
        status = fail(str(error))
    leave_with(status)


def _report(parsed: argparse.Namespace) -> int:
    if bool(parsed.compare) == bool(parsed.run) or len(parsed.run) > 1:
        raise SettingError("give one RUN to report of, or several after --compare")
    if parsed.out and not parsed.compare:
        raise SettingError("--out is for --compare: the report of one run is RUN/report.html")
    if parsed.compare:
        from tdml.monitor.compare import write_comparison

        print(write_comparison(parsed.compare, parsed.out or Path("runs/compare")))
    else:
        [run] = parsed.run
        if not run.is_dir():  # before what draws figures is imported, which takes a second
            raise SettingError(f"{run} is no folder: give that of a run")
        from tdml.monitor.report import write_report

        print(write_report(run))
    return 0


def _tokenize(parsed: argparse.Namespace) -> int:
    from tdml.data.tokenizer import train_tokenizer

    size = train_tokenizer(parsed.text, parsed.vocabulary, parsed.out)
    print(f"{parsed.out}: data.tokenizer={parsed.out} model.vocabulary={size}")
    return 0


def _export(parsed: argparse.Namespace) -> int:
    from tdml.models.export import export
    from tdml.monitor import history
    from tdml.monitor.run_folder import read_metrics

    if read_metrics(parsed.run) and not history.read(parsed.run).ended:
        raise SettingError(
            f"{parsed.run} has not ended, so what model.pt may hold is older than its last round: "
            "resume=true goes on to the end"
        )
    print(export(parsed.run, parsed.out))
    return 0


if __name__ == "__main__":
    main()
