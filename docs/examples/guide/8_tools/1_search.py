"""
Searching hyperparameters
=========================

The optimizer finds the weights; somebody has to find the width, the rate and the penalties. The tools of scikit-learn
and Optuna do it for any function that trains and returns a score.
"""

import matplotlib.pyplot as plt
import numpy as np
import optuna
from sklearn.model_selection import ParameterGrid, StratifiedKFold, train_test_split

import fastnn as fnn
from fastnn import callbacks, layers

images, labels = fnn.datasets.load_digits()
x, test_x, y, test_y = train_test_split(images / 16, labels, test_size=0.6, stratify=labels, random_state=0)


def net(width, rate, dropout=0.0):
    fnn.set_seed(0)
    model = fnn.Sequential([
        fnn.Input((64,)),
        layers.Dense(width, activation="relu"),
        layers.Dropout(dropout),
        layers.Dense(10, activation="softmax"),
    ])
    model.compile(fnn.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# %%
# A grid, with scikit-learn
# -------------------------
#
# Every pair of width and rate, each scored on three folds: the part a net is scored on is never the part it trained on.
# The picture is the one of under- and overfitting again, in two dimensions: bottom left is too small and too slow.

grid = {"width": [2, 8, 32, 128], "rate": [1e-4, 1e-3, 1e-2, 1e-1]}
folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(x, y))
scores = []
for choice in ParameterGrid(grid):
    found = []
    for train, held in folds:
        model = net(**choice)
        model.fit(x[train], y[train], epochs=20, seed=0, verbose=0)
        found.append(model.evaluate(x[held], y[held])[1])
    scores.append({**choice, "accuracy": np.mean(found)})

table = np.array([[next(s["accuracy"] for s in scores if (s["width"], s["rate"]) == (w, r)) for r in grid["rate"]]
                  for w in grid["width"]])
fig, ax = plt.subplots(figsize=(5.2, 3.6))
ax.imshow(table, cmap="viridis", vmin=0.1, vmax=1, origin="lower")
for (i, j), value in np.ndenumerate(table):
    ax.text(j, i, f"{value:.3f}", ha="center", va="center", color="k" if value > 0.6 else "w")
ax.set(xlabel="learning rate", ylabel="neurons", xticks=range(4), yticks=range(4))
ax.set_xticklabels(grid["rate"])
ax.set_yticklabels(grid["width"])
plt.show()

# %%
# A search that learns, with Optuna
# ---------------------------------
#
# A grid spends as much on bad corners as on good ones. Optuna proposes what was good near by, and *prunes*: a callback
# reports each epoch, and ends a trial that lags behind the median of those before.


class Pruning(callbacks.Callback):
    """Reports the validation accuracy of each epoch to a trial and stops where the trial is hopeless."""

    def __init__(self, trial):
        super().__init__()
        self.trial, self.pruned = trial, False

    def on_epoch_end(self, epoch, logs=None):
        self.trial.report(logs["val_accuracy"], epoch)
        if self.trial.should_prune():
            self.model.stop_training = self.pruned = True


train, held = folds[0]


def objective(trial):
    model = net(
        width=trial.suggest_int("width", 2, 128, log=True),
        rate=trial.suggest_float("rate", 1e-4, 1e-1, log=True),
        dropout=trial.suggest_float("dropout", 0, 0.6),
    )
    pruning = Pruning(trial)
    history = model.fit(
        x[train], y[train], epochs=20, validation_data=(x[held], y[held]), callbacks=[pruning], seed=0, verbose=0
    )
    if pruning.pruned:
        raise optuna.TrialPruned
    return max(history.history["val_accuracy"])


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
)
study.optimize(objective, n_trials=40)

fig, ax = plt.subplots()
for trial in study.trials:
    values = trial.intermediate_values
    pruned = trial.state == optuna.trial.TrialState.PRUNED
    ax.plot(list(values), list(values.values()), linewidth=1, color="#b8bec7" if pruned else "#2f6690")
ax.set(xlabel="epoch", ylabel="accuracy, held out", title="forty trials; pruned ones in grey")
plt.show()

# %%
# The best choice is trained once more on all of the training part and judged on digits that no trial has seen.

model = net(**study.best_params)
model.fit(x, y, epochs=20, seed=0, verbose=0)
pruned = sum(t.state == optuna.trial.TrialState.PRUNED for t in study.trials)
print({name: round(value, 4) for name, value in study.best_params.items()}, f"({pruned} of {len(study.trials)} trials pruned)")
print(f"accuracy on the test part: {model.evaluate(test_x, test_y)[1]:.3f}")

# %%
# Try next: let Optuna choose the optimizer too, with ``suggest_categorical``.
