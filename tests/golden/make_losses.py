"""Makes losses.npz and losses.json: losses with their gradients, and metrics, computed by Keras 3 in float64.

    pip install keras==3.15.1 torch==2.13.0 && python tests/golden/make_losses.py

Of each loss: its values per row, the weighted loss of the batch, and the gradient of that by the predictions.
Of each metric: its value after three batches, without and with sample weights. The Gaussian likelihood comes
from PyTorch's own loss; losses over quantiles from Keras's arithmetic.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import torch
from make_keras import exact_float64
from store import Writer

ROWS, BATCHES = 21, 3
LOSSES = [  # class, arguments, data
    ("MeanSquaredError", {}, "real"),
    ("MeanAbsoluteError", {}, "real"),
    ("MeanAbsolutePercentageError", {}, "real"),
    ("MeanSquaredLogarithmicError", {}, "real"),
    ("CosineSimilarity", {}, "real"),
    ("Huber", {}, "real"),
    ("Huber", {"delta": 0.3}, "real"),
    ("LogCosh", {}, "real"),
    ("Poisson", {}, "positive"),
    ("Hinge", {}, "signs"),
    ("Hinge", {}, "binary"),
    ("SquaredHinge", {}, "signs"),
    ("SquaredHinge", {}, "binary"),
    ("CategoricalHinge", {}, "classes"),
    ("KLDivergence", {}, "shares"),
    ("BinaryCrossentropy", {}, "binary"),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, "binary"),
    ("BinaryCrossentropy", {"label_smoothing": 0.2, "from_logits": True}, "binary logits"),
    ("BinaryFocalCrossentropy", {}, "binary"),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "alpha": 0.7, "gamma": 1.5}, "binary"),
    ("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "binary logits"),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "classes"),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1, "from_logits": True}, "class logits"),
    ("CategoricalFocalCrossentropy", {}, "classes"),
    ("CategoricalFocalCrossentropy", {"alpha": [0.1, 0.5, 0.2, 0.9], "gamma": 3.0}, "classes"),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "class logits"),
    ("SparseCategoricalCrossentropy", {}, "labels"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "label logits"),
    ("Dice", {}, "binary"),
    ("Tversky", {"alpha": 0.3, "beta": 0.6}, "binary"),
]
METRICS = [
    ("Accuracy", {}, "hits"),
    ("BinaryAccuracy", {"threshold": 0.4}, "binary"),
    ("CategoricalAccuracy", {}, "classes"),
    ("SparseCategoricalAccuracy", {}, "labels"),
    ("TopKCategoricalAccuracy", {"k": 2}, "classes"),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, "labels"),
    ("MeanSquaredError", {}, "real"),
    ("RootMeanSquaredError", {}, "real"),
    ("MeanAbsoluteError", {}, "real"),
    ("MeanAbsolutePercentageError", {}, "real"),
    ("MeanSquaredLogarithmicError", {}, "real"),
    ("CosineSimilarity", {}, "real"),
    ("LogCoshError", {}, "real"),
    ("Hinge", {}, "signs"),
    ("SquaredHinge", {}, "signs"),
    ("CategoricalHinge", {}, "classes"),
    ("KLDivergence", {}, "shares"),
    ("Poisson", {}, "positive"),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, "binary"),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2, "from_logits": True}, "class logits"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "label logits"),
    ("R2Score", {}, "real"),
    ("R2Score", {"class_aggregation": None}, "real"),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 3}, "real"),
    ("TruePositives", {}, "binary"),
    ("FalsePositives", {"thresholds": 0.3}, "binary"),
    ("TrueNegatives", {"thresholds": [0.2, 0.5, 0.6]}, "binary"),
    ("FalseNegatives", {}, "binary"),
    ("Precision", {}, "binary"),
    ("Precision", {"thresholds": [0.0, 0.3, 0.9, 1.0]}, "binary"),
    ("Precision", {"top_k": 2}, "classes"),
    ("Precision", {"class_id": 1, "thresholds": 0.2}, "classes"),
    ("Recall", {}, "binary"),
    ("Recall", {"top_k": 2, "class_id": 2}, "classes"),
    ("SensitivityAtSpecificity", {"specificity": 0.6}, "binary"),
    ("SpecificityAtSensitivity", {"sensitivity": 0.7, "num_thresholds": 50}, "binary"),
    ("PrecisionAtRecall", {"recall": 0.5}, "binary"),
    ("RecallAtPrecision", {"precision": 0.6, "class_id": 1}, "binary"),
    ("AUC", {}, "binary"),
    ("AUC", {"num_thresholds": 20, "summation_method": "majoring"}, "binary"),
    ("AUC", {"num_thresholds": 20, "summation_method": "minoring"}, "one"),
    ("AUC", {"curve": "PR"}, "binary"),
    ("AUC", {"curve": "PR", "summation_method": "majoring"}, "one"),
    ("AUC", {"thresholds": [0.8, 0.1, 0.45]}, "binary"),
    ("AUC", {"multi_label": True}, "binary"),
    ("AUC", {"multi_label": True, "label_weights": [0.5, 2.0, 0.0, 1.0], "curve": "PR"}, "binary"),
    ("AUC", {"from_logits": True}, "binary logits"),
    ("F1Score", {}, "classes"),
    ("F1Score", {"average": "micro"}, "classes"),
    ("F1Score", {"average": "macro", "threshold": 0.3}, "classes"),
    ("FBetaScore", {"average": "weighted", "beta": 2.0}, "classes"),
]


def data():
    """Targets and predictions by kind, and the sample weights."""
    rng = np.random.default_rng(0)
    shape = ROWS, 4
    logits, labels = rng.normal(size=shape) * 2, rng.integers(0, 4, ROWS)
    classes = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    binary = rng.integers(0, 2, shape).astype(float)
    shares = rng.dirichlet(np.ones(4), ROWS)
    binary_logits = 1.5 * (binary - 0.5) + rng.normal(size=shape)
    likely = 1 / (1 + np.exp(-binary_logits))
    signs = 2 * binary - 1
    made = {
        "real": (rng.normal(size=shape), rng.normal(size=shape)),
        "positive": (rng.uniform(0, 3, shape), rng.uniform(0.05, 3, shape)),
        "signs": (signs, rng.normal(size=shape)),
        "hits": (signs, np.where(rng.random(shape) < 0.5, signs, 0.5)),
        "shares": (shares, classes),
        "binary": (binary, likely),
        "binary logits": (binary, binary_logits),
        "one": (binary[:, :1], likely[:, :1]),
        "classes": (np.eye(4)[labels], classes),
        "class logits": (np.eye(4)[labels], logits),
        "labels": (labels, classes),
        "label logits": (labels, logits),
        "gaussian": (rng.normal(size=(ROWS, 2)), rng.normal(size=shape)),
        "quantiles": (rng.normal(size=(ROWS, 1)), rng.normal(size=shape)),
    }
    weights = rng.integers(12, 128, ROWS) / 64  # Keras's AUC adds them up in float32: so without rounding
    return made, weights


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def add_loss(out, where, name, config, kind, rows, total, y_pred):
    """A case of a loss, from its values per row and the weighted loss, as tensors that depend on `y_pred`."""
    [gradient] = torch.autograd.grad(total, y_pred)
    out.add({
        "kind": "loss", "class": name, "config": config, "data": where[kind],
        "rows": out.put("values", rows.detach().numpy(), np.float64),
        "loss": out.put("values", total.detach().numpy(), np.float64),
        "gradient": out.put("values", gradient.numpy(), np.float64),
    })  # fmt: skip


def loss_cases(out, where, given, weights):
    for name, config, kind in LOSSES:
        y_true, y_pred = (torch.tensor(a) for a in given[kind])
        y_pred.requires_grad_()
        loss = getattr(keras.losses, name)(**config)
        rows = loss.call(y_true, y_pred)
        total = loss(y_true, y_pred, None if rows.ndim == 0 else torch.tensor(weights))
        add_loss(out, where, name, config, kind, rows, total, y_pred)

    y_true, y_pred = (torch.tensor(a) for a in given["gaussian"])
    y_pred.requires_grad_()
    for full in (False, True):
        likelihood = torch.nn.GaussianNLLLoss(full=full, eps=0.0, reduction="none")
        rows = likelihood(y_pred[:, :2], y_true, torch.exp(y_pred[:, 2:])).mean(-1)
        total = (rows * torch.tensor(weights)).mean()
        add_loss(out, where, "GaussianNegativeLogLikelihood", {"full": full}, "gaussian", rows, total, y_pred)

    y_true, y_pred = (torch.tensor(a) for a in given["quantiles"])
    y_pred.requires_grad_()
    quantiles = [0.1, 0.5, 0.75, 0.9]
    error, q = y_true - y_pred, torch.tensor(quantiles, dtype=torch.float64)
    rows = keras.ops.mean(keras.ops.relu(error) * q + keras.ops.relu(-error) * (1 - q), axis=-1)
    total = (rows * torch.tensor(weights)).mean()
    add_loss(out, where, "Quantile", {"quantiles": quantiles}, "quantiles", rows, total, y_pred)


def metric_cases(out, where, given, weights):
    for name, config, kind in METRICS:
        y_true, y_pred = given[kind]
        case = {"kind": "metric", "class": name, "config": config, "data": where[kind]}
        for key, weight in (("plain", None), ("weighted", weights)):
            metric = getattr(keras.metrics, name)(**config, dtype="float64")
            for at in np.array_split(np.arange(ROWS), BATCHES):
                metric.update_state(y_true[at], y_pred[at], None if weight is None else weight[at])
            case[key] = out.put("values", numpy(metric.result()), np.float64)
        out.add(case)


def main():
    torch.set_num_threads(1)
    exact_float64()
    keras.config.set_floatx("float64")
    out = Writer(keras=keras.__version__, torch=torch.__version__.split("+")[0])
    given, weights = data()
    where = {k: [out.put("given", a, np.float64) for a in pair] for k, pair in given.items()}
    out.add({"kind": "weights", "data": out.put("given", weights, np.float64)})
    loss_cases(out, where, given, weights)
    metric_cases(out, where, given, weights)
    out.save("losses")


if __name__ == "__main__":
    main()
