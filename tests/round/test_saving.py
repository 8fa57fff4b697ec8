"""Checkpoints that are written while the next round is played."""

import threading

import pytest

from tdml.round.saving import Saving


class Disk:
    """Writes when it may, and notes what is written."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.written: list[int] = []

    def write(self, number: int) -> None:
        assert self.may.wait(10)
        self.written.append(number)


def test_the_next_round_is_played_meanwhile_and_its_end_waits() -> None:
    disk, saving = Disk(), Saving(last=1)
    saving.begin(2, lambda: disk.write(2))
    assert (disk.written, saving.last) == ([], 1)
    disk.may.set()
    saving.finish()
    assert (disk.written, saving.last) == ([2], 2)
    saving.finish()


def test_the_first_one_is_waited_for() -> None:
    disk, saving = Disk(), Saving(last=0)
    disk.may.set()
    saving.begin(1, lambda: disk.write(1))
    assert (disk.written, saving.last) == ([1], 1)


def test_one_is_written_after_the_other() -> None:
    disk, saving = Disk(), Saving(last=1)
    disk.may.set()
    for number in range(2, 6):
        saving.begin(number, lambda number=number: disk.write(number))
    saving.finish()
    assert disk.written == [2, 3, 4, 5]


def test_what_cannot_be_written_is_told_when_it_is_waited_for() -> None:
    def full() -> None:
        raise OSError("No space left on device")

    saving = Saving(last=1)
    saving.begin(2, full)
    with pytest.raises(OSError, match="No space left"):
        saving.finish()
    assert saving.last == 1
    saving.finish()  # it is told once
    saving.begin(2, full)
    with pytest.raises(OSError, match="No space left"):
        saving.begin(3, lambda: None)
    assert saving.last == 1
