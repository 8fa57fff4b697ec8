"""model.pt as a stranger may make it."""

import os
import resource
import zipfile
from pathlib import Path

import pytest
import torch

from tdml.models.model_file import read_weights


class Calls:
    """Unpickled, it calls a function that torch allows."""

    def __init__(self, *call: object) -> None:
        self._call = call

    def __reduce__(self) -> tuple:
        return self._call[0], self._call[1:]


def _compress(path: Path) -> None:
    """The same archive, packed as small as it can be."""
    with zipfile.ZipFile(path) as plain:
        members = {member.filename: plain.read(member) for member in plain.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)


@pytest.mark.timeout(20)
def test_weights_come_back_and_shared_memory_is_none_of_our_business(tmp_path: Path) -> None:
    weights = torch.randn(1000)
    state = {
        "a": weights,
        "b": weights,
        "c": weights[10:20],
        "d.e": torch.ones(3, 4).T,
        "steps": torch.tensor(3),
    }
    torch.save(state, tmp_path / "model.pt")
    found = read_weights(tmp_path / "model.pt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "state",
    [
        {"a": torch.zeros(1).expand(10**12)},
        {"a": torch.ones(3), "b": Calls(bytearray, 10)},
        {"a": torch.eye(3).to_sparse()},
        {"a": torch.ones(3, device="meta")},
        {"a": {"b": torch.ones(3)}},
        {3: torch.ones(3)},
        [torch.ones(3)],
        {"a": Calls(os.getcwd)},
    ],
)
def test_what_is_no_plain_state_dict_is_refused(tmp_path: Path, state: object) -> None:
    torch.save(state, tmp_path / "model.pt")
    _is_refused(tmp_path / "model.pt")


@pytest.mark.timeout(20)
def test_a_file_that_asks_for_memory_is_refused_before_it_has_it(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3), "b": Calls(bytearray, 2**32)}, tmp_path / "model.pt")
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(ValueError, match="MemoryError"):
        read_weights(tmp_path / "model.pt")
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@pytest.mark.timeout(20)
def test_a_file_that_unpacks_to_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(10**6)}, path)
    _compress(path)
    _is_refused(path)


@pytest.mark.timeout(20)
def test_what_is_no_file_of_torchs_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "pickle").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    for name in ("pipe", "zeros", "folder", "empty", "pickle", "nothing"):
        _is_refused(tmp_path / name)


def _is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=path.name) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(20)
def test_a_bit_that_has_changed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.ones(1000)}, path)
    content = bytearray(path.read_bytes())
    place = content.index(torch.ones(8).numpy().tobytes()) + 400
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pt does not hold weights: .*data/0 in it is dam"):
        read_weights(path)
