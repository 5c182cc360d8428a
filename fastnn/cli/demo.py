"""`fastnn demo`: handwritten digits, beside the same network in NumPy."""

import time

import numpy as np

from .arguments import natural

EPOCHS = 60
# Chosen by validation on the training parts alone; the test parts took no part in it.
_RATE, _BATCH = 0.3, 32


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "demo",
        help="train on handwritten digits and compare with NumPy",
        epilog="example: fastnn demo --seed 3",
    )
    parser.add_argument("--seed", type=natural, default=0, help="of the split, the weights and the training (0)")
    parser.add_argument("--epochs", type=natural, default=EPOCHS, help=f"passes over the training data ({EPOCHS})")
    parser.set_defaults(run=run)


def stratified_split(labels, seed):
    """Shuffled indices (training, test): a random third of each class is the test part."""
    rng = np.random.default_rng(seed)
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        test[members[: round(len(members) / 3)]] = True
    order = rng.permutation(len(labels))
    return order[~test[order]], order[test[order]]


def demo_model():
    """The demo's network: 64 pixels, two relu layers with dropout, 10 digits."""
    from .. import Input, Sequential, layers

    model = Sequential(
        [
            Input((64,)),
            layers.Dense(128, activation="relu"),
            layers.Dropout(_RATE),
            layers.Dense(64, activation="relu"),
            layers.Dropout(_RATE),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def demo_data(seed):
    """(training images, labels, test images, labels) of the digits, pixels in [0, 1]."""
    from ..datasets import load_digits

    images, labels = load_digits()
    images = images / np.float32(16)
    train, test = stratified_split(labels, seed)
    return images[train], labels[train], images[test], labels[test]


def run(options):
    from .. import set_seed

    set_seed(options.seed)
    x, y, x_test, y_test = demo_data(options.seed)
    model = demo_model()
    start = model.get_weights()
    print(f"Digits of 8 x 8 pixels: {len(x)} to train on, {len(x_test)} kept back; seed {options.seed}")
    begun = time.perf_counter()
    history = model.fit(x, y, batch_size=_BATCH, epochs=options.epochs)
    with_bar = time.perf_counter() - begun

    guessed = model.predict(x_test).argmax(1)
    print(
        f"\nTest accuracy: {np.mean(guessed == y_test):.4f}\n\nConfusion matrix (rows: digit, columns: guess)"
    )
    print(confusion_text(y_test, guessed))
    if options.epochs:
        _compare(model, start, x, y, options, history.history["loss"][-1], with_bar)


def confusion_text(true, guessed):
    """Counts of guesses for each digit, as a table."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (true, guessed), 1)
    lines = ["     " + "".join(f"{digit:5}" for digit in range(10))]
    lines += [
        f"{digit:4} " + "".join(f"{count or '.':>5}" for count in row) for digit, row in enumerate(counts)
    ]
    return "\n".join(lines)


def _compare(model, start, x, y, options, loss, with_bar):
    """Trains the same network from the same weights again, without a bar, and in NumPy to the same loss."""
    from .._numpy_reference import NumpyMLP

    model.set_weights(start)
    model.compile("adam", model._settings["loss"])
    begun = time.perf_counter()
    model.fit(x, y, batch_size=_BATCH, epochs=options.epochs, verbose=0)
    ours = time.perf_counter() - begun

    reference, rng = NumpyMLP(start, _RATE, _BATCH), np.random.default_rng(options.seed)
    x = np.ascontiguousarray(x)
    begun, epochs, reached = time.perf_counter(), 0, np.inf
    while reached > loss and epochs < 3 * options.epochs:
        reached = reference.epoch(x, y, rng)
        epochs += 1
    theirs = time.perf_counter() - begun
    print(f"\nTime to a training loss of {loss:.4f}")
    print(
        f"  fastnn   {ours:7.3f} s, {options.epochs} epochs ({with_bar:.3f} s with the display of progress)"
    )
    print(f"  NumPy    {theirs:7.3f} s, {epochs} epochs to {reached:.4f}; float32, vectorised, preallocated")
    print(f"  ratio    {theirs / ours:7.1f}")
