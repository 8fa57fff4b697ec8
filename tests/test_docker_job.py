"""The images are built and the demo runs in them: containers of nodes are killed and added, that of
the coordinator is killed and started again, and the run goes on to its end.

Needs Docker with compose, or podman and podman-compose, and what `tests/containers.py` makes a base
image of.
"""

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.containers import DOCKERFILE, Engine, find_engine, sources
from tests.jobs import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

_PROJECT = "tdml-test"
_WORKERS_MOST_BYTES = 1.2e9
_FIRST_SCREEN = """
import torch
from tdml.trust import rank_moments, ranking_compiled
rank_moments(torch.zeros(3, 5))
print(sum(ranking_compiled._add_leads.stats.cache_hits.values()), sum(ranking_compiled._add_leads.stats.cache_misses.values()))
"""


@dataclass(frozen=True)
class Images:
    """The two images, under names of their own."""

    engine: Engine
    all: str = "localhost/tdml-test"
    worker: str = "localhost/tdml-test-worker"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    folder = tmp_path_factory.mktemp("docker")
    engine = find_engine(folder)
    made, before = Images(engine), engine.images()
    try:
        with sources(engine, folder) as arguments:
            for target, tag in (("coordinator", made.all), ("worker", made.worker)):
                options = ["-f", str(DOCKERFILE), "--target", target, "-t", tag, *arguments]
                if engine.name == "podman":  # whose own format has no health checks
                    options += ["--format", "docker", "--isolation", "chroot"]
                engine.must("build", *options, ".", seconds=1800)
        yield made
    finally:
        for image in engine.images() - before:
            engine.run("rmi", "--force", image, seconds=120)


def test_workers_get_a_small_image_and_nobody_is_root(images: Images) -> None:
    for image in (images.worker, images.all):
        [facts] = json.loads(images.engine.must("image", "inspect", image))
        assert facts["Config"]["User"] == "tdml"
        # Docker's place, and podman's
        check = facts["Config"].get("Healthcheck") or facts["Healthcheck"]
        assert check["Test"] == ["CMD", "python3", "-I", "/usr/local/lib/tdml/health.py"]
        assert facts["Config"]["Labels"]["org.opencontainers.image.title"] == "tdml"
        assert images.engine.must("run", "--rm", image, "id", "-u").split()[-1] == "1000"
    assert _size(images, images.worker) < min(_WORKERS_MOST_BYTES, _size(images, images.all))
    assert "tensorboard" in images.engine.must("run", "--rm", images.all, "ls", "/opt/tdml/bin")
    assert "tensorboard" not in images.engine.must(
        "run", "--rm", images.worker, "ls", "/opt/tdml/bin"
    )


@pytest.mark.parametrize("options", [[], ["--read-only"], ["--user", "4321:4321"]], ids=" ".join)
def test_the_first_screen_finds_its_code_compiled(images: Images, options: list[str]) -> None:
    said = images.engine.must(
        "run", "--rm", *options, images.all, "python", "-c", _FIRST_SCREEN, seconds=180
    )
    assert said.splitlines()[-1] == "1 0", said


