"""Old public names work with a warning."""

import sys
import types

import pytest

from fastnn._deprecated import renamed_argument, renamed_method, renamed_names
from fastnn.errors import ArgumentTypeError


def test_a_name_of_a_module(monkeypatch):
    module = types.ModuleType("renamed_here")
    module.new, module.__getattr__ = 7, renamed_names("renamed_here", {"old": ("new", "0.4")})
    monkeypatch.setitem(sys.modules, "renamed_here", module)
    with pytest.warns(DeprecationWarning, match="'old' is called 'new' now.*fastnn 0.4") as caught:
        assert module.old == 7
    assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="'renamed_here' has no attribute 'other'"):
        module.other
    from renamed_here import new

    assert new == 7


def test_an_argument():
    @renamed_argument("old", "new", removed_in="0.4")
    def function(a, new=1):
        """Its text."""
        return a, new

    assert function(1) == (1, 1) and function(1, 2) == (1, 2) and function(1, new=3) == (1, 3)
    assert function.__doc__ == "Its text."
    with pytest.warns(DeprecationWarning, match="'old' is called 'new' now") as caught:
        assert function(1, old=4) == (1, 4)
    assert caught[0].filename == __file__
    with pytest.raises(ArgumentTypeError, match="got both"):
        function(1, new=2, old=3)
    with pytest.raises(TypeError):
        function(1, other=2)


def test_a_method_that_a_subclass_overrides():
    class Base:
        old = renamed_method("old", "new", removed_in="0.4")

        def new(self, x):
            return x

    class Derived(Base):
        def new(self, x):
            return -x

    with pytest.warns(DeprecationWarning, match="Derived 'old' is called 'new' now") as caught:
        assert Derived().old(3) == -3
    assert caught[0].filename == __file__
    assert Base.old.__name__ == "old"
