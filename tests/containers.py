"""What the tests of docker/ need: an engine, a base image also where no registry is reached, and
packages for it."""

import contextlib
import functools
import http.server
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "docker" / "compose.yaml"
DOCKERFILE = ROOT / "docker" / "Dockerfile"
_ENOUGH = 8192  # files, and processes, of a container


def expand(text: str, **variables: str) -> str:
    """The text of a compose file with its ${NAME:-default} filled in."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), text)


@dataclass(frozen=True)
class Engine:
    """Podman or Docker, and what plays compose files with it."""

    name: str
    compose: tuple[str, ...]
    environment: dict[str, str]

    def run(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess:
        """`podman …` or `docker …`."""
        return self._run([self.name, *arguments], seconds, {})

    def play(self, project: str, *arguments: str, seconds: float, **variables: str) -> None:
        """`compose …` on the project's compose file. It must succeed."""
        command = [*self.compose, "-p", project, "-f", str(COMPOSE), *arguments]
        done = self._run(command, seconds, variables)
        assert done.returncode == 0, done.stdout + done.stderr

    def must(self, *arguments: str, seconds: float = 60) -> str:
        """What a command that must succeed says on standard output."""
        done = self.run(*arguments, seconds=seconds)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def images(self) -> set[str]:
        """All images, by their long names."""
        return set(self.must("images", "--all", "--quiet", "--no-trunc").split())

    def _run(
        self, command: list[str], seconds: float, variables: dict[str, str]
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            check=False,
            env=os.environ | self.environment | variables,
            cwd=ROOT,
            timeout=seconds,
            capture_output=True,
            text=True,
        )


def find_engine(folder: Path) -> Engine:
    """The engine of this machine; skips where there is none."""
    if (
        shutil.which("docker")
        and _succeeds("docker", "info")
        and _succeeds("docker", "compose", "version")
    ):
        return Engine("docker", ("docker", "compose"), {"DOCKER_BUILDKIT": "1"})
    if not shutil.which("podman") or not shutil.which("podman-compose"):
        pytest.skip("neither docker with compose, nor podman and podman-compose")
    engine = Engine("podman", ("podman-compose",), _podman_limits(folder))
    if engine.run("info").returncode:
        pytest.skip(f"podman does not work here: {engine.run('info').stdout}")
    return engine


def _podman_limits(folder: Path) -> dict[str, str]:
    """Enough for a rank, and no more than this process may give: podman's defaults can be."""
    if "CONTAINERS_CONF" in os.environ:
        return {}
    names = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    limits = {name: min(resource.getrlimit(kind)[1], _ENOUGH) for name, kind in names.items()}
    file = folder / "containers.conf"
    file.write_text(
        f"[containers]\ndefault_ulimits = {json.dumps([f'{k}={v}:{v}' for k, v in limits.items()])}\n"
    )
    return {"CONTAINERS_CONF": str(file)}


@contextlib.contextmanager
def sources(engine: Engine, folder: Path) -> Iterator[list[str]]:
    """Arguments for a build: none where the public registries are reached. Elsewhere a base image
    is made of Debian's packages, and Python's come from whatever index this machine's pip is set
    to. Skips where that fails too."""
    base = re.search(r"^ARG BASE=(\S+)", DOCKERFILE.read_text(), re.MULTILINE)[1]
    if engine.run("pull", "--quiet", base, seconds=600).returncode == 0 and _answers(
        "https://download.pytorch.org"
    ):
        yield []
        return
    made = _debian(engine, folder)
    wheels = _wheels(folder)
    handler = functools.partial(_Silent, directory=wheels)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        secret = folder / "pip.conf"
        secret.write_text(
            f"[global]\nno-index = true\nfind-links = http://127.0.0.1:{server.server_port}/\n"
        )
        yield [
            "--network", "host", "--secret", f"id=pip.conf,src={secret}", "--build-arg",
            f"BASE={made}", "--build-arg", "TORCH_INDEX=",
        ]  # fmt: skip
        server.shutdown()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def _debian(engine: Engine, folder: Path) -> str:
    if not shutil.which("debootstrap") or os.geteuid():
        pytest.skip(
            "no base image: no registry is reached, and debootstrap is missing, or needs root"
        )
    tree = folder / "debian"
    command = [
        "debootstrap",
        "--variant=minbase",
        "--include=python3,python3-venv,ca-certificates",
        "bookworm",
        tree,
    ]
    made = subprocess.run(command, check=False, timeout=900, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no base image: debootstrap failed: {made.stdout[-500:]}")
    archive = folder / "debian.tar"
    subprocess.run(["tar", "-C", tree, "-cf", archive, "."], check=True, timeout=300)
    engine.must("import", str(archive), "localhost/tdml-test-base", seconds=300)
    return "localhost/tdml-test-base"


def _wheels(folder: Path) -> Path:
    """All that a build installs, for the Python that Debian has."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("no packages for the base image: this Python is not 3.11, as Debian's is")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--constraint",
        ROOT / "constraints.txt",
    ]
    made = subprocess.run(
        [*command, "--wheel-dir", folder / "wheels", *wanted],
        check=False,
        timeout=1200,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"no packages for the images: {made.stderr[-500:]}")
    return folder / "wheels"


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10):
            return True
    except OSError:
        return False
