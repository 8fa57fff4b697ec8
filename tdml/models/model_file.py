"""Reading model.pt of a run that may be anybody's: the weights, or one line that says why there are
none.

The file is a zip archive that torch reads. Made by a stranger, such a file can be small and unpack
to more than any machine holds; torch refuses to run code from it, but not to fill the memory.
"""

import resource
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tdml.errors import one_line

_ROOM = 2**30  # bytes that reading may take beyond a few times the size of the file


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The plain state dict in the file, in host memory, of which it takes 1 GiB and four times the
    file's size at most.

    Raises:
        ValueError: there is none, or it is something else.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    try:
        _check_archive(path)
        with _limited_memory(_ROOM + 4 * path.stat().st_size):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise almost anything
        raise ValueError(f"{path} does not hold weights: {one_line(error)}") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and _is_plain(t) for name, t in state.items()
    ):
        raise ValueError(f"{path} does not hold weights: it is no plain state dict")
    return state


def _check_archive(path: Path) -> None:
    """torch compresses nothing, so what is inside is no larger than the file."""
    with zipfile.ZipFile(path) as archive:
        inside = sum(member.file_size for member in archive.infolist())
        if inside > path.stat().st_size:
            raise ValueError(f"it would unpack to {inside} bytes")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} in it is damaged")


def _is_plain(tensor: object) -> bool:
    """Whether a value is a dense tensor that has all the bytes which its shape claims: a stride of
    0 repeats some."""
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and tensor.nbytes <= tensor.untyped_storage().nbytes()
    )


@contextmanager
def _limited_memory(more: int) -> Iterator[None]:
    """Allow this process so many bytes more than it has; who asks for more gets an exception."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + more
    limits = [limit for limit in (soft, wanted) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
