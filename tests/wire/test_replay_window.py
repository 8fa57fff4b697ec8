"""The replay window: every number of an order is accepted once, and none that is far behind."""

import threading

from tdml.wire.channel import ReplayWindow


def test_window_accepts_every_number_once_in_any_near_order() -> None:
    window = ReplayWindow()
    order = [*range(0, 3000, 2), *range(2001, 3000, 2)]
    accepted = [number for number in order * 2 if window.accept(number)]
    assert accepted == order
    assert not window.accept(1), "too old to be known"
    assert not window.accept(2998 - 1024)


def test_window_on_many_threads() -> None:
    window, accepted = ReplayWindow(), []

    def offer() -> None:
        accepted.extend(number for number in range(500) if window.accept(number))

    threads = [threading.Thread(target=offer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(accepted) == list(range(500))


def test_the_number_at_the_windows_edge_is_accepted_once_and_little_is_kept():
    window = ReplayWindow()
    assert all(window.accept(number) for number in range(1025))
    assert not window.accept(0) and not window.accept(1)
    assert len(window._seen) == 1024


def test_one_that_comes_late_does_not_open_the_window_again() -> None:
    window = ReplayWindow()
    assert window.accept(600) and window.accept(2000) and window.accept(1500)
    assert not window.accept(600)
