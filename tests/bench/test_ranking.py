import json
import sys

import pytest
import torch
from scipy.stats import rankdata

from tdml import cli
from tdml.bench import ranking as bench
from tdml.bench import turns


def run(*arguments):
    return cli.run(["bench", "ranking", *arguments])


@pytest.fixture
def without_byzfl(monkeypatch):
    monkeypatch.setitem(sys.modules, "byzfl", None)


def test_a_table_for_every_number_of_replicas(without_byzfl, capsys, tmp_path):
    file = tmp_path / "ranking.json"
    assert run("--replicas", "3", "9", "--values", "30000", "--json", str(file)) == 0
    printed = capsys.readouterr().out
    for text in (
        "3 replicas × 10,000 coordinates",
        "9 replicas × 3,333 coordinates",
        "rank_moments",
        "copy",
    ):
        assert text in printed
    results = json.loads(file.read_text())["results"]
    assert [(result["replicas"], result["coordinates"]) for result in results] == [
        (3, 10_000),
        (9, 3_333),
    ]
    for result in results:
        names = {timing["name"] for timing in result["timings"]}
        assert names == {"copy", "rank_moments", "torch operations", "scipy rankdata"}
        assert result["times_copy"]["copy"] == result["times_rank_moments"]["rank_moments"] == 1.0
        assert all(timing["seconds"] for timing in result["timings"])


def test_what_is_left_out_without_byzfl(without_byzfl, capsys):
    run("--replicas", "2", "--values", "100")
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if "Left out" in line] == [
        "Left out: ByzFL's MultiKrum and TrMean: pip install byzfl==0.0.11"
    ]


def test_byzfl_takes_part_where_it_is_installed(capsys):
    pytest.importorskip("tdml.common.vision").torchvision()
    pytest.importorskip("byzfl")
    run("--replicas", "5", "--values", "5000")
    printed = capsys.readouterr().out
    assert "ByzFL MultiKrum" in printed
    assert "ByzFL TrMean" in printed
    assert "f = ⌊(n − 1)/2⌋ = 2" in printed


def test_the_slow_are_given_a_part(monkeypatch):
    given = []
    monkeypatch.setattr(
        "scipy.stats.rankdata",
        lambda values, axis: given.append(values.shape) or rankdata(values, axis=axis),
    )
    result = bench.measure(2, 300_000, lambda byzantine: {})
    assert set(given) == {(2, 3_000)}
    shares = {timing.name: timing.share for timing in result.timings}
    assert shares == {"copy": 1, "rank_moments": 1, "torch operations": 0.1, "scipy rankdata": 0.01}


def test_one_turn_is_scaled_by_the_share(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(turns.time, "perf_counter", lambda: next(clock))
    timing = turns.Timing("slow", share=0.1)
    turns.take_turn(timing, lambda: None)
    assert timing.seconds == [25.0]


@pytest.mark.parametrize(("size", "freed"), [(80_000_000, False), (80_000_000, True)])
def test_extra_memory_is_the_peak_even_if_freed(size, freed):
    timing, held = turns.Timing("hungry"), []

    def contender():
        block = torch.ones(size, dtype=torch.uint8)
        if not freed:
            held.append(block)

    turns.take_turn(timing, contender)
    if timing.extra_bytes is None:
        pytest.skip("this system does not tell a process's peak of memory")
    assert timing.extra_bytes == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--replicas", "8", "1"), "--replicas 1: a ranking needs at least 2"),
        (
            ("--replicas", "8", "--values", "7"),
            "--values 7 is less than one for each of 8 replicas: give more",
        ),
        (
            ("--values", "1000000000000"),
            "--values 1000000000000 needs 32000.0 GB of memory: give at most",
        ),
        (
            ("--json", "no/such/folder/file"),
            "--json no/such/folder/file: give a file in a folder that exists",
        ),
        (("--json", "."), "--json .: give a file in a folder that exists"),
    ],
)
def test_a_bad_argument_gets_one_line(capsys, arguments, message):
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"tdml: {message}")
    assert printed.err.count("\n") == 1


def fake_gpu(monkeypatch):
    """A GPU that notes what it is asked for. What would be there is in the host's memory."""
    asked, sizes = [], iter([100, 700])
    for name, result in {
        "synchronize": None,
        "reset_peak_memory_stats": None,
        "is_available": True,
    }.items():
        monkeypatch.setattr(
            torch.cuda, name, lambda name=name, result=result: asked.append(name) or result
        )
    for name in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda: next(sizes))
    return asked


def test_a_turn_on_a_gpu_waits_for_it_and_asks_it_for_its_memory(monkeypatch):
    asked, timing = fake_gpu(monkeypatch), turns.Timing("ours")
    turns.take_turn(timing, lambda: asked.append("contender"), "cuda")
    assert asked == ["reset_peak_memory_stats", "synchronize", "contender", "synchronize"]
    assert timing.extra_bytes == 600
    turns.take_turn(timing, lambda: None, "cuda")
    assert (timing.extra_bytes, len(timing.seconds)) == (600, 2)


def test_too_little_memory_on_the_gpu(monkeypatch, capsys):
    fake_gpu(monkeypatch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1200, 9999))
    assert run("--values", "101", "--replicas", "2") == 1
    line = "tdml: --values 101 needs 0.0 GB of the GPU's memory: give at most 100\n"
    assert capsys.readouterr().err == line


def test_a_gpus_yardstick_is_reading_once(without_byzfl, monkeypatch, capsys, tmp_path):
    result = bench.RankingResult(
        8,
        1000,
        3,
        "cuda",
        "Triton",
        [
            turns.Timing(n, [s])
            for n, s in (("read (sum)", 2.0), ("rank_moments", 5.0), ("copy", 4.0))
        ],
    )
    fake_gpu(monkeypatch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10**9, 10**9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    monkeypatch.setattr(bench, "measure_on_gpu", lambda replicas, coordinates: result)
    file = tmp_path / "ranking.json"
    assert run("--replicas", "8", "--values", "8000", "--json", str(file)) == 0
    printed = capsys.readouterr().out
    for text in (
        "float32 on cpu",
        "float32 on cuda",
        "× read (sum)",
        "rank_moments by Triton",
        "GPU: Some GPU",
    ):
        assert text in printed
    said = "rank_moments by Triton on cuda takes so many times as long as read (sum): 2.50 (8 replicas)"
    assert printed.splitlines()[-1] == said
    written = json.loads(file.read_text())
    assert written["gpu"] == "Some GPU"
    assert [(part["device"], part["yardstick"]) for part in written["results"]] == [
        ("cpu", "copy"),
        ("cuda", "read (sum)"),
    ]
    assert written["results"][1]["times_yardstick"] == {
        "read (sum)": 1.0,
        "rank_moments": 2.5,
        "copy": 2.0,
    }


def test_who_takes_part_on_a_gpu(monkeypatch):
    if not torch.cuda.is_available():
        monkeypatch.setattr(bench, "_GPU", "cpu")
    result = bench.measure_on_gpu(4, 20_000)
    shares = {timing.name: timing.share for timing in result.timings}
    assert shares == {"rank_moments": 1, "read (sum)": 1, "copy": 1, "torch operations": 0.1}
    assert all(len(timing.seconds) == 5 for timing in result.timings)
    assert result.tool in {"Triton", "torch operations"}
