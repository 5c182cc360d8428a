"""ONNX files: models written for other runtimes, and read from other frameworks.

`export` and `Model.export` write what a model computes outside training, `fastnn.from_onnx` makes a model of a file, and
`view` draws one in Netron. All need the extra `onnx`.
"""

from importlib import import_module

__all__ = ["export", "to_onnx", "view"]

_MODULE_OF = {"export": "writer", "to_onnx": "writer", "view": "viewer"}


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
