"""Offences that are noted on one thread and taken on another."""

import sys
import threading

from tests.wire.envelopes import Pair


def test_no_offence_is_lost_that_is_found_while_others_are_taken() -> None:
    caller, taken = Pair().caller, []

    def offend() -> None:
        for number in range(3000):
            caller.offend("a", str(number))

    def take() -> None:
        while any(thread.is_alive() for thread in threads):
            taken.extend(caller.take_offences())

    threads = [threading.Thread(target=offend) for _ in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        take()
    finally:
        sys.setswitchinterval(before)
    taken.extend(caller.take_offences())
    assert len(taken) == 4 * 3000
