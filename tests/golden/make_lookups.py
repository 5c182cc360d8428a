"""Makes lookups.json and interop/lookups.keras: StringLookup and IntegerLookup of Keras 3, which need TensorFlow.

    pip install keras==3.15.1 tensorflow-cpu==2.21.0 && python tests/golden/make_lookups.py
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import json

import keras
import numpy as np
from keras import layers
from store import HERE

FRUIT = ["fig", "apple", "kiwi", "fig", "Äpfel", "zebra", "apple", "", "plum", "plum", "date", "[UNK]", "fig"]
ASKED = [["fig", "apple"], ["nothing", ""], ["Äpfel", "kiwi"], ["[UNK]", "été"], ["plum", "plum"]]
CODES = [7, 3, 7, -1, 0, 12, 3, 7, 1 << 40, -5, -5, 12, 3]
NUMBERS = [[7, 3], [99, 0], [-5, -5], [1 << 40, -1], [-13, 12]]

# Text of every length that FarmHash treats by rules of its own.
LONG = [["ab" * n + "xyz"[: n % 4]] for n in (0, 1, 2, 3, 4, 7, 8, 12, 16, 20, 31, 32, 33, 50, 63, 64, 65, 100, 200)]

CASES = [
    ("StringLookup", {}, FRUIT, ASKED),
    ("StringLookup", {"max_tokens": 4}, FRUIT, ASKED),
    ("StringLookup", {"mask_token": ""}, FRUIT, ASKED),
    ("StringLookup", {"mask_token": "", "max_tokens": 5, "num_oov_indices": 2}, FRUIT, ASKED),
    ("StringLookup", {"num_oov_indices": 3, "oov_token": "?"}, FRUIT, ASKED),
    ("StringLookup", {"num_oov_indices": 1009}, FRUIT, LONG),
    ("StringLookup", {"num_oov_indices": 0, "vocabulary": ["b", "a"]}, None, [["a", "b"]]),
    ("StringLookup", {"vocabulary": ["[UNK]", "b", "a"]}, None, [["a", "c"]]),
    ("StringLookup", {"vocabulary": ["", "[UNK]", "b", "a"], "mask_token": ""}, None, [["a", ""]]),
    ("StringLookup", {"output_mode": "one_hot"}, FRUIT, [[a] for a, _ in ASKED]),
    ("StringLookup", {"output_mode": "one_hot", "mask_token": "fig"}, FRUIT, ASKED),
    ("StringLookup", {"output_mode": "multi_hot", "mask_token": ""}, FRUIT, ASKED),
    ("StringLookup", {"output_mode": "count", "num_oov_indices": 2}, FRUIT, ASKED),
    ("StringLookup", {"output_mode": "count", "max_tokens": 20, "pad_to_max_tokens": True}, FRUIT, ASKED),
    ("StringLookup", {"invert": True, "vocabulary": ["b", "a"], "mask_token": ""}, None, [[0, 1], [2, 3], [9, -4]]),
    ("IntegerLookup", {}, CODES, NUMBERS),
    ("IntegerLookup", {"mask_token": 0, "max_tokens": 5}, CODES, NUMBERS),
    ("IntegerLookup", {"num_oov_indices": 4, "max_tokens": 6}, CODES, NUMBERS),
    ("IntegerLookup", {"output_mode": "one_hot", "mask_token": 7}, CODES, NUMBERS),
    ("IntegerLookup", {"output_mode": "count"}, CODES, NUMBERS),
    ("IntegerLookup", {"output_mode": "multi_hot", "vocabulary": [3, 7, 12]}, None, NUMBERS),
    ("IntegerLookup", {"invert": True, "vocabulary": [30, 70]}, None, [[0, 1], [2, 3]]),
]


def case(name, config, data, asked):
    layer = getattr(layers, name)(**config)
    if data is not None:
        layer.adapt(np.array(data))
    made = np.asarray(layer(np.array(asked)))
    made = np.char.decode(made.astype("S"), "utf-8") if made.dtype.kind in "OS" else made
    return {
        "layer": name, "config": config, "data": data, "asked": asked,
        "vocabulary": [v.item() if isinstance(v, np.generic) else v for v in layer.get_vocabulary()],
        "made": made.tolist(),
    }  # fmt: skip


def file():
    """A model of lookups that were adapted, given a vocabulary, nested and shared, and what it predicts."""
    fruit = layers.StringLookup(mask_token="", name="fruit_lookup")
    fruit.adapt(np.array(FRUIT))
    code = layers.IntegerLookup(output_mode="multi_hot", num_oov_indices=2, name="code_lookup")
    code.adapt(np.array(CODES))
    size = layers.StringLookup(vocabulary=["S", "M", "L"], output_mode="one_hot", name="size_lookup")
    a, b = (keras.Input((1,), dtype="string", name=name) for name in ("left", "right"))
    c, d = keras.Input((2,), dtype="int64", name="code"), keras.Input((1,), dtype="string", name="size")
    inner = keras.Input((1,), dtype="string", name="inner")
    vector = layers.Flatten(name="flat")(layers.Embedding(fruit.vocabulary_size(), 3, name="vectors")(fruit(inner)))
    tower = keras.Model(inner, vector, name="tower")
    joined = layers.Concatenate(name="join")([tower(a), tower(b), code(c), size(d)])
    model = keras.Model([a, b, c, d], layers.Dense(2, name="out")(joined), name="lookups")
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.save(HERE / "interop" / "lookups.keras")
    inputs = {
        "left": ["fig", "", "nothing", "plum"], "right": ["kiwi", "fig", "Äpfel", "date"],
        "code": [[7, 3], [98, 99], [-5, 0], [12, 12]], "size": ["M", "S", "XL", "L"],
    }  # fmt: skip
    given = [np.array(v) if k == "code" else np.array(v)[:, None] for k, v in inputs.items()]
    tensors = [keras.ops.convert_to_tensor(g) for g in given]
    return {"inputs": inputs, "expected": np.asarray(model(tensors)).tolist()}


if __name__ == "__main__":
    head = json.dumps({"keras": keras.__version__, "file": file()}, ensure_ascii=False)[:-1]
    lines = ",\n".join(json.dumps(case(*entry), ensure_ascii=False, separators=(",", ":")) for entry in CASES)
    (HERE / "lookups.json").write_text(f'{head},\n"cases": [\n{lines}\n]}}\n', encoding="utf-8")
