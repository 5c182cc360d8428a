"""Makes explain.npz and explain.json: attributions and activations of 20 random nets, computed by Captum.

    pip install torch==2.13.0 captum==0.9.0 numpy && python tests/golden/make_explain.py

A case lists its layers as ``[result, class, arguments, config]``; the last one is the output. "relevance" and
"relevance, epsilon" stand only where Captum has rules for all layers. Inputs and weights are float32
numbers; everything is computed in float64.
"""

import numpy as np
import torch
from captum.attr import LRP, IntegratedGradients, LayerActivation, Saliency
from captum.attr._core.lrp import Addition_Module
from captum.attr._utils.lrp_rules import EpsilonRule
from store import Writer
from torch import nn

MODULES = {
    "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU,
    "softplus": nn.Softplus, "softsign": nn.Softsign, "softmax": lambda: nn.Softmax(-1),
}  # fmt: skip
RULED = ("relu", "tanh")  # the activations that Captum's relevance passes through
EPSILON = 0.3
ROWS = 4


def random_net(rng, ruled):
    """Layers of a net of 2 to 5 random blocks: plain, with a skip by Add or Concatenate, normalised."""
    known = RULED if ruled else [a for a in MODULES if a != "softmax"]
    layers, width = [], int(rng.integers(3, 9))
    source, features = "x", width

    def add(kind, sources, **config):
        layers.append([f"{kind.lower()}{len(layers)}", kind, sources, config])
        return layers[-1][0]

    if rng.random() < 0.3:
        source = add("Dropout", [source], rate=0.4)
    for _ in range(rng.integers(2, 6)):
        block, activation = rng.choice(["plain", "add", "concatenate", "norm"]), str(rng.choice(known))
        units = width if block == "add" else int(rng.integers(3, 12))
        made = add("Dense", [source], units=units, activation=activation)
        if block == "add":
            source = add("Add", [source, made])
        elif block == "concatenate":
            source, units = add("Concatenate", [source, made]), width + units
        else:
            source = add("BatchNormalization", [made]) if block == "norm" else made
        width = units
    classes = int(rng.integers(1, 6))
    last = "softmax" if classes > 1 and not ruled else None
    add("Dense", [source], units=classes, **({"activation": last} if last else {}))
    return features, layers


class Concatenation(nn.Module):
    """torch.cat as a module, which a rule can be attached to."""

    def forward(self, *parts):
        return torch.cat(parts, -1)


OTHERS = {"Dropout": nn.Dropout, "Add": Addition_Module, "Concatenate": Concatenation}


class Net(nn.Module):
    """The layers in PyTorch, weights in the order of fastnn's."""

    def __init__(self, features, layers, rng):
        super().__init__()
        self.layers, self.parts, self.weights = layers, nn.ModuleDict(), {}
        widths = {"x": features}
        for result, kind, sources, config in layers:
            width = sum(widths[s] for s in sources) if kind == "Concatenate" else widths[sources[0]]
            if kind == "Dense":
                part = nn.Linear(width, config["units"])
                values = [rng.normal(size=(width, config["units"])), rng.normal(size=config["units"]) * 0.5]
                values[0] *= 1.5 / np.sqrt(width)
                widths[result] = config["units"]
                if "activation" in config:
                    self.parts[f"{result} activation"] = MODULES[config["activation"]]()
            elif kind == "BatchNormalization":
                part = nn.BatchNorm1d(width, eps=1e-3)
                values = [rng.uniform(0.5, 2, width), *rng.normal(size=(2, width))]
                values += [rng.uniform(0.5, 2, width)]
            else:
                part, values = OTHERS[kind](), []
            widths.setdefault(result, width)
            self.parts[result] = part
            self.weights[result] = [np.asarray(v, np.float32) for v in values]
            tensors = [torch.tensor(v, dtype=torch.float64) for v in self.weights[result]]
            with torch.no_grad():
                if kind == "Dense":
                    part.weight.data, part.bias.data = tensors[0].T.contiguous(), tensors[1]
                elif kind == "BatchNormalization":
                    part.weight.data, part.bias.data, part.running_mean, part.running_var = tensors
        self.double().eval()

    def forward(self, x):
        values = {"x": x}
        for result, _, sources, _ in self.layers:
            y = self.parts[result](*(values[s] for s in sources))
            if f"{result} activation" in self.parts:
                y = self.parts[f"{result} activation"](y)
            values[result] = y
        return y


def relevance(net, x, target, epsilon):
    for part in net.parts.values():
        if isinstance(part, (nn.Linear, nn.BatchNorm1d, Addition_Module)):  # 1d as Captum does with 2d
            part.rule = EpsilonRule(epsilon)
        elif isinstance(part, Concatenation):  # so small that each relevance passes unchanged
            part.rule = EpsilonRule(1e-12)
    return LRP(net).attribute(x, target=target)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    out = Writer(torch=torch.__version__.split("+")[0], epsilon=EPSILON)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ruled = seed < 12
        features, layers = random_net(rng, ruled)
        net = Net(features, layers, rng)
        given = {"x": rng.normal(size=(ROWS, features)), "baseline": rng.normal(size=(1, features))}
        given = {k: np.asarray(v, np.float32) for k, v in given.items()}
        x, baseline = (torch.tensor(v, dtype=torch.float64) for v in given.values())
        target = rng.integers(0, layers[-1][3]["units"], ROWS)
        of = torch.tensor(target)
        found = {
            "saliency": Saliency(net).attribute(x, target=of),
            "gradient": Saliency(net).attribute(x, target=of, abs=False),
            "integrated_gradients": IntegratedGradients(net).attribute(x, target=of),
            "integrated_gradients, baseline": IntegratedGradients(net).attribute(
                x, baseline, of, n_steps=20, method="riemann_trapezoid"
            ),
        }
        for result, part in net.parts.items():
            if result.endswith(" activation"):
                found[f"activations {result.split()[0]}"] = LayerActivation(net, part).attribute(x)
        if ruled:
            found["relevance"] = relevance(net, x, of, 1e-9)
            found["relevance, epsilon"] = relevance(net, x, of, EPSILON)
        out.add({
            "name": f"net {seed}", "features": features, "layers": layers, "target": target.tolist(),
            "weights": {k: [out.put("given", w, np.float32) for w in v] for k, v in net.weights.items() if v},
            "given": {k: out.put("given", v, np.float32) for k, v in given.items()},
            "expected": {k: out.put("float64", v.detach().numpy(), np.float64) for k, v in found.items()},
        })  # fmt: skip
    out.save("explain")


if __name__ == "__main__":
    main()
