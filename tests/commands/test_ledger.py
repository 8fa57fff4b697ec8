import contextlib
import os
import pty
import re
import sqlite3
import subprocess
import sys
import types

import pytest
import torch

from tdml import cli
from tdml.ledger.chain import Ledger
from tdml.ledger.reader import read
from tdml.ledger.weights import digest_of_weights
from tests.ledger import chains

MODEL = {"weight": torch.tensor([1.0])}


@pytest.fixture(autouse=True)
def plain_accounts(monkeypatch):
    """In the place of the real ones."""
    monkeypatch.setitem(
        sys.modules, "tdml.rewards.accounts", types.SimpleNamespace(Accounts=chains.PlainBook)
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder; commands write into the folder above it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    with Ledger.open(folder / "ledger.db", chains.COORDINATOR, chains.JOB) as ledger:
        chains.begin(ledger)
        chains.play(ledger, 1, blamed=["r1.s1"])
        chains.before_commits(ledger, 2)
        ledger.append(2, "refusal", {"node": "r0.s1", "what": "\x1b[2J\x9b0mboo\nentry 99"})
        ledger.resume(1)
        slots = {"0": chains.SLOTS["0"], "1": ["r1.s0", "spare0"]}  # r1.s1 is banned
        chains.before_commits(ledger, 2, slots)
        chains.commit_all(ledger, 2, slots)
        chains.after_commits(ledger, 2, weights=digest_of_weights(MODEL), slots=slots)
        ledger.end(digest_of_weights(MODEL), "all 2 rounds done")
    (folder / "config.yaml").write_bytes(chains.CONFIG)
    torch.save(MODEL, folder / "model.pt")
    return folder


def tdml(capsys, *arguments):
    """The status and the output of `tdml ledger`."""
    status = cli.run(["ledger", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def roots(run):
    with read(run / "ledger.db") as ledger:
        return [entry.body["root"] for entry in ledger.entries(kind="root")]


def test_verify_says_in_one_line_that_all_is_well(run, capsys):
    status, text = tdml(capsys, "verify", run, "--root", roots(run)[1].upper())
    assert status == 0 and text.count("\n") == 1
    assert re.search(
        r"all is well: 34 entries, 2 rounds, model\.pt is .*; last root " + roots(run)[-1], text
    )


def test_the_ledger_itself_may_be_named(run, capsys):
    assert tdml(capsys, "verify", run / "ledger.db") == tdml(capsys, "verify", run)


def test_verify_says_the_first_entry_that_is_wrong(run, capsys):
    import sqlite3

    database = sqlite3.connect(run / "ledger.db", isolation_level=None)
    database.execute('UPDATE entries SET kind = ? WHERE "index" = 7', ("weights\x1b[2J",))
    database.close()
    status, text = tdml(capsys, "verify", run)
    assert status == 1 and text.count("\n") == 1
    assert "wrong: entry 7" in text and "\x1b" not in text


def test_verify_says_that_a_run_goes_on(run, capsys):
    with Ledger.open(run / "ledger.db", chains.COORDINATOR, chains.JOB) as ledger:
        ledger.resume(2)
        status, text = tdml(capsys, "verify", run)
    assert status == 0 and "the run has not ended" in text


def test_verify_with_a_roster(run, capsys, tmp_path):
    keys = {name: identity.public for name, identity in chains.KEYS.items()}
    file = tmp_path / "roster.yaml"
    lines = [f"{name}: '{key}'\n" for name, key in keys.items()]
    file.write_text("".join(lines) + f"coordinator: '{chains.COORDINATOR.public}'\n")
    assert tdml(capsys, "verify", run, "--roster", file)[0] == 0
    file.write_text("".join(lines) + f"coordinator: '{chains.key(9).public}'\n")
    assert tdml(capsys, "verify", run, "--roster", file) == (
        1,
        f"{run}: wrong: entry 0 (job, round 0): the coordinator's key is not that of the roster\n"
    )  # fmt: skip
    for content in ("", "- a\n", "a: 3\n", "a: [", "\x00"):
        file.write_text(content)
        status, text = tdml(capsys, "verify", run, "--roster", file)
        assert status == 1 and text.startswith(f"tdml: --roster={file}") and text.count("\n") == 1
    assert tdml(capsys, "verify", run, "--roster", tmp_path / "no")[1].startswith("tdml: --roster=")


@pytest.mark.parametrize("action", [("verify",), ("show",), ("proof", "3")])
def test_a_folder_without_a_ledger_is_told(action, capsys, tmp_path):
    status, text = tdml(capsys, action[0], tmp_path, *action[1:])
    assert (status, text) == (
        1,
        f"tdml: {tmp_path}/ledger.db does not exist: give the folder of a run\n",
    )


def test_show_has_every_entry_and_the_evidence_under_its_verdict(run, capsys):
    status, text = tdml(capsys, "show", run)
    assert status == 0
    assert sorted(int(number) for number in re.findall(r"(?m)^ *(\d+)  ", text)) == list(range(34))
    [verdict] = [i for i, line in enumerate(text.splitlines()) if "malicious" in line]
    under = text.splitlines()[verdict + 1]
    assert under.split()[1] == "audit" and "windows executed again: 2 by replica 0" in under
    assert (
        f"the state of stage 1 after step 7: r1.s1 lied; truth in artifact {chains.digest('state')}"
        in under
    )
    assert "round 2, void: entry 20 goes on after round 1" in text and "\nend\n" in text
    assert "1,000 mint → credit of r0.s0 (work)" in text


def test_show_lets_no_node_write_to_the_terminal(run, capsys):
    text = tdml(capsys, "show", run)[1]
    assert "\x1b" not in text and "\x9b" not in text and "boo�entry 99" in text


def test_show_of_a_node_and_a_round(run, capsys):
    text = tdml(capsys, "show", run, "--node", "r1.s1", "--round", "1")[1]
    kinds = re.findall(r"(?m)^ *\d+ +(\w+)", text)
    assert kinds == ["round", "commit", "verdict", "audit", "ban"]
    assert "r0.s0: update" not in text and "round 2" not in text
    assert " rewards " in tdml(capsys, "show", run, "--node", "r0.s0")[1]
    assert tdml(capsys, "show", run, "--node", "r7.s7") == (
        1, "tdml: --node=r7.s7: no such node: choose one of r0.s0, r0.s1, r1.s0, r1.s1, spare0\n"
    )  # fmt: skip
    assert tdml(capsys, "show", run, "--round", "9") == (
        1,
        "tdml: --round=9: there is no such round\n",
    )


def test_a_proof_of_what_is_void_by_now_says_so(run, capsys):
    with Ledger.open(run / "ledger.db", chains.COORDINATOR, chains.JOB) as ledger:
        ledger.resume(0)
        void = len(ledger.entries()) - 1
    status, text = tdml(capsys, "proof", run, 6)
    assert (status, text) == (
        0,
        f"proof-6.json: entry 6 is under the root {roots(run)[1]} of round 1, which is void since "
        f"entry {void}\n",
    )


def test_proof_and_check(run, capsys, tmp_path):
    root = roots(run)[1]
    status, text = tdml(capsys, "proof", run, 6)
    assert (status, text) == (0, f"proof-6.json: entry 6 is under the root {root} of round 1\n")
    status, text = tdml(capsys, "check", "proof-6.json", root)
    author = chains.KEYS["r0.s0"].public
    assert (status, text) == (
        0,
        f"proof-6.json: entry 6 is under this root: commit of round 1 by {author}\n",
    )
    status, text = tdml(capsys, "check", "proof-6.json", roots(run)[0])
    assert (status, text) == (1, "proof-6.json: wrong: the entry is not under this root\n")
    (tmp_path / "proof-6.json").write_text("{")
    status, text = tdml(capsys, "check", "proof-6.json", root)
    assert (
        status == 1
        and text.startswith("proof-6.json: wrong: it is no proof")
        and text.count("\n") == 1
    )
    assert tdml(capsys, "check", "missing.json", root)[0] == 1


def test_a_proof_is_written_through_no_link(run, capsys, tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "proof-6.json").symlink_to(tmp_path / "precious")
    assert tdml(capsys, "proof", run, 6)[0] == 0
    assert (tmp_path / "precious").read_text() == "kept"
    assert tdml(capsys, "check", "proof-6.json", roots(run)[1])[0] == 0


@pytest.mark.timeout(60)
def test_show_ends_quietly_when_nobody_reads_on(run):
    command = f"{sys.executable} -m tdml.cli ledger show {run} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout.splitlines()[-1] == "0" and done.stderr == ""


@pytest.mark.timeout(60)
def test_show_fits_a_narrow_terminal(run):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tdml.cli", "ledger", "show", str(run)]
    terminal = environment() | {"COLUMNS": "50", "TERM": "xterm"}
    child = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=terminal)
    os.close(theirs)
    text = b""
    while part := _read(ours):
        text += part
    assert child.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text.decode())
    assert "\x1b[" in text.decode() and max(map(len, plain.splitlines())) <= 50


def _read(descriptor):
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other side has closed it
        return b""


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("action", [["show"], ["proof", "3"], ["verify"]])
def test_a_view_without_end_in_the_place_of_the_table_is_refused(run, capsys, action):
    with contextlib.closing(sqlite3.connect(run / "ledger.db", isolation_level=None)) as database:
        database.execute("ALTER TABLE entries RENAME TO few")
        database.execute(
            "CREATE VIEW entries AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM "
            "n) "
            'SELECT i AS "index", job, round, kind, author, body, signature, prev, hash, seal FROM n, few'
        )
    status, text = tdml(capsys, action[0], run, *action[1:])
    assert status == 1 and text.count("\n") == 1
    assert "the schema is not a ledger's" in text


def test_a_config_without_end_is_not_read(run, capsys):
    with (run / "config.yaml").open("r+b") as file:
        file.truncate(2**40)  # a file with a hole: it takes no room on the disk
    assert tdml(capsys, "verify", run) == (
        1,
        f"{run}: wrong: config.yaml is not the one that the job was started with\n",
    )


@pytest.mark.timeout(30)
@pytest.mark.parametrize("log", ["device", "pipe", "sparse"])
def test_a_log_that_is_none_is_not_copied(run, capsys, log):
    file = run / "ledger.db-wal"
    file.unlink(missing_ok=True)
    if log == "device":
        file.symlink_to("/dev/zero")
    elif log == "pipe":
        os.mkfifo(file)
    else:
        with file.open("wb") as sparse:
            sparse.truncate(1 << 40)
    status, said = tdml(capsys, "verify", run)
    assert status == 1
    assert "cannot be read as a ledger: ledger.db-wal is no file of at most 4 GiB" in said
