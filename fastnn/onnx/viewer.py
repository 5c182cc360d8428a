"""Models drawn in Netron."""

import os

from ..errors import MissingExtraError


def view(source, browse=True):
    """Draw a model in the browser with Netron; returns after Ctrl-C.

    Parameters
    ----------
    source : Model, Predictor, str or path
        Models, and files that fastnn wrote, are shown as `to_onnx` writes them; other files as they are.
    browse : bool, default True
        Whether to open the browser. The address is printed in any case.

    Raises
    ------
    MissingExtraError
        Without Netron (``pip install netron``), or the extra `onnx`.
    FileAccessError
        If there is no such file.
    """
    try:
        import netron
    except ImportError as error:
        raise MissingExtraError("view needs Netron: pip install netron") from error
    name, content = drawn(source)
    netron.serve(name, content, browse=browse)
    netron.wait()  # which ends, and stops the server, at Ctrl-C


def drawn(source):
    """The name and bytes of the file that Netron is shown."""
    from ..io import _open, load
    from .writer import to_onnx

    if not isinstance(source, (str, os.PathLike)):
        return f"{getattr(source, 'name', 'predictor')}.onnx", to_onnx(source).SerializeToString()
    path = os.fsdecode(source)
    name, extension = os.path.splitext(os.path.basename(path))
    if extension.lower() == ".onnx":
        with _open(path) as file:
            return f"{name}.onnx", file.read()
    return f"{name}.onnx", to_onnx(load(path)).SerializeToString()
