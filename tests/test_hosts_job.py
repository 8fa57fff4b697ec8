"""A job on several hosts, which are network namespaces: the commands of docs/two-machines.md over
cables that are slow, lossy, narrow, and cut."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tdml
from tests.agents import torchrun
from tests.hosts import Hosts
from tests.jobs import SMALL, kill_tree
from tests.pages import ROOT, blocks
from tests.run_ledgers import verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_DELAY_S, _LOSS = 0.05, 0.01
_PORT = "29500"
_SETTINGS = [
    *SMALL, "topology.replicas=2", "topology.stages=2", "topology.microbatches=2",
    "sync.local_steps=2", "sync.timeout=20", "rounds=4000",
]  # fmt: skip


class Job:
    """A coordinator's host, and one for each worker."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.hosts, self._folder, self.run = hosts, folder, folder / "run"
        self.agents = {}

    def start(self) -> None:
        """As the page has it: a torchrun for each node."""
        address = self.hosts.add(1)
        for number in range(2, 6):
            self.hosts.add(number)
        for number in range(1, 6):
            command = torchrun(number - 1, 5, _PORT, *self._own(number), address=address)
            self.agents[number] = self.hosts.start(number, self._log(number), *command)

    def join(self, number: int) -> None:
        """A host that comes later, with the command of the job's first lines."""
        self.hosts.add(number)
        self.agents[number] = self.hosts.start(
            number,
            self._log(number),
            sys.executable,
            "-m",
            "tdml.cli",
            "join",
            f"10.0.0.1:{_PORT}",
            *self._own(number),
        )

    def _own(self, number: int) -> list[str]:
        return [
            *_SETTINGS, f"run_dir={self.run}", f"identity.folder={self._folder / f'keys{number}'}"
        ]  # fmt: skip

    def _log(self, number: int) -> Path:
        return self._folder / f"host{number}.log"

    @property
    def output(self) -> str:
        """What all hosts have said."""
        logs = sorted(self._folder.glob("host*.log"))
        return "\n".join(f"--- {log.stem}\n{log.read_text()}" for log in logs)

    @property
    def rounds(self) -> list[dict]:
        """The rounds that are recorded."""
        path = self.run / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def await_rounds(self, more: int, accepted: int = 0) -> None:
        """Until so many more rounds were played, in the last of which so many updates counted."""
        before = len(self.rounds)
        self.wait(
            lambda: (
                len(self.rounds) >= before + more and len(self.rounds[-1]["accepted"]) >= accepted
            )
        )

    def wait(self, condition: Callable[[], bool], seconds: float = 240) -> None:
        """Until a condition holds; the coordinator must live."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"the condition never came:\n{self.output}"
            assert self.agents[1].poll() is None, self.output
            time.sleep(0.1)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts(_DELAY_S, _LOSS)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def job(hosts: Hosts, tmp_path: Path) -> Job:
    return Job(hosts, tmp_path)


def test_the_commands_of_the_page_on_its_two_machines(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    [example] = blocks((ROOT / "docs" / "your-model.md").read_text(), "python")
    (tmp_path / "mine.py").write_text(example)
    shown = blocks((ROOT / "docs" / "two-machines.md").read_text(), "bash")
    commands = [block.strip() for block in shown if "torchrun" in block]
    assert len(commands) == 2
    run, bin = tmp_path / "run", Path(sys.executable).parent
    machines = []
    for number, command in enumerate(commands, start=1):
        assert hosts.add(number) == f"10.0.0.{number}"
        more = f"rounds=2 run_dir={run} identity.folder={tmp_path / f'keys{number}'}"
        script = f"cd {tmp_path} && export PATH={bin}:$PATH PYTHONPATH={ROOT} && {command} {more}"
        machines.append(hosts.start(number, tmp_path / f"host{number}.log", "bash", "-c", script))
    said = [machine.wait(600) for machine in machines]
    output = "\n".join((tmp_path / f"host{number}.log").read_text() for number in (1, 2))
    assert said == [0, 0], output
    assert "all 2 rounds done" in output
    verify(run, capsys)


def test_hosts_that_join_are_cut_off_in_a_round_and_have_a_narrow_cable(
    job: Job, capsys: pytest.CaptureFixture
) -> None:
    job.start()
    job.await_rounds(2, accepted=2)

    job.join(6)
    job.wait(lambda: "spare0 has joined" in job.output)

    job.hosts.cut(5)
    job.wait(lambda: "spare0 takes the place of r1.s1 (dead)" in job.output)
    job.await_rounds(2, accepted=2)

    job.hosts.cut(5, cut=False)
    recorded = len(job.rounds)
    # not as long again as the cable was cut, a minute, after which TCP would try again by itself
    job.wait(lambda: "r1.s1: the coordinator answers" in job.output, seconds=10)
    job.wait(lambda: "r1.s1 is back" in job.output)
    [back] = [line["round"] for line in job.rounds if "r1.s1 is back" in line["notes"]]
    # the round that went on when it rang, and at most one that had begun before
    assert back <= recorded + 3, job.output
    job.await_rounds(2, accepted=2)

    job.hosts.narrow(2, megabits=2)
    lost = job.output.count("lost: ")
    job.await_rounds(3, accepted=2)
    assert job.output.count("lost: ") == lost, job.output

    rounds = len(job.rounds)
    _interrupt(job)
    assert [line["round"] for line in job.rounds[:rounds]] == list(range(1, rounds + 1))
    # torchrun adds a stack trace of its own where a rank ends with another status than 0
    assert f'File "{Path(tdml.__file__).parent}' not in job.output, job.output
    verify(job.run, capsys)


def _interrupt(job: Job) -> None:
    """The coordinator's host ends the run, and all others hear of it."""
    job.agents[1].send_signal(signal.SIGTERM)
    for agent in job.agents.values():
        try:
            agent.wait(60)
        finally:
            kill_tree(agent)
