"""launch/kubernetes/ without a cluster: its files hold what Kubernetes knows, fit each other, and
start a job that is one."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tdml import config as settings
from tests.containers import DOCKERFILE, ROOT

_FOLDER = ROOT / "launch" / "kubernetes"
_VERSION = "1.30"  # of Kubernetes
# The part of JobSet v1alpha2 that is used, from its reference: https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2
_JOBSET = {
    "network": {"enableDNSHostnames": bool, "subdomain": str, "publishNotReadyAddresses": bool},
    "successPolicy": {"operator": ("All", "Any"), "targetReplicatedJobs": list},
    "failurePolicy": {"maxRestarts": int},
    "replicatedJobs": [{"name": str, "replicas": int, "template": dict}],
}


def _objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((_FOLDER / name).read_text()))


def _pods(name: str) -> list[dict[str, Any]]:
    """The specs of all pods in a file."""
    found = []
    for each in _objects(name):
        if each["kind"] == "StatefulSet":
            found.append(each["spec"]["template"]["spec"])
        if each["kind"] == "JobSet":
            found += [job["template"]["spec"]["template"]["spec"] for job in _jobs(each)]
    return found


def _jobs(jobset: dict[str, Any]) -> list[dict[str, Any]]:
    return jobset["spec"]["replicatedJobs"]


def _job_settings(name: str) -> str:
    """The settings that all pods of a file are given."""
    for each in _objects(name):
        if each["kind"] == "ConfigMap":
            return each["data"]["job"]
    [text] = {pod["containers"][0]["env"][0]["value"] for pod in _pods(name)}
    return text


@pytest.mark.parametrize("file", ["statefulset.yaml", "jobset.yaml"])
def test_what_kubernetes_itself_knows_is_as_its_schemas_have_it(file: str) -> None:
    validator = pytest.importorskip(
        "kubernetes_validate", reason="pip install kubernetes-validate==1.37.0 brings the schemas"
    )
    for each in _objects(file):
        known = [each]
        if each["kind"] == "JobSet":
            known = [
                {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}}
                | job["template"]
                for job in _jobs(each)
            ]
        for one in known:
            validator.validate(one, _VERSION, strict=True)


def test_a_jobset_is_as_its_reference_has_it() -> None:
    [jobset] = _objects("jobset.yaml")
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    _conforms(jobset["spec"], _JOBSET, "spec")
    names = [job["name"] for job in _jobs(jobset)]
    assert set(jobset["spec"]["successPolicy"]["targetReplicatedJobs"]) <= set(names)


@pytest.mark.parametrize("file", ["statefulset.yaml", "jobset.yaml"])
def test_a_coordinator_starts_alone_and_enough_nodes_join_it(file: str) -> None:
    config = settings.load(_job_settings(file).split())
    settings.check_world(config.topology, 1, resume=bool(config.resume))
    coordinator, node = (pod["containers"][0] for pod in _pods(file))
    said = " ".join(coordinator["args"])
    host, port = re.search(r"--master-addr (\S+) --master-port (\d+) -m tdml \$JOB", said).groups()
    assert f"tdml join {host}:{port} $JOB" in node["args"][0]
    assert coordinator["ports"] == [{"containerPort": int(port)}]
    assert "--nnodes 1 --nproc-per-node 1" in said
    assert _replicas_of_nodes(file) >= config.topology.replicas * config.topology.stages


def test_the_address_of_the_coordinator_is_the_one_that_its_pod_has() -> None:
    service, stateful = _objects("statefulset.yaml")[1:3]
    assert stateful["spec"]["serviceName"] == service["metadata"]["name"]
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    host = f"{stateful['metadata']['name']}-0.{service['metadata']['name']}"
    assert f"--master-addr {host} " in _pods("statefulset.yaml")[0]["containers"][0]["args"][0]

    [jobset] = _objects("jobset.yaml")
    network = jobset["spec"]["network"]
    host = f"{jobset['metadata']['name']}-{_jobs(jobset)[0]['name']}-0-0.{network['subdomain']}"
    assert f"--master-addr {host} " in " ".join(
        _pods("jobset.yaml")[0]["containers"][0]["args"][0].split()
    )


@pytest.mark.parametrize("file", ["statefulset.yaml", "jobset.yaml"])
def test_pods_use_the_images_as_docker_makes_them_and_may_no_more_than_they_must(
    file: str,
) -> None:
    dockerfile = DOCKERFILE.read_text()
    for pod in _pods(file):
        [container] = pod["containers"]
        assert container["image"] in ("tdml", "tdml-worker")
        entrypoint = Path(container["command"][0])
        assert f'ENTRYPOINT ["{entrypoint}"]' in dockerfile
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        for mount in container.get("volumeMounts", []):
            assert mount["mountPath"] in ("/job/runs", "/home/tdml/.tdml")


@contextmanager
def _coordinator(folder: Path, torchrun: str) -> Iterator[subprocess.Popen]:
    """What the coordinator's pod runs, with something else in the place of torchrun."""
    (folder / "torchrun").write_text(f"#!/bin/sh\n{torchrun}\n")
    (folder / "torchrun").chmod(0o755)
    container = _pods("statefulset.yaml")[0]["containers"][0]
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "JOB": "rounds=3 name=*"}
    pod = subprocess.Popen(
        [*container["command"][1:], *container["args"]],
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        yield pod
    finally:
        with suppress(ProcessLookupError):  # the shell may be gone, and what it has started not
            os.killpg(pod.pid, signal.SIGKILL)
        pod.wait()


def _await(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_coordinator_whose_pod_is_ended_ends_in_its_own_way(tmp_path: Path) -> None:
    run = """trap 'sleep 0.5; echo "$@" > ended; exit 7' TERM; touch begun; while :; do sleep 0.1; done"""
    with _coordinator(tmp_path, run) as pod:
        _await((tmp_path / "begun").exists)
        pod.terminate()
        assert pod.wait(20) == 7
    assert (tmp_path / "ended").read_text().endswith(" -m tdml rounds=3 name=*\n")


def test_the_pod_of_a_run_that_has_ended_sleeps_until_it_is_ended(tmp_path: Path) -> None:
    with _coordinator(tmp_path, "exit 0") as pod:
        children = Path(f"/proc/{pod.pid}/task/{pod.pid}/children")
        _await(lambda: "sleep" in _names(children.read_text().split()))
        pod.terminate()
        pod.wait(20)


def _names(processes: list[str]) -> list[str]:
    return [Path(f"/proc/{process}/comm").read_text().strip() for process in processes]


def test_the_pod_of_a_run_that_fails_fails(tmp_path: Path) -> None:
    with _coordinator(tmp_path, "exit 3") as pod:
        assert pod.wait(20) == 3


def _replicas_of_nodes(file: str) -> int:
    last = _objects(file)[-1]
    if last["kind"] == "StatefulSet":
        return last["spec"]["replicas"]
    return _jobs(last)[-1]["template"]["spec"]["parallelism"]


def _conforms(value: Any, wanted: Any, where: str) -> None:
    """Whether a value has no keys but those wanted, and of them those types."""
    if isinstance(wanted, dict):
        assert isinstance(value, dict) and not value.keys() - wanted.keys(), where
        for key, part in value.items():
            _conforms(part, wanted[key], f"{where}.{key}")
    elif isinstance(wanted, list):
        for part in value:
            _conforms(part, wanted[0], where)
    elif isinstance(wanted, tuple):
        assert value in wanted, where
    else:
        assert type(value) is wanted, where
