"""What omniscient attackers read, on a real store."""

from datetime import timedelta

import torch.distributed as dist

from tdml.attacks.tap import StoreTap


def test_updates_of_any_size_pass_and_the_last_is_read() -> None:
    """Torch's store refuses more than 8 MiB at a time; a stage has more."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=20))
    reader = dist.TCPStore("127.0.0.1", store.port, is_master=False, timeout=timedelta(seconds=20))
    tap, other = StoreTap(store), StoreTap(reader)
    assert other.get("r0.s1") is None

    before = store.num_keys()
    for size in (20 << 20, 1, 0, (8 << 20) + 1, 4 << 20):
        value = bytes([size % 251]) * size
        tap["r0.s1"] = value
        # the store has it once it has answered this: `set` waits for nobody
        assert tap.get("r0.s1") == value
        assert other.get("r0.s1") == value
    assert store.num_keys() <= before + 1 + 2 * 5, "what was read before is overwritten"
