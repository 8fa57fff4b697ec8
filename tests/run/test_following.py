"""Whom a worker follows."""

import pytest

from tdml import config as settings
from tdml.errors import SettingError
from tdml.members.cards import Decision
from tdml.protocol.identity import Identity, new_job
from tdml.run.following import check_coordinator
from tdml.wire.channel import Session

_COORDINATOR, _OTHER = Identity.new(), Identity.new()
_CONFIG = settings.load(["identity.roster=roster.yaml"])
_DECISION = Decision(None, Session(new_job(_OTHER.public), "session")).signed(_OTHER)


def test_worker_with_a_roster_follows_no_other_coordinator() -> None:
    for roster in (None, {"r0.s0": "1" * 64}, {"coordinator": _OTHER.public}):
        check_coordinator(_DECISION, roster, _CONFIG, None)
    with pytest.raises(
        SettingError, match=r"identity\.roster=roster\.yaml has another key for the coordinator"
    ):
        check_coordinator(_DECISION, {"coordinator": _COORDINATOR.public}, _CONFIG, None)


def test_worker_works_for_no_job_of_another_coordinator() -> None:
    """Which would have it sign what is used against it there."""
    stolen = Decision(at=Session(new_job(_COORDINATOR.public), "session")).signed(_OTHER)
    with pytest.raises(SettingError, match=r"shows another coordinator's job: ask who runs it"):
        check_coordinator(stolen, None, _CONFIG, None)


def test_an_error_ends_the_start_and_no_later_session() -> None:
    wrong = Decision("model: no such", Session("job", "session")).signed(_OTHER)
    with pytest.raises(SettingError, match=r"^model: no such$"):
        check_coordinator(wrong, None, _CONFIG, None)
    check_coordinator(wrong, None, _CONFIG, _OTHER.public)
