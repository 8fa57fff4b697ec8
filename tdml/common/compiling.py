"""numba, which compiles in a thread of its own while others go on."""

from numba import njit
from numba.core.codegen import CPUCodegen

__all__ = ["njit"]

# Before every function it has LLVM print a number, to see whether the locale's comma is in it, and
# for that LLVM gives the whole process the locale "C": whoever opens a text meanwhile without
# naming its encoding, such as a user's data set, fails at the first letter that is not ASCII.
CPUCodegen._check_llvm_bugs = lambda _: None  # type: ignore[method-assign]
