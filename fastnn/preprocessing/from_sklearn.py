"""Fitted transformers of scikit-learn as the steps of `Features`: their numbers are copied, not the objects."""

import math

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, NotFittedError
from .tables import is_missing

_SUPPORTED = (
    "StandardScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder, SimpleImputer, ColumnTransformer and Pipeline"
)


def convert(cls, fitted):
    """See `Features.from_sklearn`."""
    columns = _columns_of(fitted)
    return cls(columns, _steps(fitted))


def _columns_of(fitted):
    """The names of the columns that it was fitted on, or their number."""
    _check_class(fitted)
    first = fitted
    while type(first).__name__ == "Pipeline":
        steps = [step for _, step in first.steps if step is not None and step != "passthrough"]
        if not steps:
            raise ArgumentError("Features.from_sklearn: the Pipeline has no steps, which says of no columns")
        first = steps[0]
        _check_class(first)
    if not hasattr(first, "n_features_in_"):
        raise NotFittedError(
            f"Features.from_sklearn needs a fitted {type(fitted).__name__}; call its fit first"
        )
    names = getattr(first, "feature_names_in_", None)
    return int(first.n_features_in_) if names is None else [str(name) for name in names]


def _check_class(fitted):
    if _converter(fitted) is None:
        module = type(fitted).__module__
        raise ArgumentTypeError(
            f"Features.from_sklearn takes {_SUPPORTED} of scikit-learn, got {module}.{type(fitted).__name__}; "
            "transform with it yourself, before the model"
        )


def _converter(fitted):
    own = type(fitted).__module__.split(".")[0] == "sklearn"
    return _CONVERTERS.get(type(fitted).__name__) if own else None


def _steps(fitted):
    """The steps of a transformer."""
    _check_class(fitted)
    name = type(fitted).__name__
    if name != "Pipeline" and not hasattr(fitted, "n_features_in_"):
        raise NotFittedError(f"Features.from_sklearn needs a fitted {name}; call its fit first")
    return _converter(fitted)(fitted)


def _floats(values, missing=False):
    return [None if missing and math.isnan(v) else float(v) for v in np.asarray(values, np.float64)]


def _standard_scaler(fitted):
    mean = _floats(fitted.mean_, True) if fitted.with_mean else None
    scale = _floats(fitted.scale_, True) if fitted.with_std else None
    return [{"kind": "standardize", "mean": mean, "scale": scale}]


def _min_max_scaler(fitted):
    low, high = map(float, fitted.feature_range) if fitted.clip else (None, None)
    return [
        {
            "kind": "affine", "scale": _floats(fitted.scale_, True), "offset": _floats(fitted.min_, True),
            "low": low, "high": high,
        }
    ]  # fmt: skip


