"""The recorder, with a real ledger and real accounts, but no processes."""

import hashlib
from pathlib import Path

import pytest

from tdml.ledger.artifacts import ArtifactStore
from tdml.ledger.chain import Ledger
from tdml.ledger.describe import describe
from tdml.ledger.reader import read
from tdml.ledger.verify import verify
from tdml.ledger.weights import digest_of_weights
from tdml.rewards.accounts import Accounts
from tdml.round.recorder import Recorder
from tests.ledger.chains import COORDINATOR, JOB, KEYS, PUBLIC, digest, job_body
from tests.ledger.recorders import BY_REPLICA, MODEL, balances, bodies, play, take_up


def test_run_without_an_attack_is_sound_and_pays_every_round(
    recorder: Recorder, path: Path
) -> None:
    for number in (1, 2, 3):
        play(recorder, number)
    summary = verify(path, Accounts)
    assert (summary.rounds, summary.ended, summary.weights) == (3, False, digest("weights 3"))
    paid = {
        name: balances(path)[f"credit:{key}"] for name, key in PUBLIC.items() if name != "spare0"
    }
    assert paid == {"r0.s0": 900, "r0.s1": 600, "r1.s0": 900, "r1.s1": 600}


def test_who_is_there_without_a_slot_is_said_to_stand_by(recorder: Recorder, path: Path) -> None:
    play(recorder, 1)
    recorder.open_round(2, digest("weights 1"), {0: BY_REPLICA[0]}, present=PUBLIC)
    assert "standby" not in bodies(path, "round", 1)[0]
    assert bodies(path, "round", 2)[0]["standby"] == ["r1.s0", "r1.s1", "spare0"]
    verify(path, Accounts)


def test_who_takes_fewer_steps_is_said_before_the_work(recorder: Recorder, path: Path) -> None:
    play(recorder, 1)
    recorder.open_round(2, digest("weights 1"), BY_REPLICA, fewer={1: 3})
    assert "steps" not in bodies(path, "round", 1)[0]
    assert bodies(path, "round", 2)[0]["steps"] == {"1": 3}
    with read(path) as ledger:
        assert describe(ledger.entries()[-1], {}).endswith("; fewer steps: replica 1 3")
    verify(path, Accounts)


def test_end_names_the_model(recorder: Recorder, path: Path) -> None:
    play(recorder, 1, weights=digest_of_weights(MODEL))
    recorder.end(1, digest_of_weights(MODEL), "all rounds done", ())
    assert verify(path, Accounts).ended
    assert bodies(path, "end") == [{"model": digest_of_weights(MODEL), "reason": "all rounds done"}]


def test_secret_is_hidden_in_the_round_and_revealed_when_it_is_over(
    recorder: Recorder, path: Path
) -> None:
    play(recorder, 1)
    recorder.open_round(2, digest("weights 1"), BY_REPLICA)
    [hidden], [told] = bodies(path, "round", 1), bodies(path, "reveal", 1)
    secret = bytes.fromhex(told["secret"])
    assert hidden["secret"] == hashlib.sha256(secret).hexdigest()
    assert recorder.secret(1) == int.from_bytes(secret[:8], "big")
    assert bodies(path, "reveal", 2) == []


def test_secret_is_another_in_every_round_and_job_and_each_time_that_a_round_is_played(
    recorder: Recorder, path: Path
) -> None:
    first, second, third = (recorder.secret(number) for number in (1, 2, 3))
    play(recorder, 1)
    told = recorder.secret(1)
    recorder.open_round(2, digest("weights 1"), BY_REPLICA)
    unused = recorder.secret(2)
    recorder.close()
    with Ledger.open(path, COORDINATOR, JOB) as ledger:
        ledger.resume(1)
        again = take_up(ledger, path)
        again.open_round(2, digest("weights 1"), BY_REPLICA)
        assert again.secret(1) == told, "what is revealed stays"
        replayed = again.secret(2)
    with Ledger.open(path.with_name("other.db"), COORDINATOR, "0" * 32) as ledger:
        other = Recorder(
            ledger,
            Accounts(job_body(), {"keys": PUBLIC}),
            ArtifactStore("memory://"),
            COORDINATOR,
            "0" * 32,
            PUBLIC,
        )
        elsewhere = other.secret(1)
    assert len({first, second, third, told, unused, replayed, elsewhere}) == 7


def test_commit_with_a_bad_signature_leaves_nothing_of_the_round(
    recorder: Recorder, path: Path
) -> None:
    with pytest.raises(ValueError, match="signature"):
        play(recorder, 1, signers=KEYS | {"r0.s1": KEYS["r1.s0"]})
    assert bodies(path, "commit") == bodies(path, "verdict") == []
    assert verify(path, Accounts).rounds == 0


def test_refusals_are_written_where_there_are_any(recorder: Recorder, path: Path) -> None:
    play(recorder, 1, refusals=[("", "a call"), ("r0.s0", "no order")])
    assert bodies(path, "refusal") == [
        {"node": "", "what": "a call"},
        {"node": "r0.s0", "what": "no order"},
    ]
    verify(path, Accounts)
