"""benchmarks: what counts as slower, and that every op is measured."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fastnn import _core

COMPARE = Path(__file__).parent.parent / "benchmarks" / "compare.py"


def side(median, noise=0.01, ratio=None):
    made = {"median": median, "low": median * (1 - noise / 2), "high": median * (1 + noise / 2)}
    return made if ratio is None else made | {"ratio": side(ratio, noise)}


def compare(tmp_path, old, new, *arguments):
    files = []
    for name, rows in (("old", old), ("new", new)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps({"machine": {"cores": 2}, "float32": {"training": rows}}))
    return subprocess.run([sys.executable, COMPARE, *files, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (side(100.0), side(100.0), False),
        (side(100.0), side(80.0), False),
        (side(100.0), side(104.0), False),                                 # below the margin
        (side(100.0), side(110.0), True),
        (side(100.0, 0.06), side(110.0, 0.06), False),                     # below the noise of both
        (side(100.0, 0.2), side(130.0, 0.05), True),
    ],
)  # fmt: skip
def test_slower_by_more_than_the_noise(tmp_path, old, new, found):
    old, new = ({"a": {"fastnn": one}, "b": {"fastnn": side(1.0)}} for one in (old, new))
    done = compare(tmp_path, old, new)
    assert done.returncode == found, done.stderr
    assert ("float32 / training / a" in done.stdout) == found
    assert done.stdout.endswith(f"{int(found)} of 2 figures became slower\n")


def test_a_slower_machine_is_no_news(tmp_path):
    old = {"a": {"fastnn": side(100.0), "limit": side(50.0, ratio=0.5)}}
    same_share = {"a": {"fastnn": side(200.0), "limit": side(100.0, ratio=0.5)}}
    less = {"a": {"fastnn": side(100.0), "limit": side(40.0, ratio=0.4)}}
    assert compare(tmp_path, old, same_share).returncode == 0
    done = compare(tmp_path, old, less)
    assert done.returncode == 1 and "a: 1.25 times slower" in done.stdout


def test_the_worst_comes_first_and_the_margin_is_the_users(tmp_path):
    old = {name: {"fastnn": side(10.0)} for name in "abc"}
    new = {"a": {"fastnn": side(11.0)}, "b": {"fastnn": side(30.0)}, "c": {"fastnn": side(20.0)}}
    lines = compare(tmp_path, old, new).stdout.splitlines()
    assert [line.split(":")[0][-1] for line in lines[:3]] == ["b", "c", "a"]
    assert "a:" not in compare(tmp_path, old, new, "--margin", "0.2").stdout


def test_files_without_a_common_figure_are_refused(tmp_path):
    done = compare(tmp_path, {"a": {"fastnn": side(1.0)}}, {"b": {"fastnn": side(1.0)}})
    assert done.returncode == 2 and "no figures in common" in done.stderr


@pytest.fixture
def kernels(monkeypatch):
    monkeypatch.syspath_prepend(COMPARE.parent.parent)
    return importlib.import_module("benchmarks.kernels")


def test_every_op_has_a_case_that_runs(kernels):
    for op, info in _core.OPS.items():
        if op not in kernels.IDLE and not info.rule.startswith("MATMUL"):
            for case in kernels.variants(op, 4, 32).values():
                run, moved = case.runner(None, 2)
                run()
                assert moved > 0, op
    for case in kernels.products(4, 16, 8).values():
        case.runner(None, 2)[0]()


def test_bytes_of_an_op_are_those_of_its_operands_and_results(kernels):
    moved = {name: case.runner(None, 3)[1] for op in ("add", "adam", "embedding", "sum_rows")
             for name, case in kernels.variants(op, 4, 32).items()}  # fmt: skip
    assert moved == {
        "add": 3 * 4 * 4 * 32, "add, columns": 4 * (2 * 4 * 32 + 32), "add, rows": 4 * (2 * 4 * 32 + 4),
        "adam": 7 * 4 * 4 * 32, "embedding": 4 * (2 * 4 * 32 + 4), "sum_rows": 4 * (4 * 32 + 32),
    }  # fmt: skip


def test_the_command_measures_both_sides_and_draws(tmp_path, monkeypatch, capsys):
    from fastnn import cli
    from fastnn.bench import inference, training

    def once(clocks, rounds, least):
        return {name: [clock(1), clock(1)] for name, clock in clocks.items()}

    for part in (training, inference):
        monkeypatch.setattr(part, "interleave", once)
    paths = tmp_path / "speed.json", tmp_path / "speed.svg"
    assert cli.main(["bench", "--nets", "2-8-8-1", "--threads", "1", "--json", str(paths[0]), "--plot", str(paths[1])]) == 0
    shown = capsys.readouterr().out
    assert shown.count("numpy / fastnn") == 3 and "Training, microseconds a step" in shown
    result = json.loads(paths[0].read_text())
    assert result["threads"] == 1 and set(result["training"]["2-8-8-1"]) == {"fastnn", "numpy"}
    assert set(result["inference"]) == {"1", "1024"} and "<svg" in paths[1].read_text()


def test_sides_that_differ_are_told():
    from fastnn.bench import inference, nets, sides

    with pytest.raises(sides.SideError, match="predictions of a and b differ"):
        inference.check(nets.NETS[0], {"a": [[1.0, 2.0]], "b": [[1.0, 2.1]]})