def test_containers_come_and_go_and_the_coordinators_starts_again(images: Images) -> None:
    engine, variables = (
        images.engine,
        {"TDML_IMAGE": images.all, "TDML_WORKER_IMAGE": images.worker},
    )
    ports = {"TDML_TENSORBOARD_PORT": free_port(), "TDML_REPORT_PORT": free_port()}
    variables |= {name: str(port) for name, port in ports.items()} | {"TDML_SETTINGS": "rounds=20"}
    up = ["up", "-d", "--no-build"]
    try:
        engine.play(_PROJECT, *up, "--scale", "node=4", seconds=300, **variables)
        _until(lambda: _rounds(engine), seconds=400, engine=engine)
        _until(lambda: _who_is(engine, "spare0"), seconds=60, engine=engine)
        [placed] = _who_is(engine, "spare0")
        other = next(n for n in _nodes(engine) if n != placed)
        assert "lives" in _healthy(engine, other, 0)
        engine.must("kill", placed)
        _until(lambda: _said(engine, "takes the place of spare0 (dead)"), 400, engine)
        engine.play(_PROJECT, *up, "--no-recreate", "--scale", "node=6", seconds=300, **variables)
        _until(lambda: _said(engine, "has joined"), seconds=400, engine=engine)

        coordinator = _container(engine, "coordinator")
        _stop_and_ask(engine, coordinator)
        engine.must("kill", coordinator)
        engine.must("start", coordinator)
        _until(lambda: _said(engine, "going on after round"), seconds=400, engine=engine)
        _until(lambda: _said(engine, "all 20 rounds done"), seconds=900, engine=engine)
        page = _get(ports["TDML_REPORT_PORT"], "/demo/report.html")
        assert "Who held which slot" in page
        assert "<title>TensorBoard</title>" in _get(ports["TDML_TENSORBOARD_PORT"], "/")
        assert json.loads(_get(ports["TDML_TENSORBOARD_PORT"], "/data/runs")) == [
            "demo/tensorboard"
        ]
        summary = json.loads(_get(ports["TDML_REPORT_PORT"], "/demo/summary.json"))
        assert summary["banned"] == ["spare2"]
        assert summary["accepted"] == [0, 1, 2]
        assert summary["test_accuracy"] >= 0.9
        assert engine.must("wait", coordinator, seconds=120).split()[-1] == "0"
    finally:
        engine.play(_PROJECT, "down", "--volumes", "--timeout", "5", seconds=300, **variables)


def _stop_and_ask(engine: Engine, container: str) -> None:
    """A rank that is stopped is not healthy, until it goes on."""
    process = re.search(r"process (\d+): lives", _healthy(engine, container, 0))[1]
    signal_it = [
        "exec",
        container,
        "sh",
        "-c",
        f"kill -$0 {process} && grep State /proc/{process}/status",
    ]
    _until(lambda: "stopped" in engine.must(*signal_it, "STOP"), seconds=10, engine=engine)
    assert "has not run" in _healthy(engine, container, 1)
    engine.must(*signal_it, "CONT")
    assert "lives" in _healthy(engine, container, 0)


def _healthy(engine: Engine, container: str, status: int) -> str:
    asked = engine.run("exec", container, "python3", "-I", "/usr/local/lib/tdml/health.py")
    assert asked.returncode == status, asked.stdout
    return asked.stdout


def _container(engine: Engine, service: str) -> str:
    return _containers(engine, service)[-1]


def _nodes(engine: Engine) -> list[str]:
    return _containers(engine, "node")


def _who_is(engine: Engine, name: str) -> list[str]:
    return [node for node in _nodes(engine) if f"takes part as {name}" in _logs(engine, node)]


def _containers(engine: Engine, service: str) -> list[str]:
    labels = {"project": _PROJECT, "service": service}
    filters = [f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items()]
    return engine.must("ps", "--all", "--quiet", "--no-trunc", *filters).split()


def _logs(engine: Engine, container: str) -> str:
    return engine.must("logs", container)


def _rounds(engine: Engine) -> bool:
    asked = engine.run("exec", _container(engine, "coordinator"), "cat", "runs/demo/metrics.jsonl")
    return asked.returncode == 0 and '"round"' in asked.stdout


def _said(engine: Engine, text: str) -> bool:
    return text in _logs(engine, _container(engine, "coordinator"))


def _until(condition: Callable[[], object], seconds: float, engine: Engine) -> None:
    """Wait for a condition that comes while the coordinator's container runs, if it comes at
    all."""
    deadline, container = time.monotonic() + seconds, _container(engine, "coordinator")
    while True:
        [state] = json.loads(engine.must("inspect", container))
        if condition():
            return
        goes_on = state["State"]["Status"] != "exited" and time.monotonic() < deadline
        assert goes_on, "\n---\n".join(_logs(engine, each) for each in [container, *_nodes(engine)])
        time.sleep(0.5)


def _size(images: Images, image: str) -> int:
    return json.loads(images.engine.must("image", "inspect", image))[0]["Size"]


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read().decode()
