"""Calls by RPC that torch carries out past its pickler: here it refuses them.

Besides functions of Python's a peer can call whatever TorchScript knows. Among its operators is one
that writes any file, and others move the generator that a node draws from in the middle of a step,
so that its honest work is not found again. torch has no setting against that. But it asks an object
for each kind of call, and where Python is left out of torch, such objects refuse Python's calls. So
in the table of the object's methods that refusal takes the places of those that carry out more.
"""

import ctypes
import mmap
from pathlib import Path
from typing import Any

import torch

from tdml.errors import SettingError, one_line

_CARRIED_OUT = ("processScriptCall", "processScriptRemoteCall", "processPythonRemoteCall")
_CARRIES_OUT, _REFUSES = "RequestCallbackImpl", "RequestCallbackNoPython"  # torch's classes
_REFUSAL = "processPythonCall"
_SPACE = "N5torch11distributed3rpc"  # torch::distributed::rpc, and names as C++ encodes them
_ARGUMENTS = "ERNS1_14RpcCommandBaseERKSt6vectorIN3c106StreamESaIS7_EE"
_ENTRIES = 16  # of the table, which may have a few less
_READ, _WRITE = 1, 2  # of mprotect


def close_other_calls() -> None:
    """Refuse all calls but those of Python functions, in this process, for good.

    Raises:
        SettingError: this build of torch is another than is known here.
    """
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_python.so"))
        refusal = _address(library, _REFUSES, _REFUSAL)
        open_calls = {_address(library, _CARRIES_OUT, name) for name in _CARRIED_OUT}
        table = f"_ZTV{_SPACE}{_encoded(_CARRIES_OUT)}E"
        methods = (ctypes.c_void_p * _ENTRIES).in_dll(library, table)
        for place, method in enumerate(methods):
            if method in open_calls:
                _replace(methods, place, refusal)
        if not open_calls.isdisjoint(methods) or [*methods].count(refusal) != len(_CARRIED_OUT):
            raise ValueError("its table of methods is made otherwise")
    except (OSError, AttributeError, ValueError) as error:
        raise SettingError(
            f"torch {torch.__version__}: calls that would let strangers write files cannot be "
            f"closed ({one_line(error)}): install the torch of pypi.org that TDML was tested with"
        ) from error


def _address(library: ctypes.CDLL, of: str, method: str) -> int | None:
    name = f"_ZNK{_SPACE[1:]}{_encoded(of)}{_encoded(method)}{_ARGUMENTS}"
    return ctypes.cast(library[name], ctypes.c_void_p).value


def _encoded(name: str) -> str:
    return f"{len(name)}{name}"


def _replace(methods: Any, place: int, method: int | None) -> None:
    """The system keeps most of such tables from being written, before and after; but no other data
    that share a page with one."""
    start = ctypes.addressof(methods) + place * ctypes.sizeof(ctypes.c_void_p)
    page = start - start % mmap.PAGESIZE
    is_kept = "w" not in _access(page)
    if is_kept:
        _protect(page, _READ | _WRITE)
    methods[place] = method
    if is_kept:
        _protect(page, _READ)


def _access(page: int) -> str:
    """To a page of this process's memory, such as "r--p"."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, access, *_ = line.split()
        first, end = (int(number, 16) for number in span.split("-"))
        if first <= page < end:
            return access
    raise ValueError("memory that is not there")


def _protect(page: int, access: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), access):
        raise OSError(ctypes.get_errno(), "memory cannot be changed")
