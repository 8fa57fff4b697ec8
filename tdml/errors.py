"""The one kind of error that is the user's to mend, and how a program says it."""

import io
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tdml.common.environment import LAUNCHER

INTERRUPTED = os.EX_TEMPFAIL  # the exit status of a run that was interrupted and can go on
_LAST_WORDS_S = 10.0
_MOST_OF_A_LIBRARY = 500  # characters of what one says
# characters of a line: others may have a part in it, and patterns take the square of that to find
_LONGEST = 5_000


class CannotGoOn(Exception):
    """No replica can be formed any more, or the rounds lead nowhere; it says what to do."""


class SettingError(ValueError):
    """A setting that cannot work.

    The message is one line that names the setting and says what to do. The programs print it
    without a stack trace and exit with status 1.
    """


@contextmanager
def refusing(
    what: str, of: type[Exception] | tuple[type[Exception], ...] = Exception
) -> Iterator[None]:
    """What fails in it, in one of these ways, is a `SettingError` that says what cannot be, and
    why. Libraries may have much to say, and raise whatever they like."""
    try:
        with running_on():
            yield
    except SettingError:
        raise
    except of as error:
        # of a missing key the text is its name alone
        why = one_line(repr(error) if isinstance(error, KeyError) else error)
        raise SettingError(f"{what}: {why[:_MOST_OF_A_LIBRARY]}") from error


def one_line(error: BaseException | str) -> str:
    """The text of an error, printable, with its line breaks folded, without Hydra's advice to its
    developers and the numbers of the system's errors."""
    text = re.sub(
        r"\[Errno \d+\] |,? ?set (the )?env.*HYDRA_FULL_ERROR=1.*",
        "",
        " ".join(str(error)[:_LONGEST].split()),
        flags=re.IGNORECASE,
    )
    return printable(text) or type(error).__name__


@contextmanager
def running_on() -> Iterator[None]:
    """Users' code that ends the program fails, as other code does: who calls it has something to
    say."""
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(
            f"it ends the program (status {error.code}): what reads the command line, or calls "
            'sys.exit(), belongs under if __name__ == "__main__"'
        ) from error


def origin(error: BaseException) -> BaseException:
    """The error that others were raised from: libraries wrap it into one that says where it
    happened. What a `SettingError` was raised from it says itself."""
    seen = set()
    while (
        error.__cause__ is not None
        and not isinstance(error, SettingError)
        and id(error) not in seen
    ):
        seen.add(id(error))
        error = error.__cause__
    return error


def cause(error: Exception, group: str) -> str:
    """Why Hydra could not make the `_target_` of a group of settings, in one line."""
    hidden = error.__cause__  # where it cannot be imported Hydra hides the reason
    if isinstance(hidden, ImportError):
        text = _import_error(hidden)
    elif hidden is not None and str(error).startswith("Error in call to target"):
        text = f"{type(hidden).__name__}: {one_line(hidden)}"
    else:
        text = one_line(error)
    if "Muon only supports 2D" in text:
        return f"{text}: its model may have matrices alone: take another, such as {group}=adamw"
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", text)
    if not unexpected:
        return text
    setting = f"{group}.{unexpected[1]}"
    return f"{text}: leave out {setting} ('~{setting}' where a file of settings has it)"


def _import_error(error: ImportError) -> str:
    """What Hydra says of a path that it cannot import, without its guesses."""
    reason, path = error.__cause__, re.match("Error loading '(.*)'", str(error))
    if isinstance(reason, SyntaxError):
        return f"{reason.filename}, line {reason.lineno}: {reason.msg}"
    if isinstance(reason, ModuleNotFoundError) and path and reason.name == path[1]:
        module, _, name = path[1].rpartition(".")
        if module == "__main__":  # as in a notebook
            return f"nodes are processes of their own: put {name} into a file, such as mine.{name}"
        # a file of the user's may have the name of one of Python's
        place = getattr(sys.modules.get(module), "__file__", None)
        where = f" ({place})" if place else ""
        return f"{module}{where} has no {name}" if module else f"there is no {name}"
    return one_line(reason or error)


def printable(text: str) -> str:
    """The text without what could control a terminal: others may have a part in it."""
    return "".join(char if char.isprintable() else "�" for char in text)


def write_any_text() -> None:
    """Have what the terminal's encoding lacks written as its code: a tick must not end a run."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it anyway


def watch_warnings(shown: bool) -> None:
    """Show what libraries warn of once in this process, in a line, or not at all. PYTHONWARNINGS
    shows it everywhere.

    Python's own memory of what was said is lost wherever filters change: in torch, at every build
    of a model.
    """
    said = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        text = f"{category.__name__}: {one_line(message)}"
        if (shown or sys.warnoptions) and text not in said:
            said.add(text)
            complain(f"{filename}:{lineno}: {text}")

    warnings.showwarning = show


def hush_torch() -> None:
    """To be called before torch is imported: TensorPipe logs every lost connection and every
    refused call from C++, and the coordinator reports each loss once."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")


def say(text: str) -> None:
    """Print a line, if anybody reads: that nobody does must not end a node."""
    with suppress(OSError):
        print(text, flush=True)


def complain(text: str) -> None:
    """The same, of what is wrong."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def fail(message: str, status: int = 1) -> int:
    """Say what is wrong, once on every machine, and return the exit status for it."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        complain(f"tdml: {one_line(message)}")
    elif "TORCHELASTIC_RUN_ID" in os.environ or LAUNCHER in os.environ:
        # Whoever has started the ranks ends all of them as soon as one has failed. Let that be the
        # one that speaks.
        time.sleep(_LAST_WORDS_S)
    return status
