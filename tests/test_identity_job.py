"""Whole jobs with rosters and ban lists: who may take part, under whatever name."""

from pathlib import Path

import pytest
import yaml

from tests.jobs import SMALL, run_job
from tests.run_ledgers import entries

_SHORT = [*SMALL, "sync.local_steps=2", "rounds=1"]


@pytest.mark.timeout(150)
def test_banned_key_stays_banned_whatever_name_it_takes(tmp_path: Path) -> None:
    keys = [f"identity.folder={tmp_path / 'keys'}", f"identity.ban_list={tmp_path / 'bans.yaml'}"]
    first = run_job(
        tmp_path / "first",
        4,
        *_SHORT,
        *keys,
        "topology.replicas=3",
        "topology.stages=1",
        "attack=garbage",
        "attack.nodes=[r2.s0]",
    )
    assert first.statuses == [0] * 4, first.output
    assert first.output.count("keys trusted at first contact: coordinator ") == 1
    roster = yaml.safe_load((first.run / "roster.yaml").read_text())
    assert list(roster) == ["coordinator", "r0.s0", "r1.s0", "r2.s0"]
    assert roster["r2.s0"] == (tmp_path / "keys" / "node3.pub").read_text().strip()
    bans = yaml.safe_load((tmp_path / "bans.yaml").read_text())
    assert list(bans) == [roster["r2.s0"]]
    assert bans[roster["r2.s0"]]["name"] == "r2.s0"
    assert "recomputation" in bans[roster["r2.s0"]]["reason"]

    second = run_job(
        tmp_path / "second",
        5,
        *_SHORT,
        *keys,
        "topology.replicas=1",
        "topology.stages=3",
        "topology.spares=1",
    )
    assert second.statuses == [0] * 5, second.output
    assert "r0.s2 is refused: its key is banned" in second.output
    assert "spare0 takes the place of r0.s2 (refused)" in second.output
    assert second.rounds[-1]["accepted"] == [0]

    third = run_job(
        tmp_path / "third", 4, *_SHORT, *keys, "topology.replicas=1", "topology.stages=3"
    )
    assert third.statuses == [1] * 4, third.output
    assert "no replica is left: 0 nodes banned, 0 dead, 0 have left, 1 refused" in third.output
    assert "Traceback" not in third.output


@pytest.mark.timeout(150)
def test_a_ban_of_another_job_keeps_a_node_out_and_takes_nothing_back(tmp_path: Path) -> None:
    """Its work in this run was never proven false; it may even be that its owner has lost the
    key."""
    job = [
        *_SHORT, "topology.replicas=3", "topology.stages=1", "trust.budget=0.01",
        f"identity.folder={tmp_path / 'keys'}", f"identity.ban_list={tmp_path / 'bans.yaml'}",
    ]  # fmt: skip
    first = run_job(tmp_path / "run", 4, *job)
    assert first.statuses == [0] * 4, first.output
    key = yaml.safe_load((first.run / "roster.yaml").read_text())["r2.s0"]
    said = {"name": "r0.s0", "reason": "audit", "job": "another"}
    (tmp_path / "bans.yaml").write_text(yaml.safe_dump({key: said}))
    result = run_job(tmp_path / "run", 4, *job, "rounds=2", "resume=true")
    assert result.statuses == [0] * 4, result.output
    assert "r2.s0 is refused: its key is banned" in result.output
    assert entries(result.run, "rollback") == []
    assert [line["round"] for line in result.all_rounds] == [1, 2]


@pytest.mark.timeout(150)
def test_with_a_roster_unknown_keys_are_refused(tmp_path: Path) -> None:
    job = [
        *_SHORT,
        "topology.replicas=2",
        "topology.stages=1",
        f"identity.folder={tmp_path / 'keys'}",
    ]
    first = run_job(tmp_path / "first", 3, *job)
    roster = yaml.safe_load((first.run / "roster.yaml").read_text())
    path = tmp_path / "roster.yaml"

    path.write_text(yaml.safe_dump({**roster, "r0.s0": "0" * 64}))
    second = run_job(tmp_path / "second", 3, *job, f"identity.roster={path}")
    assert second.statuses == [0] * 3, second.output
    assert "… is not the one that identity.roster has for it" in second.output
    assert "first contact" not in second.output
    assert second.rounds[-1]["accepted"] == [1]
    assert yaml.safe_load((second.run / "roster.yaml").read_text())["r0.s0"] == "0" * 64

    path.write_text(yaml.safe_dump({**roster, "coordinator": "0" * 64}))
    third = run_job(tmp_path / "third", 3, *job, f"identity.roster={path}")
    assert third.statuses == [1] * 3, third.output
    assert third.output.splitlines()[0].startswith(
        "tdml: rank 0, the coordinator, is refused: its key is not the one"
    )
    assert "Traceback" not in third.output

    path.write_text("r0.s0: [")
    fourth = run_job(tmp_path / "fourth", 3, *job, f"identity.roster={path}")
    assert fourth.statuses == [1] * 3
    assert len(fourth.output.splitlines()) == 1, fourth.output
    assert f"identity.roster={path} cannot be read" in fourth.output
