"""Where the ranks meet before the job: every rank hands in a card, the coordinator answers all of them.

It uses torchrun's store. A mistake on any machine thus ends every rank with the same line, before any
training, and no rank waits for one that has already failed.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta

import torch.distributed as dist

from tdml.errors import SettingError

_PATIENCE_S = 600.0
_FAREWELL_S = 15.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Card:
    """What a rank says of itself."""

    fingerprint: str  # of its settings
    owns_gpu: bool
    error: str | None = None  # why it cannot take part, in one line


@dataclass(frozen=True)
class Answer:
    """What the coordinator decided: an error that ends the job, or to go on."""

    error: str | None = None


class Lobby:
    """The ranks' meeting place on torchrun's store. `store` is the store itself, for the replicas' groups."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        agent_hosts = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        self.store = dist.TCPStore(
            host, port, is_master=rank == 0 and not agent_hosts, wait_for_workers=False,
            timeout=timedelta(seconds=_PATIENCE_S), multi_tenant=True,
        )  # fmt: skip
        # A restarted job meets the keys of its former self in the same store.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._keys = dist.PrefixStore(f"tdml/{attempt}", self.store)

    def enter(self, card: Card) -> None:
        """Hand in this rank's card."""
        self._keys.set(f"card/{self.rank}", json.dumps(asdict(card)))

    def gather(self, waiting: Callable[[int], None]) -> list[Card]:
        """All cards, by rank; ends at the first with an error. `waiting` hears how many have come.

        Raises:
            SettingError: ranks are missing after ten minutes.
        """
        cards: dict[int, Card] = {}
        deadline = time.monotonic() + _PATIENCE_S
        while len(cards) < self.world_size:
            for rank in set(range(self.world_size)) - set(cards):
                if self._keys.check([f"card/{rank}"]):
                    cards[rank] = Card(**json.loads(self._keys.get(f"card/{rank}")))
                    if cards[rank].error:
                        return [cards[rank]]
            waiting(len(cards))
            if time.monotonic() > deadline:
                missing = sorted(set(range(self.world_size)) - set(cards))
                raise SettingError(f"--nnodes, --master-addr: ranks {missing} did not come within {_PATIENCE_S:.0f} s")
            time.sleep(_POLL_S)
        return [cards[rank] for rank in range(self.world_size)]

    def prepared(self) -> None:
        """Tell all ranks that the coordinator has found nothing wrong with the settings, the data or the model."""
        self._keys.set("prepared", "")

    def await_prepared(self) -> None:
        """Wait until the coordinator is prepared, or has answered that it cannot be."""
        self._keys.wait(["prepared"], timedelta(seconds=_PATIENCE_S))

    def answer(self, answer: Answer) -> None:
        """Tell all ranks what was decided. With an error, stay until they have heard it: this process may host
        the store."""
        self._keys.set("answer", json.dumps(asdict(answer)))
        self.prepared()
        deadline = time.monotonic() + _FAREWELL_S
        others = [f"heard/{rank}" for rank in range(1, self.world_size)]
        while answer.error and not self._keys.check(others) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def await_answer(self) -> Answer:
        """Wait for the coordinator's decision."""
        self._keys.wait(["answer"], timedelta(seconds=2 * _PATIENCE_S))
        answer = Answer(**json.loads(self._keys.get("answer")))
        self._keys.set(f"heard/{self.rank}", "")
        return answer

    def coordinator_lives(self) -> bool:
        """Whether the machine that hosts the store, the coordinator's, still answers."""
        try:
            return self._keys.check(["answer"])
        except dist.DistError:
            return False