def _value(owner, value):
    """A category as plain data."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ArgumentError(
        f"Features.from_sklearn: {owner} has the category {value!r:.80} of type {type(value).__name__}; "
        "categories are text, numbers or truth values"
    )


def _categories(owner, values):
    """(the categories that are there, their indices, the index of the missing one or None)."""
    values = list(values)
    missing = [i for i, v in enumerate(values) if is_missing(v)]
    if len(missing) > 1:
        raise ArgumentError(
            f"Features.from_sklearn: {owner} tells {values[missing[0]]!r} from {values[missing[1]]!r}, which "
            "here both are a missing value; replace one of them before fitting"
        )
    kept = [i for i in range(len(values)) if i not in missing]
    return [_value(owner, values[i]) for i in kept], kept, missing[0] if missing else None


def _one_hot_encoder(fitted):
    columns = []
    drops = fitted.drop_idx_
    mapped = getattr(fitted, "_default_to_infrequent_mappings", None)
    names_in = getattr(fitted, "feature_names_in_", [f"x{i}" for i in range(fitted.n_features_in_)])
    names = fitted.get_feature_names_out()
    widths = fitted._n_features_outs
    at = 0
    for i, values in enumerate(fitted.categories_):
        categories, kept, missing = _categories("OneHotEncoder", values)
        slots = np.arange(len(values)) if mapped is None or mapped[i] is None else np.array(mapped[i])
        infrequent = None if mapped is None or mapped[i] is None else int(slots.max())
        drop = None if drops is None or drops[i] is None else int(slots[drops[i]])
        if drop is not None:
            slots = np.where(slots == drop, -1, slots - (slots > drop))
            infrequent = None if infrequent is None or infrequent == drop else infrequent - (infrequent > drop)
        if fitted.handle_unknown == "error":
            unknown = "error"
        elif fitted.handle_unknown == "ignore" or infrequent is None:
            unknown = -1
        else:
            unknown = infrequent
        columns.append(
            {
                "categories": categories,
                "slots": [int(slots[k]) for k in kept],
                "labels": [str(name).removeprefix(f"{names_in[i]}_") for name in names[at : at + widths[i]]],
                "unknown": unknown,
                "missing": unknown if missing is None else int(slots[missing]),
            }
        )
        at += widths[i]
    return [{"kind": "one_hot", "columns": columns}]


def _ordinal_encoder(fitted):
    columns = []
    mapped = getattr(fitted, "_default_to_infrequent_mappings", None)
    for i, values in enumerate(fitted.categories_):
        categories, kept, missing = _categories("OrdinalEncoder", values)
        codes = np.arange(len(values)) if mapped is None or mapped[i] is None else np.array(mapped[i])
        unknown = "error" if fitted.handle_unknown == "error" else _code(fitted.unknown_value)
        columns.append(
            {
                "categories": categories,
                "codes": [int(codes[k]) for k in kept],
                "unknown": unknown,
                "missing": unknown if missing is None else _code(fitted.encoded_missing_value),
            }
        )
    return [{"kind": "ordinal", "columns": columns}]


def _code(value):
    value = float(value)
    return None if math.isnan(value) else value


def _simple_imputer(fitted):
    missing = fitted.missing_values
    fill = []
    for value in fitted.statistics_:
        if is_missing(value):
            fill.append(None)
        else:
            fill.append(str(value) if isinstance(value, str) else float(value))
    if fitted.keep_empty_features:
        empty = fitted.fill_value if fitted.strategy == "constant" else 0
        fill = [empty if v is None else v for v in fill]
    flags = [] if fitted.indicator_ is None else [int(i) for i in fitted.indicator_.features_]
    if is_missing(missing):
        missing = None
    elif not isinstance(missing, str):
        missing = float(missing)
    return [{"kind": "impute", "fill": fill, "indicators": flags, "missing": missing}]


def _function_transformer(fitted):
    """What a ColumnTransformer has for "passthrough"."""
    if fitted.func is not None:
        raise ArgumentTypeError(
            f"Features.from_sklearn takes {_SUPPORTED} of scikit-learn, got a FunctionTransformer of "
            f"{fitted.func!r:.80}; transform with it yourself, before the model"
        )
    return []


def _pipeline(fitted):
    steps = []
    for _, step in fitted.steps:
        if step is not None and not (isinstance(step, str) and step == "passthrough"):
            steps += _steps(step)
    return steps


def _column_transformer(fitted):
    parts = []
    names = getattr(fitted, "feature_names_in_", None)
    positions = None if names is None else {str(name): i for i, name in enumerate(names)}
    for name, step, chosen in fitted.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        take = _indices(chosen, positions, fitted.n_features_in_)
        if not take:
            continue
        steps = [] if isinstance(step, str) else _steps(step)
        parts.append({"take": take, "steps": steps, "prefix": _prefix(fitted, name)})
    return [{"kind": "union", "parts": parts}]


def _prefix(fitted, name):
    wanted = fitted.verbose_feature_names_out
    return f"{name}__" if wanted is True else ""


def _indices(chosen, positions, count):
    if isinstance(chosen, slice):
        ends = []
        for i, end in enumerate((chosen.start, chosen.stop)):
            if isinstance(end, str):
                end = positions[end] + i  # a slice of names includes its end
            ends.append(end)
        return list(range(count))[slice(*ends, chosen.step)]
    if isinstance(chosen, (str, int, np.integer)):
        chosen = [chosen]
    chosen = list(chosen)
    if chosen and all(isinstance(c, (bool, np.bool_)) for c in chosen):
        return [i for i, c in enumerate(chosen) if c]
    return [positions[c] if isinstance(c, str) else int(c) % count for c in chosen]


_CONVERTERS = {
    "StandardScaler": _standard_scaler,
    "MinMaxScaler": _min_max_scaler,
    "OneHotEncoder": _one_hot_encoder,
    "OrdinalEncoder": _ordinal_encoder,
    "SimpleImputer": _simple_imputer,
    "ColumnTransformer": _column_transformer,
    "FunctionTransformer": _function_transformer,
    "Pipeline": _pipeline,
}
