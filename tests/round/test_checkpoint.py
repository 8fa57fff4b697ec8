import errno
import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from tdml.errors import SettingError
from tdml.round import checkpoint as module
from tdml.round.checkpoint import Checkpoint, Return, load_last, passed_over, save, save_atomically

CHECKPOINT = Checkpoint(
    round=1,
    model={"a.weight": torch.tensor([[1.0, -0.0], [torch.inf, 1e-40]]), "a.count": torch.tensor(7)},
    outer=[torch.tensor([0.1, 0.2])],
    moved=1,
    cuts=[3, 6],
    fleet={"banned": ["r3.s1"], "slots": {"r3.s1": "spare0"}},
    judge={"suspicion": {"by_node": {"r0.s0": 2.5, "r0.s1": 2.5}}, "purse": {"steps": -1.5}},
    balance={0: [["r0.s0", "r0.s1"], [1.0, 0.5]]},
    left_out={137: 1},
    notices=["training sample 137 cannot be read"],
    metrics='{"round": 1}',
    back=Return(3, "r3.s1 lied", 40),
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["value", "disk"])
def unwritable(request, monkeypatch):
    """Makes the next write fail, for its value or for the disk; the value to write and the error to
    expect."""

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    def prepare():
        if request.param == "value":
            return {"fine": torch.zeros(1000), "not": lambda: 0}, pytest.raises(
                Exception, match=r"lambda|pickle"
            )
        monkeypatch.setattr(os, "fsync", full)
        return {"fine": torch.zeros(1000)}, pytest.raises(OSError, match="No space left")

    return prepare


def test_it_comes_back_bit_for_bit(tmp_path):
    save(CHECKPOINT, tmp_path / "checkpoints", memory=0)
    loaded = load_last(tmp_path / "checkpoints")
    for name, tensor in CHECKPOINT.model.items():
        assert loaded.model[name].dtype == tensor.dtype
        assert loaded.model[name].numpy().tobytes() == tensor.numpy().tobytes()
    assert loaded.outer[0].tolist() == CHECKPOINT.outer[0].tolist()
    plain = {"model": {}, "outer": []}
    assert replace(loaded, **plain) == replace(CHECKPOINT, **plain)


def test_the_last_two_are_kept(tmp_path):
    for number in (8, 9, 10, 11):
        save(replace(CHECKPOINT, round=number), tmp_path, memory=0)
    assert names(tmp_path) == ["round-000010.pt", "round-000011.pt"]
    assert load_last(tmp_path).round == 11


@pytest.mark.parametrize("folder", ["", "missing"])
def test_a_run_without_checkpoints(tmp_path, folder):
    assert load_last(tmp_path / folder) is None


def test_a_write_that_fails_leaves_nothing_of_its_own(tmp_path, unwritable):
    value, error = unwritable()
    with error:
        save_atomically(value, tmp_path / "model.pt")
    assert names(tmp_path) == []


def test_a_write_that_fails_leaves_what_was_there(tmp_path, unwritable):
    save_atomically({"a": 1}, tmp_path / "model.pt")
    value, error = unwritable()
    with error:
        save_atomically(value, tmp_path / "model.pt")
    assert torch.load(tmp_path / "model.pt", weights_only=True) == {"a": 1}
    assert names(tmp_path) == ["model.pt"]


def test_a_checkpoint_that_fails_leaves_the_earlier_ones(tmp_path, unwritable):
    for number in (1, 2):
        save(replace(CHECKPOINT, round=number), tmp_path, memory=0)
    value, error = unwritable()
    with error:
        save(replace(CHECKPOINT, round=3, fleet=value), tmp_path, memory=0)
    assert names(tmp_path) == ["round-000001.pt", "round-000002.pt"]
    assert load_last(tmp_path).round == 2


