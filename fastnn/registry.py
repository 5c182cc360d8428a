"""Names: of objects that stand in a table, such as losses, and of layers that get one by counting."""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING

from .errors import ArgumentError, ArgumentTypeError, UnknownNameError

if TYPE_CHECKING:
    from ._typing import Any


@functools.cache
def constructor_arguments(cls: Any) -> tuple[str, ...]:
    """tuple of str: the names of the arguments that a class is made with."""
    skip = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return tuple(p.name for p in parameters if p.kind not in skip)


class Configurable:
    """Keeps each constructor argument as an attribute of the same name, from which it is read back."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as a dict that JSON can hold."""
        return {name: getattr(self, name) for name in constructor_arguments(type(self))}  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, config):
        """Make an object from what `get_config` returned."""
        unknown = set(config) - set(constructor_arguments(cls))
        if unknown:
            raise UnknownNameError.among(
                f"argument of {cls.__name__}", min(unknown), constructor_arguments(cls)
            )
        return cls(**config)

    def __repr__(self):
        names = [k for k in constructor_arguments(type(self)) if hasattr(self, k)]
        arguments = ", ".join(f"{k}={getattr(self, k)!r}" for k in names)
        return f"{type(self).__name__}({arguments})"


class Registry:
    """The table of one kind of object: class names, their snake_case forms and aliases.

    Parameters
    ----------
    kind : str
        What the objects are, for messages.
    base : type
        The class they all derive from.
    others : sequence of str, optional
        Names that stand for several of the objects, for messages.
    """

    def __init__(self, kind, base, others=()) -> None:
        self.kind, self.base, self._others = kind, base, others
        self._added: list = []
        self._named: dict = {}

    def add(self, cls, *aliases) -> None:
        """Register `cls` under its name, its snake_case name and the aliases. Returns `cls`."""
        self._added.append((cls, aliases))
        return cls

    @property
    def _classes(self):
        """dict of str to type: made at first use, since importing fastnn needs no names."""
        added = self._added
        if added:
            named = dict(self._named)
            for cls, aliases in added:
                named.update(dict.fromkeys((cls.__name__, snake_case(cls.__name__), *aliases), cls))
            self._named, self._added = named, []  # whole tables only, so that threads may ask at a time
        return self._named

    def alias(self, *aliases):
        """Class decorator: `add` with aliases."""
        return lambda cls: self.add(cls, *aliases)

    def find(self, name):
        """The class of that name."""
        try:
            return self._classes[name]
        except (KeyError, TypeError):
            raise UnknownNameError.among(self.kind, name, self._names(name)) from None

    def _names(self, like):
        """What is known: class names for one `like` these, else their snake_case forms and aliases."""
        as_class = str(like)[:1].isupper()
        return [known for known in self._classes if known[0].isupper() == as_class] + list(self._others)

    def get(self, identifier):
        """An object for a name, a configuration dict, a class or an object; None stays None."""
        if identifier is None or isinstance(identifier, self.base):
            return identifier
        if isinstance(identifier, str):
            return self._made(identifier, self.find(identifier))
        if isinstance(identifier, dict):
            return self.deserialize(identifier)
        if isinstance(identifier, type) and issubclass(identifier, self.base):
            return self._made(identifier.__name__, identifier)
        raise ArgumentTypeError(
            f"The {self.kind} is given by name, configuration or {self.base.__name__} object, "
            f"got {type(identifier).__name__}."
        )

    def _made(self, name, cls):
        """An object of a class that was named without arguments."""
        try:
            inspect.signature(cls).bind()
        except TypeError as error:
            raise ArgumentError(
                f"The {self.kind} {name!r} needs arguments ({error}): give {cls.__name__}(...) in place of the name."
            ) from None
        return cls()

    def holds(self, obj):
        """Whether the object's class is in the table, and not a user's own."""
        return self._classes.get(type(obj).__name__) is type(obj)

    def serialize(self, obj):
        """`{"class_name": ..., "config": ...}` of an object; None stays None."""
        if obj is None:
            return None
        name = type(obj).__name__
        if not self.holds(obj):
            raise UnknownNameError(f"The {self.kind} {name!r} is none of fastnn's own.", name=name)
        return {"class_name": name, "config": obj.get_config()}

    def deserialize(self, config):
        """The object that `serialize` described."""
        if config is None:
            return None
        if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
            raise ArgumentTypeError(
                f"The configuration of a {self.kind} is a dict with a 'class_name', got {config!r}."
            )
        arguments = config.get("config") or {}
        if not isinstance(arguments, dict):
            raise ArgumentTypeError(
                f"The 'config' of a {self.kind} is a dict of its arguments, got {arguments!r}."
            )
        return self.find(config["class_name"]).from_config(dict(arguments))


def snake_case(name):
    """ "LeakyReLU" -> "leaky_re_lu", as Keras names layers."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


_counts: dict = {}


def auto_name(prefix):
    """`prefix`, then `prefix_1`, `prefix_2` ... within the process."""
    count = _counts.get(prefix, 0)
    _counts[prefix] = count + 1
    return f"{prefix}_{count}" if count else prefix


def reset_names() -> None:
    """Count layer names from the start again, as a fresh process would."""
    _counts.clear()
