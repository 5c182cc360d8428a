"""`python -m benchmarks.second_order`: L-BFGS and Levenberg-Marquardt beside SciPy's and PyTorch's, to the same loss.

All start from the same weights on the same samples in float64 and stop at the first iterate whose mean squared
error is below the target. SciPy minimises a net written by hand in NumPy, with its gradient or Jacobian; PyTorch
its own. Needs `pip install scipy torch`.
"""

import argparse
import json
from pathlib import Path

from . import environment

SIZES = {
    "1-10-1, 200": (1, (10,), 200, 1e-3),
    "2-16-16-1, 1000": (2, (16, 16), 1000, 2e-3),
    "8-32-32-1, 4000": (8, (32, 32), 4000, 2e-2),
}


class Reached(Exception):
    """The loss is below the target."""


class Net:
    """A net of tanh layers in NumPy on one flat vector of weights, in fastnn's order."""

    def __init__(self, features, widths, samples, target):
        import numpy as np

        self.np, self.target = np, target
        rng = np.random.default_rng(0)
        self.x = rng.uniform(-2, 2, (samples, features))
        self.y = np.sin(2 * self.x[:, :1]) + 0.3 * (self.x**2).mean(axis=1, keepdims=True)
        sizes = (features, *widths, 1)
        self.shapes = [s for a, b in zip(sizes, sizes[1:]) for s in ((a, b), (b,))]
        self.start = np.concatenate(
            [rng.uniform(-1, 1, s).ravel() * (6 / sum(s)) ** 0.5 if len(s) == 2 else np.zeros(s) for s in self.shapes]
        )

    def split(self, flat):
        made, at = [], 0
        for shape in self.shapes:
            size = self.np.prod(shape)
            made.append(flat[at : at + size].reshape(shape))
            at += size
        return made

    def forward(self, flat):
        kept, weights = [self.x], self.split(flat)
        for i in range(0, len(weights), 2):
            z = kept[-1] @ weights[i] + weights[i + 1]
            kept.append(self.np.tanh(z) if i + 2 < len(weights) else z)
        return weights, kept, kept[-1] - self.y

    def loss_and_gradient(self, flat):
        weights, kept, r = self.forward(flat)
        d, parts = 2 * r / r.size, []
        for i in range(len(weights) - 2, -1, -2):
            a = kept[i // 2]
            parts[:0] = [(a.T @ d).ravel(), d.sum(axis=0)]
            d = (d @ weights[i].T) * (1 - a * a) if i else None
        return float((r * r).mean()), self.np.concatenate(parts)

    def residuals(self, flat):
        r = self.forward(flat)[2].ravel()
        if (r * r).mean() <= self.target:
            raise Reached
        return r

    def jacobian(self, flat):
        weights, kept, r = self.forward(flat)
        d, parts = self.np.ones_like(r), []
        for i in range(len(weights) - 2, -1, -2):
            a = kept[i // 2]
            parts[:0] = [(a[:, :, None] * d[:, None, :]).reshape(len(a), -1), d]
            d = (d @ weights[i].T) * (1 - a * a) if i else None
        return self.np.concatenate(parts, axis=1)


def fastnn_run(net, make):
    import fastnn as fnn
    from fastnn import callbacks, layers

    widths = [shape[0] for shape in net.shapes[1::2]]
    stack = [layers.Dense(w, activation="tanh") for w in widths[:-1]] + [layers.Dense(1)]
    model = fnn.Sequential([fnn.Input(net.x.shape[1:]), *stack], dtype="float64")
    model.compile(make(), "mse")

    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = self.model.stop_training or logs["loss"] <= net.target

    def run():
        model.set_weights(net.split(net.start))
        losses = model.fit(net.x, net.y, epochs=5000, verbose=0, callbacks=[Stop()]).history["loss"]
        assert losses[-1] <= net.target, (losses[-1], model.optimizer.converged)

    return run


def scipy_lbfgs(net):
    from scipy.optimize import minimize

    def function(flat):
        loss, gradient = net.loss_and_gradient(flat)
        if loss <= net.target:
            raise Reached
        return loss, gradient

    def run():
        try:
            options = {"maxiter": 5000, "maxfun": 50000, "ftol": 0, "gtol": 0}
            found = minimize(function, net.start, jac=True, method="L-BFGS-B", options=options)
        except Reached:
            return
        raise AssertionError(found.message)

    return run


def scipy_lm(net):
    from scipy.optimize import least_squares

    def run():
        try:
            found = least_squares(net.residuals, net.start, net.jacobian, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15)
        except Reached:
            return
        raise AssertionError(found.message)

    return run


def torch_lbfgs(net):
    import torch

    x, y = torch.from_numpy(net.x), torch.from_numpy(net.y)
    parts = []
    for i in range(0, len(net.shapes), 2):
        parts += [torch.nn.Linear(*net.shapes[i], dtype=torch.float64), torch.nn.Tanh()]
    module = torch.nn.Sequential(*parts[:-1])

    def run():
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), net.split(net.start)):
                parameter.copy_(torch.from_numpy(value.T if value.ndim == 2 else value))
        optimizer = torch.optim.LBFGS(
            module.parameters(), max_iter=5000, max_eval=50000, history_size=10, tolerance_grad=0, tolerance_change=0,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure():
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(module(x), y)
            if loss.item() <= net.target:
                raise Reached
            loss.backward()
            return loss

        try:
            optimizer.step(closure)
        except Reached:
            return
        raise AssertionError("the target was not reached")

    return run


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.second_order", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    threads = environment.prepare(options.threads)
    import torch

    from fastnn import optimizers
    from fastnn.bench.report import show
    from fastnn.bench.rounds import clock, interleave, summary

    torch.set_num_threads(threads)
    tables = {"L-BFGS": {}, "Levenberg-Marquardt": {}}
    for name, size in SIZES.items():
        net = Net(*size)
        for title, sides in {
            "L-BFGS": {
                "fastnn": fastnn_run(net, optimizers.LBFGS), "scipy": scipy_lbfgs(net), "torch": torch_lbfgs(net),
            },
            "Levenberg-Marquardt": {
                "fastnn": fastnn_run(net, optimizers.LevenbergMarquardt), "scipy": scipy_lm(net),
            },
        }.items():  # fmt: skip
            if title == "Levenberg-Marquardt" and len(net.start) > 1000:
                continue  # SciPy takes minutes
            clocks = {side: clock(function) for side, function in sides.items()}
            tables[title][name] = summary(interleave(clocks, options.rounds, least=0.0), unit=1e-3)
    for title, rows in tables.items():
        show(f"{title}: milliseconds to the same loss", rows)
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
