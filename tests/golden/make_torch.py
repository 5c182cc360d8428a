"""Makes torch.npz and torch.json: outputs, losses and gradients of small models, computed by PyTorch.

    pip install torch==2.13.0 numpy && python tests/golden/make_torch.py

A case lists its layers as ``[result, class, arguments, config, layer name]`` (a layer used twice has one name
and two results) and its losses as ``[loss, config]``, one per output. Inputs, weights and targets are float32
numbers, so that both precisions start from the same values. The activations and losses are Keras 3's formulas
in terms of torch's own operations; torch differentiates them.
"""

import numpy as np
import torch
import torch.nn.functional as F
from store import Writer

ACTIVATIONS = {
    "linear": lambda x: x,
    "step": lambda x: (x >= 0).to(x.dtype) + 0 * x,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": lambda x: (x + 3).clamp(0, 6) / 6,  # F.hardsigmoid's backward rounds 1/6 to float32
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
}
EPSILON = 1e-7  # keras.config.epsilon()


def clipped(p):
    return p.clamp(EPSILON, 1 - EPSILON)


def normalised(p):
    return clipped(p / p.sum(-1, keepdim=True))


def huber(y, t, delta=1.0):
    error = (y - t).abs()
    return torch.where(error <= delta, 0.5 * error**2, delta * error - 0.5 * delta**2).mean(-1)


def binary_crossentropy(y, t, from_logits=False):
    if from_logits:
        return F.binary_cross_entropy_with_logits(y, t, reduction="none").mean(-1)
    return F.binary_cross_entropy(clipped(y), t, reduction="none").mean(-1)


def categorical_crossentropy(y, t, from_logits=False):
    logs = F.log_softmax(y, -1) if from_logits else normalised(y).log()
    return -(t * logs).sum(-1)


def sparse_categorical_crossentropy(y, t, from_logits=False):
    logs = F.log_softmax(y, -1) if from_logits else normalised(y).log()
    return -logs.gather(-1, t.long().unsqueeze(-1)).squeeze(-1)


LOSSES = {  # (prediction, target) -> one value per row
    "mean_squared_error": lambda y, t: ((y - t) ** 2).mean(-1),
    "mean_absolute_error": lambda y, t: (y - t).abs().mean(-1),
    "huber": huber,
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
}


def dense(result, source, units, activation=None, layer=None, **config):
    config = {"units": units, **({"activation": activation} if activation else {}), **config}
    return [result, "Dense", [source], config, layer or result]


def merge(result, kind, sources, **config):
    return [result, kind, sources, config, result]


def mlp(activation, last=None, units=3, loss="mean_squared_error", **loss_config):
    return {
        "inputs": {"x": [5]},
        "layers": [dense("h", "x", 7, activation), dense("y", "h", units, last)],
        "outputs": ["y"],
        "losses": [[loss, loss_config]],
    }


