"""The least that a round's phases could take."""

import os

import pytest

from tdml.bench import floors
from tdml.common.environment import MEMORY


@pytest.mark.parametrize("set_here", [[], list(MEMORY), list(MEMORY)[:1]])
def test_a_bare_transfer_is_timed_without_our_settings_of_memory(
    set_here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And they are back afterwards, also if it fails."""
    for name in MEMORY:
        monkeypatch.delenv(name, raising=False)
    for name in set_here:
        monkeypatch.setenv(name, "1")
    before, seen = dict(os.environ), []

    def spawn(*_: object, **__: object) -> None:
        seen.append(dict(os.environ))
        raise RuntimeError("seen enough")

    monkeypatch.setattr(floors.multiprocessing, "spawn", spawn)
    with pytest.raises(RuntimeError, match="seen enough"):
        floors.transfer([1])
    [during] = seen
    assert during == {name: value for name, value in before.items() if name not in MEMORY}
    assert dict(os.environ) == before
