"""The onnx package, and what it is missing for."""

from ..errors import MissingExtraError


def library(what):
    """The module `onnx`; a MissingExtraError says that `what` needs it."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError.of(what, "onnx", "onnx") from error
    return onnx
