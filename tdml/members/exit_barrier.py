"""torchrun's exit barrier: an agent whose ranks have ended well waits there for all others, for one
that is lost five minutes, and is deaf to signals meanwhile. The coordinator checks in for those
that are lost.

That takes agents that keep their books in the store that the ranks use, as they do with
`--master-addr`.
"""

import os

import torch.distributed as dist

_ROLE = "torchelastic/role_info/0"  # tells the agents' store from another
_MEMBERS, _LAST = (
    "torchelastic/agent/terminal_state/num_members",
    "torchelastic/agent/terminal_state/last_member",
)


def check_in(store: dist.Store, lost: int) -> None:
    """Check in for that many agents."""
    books = dist.PrefixStore(os.environ.get("TORCHELASTIC_RUN_ID", ""), store)
    if not books.check([_ROLE]):
        return
    for _ in range(lost):
        if books.add(_MEMBERS, 1) == int(os.environ["GROUP_WORLD_SIZE"]):
            books.set(_LAST, "")
