"""A round before the court, without processes: screen, cross-check and verdict, by the replicas' numbers."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch

from tdml import config as settings
from tdml.cluster.court import Court
from tdml.cluster.gather import Gathered
from tdml.cluster.messages import Evaluation
from tdml.data import source
from tdml.job import prepare
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS

HANDED_IN = [0, 2, 3, 4, 5]  # of six replicas, so that a row is not a replica's number
IDLE, LIAR = 4, 2
NUMBER = 3


@pytest.fixture(scope="module")
def job():
    config = settings.load(["model=mlp", "model.features=192", "data.size=8", "topology.replicas=6",
                            "topology.stages=2", "trust.validators=3", "trust.budget=1"])  # fmt: skip
    return prepare(config, source.load(config.data, config.seed), checkpoint=None)


class Validator:
    """Says that a candidate knows the samples that it was assigned, unless it was idle."""

    def __init__(self, job, index, lies=False):
        self.job, self.index, self.lies, self.kind = job, index, lies, "cpu"
        self.nodes = [SimpleNamespace(name=f"r{index}.s{stage}") for stage in range(2)]
        self.asked = []

    def testify(self, number, pieces, candidate, updates, measured):
        assert number == NUMBER and candidate != self.index and not measured
        assert (updates is None) == (candidate is None)
        self.asked.append(candidate)
        losses = []
        for piece in pieces:
            kept = piece.indices[piece.keep]
            noise = torch.rand(
                len(kept), generator=torch.Generator().manual_seed(int(kept.sum()) + 7 * (candidate or 0))
            )
            owner = self._owner(piece)
            knows = owner is not None and owner == candidate and candidate != IDLE
            losses.append((0.1 if knows else 1.0) * (0.8 + 0.4 * noise))
        found = torch.cat(losses)
        if self.lies and candidate is not None:
            found = 20 * found
        none = torch.zeros(0)
        return [Evaluation(none, none.bool(), None), Evaluation(found, found > 0, None)]

    def _owner(self, piece):
        """Whose samples these are, read as that replica was to train on them."""
        if piece.split != "train":
            return None
        for index in HANDED_IN:
            for step, batch in enumerate(self.job.batches(index, NUMBER)):
                if torch.equal(batch, piece.indices):
                    assert piece.seed == self.job.augmentation(NUMBER, index, step)
                    return index
        raise AssertionError("nobody was assigned these")


class Fleet:
    def __init__(self, job, liar=None):
        self.replicas = [Validator(job, i, i == liar) for i in range(6)]
        self.roster = SimpleNamespace(keys={n.name: n.name for r in self.replicas for n in r.nodes})
        self.banned = []

    def ready(self, indices):
        return [self.replicas[i] for i in indices]

    def each(self, order, replicas):
        return {replica.index: order(replica) for replica in replicas}


def gathered(job, faults=None, diverged=None, change=lambda rows: rows):
    generator = torch.Generator().manual_seed(1)
    common = [torch.randn(layout.size, generator=generator) for layout in job.layouts]
    rows = [
        change(flat + torch.randn(len(HANDED_IN), len(flat), generator=generator)) if stage == 1 else
        flat + torch.randn(len(HANDED_IN), len(flat), generator=generator)
        for stage, flat in enumerate(common)
    ]  # fmt: skip
    return Gathered(HANDED_IN, rows, faults or {}, 0, {}, {}, diverged or {})


def among(found, count):
    """Of those who handed in an update, the first few."""
    return dataclasses.replace(found, replicas=HANDED_IN[:count], updates=[rows[:count] for rows in found.updates])


def round_of(job, found, liar=None, secret=5, passes=1e9):
    fleet = Fleet(job, liar)
    court = Court(job, fleet)
    court.purse.passes = passes
    screened = court.screen(found)
    return fleet, court, screened, court.judge(NUMBER, found, screened, fleet.replicas, secret)


def test_who_was_idle_is_told_by_its_number_and_its_judges_are_named(job):
    fleet, _, _, verdicts = round_of(job, gathered(job))
    assert list(verdicts) == HANDED_IN
    assert {i for i, verdict in verdicts.items() if verdict.against > 2} == {IDLE}
    for index, verdict in verdicts.items():
        heard = {v.index for v in fleet.replicas if index in v.asked}
        assert set(verdict.judges) == heard and 3 <= len(heard) <= 4
    assert fleet.replicas[1].asked == []


def test_who_lies_as_a_validator_is_told_by_its_number(job):
    _, _, _, verdicts = round_of(job, gathered(job), liar=LIAR)
    assert {i: verdict.perjured for i, verdict in verdicts.items() if verdict.perjured} == {LIAR: (0, 1)}, "no records"


def test_a_suspect_at_one_stage_is_heard_and_told_by_its_number(job):
    def turned(rows):
        return torch.cat([rows[:2], -rows[2:3], rows[3:]])

    found = gathered(job, change=turned)
    fleet, court, screened, verdicts = round_of(job, found)
    assert court.suspicions(found, screened).keys() == {3} == {HANDED_IN[row] for row in screened.suspects}
    assert verdicts[3].status == MALICIOUS and verdicts[3].stages == (1,)
    job_without = SimpleNamespace(**{**vars(job), "parameters": job.parameters})
    job_without.config = settings.load(["trust.screen=none", "topology.replicas=6", "topology.stages=2"])
    assert Court(job_without, fleet).screen(found).suspects == frozenset()


def test_who_is_judged_cannot_be_foreseen(job):
    drawn = {tuple(v.judges for v in round_of(job, gathered(job), secret=s)[3].values()) for s in range(6)}
    assert len(drawn) > 1


@pytest.mark.parametrize("diverges", [False, True])
def test_what_is_not_finite_is_nobodys_fault_and_what_is_no_update_is_its_nodes(job, diverges):
    faults = {1: {0: "of another shape"}, 4: {0: "not finite"}, 5: {0: "not finite"}}
    found = among(gathered(job, faults, {4: [torch.zeros(1)], 5: [torch.zeros(1)]}), 0 if diverges else 3)
    fleet = Fleet(job)
    court = Court(job, fleet)
    court.memory.evidence["r4.s0+r4.s1"] = 4.0
    verdicts = court.judge(NUMBER, found, court.screen(found), fleet.replicas, 1)
    assert (verdicts[1].status, verdicts[1].stages) == (MALICIOUS, (0,))
    assert (verdicts[4].status, verdicts[4].evidence, verdicts[4].accepted) == (SUSPICIOUS, 4.0, False)
    assert ("training diverges" in verdicts[4].reason) == diverges


def test_the_samples_are_named_that_no_training_survives(job):
    """They are read as the replica reads them: it alone was given the one that is not finite."""
    train, batches = job.source.train, job.batches(4, NUMBER)
    bad = int(batches[-1, 3])

    class Spoilt:
        targets = train.targets

        def __len__(self):
            return len(train)

        def __getitem__(self, index):
            inputs, label = train[index]
            return inputs * (math.nan if index == bad else 1), label

    spoilt = dataclasses.replace(job, source=source.Source(Spoilt(), job.source.test, job.config.seed))
    everyone = {index: [torch.zeros(1)] for index in (3, 4)}
    found = gathered(job, {index: {1: "not finite"} for index in everyone}, everyone)
    *_, verdicts = round_of(spoilt, among(found, 2))
    assert verdicts[4].reason == f"stage 1: not finite, for training sample {bad} has values that are not finite"
    assert (verdicts[4].status, verdicts[4].excused, verdicts[4].doubted) == (SUSPICIOUS, True, False)
    assert (verdicts[3].reason, verdicts[3].excused, verdicts[3].doubted) == ("stage 1: not finite", False, True)


def test_without_trust_what_has_not_the_form_of_an_update_is_refused_all_the_same(job):
    off = settings.load(["trust.enabled=false"])
    untrusting = SimpleNamespace(config=off, thresholds=job.thresholds, parameters=job.parameters)
    found = gathered(job, {1: {0: "of another shape"}})
    fleet = Fleet(job)
    court = Court(untrusting, fleet)
    verdicts = court.judge(1, found, court.screen(found), fleet.replicas, 1)
    assert verdicts[1].status == MALICIOUS and verdicts[0].status == HONEST


def test_nobody_lies_as_a_validator_in_a_job_that_cannot_be_repeated(job):
    _, _, _, verdicts = round_of(dataclasses.replace(job, problem="it counts"), gathered(job), liar=LIAR)
    assert {i for i, verdict in verdicts.items() if verdict.perjured} == set()


def test_a_checkpoint_keeps_what_was_saved_seen_and_learnt(job):
    court, other = Court(job, Fleet(job)), Court(job, Fleet(job))
    court.purse.passes, court.seen = 12.5, {"ab": 1}
    court.auditor.tolerance.add("cpu", "gpu", 0.5)
    other.restore(court.state())
    assert (other.purse.passes, other.seen) == (12.5, {"ab": 1})
    assert other.auditor.tolerance.seen == court.auditor.tolerance.seen != {}


def test_without_a_budget_the_suspect_is_judged_all_the_same(job):
    poor = dataclasses.replace(
        job, config=dataclasses.replace(job.config, trust=dataclasses.replace(job.config.trust, budget=0.0))
    )
    found = gathered(job, change=lambda rows: torch.cat([rows[:2], -rows[2:3], rows[3:]]))
    for secret in range(8):
        assert round_of(poor, found, secret=secret, passes=0.0)[-1][3].judges
