"""A run's ledger and accounts as it starts, or goes on."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tdml import __version__
from tdml.errors import SettingError, one_line
from tdml.ledger.artifacts import ArtifactStore
from tdml.ledger.chain import Ledger, check_author
from tdml.ledger.entry import Entry
from tdml.ledger.reader import LEDGER, read
from tdml.members.roster import Roster
from tdml.protocol.identity import Identity, new_job
from tdml.rewards.accounts import Accounts, book_of
from tdml.rewards.deterrence import stake_of
from tdml.round.checkpoint import Checkpoint
from tdml.round.job import Job
from tdml.round.recorder import Recorder
from tdml.settings.file import to_yaml
from tdml.settings.schema import Config
from tdml.trust.numbers import RANDOM_SHARE
from tdml.wire.channel import Caller

_REMEDY = f"put back the {LEDGER} that belongs to the run, or start a new one with resume=false"


def entries_of(run: Path) -> list[Entry]:
    """What the ledger in a run folder holds; nothing if there is no ledger, or the run was killed
    while it made it.

    Raises:
        SettingError: it is damaged.
    """
    if not (run / LEDGER).exists():
        return []
    try:
        with read(run / LEDGER) as reader:
            return reader.entries() if reader.is_made() else []
    except SettingError as error:
        raise SettingError(f"run_dir={run}: {one_line(error)}: {_REMEDY}") from error


def job_id(run: Path, written: Sequence[Entry], public: str) -> str:
    """The id of the job that the ledger in a run folder, in which is `written`, is of; or a new
    one, of the coordinator with that key.

    Raises:
        SettingError: the ledger is another coordinator's.
    """
    if not written:
        return new_job(public)
    check_author(run, written[0], public)
    return written[0].job


def stands_at(run: Path, written: Sequence[Entry], checkpoint: Checkpoint | None) -> int:
    """The round after which the record of a run goes on: that of the checkpoint; or where it was
    cut off when the checkpoint had gone back, and the ledger had not, the one before that.

    Raises:
        SettingError: there is a checkpoint, and nothing in the ledger.
    """
    if checkpoint is None:
        return 0
    back, after = checkpoint.back, checkpoint.round
    if back and not any(entry.kind == "rollback" for entry in written[back.entries :]):
        after = back.round
    if after and not written:
        raise _behind(run, after, "is missing or empty")
    return after


def banned_keys(written: Iterable[Entry]) -> frozenset[str]:
    """The keys that a run to be resumed has banned, in rounds that are void, too."""
    return frozenset(entry.body["key"] for entry in written if entry.kind == "ban")


def start_recorder(
    run: Path,
    config: Config,
    terms: dict,
    caller: Caller,
    roster: Roster,
    checkpoint: Checkpoint | None,
    after: int,
    changed: Mapping[str, Sequence[Any]],
) -> Recorder:
    """Open the ledger of a run, or go on with it.

    Args:
        terms: see `terms_of`.
        caller: who speaks for the coordinator, and of which job.
        checkpoint: that a run goes on from.
        after: see `stands_at`.
        changed: settings that are others than before: see `Ledger.resume`.

    Raises:
        SettingError: the ledger cannot be written, or is not that of the run; or artifacts cannot
            be written.
    """
    store = ArtifactStore(config.ledger.artifacts or str((run / "artifacts").resolve()))
    # whether it can be written must not be found at the first conviction
    store.put(to_yaml(config).encode())
    ledger = Ledger.open(run / LEDGER, caller.identity, caller.at.job)
    last = ledger.last_round()
    if after and (last is None or last < after):
        ledger.close()
        raise _behind(run, after, "holds no round" if last is None else f"ends with round {last}")
    if last is None:
        begin(ledger, terms, roster.body)
    else:
        with ledger.batch():
            ledger.resume(after, terms["config"], changed)
            ledger.append(after + 1, "roster", roster.body)
    # what money follows from
    book = book_of([(entry.round, entry.kind, entry.body) for entry in ledger.entries()])
    recorder = Recorder(ledger, book, store, caller.identity, caller.at.job, roster.keys)
    if checkpoint and checkpoint.back and checkpoint.round < after:
        recorder.roll_back(checkpoint.round, checkpoint.back.reason)
    return recorder


def _behind(run: Path, after: int, what: str) -> SettingError:
    return SettingError(
        f"run_dir={run}: {LEDGER} {what}, but the checkpoint is of round {after}: {_REMEDY}"
    )


def begin(ledger: Ledger, terms: dict, roster: dict) -> None:
    """Write what a new ledger begins with: the terms, who takes part, and the stakes."""
    book = Accounts(terms, roster)
    with ledger.batch():
        ledger.append(0, "job", terms)
        ledger.append(0, "roster", roster)
        ledger.append(0, "rewards", {"postings": book.settle(0)})
        ledger.close_round(0)


def terms_of(config: Config, job: Job, identity: Identity) -> dict:
    """What the ledger's first entry says of the job, its rewards and its audits.

    Args:
        config: as config.yaml has it; that of a resumed job has its cuts filled in.

    Raises:
        SettingError: a setting of rewards cannot work.
    """
    terms = {
        "name": config.name, "version": __version__, "coordinator": identity.public,
        "rounds": config.rounds,
        "config": hashlib.sha256(to_yaml(config).encode()).hexdigest(),
        "replicas": config.topology.most, "stages": config.topology.stages,
        "policy": config.rewards.policy, "pool": config.rewards.pool, "stake": config.rewards.stake,
        "audit_chance": RANDOM_SHARE * config.trust.budget if job.audits else 0.0,
        "shares": job.plan.stage_shares(config.topology.stages),
        "samples": [job.samples(steps) for steps in job.steps],
    }  # fmt: skip
    return terms | {"stake": stake_of(terms)}
