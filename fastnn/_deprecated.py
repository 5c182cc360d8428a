"""Renamed public names: the old one works with a DeprecationWarning for two minor releases.

A name that 0.2 renames works in 0.2 and 0.3 and is gone in 0.4, which is its `removed_in`.

- of a module: ``__getattr__ = renamed_names(__name__, {"old": ("new", "0.4")})``;
- of an argument: the decorator ``@renamed_argument("old", "new", removed_in="0.4")``;
- of a method: ``old = renamed_method("old", "new", removed_in="0.4")`` in the class's body.
"""

import functools
import sys
import warnings

from .errors import ArgumentTypeError


def _warn(what, old, new, removed_in):
    warnings.warn(
        f"{what} {old!r} is called {new!r} now; the old name goes away in fastnn {removed_in}",
        DeprecationWarning,
        stacklevel=3,
    )


def renamed_names(module, names):
    """A module's `__getattr__` that finds its old names.

    Parameters
    ----------
    module : str
    names : dict of str to (str, str)
        The new name of each old one, and the release that drops the old one.
    """

    def getattribute(name):
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new, removed_in = names[name]
        _warn(module, name, new, removed_in)
        return getattr(sys.modules[module], new)

    return getattribute


def renamed_argument(old, new, *, removed_in):
    """Decorator of a function or method that takes the argument `new` by its old name too."""

    def decorate(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            if old in kwargs:
                if new in kwargs:
                    raise ArgumentTypeError(
                        f"{function.__qualname__} takes {new!r} or its old name {old!r}, got both"
                    )
                _warn(f"the argument of {function.__qualname__}", old, new, removed_in)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def renamed_method(old, new, *, removed_in):
    """A method under its old name, which calls the new one, that of a subclass too."""

    def call(self, *args, **kwargs):
        _warn(f"the method of {type(self).__name__}", old, new, removed_in)
        return getattr(self, new)(*args, **kwargs)

    call.__name__, call.__doc__ = old, f"The old name of `{new}`."
    return call
