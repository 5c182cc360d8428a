"""
Inside scikit-learn
===================

``fastnn.sklearn`` (extra ``sklearn``) has ``MLPClassifier`` and ``MLPRegressor`` with the arguments, attributes and numbers of
scikit-learn's: a script runs after changing its import, and what such estimators could not do there is an argument more.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier as theirs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn as fnn
from fastnn import layers
from fastnn.sklearn import MLPClassifier, MLPRegressor, search_many

warnings.simplefilter("ignore", ConvergenceWarning)  # of fits that end at their last epoch
X, y = load_breast_cancer(return_X_y=True)

for estimator in (theirs, MLPClassifier):
    model = make_pipeline(StandardScaler(), estimator(hidden_layer_sizes=(50,), max_iter=60, random_state=0))
    print(cross_val_score(model, X, y, cv=5).round(4), estimator.__module__.partition(".")[0])

# %%
# The same seed gives the same first weights, held-out samples and order of samples, so that the scores are the same ones. Data
# frames, sparse arrays, sample weights, pickling and metadata routing are as there too.
#
# More arguments
# --------------
#
# Any loss and activation, also one for each layer; ``dropout``, ``normalization``, ``class_weight``, ``max_seconds``,
# ``callbacks``, ``progress_bar``, ``dtype="float32"``. ``fit`` takes a validation set of your own, and keeps both curves.

scaled = StandardScaler().fit_transform(X)
train_x, test_x, train_y, test_y = train_test_split(scaled, y, test_size=0.4, stratify=y, random_state=0)
model = MLPClassifier(
    (64, 32), ["gelu", "tanh"], dropout=[0.3, 0.1], class_weight="balanced", max_iter=60, n_iter_no_change=60, dtype="float32",
    random_state=0,
)  # fmt: skip
model.fit(train_x, train_y, validation_data=(test_x, test_y))

plt.figure(figsize=(5.2, 3.2))
plt.plot(model.loss_curve_, label="training, with dropout")
plt.plot(model.validation_loss_curve_, label="validation")
plt.xlabel("epoch")
plt.ylabel("log loss")
plt.legend()
plt.show()

# %%
# A search on all cores
# ---------------------
#
# ``GridSearchCV`` works unchanged. ``search_many`` gives the same scores, and trains as many nets at a time as there are cores,
# in one process and on one copy of the data.

grid = {"hidden_layer_sizes": [(8,), (64,)], "alpha": [1e-4, 1e-2, 1.0], "learning_rate_init": [1e-3, 1e-2]}
found = search_many(MLPClassifier(max_iter=40, random_state=0), grid, scaled, y, cv=5)
for i in np.argsort(found["rank_test_score"])[:3]:
    print(f"{found['mean_test_score'][i]:.4f} +- {found['std_test_score'][i]:.4f}  {found['params'][i]}")

# %%
# How sure is it?
# ---------------
#
# ``calibrate`` looks at errors on samples that were never trained on; ``predict_interval`` then holds the true value about as
# often as asked, whatever the net has learned. ``loss="quantile"`` lets the width follow the data.

rng = np.random.default_rng(0)
x = rng.uniform(-3, 3, 3000)
target = np.sin(2 * x) + rng.normal(size=3000) * (0.1 + 0.15 * np.abs(x))
fit, calibration, test = slice(0, 1500), slice(1500, 2000), slice(2000, None)
column = x[:, None]
settings = {"hidden_layer_sizes": (32, 32), "activation": "tanh", "learning_rate_init": 0.005, "random_state": 0}

mean = MLPRegressor(**settings).fit(column[fit], target[fit]).calibrate(column[calibration], target[calibration])
low, high = mean.predict_interval(column[test], coverage=0.9)
print(f"inside the interval: {np.mean((low <= target[test]) & (target[test] <= high)):.1%} of samples it has never seen")

line = np.linspace(-3, 3, 200)[:, None]
plt.figure(figsize=(6, 3.6))
plt.scatter(x[test], target[test], s=4, color="#b8bec7")
plt.plot(line, mean.predict(line), color="#2f6690", label="prediction")
plt.fill_between(line[:, 0], *mean.predict_interval(line, 0.9), color="#2f6690", alpha=0.2, label="90 % interval")
for quantile in (0.05, 0.95):
    edge = MLPRegressor("quantile", quantile=quantile, **settings).fit(column[fit], target[fit])
    plt.plot(line, edge.predict(line), "--", color="#d1495b", label=f"{quantile:.0%} quantile")
plt.legend(loc="upper center", ncols=4, fontsize=8, bbox_to_anchor=(0.5, 1.14))
plt.show()

# %%
# Any architecture
# ----------------
#
# A function of the numbers of features and outputs makes the net, and everything above holds for it.


def residual(n_features, n_outputs):
    inputs = fnn.Input((n_features,))
    h = layers.Dense(32, activation="relu")(inputs)
    h = layers.Add()([h, layers.Dense(32, activation="relu")(h)])
    return fnn.Model(inputs, layers.Dense(n_outputs, activation="sigmoid")(h))


model = make_pipeline(StandardScaler(), MLPClassifier.from_model(residual, max_iter=40, random_state=0))
print(f"{cross_val_score(model, X, y, cv=5).mean():.4f}")
