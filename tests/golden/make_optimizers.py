"""Makes optimizers.npz and optimizers.json: optimizers and schedules that make_keras.py does not have.

    pip install keras==3.15.1 torch==2.13.0 && python tests/golden/make_optimizers.py

Ten full-batch steps of each optimizer on make_keras.py's net, by Keras 3 in both precisions; Rprop, which Keras
lacks, by PyTorch. Schedules by whichever of the two has them.
"""

import make_keras as base
import numpy as np
import torch
from store import Writer

OPTIMIZERS = [  # class, arguments
    ("Adagrad", {"learning_rate": 0.05}),
    ("Adagrad", {"learning_rate": 0.05, "initial_accumulator_value": 0.0, "epsilon": 1e-3}),
    ("Adagrad", {"learning_rate": 0.05, "weight_decay": 0.05, "clipnorm": 0.2}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adadelta", {"learning_rate": 0.5, "rho": 0.8, "epsilon": 1e-3}),
    ("Adadelta", {"learning_rate": 1.0, "weight_decay": 0.05, "clipvalue": 0.03}),
    ("Nadam", {"learning_rate": 0.02}),
    ("Nadam", {"learning_rate": 0.02, "beta_1": 0.7, "beta_2": 0.95, "epsilon": 1e-4}),
    ("Nadam", {"learning_rate": 0.02, "weight_decay": 0.05, "global_clipnorm": 0.2}),
    ("Lion", {"learning_rate": 0.01}),
    ("Lion", {"learning_rate": 0.01, "beta_1": 0.7, "beta_2": 0.8}),
    ("Lion", {"learning_rate": 0.01, "weight_decay": 0.5, "clipnorm": 0.2}),
]
RPROP = [
    {"learning_rate": 0.01},
    {"learning_rate": 0.05, "etas": [0.3, 1.6]},
    {"learning_rate": 0.02, "step_sizes": [0.01, 0.03]},
    {"learning_rate": 0.2, "step_sizes": [1e-6, 0.1]},
]
KERAS_SCHEDULES = [
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 5}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 4, "t_mul": 1.0,
                             "m_mul": 0.8, "alpha": 0.1}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 3, "t_mul": 1.5,
                             "m_mul": 0.5, "alpha": 0.02}),
]
TORCH_SCHEDULES = [  # class, arguments, PyTorch's class, its arguments
    ("StepDecay", {"initial_learning_rate": 0.1, "decay_steps": 4}, "StepLR", {"step_size": 4}),
    ("StepDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5}, "StepLR",
     {"step_size": 7, "gamma": 0.5}),
    ("OneCycle", {"max_learning_rate": 0.1, "total_steps": 20}, "OneCycleLR",
     {"max_lr": 0.1, "total_steps": 20}),
    ("OneCycle", {"max_learning_rate": 0.1, "total_steps": 20, "pct_start": 0.45, "anneal_strategy": "linear",
                  "div_factor": 10.0, "final_div_factor": 50.0}, "OneCycleLR",
     {"max_lr": 0.1, "total_steps": 20, "pct_start": 0.45, "anneal_strategy": "linear", "div_factor": 10.0,
      "final_div_factor": 50.0}),
]
STEPS = 20


def keras_optimizers(out, given, where):
    for kind, config in OPTIMIZERS:
        case = {"kind": "optimizer", "class": kind, "config": config, "schedule": None, "given": where}
        for dtype in ("float64", "float32"):
            base.keras.config.set_floatx(dtype)
            losses, weights = base.ten_steps(base.build(kind, config), [a.astype(dtype) for a in given])
            case["losses"] = out.put(dtype, losses, dtype)
            case["weights"] = [out.put(dtype, w, dtype) for w in weights]
        out.add(case)


def rprop_steps(config, given):
    """Loss of each step, and the weights after the last."""
    x, y, *weights = (torch.from_numpy(a) for a in given)
    weights = [w.clone().requires_grad_() for w in weights]
    rest = {name: tuple(value) for name, value in config.items() if name != "learning_rate"}
    optimizer = torch.optim.Rprop(weights, lr=config["learning_rate"], **rest)
    losses = []
    for _ in range(base.STEPS):
        optimizer.zero_grad()
        out = torch.tanh(x @ weights[0] + weights[1]) @ weights[2] + weights[3]
        loss = ((out - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [w.detach().numpy() for w in weights]


def rprop(out, given, where):
    for config in RPROP:
        case = {"kind": "optimizer", "class": "Rprop", "config": config, "schedule": None, "given": where}
        for dtype in ("float64", "float32"):
            losses, weights = rprop_steps(config, [a.astype(dtype) for a in given])
            case["losses"] = out.put(dtype, losses, dtype)
            case["weights"] = [out.put(dtype, w, dtype) for w in weights]
        out.add(case)


def schedules(out):
    base.keras.config.set_floatx("float64")
    for kind, config in KERAS_SCHEDULES:
        schedule = getattr(base.keras.optimizers.schedules, kind)(**config)
        rates = [float(schedule(torch.tensor(float(step), dtype=torch.float64))) for step in range(STEPS)]
        out.add({"kind": "schedule", "class": kind, "config": config,
                 "rates": out.put("float64", rates, np.float64)})
    for kind, config, name, arguments in TORCH_SCHEDULES:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
        rates = []
        for step in range(STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if step + 1 < STEPS:
                schedule.step()
        out.add({"kind": "schedule", "class": kind, "config": config,
                 "rates": out.put("float64", rates, np.float64)})


def main():
    torch.set_num_threads(1)
    out = Writer(keras=base.keras.__version__, torch=torch.__version__.split("+")[0])
    base.exact_float64()
    given = base.problem()
    where = [out.put("given", a, np.float32) for a in given]
    keras_optimizers(out, given, where)
    rprop(out, given, where)
    schedules(out)
    out.save("optimizers")


if __name__ == "__main__":
    main()
