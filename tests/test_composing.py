"""What is composed once is what Hydra composes."""

import json
import sys
from pathlib import Path
from subprocess import run

_ROOT = Path(__file__).resolve().parent.parent
_BOTH = """
import json, sys
from tdml import config
from tests.composing import compose_once

def composed(overrides):
    try:
        return config.load(overrides)
    except config.SettingError as error:
        return str(error)
jobs = json.loads(sys.argv[1])
plain = [composed(overrides) for overrides in jobs]
compose_once()
for _ in range(2):
    for overrides, expected in zip(jobs, plain, strict=True):
        assert composed(overrides) == expected, overrides
"""
_JOBS = [
    ["seed=1"],
    ["seed=2", "model.width=4"],
    ["model=gpt", "task=language", "data=text", "train=adamw", "train.optimizer.betas=[0.8,0.9]"],
    ["experiment=demo", "attack=sign_flip", "seed=7", "attack.replicas=[1]"],
    ["train.optimizer.nesterov=true", "+train.optimizer.dampening=0"],
    ["recipe=paper"],
    ["recipe=paper", "~recipe"],
    ["model=resnet81"],
    ["rounds=two"],
]


def test_it_is_what_hydra_composes(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("_target_: mlp\nhidden: 7\n")
    jobs = [*_JOBS, [f"hydra.searchpath=[file://{tmp_path}]", "model=mine"]]
    command = [sys.executable, "-c", _BOTH, json.dumps(jobs)]
    done = run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
