"""What is compiled beside other threads."""

import pytest
from llvmlite.binding import ModuleRef

from tdml.common.compiling import njit


def test_compiling_gives_the_process_no_other_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM sets it to "C" for as long as it prints."""
    printed: list[ModuleRef] = []
    monkeypatch.setattr(ModuleRef, "__str__", lambda module: printed.append(module) or "12.3")
    assert njit(lambda value: value + 1.5)(1.0) == 2.5
    assert printed == []
