"""The same work under pytest-benchmark: `pytest benchmarks --benchmark-group-by=group,param:net`."""

import pytest

from fastnn.bench import fastnn_net, inference, numpy_net
from fastnn.bench.nets import NETS

SIDES = {"fastnn": fastnn_net, "numpy": numpy_net}
by_side = pytest.mark.parametrize("side", SIDES)
# One step of the largest net takes a second: it has its place in `python -m benchmarks`.
by_net = pytest.mark.parametrize("net", NETS[:-1], ids=lambda net: net.name)


@by_side
@by_net
@pytest.mark.benchmark(group="epoch")
def test_epoch(benchmark, net, side):
    x, y = net.data(net.batch * 20)
    trainer = SIDES[side].Trainer(net, net.weights())
    benchmark(trainer.epoch, x, y)


@by_side
@by_net
@pytest.mark.benchmark(group="step")
def test_step(benchmark, net, side):
    x, y = net.data(net.batch)
    trainer = SIDES[side].Trainer(net, net.weights())
    benchmark(trainer.steps, x, y)


@by_side
@by_net
@pytest.mark.parametrize("rows", inference.ROWS)
@pytest.mark.benchmark(group="predict")
def test_predict(benchmark, net, rows, side):
    x, _ = net.data(rows)
    benchmark(SIDES[side].predictor(net, net.weights(), rows), x)
