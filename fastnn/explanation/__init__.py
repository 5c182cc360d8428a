"""One training step taken apart: see `fastnn.Model.explain_step`."""

from .steps import Explanation, Given, Line, Step

__all__ = ["Explanation", "Given", "Line", "Step"]
