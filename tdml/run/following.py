"""Whom a worker follows."""

from tdml.errors import SettingError
from tdml.members.cards import Decision
from tdml.members.roster import COORDINATOR_NAME
from tdml.protocol.identity import is_job_of
from tdml.settings.schema import Config


def check_coordinator(
    decision: Decision, roster: dict[str, str] | None, config: Config, known: str | None
) -> None:
    """Whether to go on, if `known` is the coordinator's key in the session before.

    Raises:
        SettingError: the coordinator has found something wrong at the start, or is not that of
            `identity.roster`, or of the job.
    """
    if decision.error and known is None:
        raise SettingError(decision.error)
    if decision.error:  # what keeps it from going on it may mend
        return
    if roster and roster.get(COORDINATOR_NAME, decision.public) != decision.public:
        raise SettingError(
            f"identity.roster={config.identity.roster} has another key for the coordinator than "
            f"{decision.public}, which somebody shows: ask whoever runs it"
        )
    if not is_job_of(decision.at.job, decision.public):
        raise SettingError(f"{decision.public} shows another coordinator's job: ask who runs it")
