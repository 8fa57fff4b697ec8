"""The thread that does a worker's work."""

import threading

import pytest

from tdml.node.main_thread import Ending, MainThread

pytestmark = pytest.mark.timeout(20)


def test_orders_are_carried_out_until_stop_and_its_status_is_the_end() -> None:
    main, done = MainThread(lambda: None, lambda: None), []
    other = threading.Thread(
        target=lambda: (done.append(main.do(threading.current_thread)), main.stop(75))
    )
    other.start()
    assert main.serve() == 75
    assert done == [threading.current_thread()]


@pytest.mark.parametrize("ending", Ending)
def test_when_the_session_ends_the_order_under_way_is_given_up(ending: Ending) -> None:
    """It would go on to the end of the round otherwise, which may be hours."""
    given_up = threading.Event()
    main = MainThread(lambda: ending, given_up.set)
    threading.Thread(target=lambda: main.do(lambda: given_up.wait(15)), daemon=True).start()
    assert main.serve() is ending
    assert given_up.is_set()


def test_where_nobody_can_tell_any_more_whether_the_session_ends_it_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What others write at the store must not leave a worker waiting for ever."""

    def unreadable() -> None:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text")

    given_up = threading.Event()
    assert MainThread(unreadable, given_up.set).serve() is Ending.GONE
    assert given_up.is_set()
    assert capsys.readouterr().err.count("\n") == 1


def test_an_order_that_came_too_late_for_a_session_is_answered_and_the_next_begins() -> None:
    endings = [Ending.CALLED, None]
    main, answers = MainThread(lambda: endings.pop(0), lambda: None), []
    main._jobs.put(Ending.CALLED)
    asked = threading.Thread(target=lambda: answers.append(main.do(lambda: "late")))
    asked.start()
    while main._jobs.qsize() < 2:
        threading.Event().wait(0.01)
    assert main.serve() is Ending.CALLED
    asked.join(10)
    assert answers == ["late"]
