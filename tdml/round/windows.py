"""The windows of a round: what an audit repeats."""


def window_bounds(steps: int, windows: int) -> tuple[int, ...]:
    """Where the windows of a round's steps begin and end: W + 1 rising step numbers, W at most the
    steps."""
    count = min(steps, windows)
    return tuple(round(steps * k / count) for k in range(count + 1))


def windows_that_fit(windows: int, state_bytes: int, memory: int) -> int:
    """The most windows between which the states, of `state_bytes` each, fit into `memory` bytes."""
    return max(1, min(windows, 1 + memory // max(state_bytes, 1)))
