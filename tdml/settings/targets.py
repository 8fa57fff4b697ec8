"""Settings that name a class or a function: `_target_`, beside its own arguments."""

import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import hydra.utils
import torch

from tdml.common.vision import mend_torchvision
from tdml.errors import SettingError, cause, running_on

_T = TypeVar("_T")

# what an argument that is annotated so may be, where a word stands for nothing
_MUST_BE = (
    (bool, "true or false"), (bool | None, "true or false"), (int, "a whole number"),
    (float, "a number"),
)  # fmt: skip
# Hydra's command line has them as words, files as truth values
_TRUTHS = {"yes", "no", "on", "off", "y", "n", "true", "false"}


def is_path(target: str) -> bool:
    """Whether a `_target_` is the path of something to import, rather than a name of ours."""
    return "." in target


def instantiate(settings: Mapping[str, Any]) -> Any:
    """What `_target_` makes of its own arguments, which are plain lists and dicts; the file that it
    is in may import torchvision.

    Raises:
        SettingError: the target has raised it, or has set what holds for all of the process.
        Exception: the target cannot be found, is given a word for a number or a truth value, or
            has raised something else.
    """
    mend_torchvision()
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    folder = Path.cwd()
    try:
        with running_on():
            _check_words(settings)
            new = hydra.utils.instantiate({"_convert_": "all", **settings})
    except Exception as error:
        if isinstance(error.__cause__, SettingError):  # Hydra wraps what the target raises
            raise error.__cause__ from error
        raise
    finally:
        changed = {
            "torch.set_default_dtype()": torch.get_default_dtype() != dtype,
            "torch.set_grad_enabled()": torch.is_grad_enabled() != gradients,
            "os.chdir()": Path.cwd() != folder,
        }
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        os.chdir(folder)
    if call := next(filter(changed.get, changed), ""):
        raise SettingError(
            f"{settings['_target_']}: it, or the file that it is in, calls {call}, which holds for "
            "all of the process, and so for what TDML does beside it: leave it out"
        )
    return new


def _check_words(settings: Mapping[str, Any]) -> None:
    module, _, name = settings["_target_"].rpartition(".")
    try:
        # Hydra's function for this logs what it does not find
        target = getattr(importlib.import_module(module), name)
    except Exception:
        return  # it cannot be found, which is said when it is called
    check_words(target, settings)


def check_words(target: Callable, given: Mapping[str, Any]) -> None:
    """A word counts as true, so `norm=off` would switch it on.

    Raises:
        ValueError: one is given for a truth value or a number.
    """
    try:
        parameters = inspect.signature(target, eval_str=True).parameters
    except Exception:
        return  # it does not say what it takes
    for name, value in given.items():
        if not isinstance(value, str) or name not in parameters:
            continue
        annotation = parameters[name].annotation  # anything, which may be no key of a dict
        must_be = next((words for kind, words in _MUST_BE if annotation == kind), "")
        if isinstance(parameters[name].default, bool) and value.lower() in _TRUTHS:
            must_be = "true or false"
        if must_be:
            raise ValueError(f"{name}={value} must be {must_be}")


def partial_of(settings: Mapping[str, Any], group: str) -> partial:
    """What `_target_` names, with its own arguments bound.

    Raises:
        SettingError: it cannot be imported; names `group`.
    """
    return made(
        group,
        settings["_target_"],
        instantiate,
        {**settings, "_partial_": True},
    )


def made(group: str, target: str, make: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    """What `make` returns; what it raises becomes a `SettingError` about the setting `group`,
    unless it is one."""
    try:
        return make(*args, **kwargs)
    except SettingError:
        raise
    except Exception as error:
        raise SettingError(f"{group}={target} cannot be used: {cause(error, group)}") from error
