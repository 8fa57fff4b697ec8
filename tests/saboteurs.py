"""What befalls the ledger of a test job. Named by `attack._target_`."""

import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

from tdml.attacks import Attack
from tdml.attacks.node import AttackingNode
from tdml.protocol.orders import Commitment
from tdml.round import checkpoint
from tdml.run import keeping


class FullDisk(Attack):
    """The coordinator can write no file beyond `size` bytes as long as there is a file `marker`."""

    def __init__(self, marker: str, size: int) -> None:
        if os.environ["RANK"] == "0" and Path(marker).exists():
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class Unsigned(Attack):
    """Commits with the signature that `spoil` makes of its own: "none", "foreign" or "upper" (the
    same digits in upper case)."""

    def __init__(self, spoil: str) -> None:
        commit = AttackingNode.commit

        def spoilt(self: AttackingNode, round_number: int) -> Commitment:
            made = commit(self, round_number)
            if round_number < 2:
                return made
            signatures = {
                "none": "",
                "foreign": self.identity.sign(b"?"),
                "upper": made.signature.upper(),
            }
            return replace(made, signature=signatures[spoil])

        AttackingNode.commit = spoilt


class InterruptsRecord(Attack):
    """The coordinator is sent SIGTERM when the ledger has a round, and the checkpoint has not."""

    def __init__(self) -> None:
        if os.environ["RANK"] != "0":
            return
        save = keeping.save

        def interrupted(*arguments: object) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            save(*arguments)

        keeping.save = interrupted


class KilledWhileSaving(Attack):
    """The coordinator is killed when half of the checkpoint of a round is written, but once only:
    then there is a file `marker`."""

    def __init__(self, number: int, marker: str) -> None:
        if os.environ["RANK"] != "0" or Path(marker).exists():
            return
        write = checkpoint._write

        def killed(parts: list[memoryview], path: Path) -> None:
            if path.name == f"round-{number:06d}.pt":
                path.with_suffix(".partial").write_bytes(parts[0][: len(parts[0]) // 2])
                Path(marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            write(parts, path)

        checkpoint._write = killed
