"""What tests run in one process, where several run them."""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_ROOT = Path(__file__).resolve().parent.parent
_STARTS = re.compile(r"from tests\.\w+ import .*\b(run|start)_(job|command|torchrun|agents)\b")


class ByFile(LoadScopeScheduling):
    """Those of a file, which import, compose and make the same. But what starts processes waits for
    them, and runs wherever there is time, unless several tests look at one job."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if _stands_alone(file) else file


@cache
def _stands_alone(file: str) -> bool:
    text = (_ROOT / file).read_text()
    shares = "attacked: Result" in text or 'scope="module"' in text
    return bool(_STARTS.search(text)) and not shares
