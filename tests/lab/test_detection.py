"""`tdml bench detection`: a small grid, what is there already, and mistakes."""

import json
import sys

import pytest

from tdml import cli
from tdml.lab.runs import run_case


def run(*arguments):
    return cli.run(["bench", "detection", "--jobs", "1", *map(str, arguments)])


def test_a_small_grid_from_end_to_end(tmp_path, capsys):
    narrow = (
        "--attack",
        "sign_flip",
        "garbage+shape",
        "--rounds",
        2,
        "--out",
        tmp_path,
        "--set",
        "attack.from_round=1",
    )
    assert run("--quick", *narrow, "--keep", tmp_path / "docs") == 0
    page = (tmp_path / "docs/results/detection.md").read_text()
    assert "**no honest node is banned**: met in" in page
    assert "| garbage+shape | tdml | 100%" in page
    kept = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]
    assert {result["case"]["attack"] for result in kept} == {
        "none", "absent", "sign_flip", "garbage+shape",
    }  # fmt: skip
    assert {result["case"]["rounds"] for result in kept} == {2}
    groups = json.loads((tmp_path / "results.json").read_text())["groups"]
    garbage = next(group for group in groups if group["case"]["attack"] == "garbage+shape")
    assert garbage["proven_at_once"]["share"] == 1
    assert garbage["rounds_to_proof"] == {"median": 1, "p95": 1}
    assert garbage["honest_banned"]["hits"] == 0
    assert garbage["clean_accuracy"] is not None
    text = (tmp_path / "results.md").read_text()
    assert "## digits-mlp, n = 8, f = 2, 2 rounds of 10 steps, IID" in text
    assert "| sign_flip | tdml |" in text
    assert str(tmp_path / "results.md") in capsys.readouterr().out.replace("\n", "")


def test_what_is_there_is_not_played_again(tmp_path, monkeypatch, capsys):
    """And it is said that it is another version's: the numbers would be taken for this one's."""
    narrow = ("--quick", "--rounds", 1, "--out", tmp_path)
    monkeypatch.setenv("COMMIT", "before")
    assert run(*narrow, "--attack", "zero_update") == 0
    assert "already" not in capsys.readouterr().out
    monkeypatch.setenv("COMMIT", "after")
    before = (tmp_path / "cases.jsonl").read_text()
    with (tmp_path / "cases.jsonl").open("a") as file:
        file.write('{"key": "cut o')
    played = []
    monkeypatch.setattr(
        "tdml.lab.detection.run_case", lambda case: played.append(case.attack) or run_case(case)
    )
    assert run(*narrow, "--attack", "zero_update", "garbage") == 0
    assert played == ["garbage"]
    said = capsys.readouterr().out.replace("\n", " ")
    assert f"3 of 4 cases are in {tmp_path} already, of commit before, and are not played" in said
    after = (tmp_path / "cases.jsonl").read_text().splitlines()
    assert "\n".join(after).startswith(before.strip())
    assert json.loads(after[-1])["case"]["attack"] == "garbage"


def test_a_case_that_fails_is_told_and_played_again(tmp_path, monkeypatch, capsys):
    narrow = ("--quick", "--rounds", 1, "--attack", "garbage", "--out", tmp_path)
    monkeypatch.setattr("tdml.lab.runs.Laboratory.play", lambda *_: 1 / 0)
    assert run(*narrow) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    monkeypatch.undo()
    assert run(*narrow) == 0


def test_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch):
    def interrupted(chosen):
        if chosen.attack == "garbage":
            raise KeyboardInterrupt
        return run_case(chosen)

    monkeypatch.setattr("tdml.lab.detection.run_case", interrupted)
    assert run("--quick", "--rounds", 1, "--attack", "garbage", "--out", tmp_path) == 130
    assert len((tmp_path / "cases.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "results.md").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--attack", "sing_flip"), "--attack sing_flip is unknown: choose from adaptive, "),
        (
            ("--defence", "krumm"),
            "--defence krumm is unknown: choose from tdml, tdml-no-audits, none, mandera, ",
        ),
        (("--setting", "mnist"), "--setting mnist is unknown: choose from digits-mlp, "),
        (("--replicas", 7), "no case is left: give a wider --grid"),
        (
            ("--attack", "none", "--set", "foo=3", "--jobs", 1),
            "no case can be played: foo is unknown",
        ),
        (("--rounds", 0), "--rounds 0: give at least 1"),
        (("--keep", "/dev/null"), "--keep /dev/null: give a folder that you may write into"),
        (("--out", "/proc/nowhere"), "--out /proc/nowhere cannot be written: "),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"tdml: {message}")
    assert error.count("\n") == 1


def test_what_is_left_out_without_byzfl(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "byzfl", None)
    narrow = ("--grid", "yardsticks", "--attack", "none", "--steps", 1, "--seeds", 0, "--rounds", 1)
    assert run(*narrow, "--defence", "none", "trmean", "--out", tmp_path) == 0
    assert "ByzFL's rules are left out" in capsys.readouterr().out.replace("\n", " ")
    kept = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]
    assert [result["case"]["defence"] for result in kept] == ["none"]


def test_an_attack_of_ones_own_is_found_in_the_current_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_attack.py").write_text(
        "from tdml.attacks import Attack\n\n\nclass Nothing(Attack):\n"
        "    def corrupt(self, update, context):\n        return update * 0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    own = ["attack._target_=own_attack.Nothing", "~attack.scale"]
    assert run("--attack", "sign_flip", "--rounds", 1, "--set", *own) == 0
    kept = [
        json.loads(line)
        for line in (tmp_path / "runs/bench-detection/cases.jsonl").read_text().splitlines()
    ]
    assert {found["case"]["attack"] for found in kept} == {"none", "absent", "sign_flip"}
    assert all("final_accuracy" in found for found in kept), kept