def cases():
    for activation in ACTIVATIONS:
        yield f"hidden {activation}", mlp(activation)
    yield "four layers", {
        "inputs": {"x": [9]},
        "layers": [dense("a", "x", 17, "tanh"), dense("b", "a", 16, "gelu"), dense("c", "b", 5, "elu"),
                   dense("y", "c", 1)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "one unit", mlp("tanh", units=1)
    yield "no bias", {
        "inputs": {"x": [4]},
        "layers": [dense("h", "x", 6, "silu", use_bias=False), dense("y", "h", 2, use_bias=False)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    bce, scce = "binary_crossentropy", "sparse_categorical_crossentropy"
    linear = {"scale": 0.3}  # small enough weights keep hard_sigmoid off its flat ends
    for weighted in (False, True):
        end = ", sample weights" if weighted else ""
        more = {"weighted": weighted}
        yield "mse" + end, mlp("tanh") | more
        yield "mae" + end, mlp("tanh", loss="mean_absolute_error") | more
        yield "huber" + end, mlp("tanh", loss="huber", delta=0.4) | more
        yield "bce of sigmoid" + end, mlp("tanh", "sigmoid", loss=bce) | more
        yield "bce of logits" + end, mlp("tanh", loss=bce, from_logits=True) | more
        yield "bce of hard_sigmoid" + end, mlp("tanh", "hard_sigmoid", loss=bce) | linear | more
        yield "cce of softmax" + end, mlp("tanh", "softmax", loss="categorical_crossentropy") | more
        yield "cce of logits" + end, mlp("tanh", loss="categorical_crossentropy", from_logits=True) | more
        yield "cce of sigmoid" + end, mlp("tanh", "sigmoid", loss="categorical_crossentropy") | more
        yield "scce of softmax" + end, mlp("tanh", "softmax", 4, scce) | more
        yield "scce of logits" + end, mlp("tanh", None, 4, scce, from_logits=True) | more
        yield "scce of softplus" + end, mlp("tanh", "softplus", 4, scce) | more
    two = {"a": [4], "b": [3]}
    yield "several inputs, concatenate", {
        "inputs": two,
        "layers": [merge("c", "Concatenate", ["a", "b"]), dense("h", "c", 6, "tanh"), dense("y", "h", 2)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "skip connection, concatenate", {
        "inputs": {"x": [5]},
        "layers": [dense("h", "x", 6, "relu"), merge("c", "Concatenate", ["x", "h"]),
                   dense("y", "c", 3, "softmax")],
        "outputs": ["y"], "losses": [["categorical_crossentropy", {}]],
    }
    yield "residual, add", {
        "inputs": {"x": [6]},
        "layers": [dense("h", "x", 6, "softsign"), merge("s", "Add", ["x", "h"]), dense("g", "s", 6, "tanh"),
                   merge("t", "Add", ["x", "h", "g"]), dense("y", "t", 2)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "gate, multiply", {
        "inputs": two,
        "layers": [dense("u", "a", 5, "tanh"), dense("g", "b", 5, "sigmoid"),
                   merge("m", "Multiply", ["u", "g"]), dense("y", "m", 2)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "square, multiply by itself", {
        "inputs": {"x": [4]},
        "layers": [dense("h", "x", 5, "tanh"), merge("m", "Multiply", ["h", "h"]), dense("y", "m", 2)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "shared layer", {
        "inputs": {"a": [4], "b": [4]},
        "layers": [dense("p", "a", 6, "tanh", layer="shared"), dense("q", "b", 6, "tanh", layer="shared"),
                   merge("c", "Concatenate", ["p", "q"]), dense("y", "c", 1)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "layer applied twice in a row", {
        "inputs": {"x": [5]},
        "layers": [dense("p", "x", 5, "tanh", layer="shared"), dense("q", "p", 5, "tanh", layer="shared"),
                   dense("y", "q", 2)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "dropout at rest", {
        "inputs": {"x": [5]},
        "layers": [merge("d", "Dropout", ["x"], rate=0.4), dense("h", "d", 6, "relu"),
                   merge("e", "Dropout", ["h"], rate=0.5),
                   dense("y", "e", 3, "softmax")],
        "outputs": ["y"], "losses": [["categorical_crossentropy", {}]],
    }
    yield "activation layer", {
        "inputs": {"x": [5]},
        "layers": [dense("h", "x", 6), merge("k", "Activation", ["h"], activation="mish"), dense("z", "k", 4),
                   merge("y", "Activation", ["z"], activation="softmax")],
        "outputs": ["y"], "losses": [["sparse_categorical_crossentropy", {}]],
    }
    yield "rank 3, mse", {
        "inputs": {"x": [4, 3]},
        "layers": [dense("h", "x", 6, "tanh"), dense("y", "h", 2)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]], "weighted": True,
    }
    yield "rank 3, scce", {
        "inputs": {"x": [4, 3]},
        "layers": [dense("h", "x", 6, "elu"), dense("y", "h", 5, "softmax")],
        "outputs": ["y"], "losses": [["sparse_categorical_crossentropy", {}]], "weighted": True,
    }
    yield "rank 4 softmax, concatenate along axis 1", {
        "inputs": {"a": [2, 3, 3], "b": [1, 3, 3]},
        "layers": [merge("c", "Concatenate", ["a", "b"], axis=1), dense("h", "c", 4, "softmax"),
                   dense("y", "h", 2)],
        "outputs": ["y"], "losses": [["mean_absolute_error", {}]],
    }
    yield "flatten and reshape", {
        "inputs": {"x": [3, 4]},
        "layers": [merge("f", "Flatten", ["x"]), dense("h", "f", 6, "tanh"),
                   merge("r", "Reshape", ["h"], target_shape=[2, 3]),
                   dense("y", "r", 2)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "penalties", {
        "inputs": {"x": [5]},
        "layers": [dense("h", "x", 6, "tanh", kernel_regularizer=["L1", {"l1": 0.01}],
                         bias_regularizer=["L2", {"l2": 0.1}]),
                   dense("y", "h", 3, kernel_regularizer=["L1L2", {"l1": 0.02, "l2": 0.05}])],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "shared layer with a penalty", {
        "inputs": {"a": [4], "b": [4]},
        "layers": [dense("p", "a", 5, "tanh", layer="shared", kernel_regularizer=["L2", {"l2": 0.03}]),
                   dense("q", "b", 5, "tanh", layer="shared"),
                   merge("s", "Add", ["p", "q"]), dense("y", "s", 1)],
        "outputs": ["y"], "losses": [["mean_squared_error", {}]],
    }
    yield "several outputs", {
        "inputs": two,
        "layers": [merge("c", "Concatenate", ["a", "b"]), dense("h", "c", 8, "relu"), dense("value", "h", 1),
                   dense("kind", "h", 3, "softmax"), dense("flags", "h", 2, "sigmoid")],
        "outputs": ["value", "kind", "flags"],
        "losses": [["mean_squared_error", {}], [scce, {}], [bce, {}]],
        "loss_weights": [0.5, 1.0, 2.0],
    }
    yield "an output that feeds another", {
        "inputs": {"x": [5]},
        "layers": [dense("p", "x", 4, "softmax"), dense("y", "p", 2)],
        "outputs": ["p", "y"],
        "losses": [["categorical_crossentropy", {}], ["huber", {}]],
        "loss_weights": [1.0, 0.25],
    }


def forward(case, inputs, weights):
    """All results by name."""
    values = dict(inputs)
    for result, kind, sources, config, layer in case["layers"]:
        args = [values[s] for s in sources]
        if kind == "Dense":
            y = args[0] @ weights[f"{layer}/kernel"]
            if config.get("use_bias", True):
                y = y + weights[f"{layer}/bias"]
            y = ACTIVATIONS[config.get("activation", "linear")](y)
        elif kind == "Activation":
            y = ACTIVATIONS[config["activation"]](args[0])
        elif kind == "Dropout":
            y = args[0]
        elif kind == "Flatten":
            y = args[0].flatten(1)
        elif kind == "Reshape":
            y = args[0].reshape(-1, *config["target_shape"])
        elif kind == "Concatenate":
            y = torch.cat(args, config.get("axis", -1))
        elif kind == "Add":
            y = sum(args[1:], args[0])
        else:
            assert kind == "Multiply"
            y = args[0] * args[1]
        values[result] = y
    return values


def penalty(case, weights):
    total = 0
    for _, _, _, config, layer in case["layers"]:
        for of in ("kernel", "bias"):
            if f"{of}_regularizer" in config:
                w, factor = weights[f"{layer}/{of}"], config[f"{of}_regularizer"][1]
                total = total + factor.get("l1", 0) * w.abs().sum() + factor.get("l2", 0) * (w**2).sum()
    return total


def shapes(case, rows):
    """Shapes of inputs, weights and outputs, from a walk over the layers."""
    seen = {name: [rows, *shape] for name, shape in case["inputs"].items()}
    weights = {}
    for result, kind, sources, config, layer in case["layers"]:
        if kind == "Dense":
            weights.setdefault(f"{layer}/kernel", [seen[sources[0]][-1], config["units"]])
            if config.get("use_bias", True):
                weights.setdefault(f"{layer}/bias", [config["units"]])
        some = {"x": None} | {name: torch.zeros(shape) for name, shape in seen.items()}
        one = {"layers": [[result, kind, sources, config, layer]]}
        zeros = {name: torch.zeros(shape) for name, shape in weights.items()}
        seen[result] = list(forward(one, some, zeros)[result].shape)
    return weights, [seen[name] for name in case["outputs"]]


def target(rng, loss, shape):
    if loss == "sparse_categorical_crossentropy":
        return rng.integers(0, shape[-1], shape[:-1])
    if loss == "binary_crossentropy":
        return rng.integers(0, 2, shape)
    if loss == "categorical_crossentropy":
        return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
    return rng.normal(size=shape)


def run(case, given, dtype):
    """Everything that the case expects, in one precision."""
    leaf = {name: torch.tensor(given[name], dtype=dtype) for name in given}
    inputs = {name: leaf[name].requires_grad_() for name in case["inputs"]}
    weights = {name: w.requires_grad_() for name, w in leaf.items() if "/" in name}
    values = forward(case, inputs, weights)
    total = penalty(case, weights)
    expected = {}
    for i, (output, (loss, config)) in enumerate(zip(case["outputs"], case["losses"])):
        row = LOSSES[loss](values[output], leaf[f"target {i}"], **config)
        per_sample = row.reshape(len(row), -1).mean(-1)
        if case.get("weighted"):
            per_sample = per_sample * leaf["sample weight"]
        total = total + case.get("loss_weights", [1] * (i + 1))[i] * per_sample.mean()
        expected[f"output {output}"] = values[output]
    expected["loss"] = total
    leaves = {**weights, **inputs}
    gradients = torch.autograd.grad(total, list(leaves.values()))
    expected |= {f"gradient {name}": g for name, g in zip(leaves, gradients)}
    return {name: value.detach().numpy() for name, value in expected.items()}


def main():
    torch.set_num_threads(1)
    out = Writer(torch=torch.__version__.split("+")[0])
    for seed, (name, case) in enumerate(cases()):
        rng = np.random.default_rng(seed)
        rows = 6
        weights, outputs = shapes(case, rows)
        given = {x: rng.normal(size=[rows, *shape]) for x, shape in case["inputs"].items()}
        given |= {w: rng.normal(size=shape) * case.get("scale", 0.8) for w, shape in weights.items()}
        given |= {f"target {i}": target(rng, case["losses"][i][0], shape) for i, shape in enumerate(outputs)}
        if case.get("weighted"):
            given["sample weight"] = rng.uniform(0.2, 2, rows)
        given = {k: np.asarray(v, np.float32) for k, v in given.items()}
        case = {"name": name, **case}
        case["given"] = {k: out.put("given", v, np.float32) for k, v in given.items()}
        single, double = run(case, given, torch.float32), run(case, given, torch.float64)
        case["expected"] = {k: out.put("float64", v, np.float64) for k, v in double.items()}
        for k, v in single.items():
            assert out.put("float32", v, np.float32) == case["expected"][k]
        out.add(case)
    out.save("torch")


if __name__ == "__main__":
    main()