def test_the_final_name_appears_only_when_all_is_on_the_disk(tmp_path, monkeypatch):
    seen = []

    def fsync(descriptor):
        seen.append((names(tmp_path), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    save_atomically({"a": 1}, tmp_path / "model.pt")  # less than a file object holds back
    ((before, size),) = seen
    assert "model.pt" not in before
    assert size == (tmp_path / "model.pt").stat().st_size > 0
    assert names(tmp_path) == ["model.pt"]


def test_what_an_interrupted_write_left_is_no_checkpoint(tmp_path):
    for number in (1, 2):
        save(replace(CHECKPOINT, round=number), tmp_path, memory=0)
    (tmp_path / "round-000002.pt").rename(tmp_path / "round-000002.partial")
    assert load_last(tmp_path).round == 1


@pytest.mark.parametrize(
    "name", ["round-good.pt", "round-7.pt", "round-0000001.pt", "best-so-far.pt", "round-³³³³³³.pt"]
)
def test_what_a_user_keeps_beside_checkpoints_is_none(tmp_path, name):
    (tmp_path / name).touch()
    for number in (1, 2, 3):
        save(replace(CHECKPOINT, round=number), tmp_path, memory=0)
    assert load_last(tmp_path).round == 3
    assert names(tmp_path) == sorted([name, "round-000002.pt", "round-000003.pt"])


DAMAGES = {
    "empty": lambda whole: b"",
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "the end is missing": lambda whole: whole[:-1],
    "of something else": lambda whole: b"round: 2\n",
    "a name that is no text": lambda whole: whole.replace(b"a.weight", b"a.w\xffight"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_checkpoint_that_cannot_be_read_is_passed_over(tmp_path, damage):
    for number in (1, 2):
        save(replace(CHECKPOINT, round=number), tmp_path, memory=0)
    newest, oldest = tmp_path / "round-000002.pt", tmp_path / "round-000001.pt"
    newest.write_bytes(damage(newest.read_bytes()))
    assert load_last(tmp_path).round == 1
    oldest.write_bytes(damage(oldest.read_bytes()))
    with pytest.raises(SettingError, match=r"resume=true, but no checkpoint in .* can be read"):
        load_last(tmp_path)


@pytest.mark.parametrize(
    "content",
    [torch.zeros(2), {"round": 2}, {"colour": 1}, Fraction(1, 2)],
    ids=["tensor", "too little", "other", "what may not be loaded"],
)
def test_a_file_that_holds_no_checkpoint_is_passed_over(tmp_path, content):
    save(CHECKPOINT, tmp_path, memory=0)
    torch.save(content, tmp_path / "round-000002.pt")
    assert load_last(tmp_path).round == 1


@pytest.mark.parametrize("form", [None, 0, module._FORM + 1])
def test_what_another_version_wrote_is_not_read(form, tmp_path):
    save(CHECKPOINT, tmp_path, memory=0)
    path = tmp_path / "round-000001.pt"
    kept = torch.load(path, weights_only=True)
    other = {**kept, "form": form}
    if form is None:
        other.pop("form")
    content = module._serialised(other)
    module._write([content, hashlib.sha256(content).digest()], path)
    with pytest.raises(SettingError, match="another version of TDML wrote them"):
        load_last(tmp_path)


def test_what_was_written_last_stays_however_old_its_round_is(tmp_path):
    """A run that was taken back to its start must keep whom it has banned."""
    for number in (1, 2, 3, 4, 0):
        save(replace(CHECKPOINT, round=number), tmp_path, 2**30)
    module.drop(tmp_path, 0)
    assert load_last(tmp_path).round == 0


def test_a_run_that_is_cut_off_in_going_back_still_knows_who_is_banned(tmp_path, monkeypatch):
    for number in (1, 2, 3, 0):
        save(replace(CHECKPOINT, round=number), tmp_path, 2**30)
    unlink, done = Path.unlink, []

    def cut_off(path: Path) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(path)
        unlink(path)

    monkeypatch.setattr(Path, "unlink", cut_off)
    with pytest.raises(KeyboardInterrupt):
        module.drop(tmp_path, 0)
    assert load_last(tmp_path).round == 3


def test_a_flipped_byte_is_noticed_wherever_it_is(tmp_path):
    large = replace(CHECKPOINT, model={"a": torch.arange(3000.0)})
    for number in (1, 2):
        save(replace(large, round=number), tmp_path, memory=0)
    path = tmp_path / "round-000002.pt"
    whole = path.read_bytes()
    assert passed_over(tmp_path, load_last(tmp_path).round) == ""
    for place in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert load_last(tmp_path).round == 1
    assert passed_over(tmp_path, 1) == (
        f"round-000002.pt in {tmp_path} is damaged: the run goes on from the checkpoint of round 1"
    )


_KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from tdml.round import checkpoint
from tests.round.test_checkpoint import CHECKPOINT

folder = Path(sys.argv[1])
checkpoint.save(CHECKPOINT, folder, memory=0)
if sys.argv[2] == "written":
    os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
else:
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save(replace(CHECKPOINT, round=2), folder, memory=0)
"""


@pytest.mark.parametrize("when", ["written", "named"])
def test_a_kill_while_one_is_written_leaves_the_one_before(tmp_path, when):
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), when], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert "round-000002.partial" in names(tmp_path)
    assert load_last(tmp_path).round == 1
    save(replace(CHECKPOINT, round=2), tmp_path, memory=0)
    assert names(tmp_path) == ["round-000001.pt", "round-000002.pt"]
    assert load_last(tmp_path).round == 2


@pytest.mark.parametrize("memory", [0, 5000, 10**9])
def test_going_back_leaves_what_a_later_rollback_may_want(tmp_path, memory):
    for number in range(1, 33):
        save(replace(CHECKPOINT, round=number), tmp_path, 10**9)
    size = module.path_of(tmp_path, 32).stat().st_size
    before = [number for number in module.rounds_in(tmp_path) if number <= 24]
    save(replace(CHECKPOINT, round=24), tmp_path, memory)
    module.drop(tmp_path, 24)
    assert module.rounds_in(tmp_path) == before[-max(2, memory // size) :]


@pytest.mark.parametrize("links", [True, False])
def test_what_is_set_aside_stays_though_the_run_goes_on(tmp_path, links, monkeypatch):
    """It holds nothing of a liar whose work is not taken out: one may want to go on from there."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    for number in range(1, 33):
        save(replace(CHECKPOINT, round=number), tmp_path, 10**9)
        if number == 3:
            assert module.set_aside(tmp_path, 2) == module.set_aside(tmp_path, 2)
    assert 2 not in module.rounds_in(tmp_path)
    for number in module.rounds_in(tmp_path):
        module.path_of(tmp_path, number).unlink()
    (tmp_path / "kept-000002.pt").rename(module.path_of(tmp_path, 2))
    assert load_last(tmp_path).round == 2
