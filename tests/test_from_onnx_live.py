"""Models that the installed PyTorch and skl2onnx write; skipped where they are not.

What they wrote once is read by test_from_onnx.py.
"""

import io
import logging
import warnings

import numpy as np
import pytest

import fastnn as fnn

pytest.importorskip("onnx")

ACTIVATIONS = [
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish", "ReLU",
    "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
]  # fmt: skip


def written(module, x, dynamo, batch):
    """What an exporter writes, for any number of samples or for that of x."""
    import torch

    if dynamo:
        pytest.importorskip("onnxscript")
    file, logger = io.BytesIO(), logging.getLogger("torch.onnx")
    before, logger.level = logger.level, logging.ERROR
    options = {"input_names": ["x"], "dynamo": dynamo}
    if dynamo:
        options |= {"verbose": False, "external_data": False}
    if batch:
        options |= {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module.eval(), (x,), file, **options)
    finally:
        logger.level = before
    return file.getvalue()


def nets(torch):
    """{name: (module, x)}."""
    nn = torch.nn

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = nn.Embedding(10, 4), nn.Linear(12, 2)

        def forward(self, x):
            return self.out(self.words(x).flatten(1))

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))
            self.gain = nn.Parameter(torch.randn(4))

        def forward(self, x):
            scores = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2) / 2, -1)
            return (scores @ self.v(x) * self.gain).mean(1)

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.both, self.norm = nn.Linear(4, 8), nn.LayerNorm(4)

        def forward(self, x):
            a, b = self.both(x.view(x.size(0), -1)).chunk(2, -1)
            return torch.cat([self.norm(a * torch.sigmoid(b)), x[:, 1:3].clamp(-1, 1)], 1)

    chain = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.2), nn.BatchNorm1d(6), nn.Linear(6, 4), nn.PReLU(), nn.PReLU(4), nn.LogSoftmax(1)
    )
    shapes = nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 4)), nn.BatchNorm1d(3), nn.GroupNorm(3, 3), nn.Linear(4, 2))
    return {
        "words": (Words(), torch.randint(0, 10, (5, 3))), "attention": (Attention(), torch.randn(5, 3, 4)),
        "gated": (Gated(), torch.randn(5, 4)), "chain": (chain, torch.randn(5, 4)), "shapes": (shapes, torch.randn(5, 4)),
    }  # fmt: skip


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("dynamo", [False, True])
def test_pytorch(dynamo, batch):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    made = nets(torch)
    if batch:
        made |= {a: (torch.nn.Sequential(torch.nn.Linear(4, 4), getattr(torch.nn, a)()), torch.randn(5, 4)) for a in ACTIVATIONS}
    for name, (module, x) in made.items():
        model = fnn.from_onnx(written(module, x, dynamo, batch))
        want = module(x).detach().numpy()
        got = model.predict(x.numpy(), verbose=0)
        assert got.shape == want.shape and np.abs(got - want).max() <= 1e-5 * np.abs(want).max(), name
        count = sum(p.numel() for p in module.parameters())
        assert sum(w.size for w in model.trainable_weights) == count or name == "shapes", name


@pytest.mark.parametrize("dynamo", [False, True])
def test_training_goes_on_as_in_pytorch(dynamo):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    net = nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.LayerNorm(6), nn.Linear(6, 1))
    x, y = torch.randn(20, 4), torch.randn(20, 1)
    model = fnn.from_onnx(written(net, x, dynamo, True))
    model.compile(optimizer=fnn.optimizers.SGD(0.1), loss="mse")
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(10):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        assert model.train_on_batch(x.numpy(), y.numpy()) == pytest.approx(loss.item(), rel=1e-4)
    assert np.allclose(model.get_layer("0").kernel.value, net[0].weight.detach().numpy().T, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_scikit_learn(rng, activation):
    pytest.importorskip("skl2onnx")
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    x = rng.normal(size=(60, 5)).astype("float32")
    for classes in (2, 4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = MLPClassifier((8, 4), activation=activation, max_iter=9).fit(x, np.arange(60) % classes)
        proto = to_onnx(net, x[:1], options={"zipmap": False}, target_opset=18)
        model = fnn.from_onnx(proto, outputs=["probabilities"])
        assert np.allclose(model.predict(x, verbose=0), net.predict_proba(x), atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = MLPRegressor(hidden_layer_sizes=(8, 4), activation=activation, max_iter=9).fit(x, x[:, 0])
    assert np.allclose(fnn.from_onnx(to_onnx(net, x[:1], target_opset=18)).predict(x, verbose=0)[:, 0], net.predict(x), atol=1e-5)
