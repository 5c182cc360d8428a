"""What annotations of public signatures name; imported by type checkers alone."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

from numpy.typing import NDArray

__all__ = ["Any", "Callable", "Mapping", "NDArray", "Named", "Sequence", "StrPath"]

# What stands for an object of a registry: its name, its configuration, the object itself or a function.
Named: TypeAlias = str | Mapping[str, Any] | Callable[..., Any] | None
StrPath: TypeAlias = str | PathLike[str]
