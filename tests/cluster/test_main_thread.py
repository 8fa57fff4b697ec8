"""The thread that does a worker's work."""

import threading

import pytest

from tdml.cluster.main_thread import MainThread

pytestmark = pytest.mark.timeout(20)


def test_orders_are_carried_out_until_stop_and_its_status_is_the_end() -> None:
    main, done = MainThread(lambda: True, lambda: None), []
    other = threading.Thread(
        target=lambda: (done.append(main.do(threading.current_thread)), main.stop(75))
    )
    other.start()
    assert main.serve() == 75
    assert done == [threading.current_thread()]


def test_without_a_coordinator_the_order_under_way_is_given_up() -> None:
    """It would go on to the end of the round otherwise, which may be hours."""
    gone, given_up = threading.Event(), threading.Event()
    main = MainThread(lambda: not gone.is_set(), given_up.set)
    gone.set()
    threading.Thread(target=lambda: main.do(lambda: given_up.wait(15)), daemon=True).start()
    assert main.serve() is None
    assert given_up.is_set()
