"""docs/your-task.md, followed word for word."""

import importlib
import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tdml import config as settings
from tdml.common.vision import mend_torchvision
from tdml.data import source
from tdml.round.job import Job
from tdml.run.prepare import prepare
from tdml.tasks.measures import look_at
from tdml.tasks.objective import mean_loss, sum_of_weights, task_of
from tests.pages import ROOT, blocks, follow

_PAGE = (ROOT / "docs" / "your-task.md").read_text()
_HF = "model=hf"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader of the page works, with the module that the page has them write."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text("\n\n".join(blocks(_PAGE, "python")))
    yield tmp_path
    sys.modules.pop("mine", None)


def _jobs() -> dict[str, Job]:
    """Those of the page, by name, made ready."""
    jobs = {}
    for block in blocks(_PAGE, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[:2] == ["tdml", "train"] and (_HF not in words or find_spec("transformers")):
                config = settings.load(words[2:])
                loaded = source.load(config.data, config.seed, task_of(config))
                jobs[config.name] = prepare(config, loaded, checkpoint=None)
    return jobs


def test_the_jobs_of_the_page_can_begin(folder: Path) -> None:
    mend_torchvision()
    for block in blocks(_PAGE, "bash"):
        if block.startswith("python"):
            follow(block, seconds=60)
    jobs = _jobs()
    assert [len(job.layouts) for job in jobs.values()] == [2] * len(jobs)
    assert list(jobs["gpt"].measures.unknown) == ["perplexity", "token_accuracy", "loss"]
    job = jobs["sizes"]
    largest = [max(job.source.train[i][0][0] for i in share) for share in job.shares]
    assert largest == sorted(largest)
    assert list(jobs["prices"].measures.unknown) == ["below", "loss"]


def test_the_weights_of_the_page_are_those_of_each_sample(folder: Path) -> None:
    task = importlib.import_module("mine").Weighted()
    samples = [(torch.zeros(2), torch.tensor([float(i), 1.0 + i % 3])) for i in range(6)]
    _, targets = task.collate(samples)
    output = torch.ones(6, 1)
    expected = sum((1 + i % 3) * (i - 1) ** 2 for i in range(6)) / sum(1 + i % 3 for i in range(6))
    assert float(mean_loss(task, output, targets)) == pytest.approx(expected)
    total = sum_of_weights(task, targets)
    parts = zip(output.chunk(3), targets.chunk(3), strict=True)
    assert float(sum(mean_loss(task, *part, total) for part in parts)) == pytest.approx(expected)
    look_at(task, output.shape, targets)


def test_what_is_filled_up_counts_nothing(folder: Path) -> None:
    """The mean is that of all tokens that have a class, as torch takes it, also where a sample has
    none."""
    task = importlib.import_module("mine").Tags()
    lengths = [5, 1, 0, 3]
    classes = [torch.tensor([i % 3 for i in range(n)] + [-100] * (5 - n)) for n in lengths]
    _, targets = task.collate([(torch.zeros(5, dtype=torch.int64), each) for each in classes])
    output = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    expected = float(torch.nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten()))
    assert float(mean_loss(task, output, targets)) == pytest.approx(expected)
    right, tokens = task.metrics(output, targets)["accuracy"]
    assert tokens.tolist() == lengths and 0 < right.sum() < 9
    look_at(task, output.shape, targets)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_from_top_to_bottom(folder: Path) -> None:
    for block in blocks(_PAGE, "bash"):
        # one of several machines is not a whole job
        if "--nnodes" not in block and (_HF not in block or find_spec("transformers")):
            follow(block, seconds=200)
    last = json.loads((folder / "runs/prices/metrics.jsonl").read_text().splitlines()[-1])
    assert last["test_below"] == pytest.approx(0.9, abs=0.1)
    assert (folder / "exported-gpt" / "model.safetensors").is_file()
    if find_spec("transformers"):
        mend_torchvision()
        auto = pytest.importorskip("transformers").AutoModelForCausalLM
        for name in ("gpt", "llama"):
            auto.from_pretrained(folder / f"exported-{name}")
