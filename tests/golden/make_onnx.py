"""Writes onnx.npz: small files by PyTorch's exporters and skl2onnx, and what those programs predict.

Needs torch, onnxscript, scikit-learn and skl2onnx.
"""

import io
import json
import os

import numpy as np
import torch
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import nn

import fastnn as fnn


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm, self.out = nn.Linear(8, 6), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 3)
        self.gain = nn.Parameter(torch.randn(6))

    def forward(self, x):
        h = nn.functional.silu(self.a(x))
        return self.out(h + self.norm(self.b(h) * self.gain)).softmax(-1)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(10, 4), nn.Linear(12, 2)

    def forward(self, x):
        return self.out(self.words(x).view(x.size(0), -1))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        return (torch.softmax(self.q(x) @ self.k(x).transpose(1, 2) / 2, -1) @ self.v(x)).mean(1)


def nets():
    """{name: (module, arguments)}."""
    chain = nn.Sequential(
        nn.Linear(8, 6), nn.ReLU(), nn.Dropout(0.2), nn.BatchNorm1d(6), nn.Linear(6, 4), nn.Mish(), nn.PReLU(), nn.Linear(4, 3)
    )
    return {
        "chain": (chain, torch.randn(5, 8)),
        "residual": (Residual(), torch.randn(5, 8)),
        "words": (Words(), torch.randint(0, 10, (5, 3))),
        "attention": (Attention(), torch.randn(5, 3, 4)),
    }


def exported(module, x, dynamo):
    """The bytes of the file that one of the exporters writes."""
    file = io.BytesIO()
    if dynamo:
        shapes = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(
            module.eval(), (x,), file, input_names=["x"], dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False
        )
    else:
        torch.onnx.export(module.eval(), (x,), file, input_names=["x"], dynamo=False, dynamic_axes={"x": {0: "batch"}})
    return file.getvalue()


def main():
    torch.manual_seed(0)
    found = {}

    def add(name, content, x, y, outputs=()):
        model = fnn.from_onnx(content, outputs=list(outputs) or None)
        found[f"{name}/file"] = np.frombuffer(content, np.uint8)
        found[f"{name}/outputs"] = json.dumps(list(outputs))
        found[f"{name}/layers"] = " ".join(f"{layer.name}:{type(layer).__name__}" for layer in model.layers)
        found[f"{name}/x0"], found[f"{name}/y0"] = x, y

    for name, (module, x) in nets().items():
        for dynamo in (False, True):
            add(f"{name}_{'dynamo' if dynamo else 'script'}", exported(module, x, dynamo), x.numpy(), module(x).detach().numpy())
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype("float32")
    classes = MLPClassifier((6,), max_iter=30, random_state=0).fit(x, (x[:, 0] * 2).astype(int))
    proto = to_onnx(classes, x[:1], options={"zipmap": False}, target_opset=18)
    add("sklearn_classes", proto.SerializeToString(), x[:9], classes.predict_proba(x[:9]), ["probabilities"])
    numbers = MLPRegressor(hidden_layer_sizes=(6,), activation="tanh", max_iter=30, random_state=0).fit(x, x[:, 0])
    proto = to_onnx(numbers, x[:1], target_opset=18)
    add("sklearn_numbers", proto.SerializeToString(), x[:9], numbers.predict(x[:9])[:, None])
    np.savez_compressed(os.path.join(os.path.dirname(__file__), "onnx.npz"), **found)
    for key, value in found.items():
        if key.endswith("layers"):
            print(key, value)


if __name__ == "__main__":
    main()
