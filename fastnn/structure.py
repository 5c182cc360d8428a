"""How inputs, outputs, losses and metrics are given and returned: alone, as a list, a tuple or a dict."""

from .errors import ArgumentError, ArgumentTypeError, UnknownNameError
from .graph import Tensor, Value
from .metrics import Metric


def flatten(structure, what):
    """(list of tensors, names or None, form to give results in)."""
    if isinstance(structure, dict):
        if not structure or not all(isinstance(key, str) for key in structure):
            raise ArgumentTypeError(f"Model's {what} need names as keys, got {list(structure)}")
        return list(structure.values()), list(structure), list(structure)
    if isinstance(structure, (list, tuple)):
        return list(structure), None, type(structure)
    return [structure], None, None


def shape_like(form, items):
    """`items` as the inputs or outputs were given: alone, a list, a tuple or a dict."""
    if form is None:
        return items[0]
    if isinstance(form, list):
        return dict(zip(form, items))
    return form(items)


def unique(names):
    """`names` with "_1", "_2" ... after those that stand before them already."""
    found = []
    for name in names:
        found.append(unused(name, found))
    return found


def unused(name, taken):
    """`name`, with "_1", "_2" ... where it is among those `taken`."""
    candidate, i = name, 0
    while candidate in taken:
        i += 1
        candidate = f"{name}_{i}"
    return candidate


def any_symbolic(items):
    for item in items:
        if isinstance(item, (Tensor, Value)):
            return True
        if isinstance(item, (list, tuple, dict)):
            return any_symbolic(item.values() if isinstance(item, dict) else item[:1])
    return False


def per_output(value, names, what, single):
    """One entry for each output from one value, a list, or a dict by output name."""
    if value is None:
        return None
    if isinstance(value, dict) and "class_name" not in value:
        for key in value:
            if key not in names:
                raise UnknownNameError.among(f"output in {what}", key, names)
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise ArgumentError(
                f"{what} needs {len(names)} entries for the outputs {names}, got {len(value)}"
            )
        return list(value)
    if len(names) > 1 and not isinstance(value, single):
        raise ArgumentTypeError(
            f"{what} needs a list or dict for the outputs {names}, got {type(value).__name__}"
        )
    return [value] * len(names)


def metrics_per_output(value, names, what):
    """A list of metrics, or None, for each output."""
    if value is None:
        return None
    if isinstance(value, (str, Metric)):
        value = [value]
    if isinstance(value, dict) and "class_name" not in value:
        entries = per_output(value, names, what, ())
    elif isinstance(value, (list, tuple)):
        nested = any(isinstance(entry, (list, tuple)) for entry in value)
        if len(names) == 1:
            entries = list(value) if nested and len(value) == 1 else [list(value)]
        else:
            entries = per_output(value, names, what, ())
    else:
        entries = [[value]] * len(names)
    return [None if e is None else list(e) if isinstance(e, (list, tuple)) else [e] for e in entries]
