"""docker/ without an engine: its files fit each other, the settings, and what is pinned."""

import importlib.util
import os
import re
import signal
import subprocess
import symtable
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tdml import config as settings
from tests.containers import COMPOSE, DOCKERFILE, ROOT, expand
from tests.jobs import kill_tree

_PINNED = dict(
    re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
)
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_STEPS = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
_LEFT_OUT = re.search(r'COORDINATOR_ONLY="(.*?)"', DOCKERFILE.read_text())[1].split()
_SERVICES: dict[str, Any] = yaml.safe_load(expand(COMPOSE.read_text()))["services"]
_MEMBERS = "coordinator", "node"


def test_what_is_copied_into_the_images_is_there() -> None:
    shown = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for step in _STEPS:
        if step.startswith("COPY") and "--from" not in step:
            for source in step.split()[1:-1]:
                assert (ROOT / source).exists(), step
                assert source.split("/")[0] in shown, f".dockerignore hides {source}"
    assert os.access(ROOT / "docker" / "entrypoint.sh", os.X_OK)


def test_versions_in_the_images_are_those_of_the_constraints() -> None:
    installs = [command for step in _STEPS for command in re.findall(r"pip install [^&]*", step)]
    assert len(installs) == 4
    assert [command.strip() for command in installs if "-c constraints.txt" not in command] == [
        "pip install --no-deps --root /product ."
    ]
    for name in ["torch", "torchvision", *_LEFT_OUT]:
        assert name in _PINNED
    for file in (ROOT / "docker").iterdir():
        for name, version in re.findall(r"([\w.-]+)==([\w.]+)", file.read_text()):
            assert _PINNED.get(name) == version, file
    assert f'image.version="{_PROJECT["version"]}"' in DOCKERFILE.read_text()
    [base] = [step for step in _STEPS if step.startswith("ARG BASE=")]
    assert re.search(r":3\.(\d+)\.\d+-slim-\w+$", base), "pinned by its tag"
    assert int(re.search(r":3\.(\d+)", base)[1]) >= int(
        _PROJECT["requires-python"].removeprefix(">=3.")
    )


def test_requirements_are_the_projects_in_two_parts() -> None:
    def listed(*arguments: str) -> list[str]:
        command = [sys.executable, "docker/requirements.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.splitlines()

    assert listed() == _PROJECT["dependencies"]
    rest = [
        line for line in _PROJECT["dependencies"] if re.match(r"[\w-]+", line)[0] not in _LEFT_OUT
    ]
    assert listed("--without", *_LEFT_OUT) == rest
    assert len(rest) == len(_PROJECT["dependencies"]) - len(_LEFT_OUT)


def test_a_worker_needs_nothing_that_its_image_leaves_out() -> None:
    """The digits are read from scikit-learn's folder, which the image has without the rest of
    it."""
    modules = {"scikit-learn": "sklearn"}
    code = f"""
import sys
sys.modules.update(dict.fromkeys({[modules.get(name, name) for name in _LEFT_OUT if name != "scikit-learn"]}))
import tdml.cli, tdml.run.start_worker, tdml.node.stage
from tdml.data.digits import digits
from tdml.models import resnet18
digits(8), resnet18(10)
assert "sklearn" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_the_kernels_that_an_image_compiles_are_there() -> None:
    """Read only, for importing them takes Triton."""
    warm, kernels = ROOT / "docker" / "warm.py", ROOT / "tdml" / "trust" / "ranking_triton.py"
    names = symtable.symtable(kernels.read_text(), kernels.name, "exec").get_symbols()
    named = set(re.findall(r"\bkernels\.(\w+)", warm.read_text()))
    assert named and named <= {name.get_name() for name in names if name.is_assigned()}


@pytest.mark.parametrize("chosen", ["", "rounds=20 attack=mean_shift"])
def test_compose_starts_a_coordinator_alone_and_nodes_that_join_it(chosen: str) -> None:
    services = yaml.safe_load(expand(COMPOSE.read_text(), TDML_SETTINGS=chosen))["services"]
    [job] = {services[name]["environment"]["JOB"] for name in _MEMBERS}
    config = settings.load(job.split())
    settings.check_world(config.topology, 1, resume=bool(config.resume))
    assert services["node"]["scale"] >= config.topology.replicas * config.topology.stages
    assert config.topology.spares == 0, "the first that joins is spare0"
    assert config.attack["nodes"] == ["spare2"]
    assert config.rounds == (20 if chosen else 8)
    assert (config.run_dir, config.resume) == ("runs/demo", "auto")
    said = " ".join(services["coordinator"]["command"])
    assert (
        re.search(r"--nnodes 1 .*--master-addr coordinator --master-port (\d+)", said)[1]
        in (services["node"]["command"][-1])
    )
    assert all("$$JOB" in services[name]["command"][-1] for name in _MEMBERS)
    assert all(services[name]["restart"] == "on-failure" for name in _MEMBERS)


def test_each_image_of_compose_is_built_once() -> None:
    built = {
        service["image"]: service["build"] for service in _SERVICES.values() if "build" in service
    }
    assert len([service for service in _SERVICES.values() if "build" in service]) == len(built)
    assert {service["image"] for service in _SERVICES.values()} == set(built)
    stages = [step.split()[-1] for step in _STEPS if step.startswith("FROM")]
    for build in built.values():
        assert (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve() == DOCKERFILE
        assert build.get("target", stages[-1]) in {"worker", "coordinator"} <= set(stages)


def test_nobody_else_reaches_the_pages_and_no_container_may_more_than_it_must() -> None:
    for service in _SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
    users = [step.split()[1] for step in _STEPS if step.startswith("USER")]
    assert users[-1] == "tdml"


def test_a_rank_that_stands_still_is_no_healthy_one() -> None:
    health = _health()
    rank = _start(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "while child.poll() is None: time.sleep(0.1)",
        RANK="7",
    )
    child = int(rank.stdout.readline())
    agent = _start("import time; time.sleep(60)", PET_NODE_RANK="7")
    try:
        found = health.ranks()
        assert found[rank.pid] == "7"
        assert not {agent.pid, child} & found.keys()
        assert health.lives(rank.pid)
        rank.send_signal(signal.SIGSTOP)
        os.waitpid(rank.pid, os.WUNTRACED)
        assert not health.lives(rank.pid)
        rank.send_signal(signal.SIGCONT)
        assert health.lives(rank.pid)
        os.kill(child, signal.SIGKILL)
        rank.wait(10)
        assert rank.pid not in health.ranks()
    finally:
        for process in (rank, agent):
            kill_tree(process)


def test_a_node_that_joins_is_looked_at_as_a_rank_is(tmp_path: Path) -> None:
    command = tmp_path / "tdml"
    command.write_text("import time\nwhile True: time.sleep(0.1)\n")
    words = [sys.executable, str(command), "join", "coordinator:29500"]
    with subprocess.Popen(words) as node:
        try:
            health = _health()
            assert node.pid in health.ranks()
            assert health.lives(node.pid)
        finally:
            node.kill()


def test_where_no_rank_is_none_is_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    health = _health()
    monkeypatch.setattr(health, "ranks", dict)
    assert health.main() == 1
    assert capsys.readouterr().out == "no rank is running here\n"


def _start(code: str, **variables: str) -> subprocess.Popen:
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True)


def _health() -> ModuleType:
    spec = importlib.util.spec_from_file_location("health", ROOT / "docker" / "health.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._WINDOW_S = 2.0
    return module
