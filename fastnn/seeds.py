"""The process-wide source of seeds: every draw that is not given a seed asks here for one of its own."""

from __future__ import annotations

import os

from .arguments import check_int

_MASK = (1 << 64) - 1
_state = {"seed": None, "drawn": 0}


def set_seed(seed: int | None) -> None:
    """Make every seed drawn from now on follow from `seed`.

    Parameters
    ----------
    seed : int
        Any integer of at least 0; its low 64 bits count.
    """
    _state["seed"], _state["drawn"] = check_int("set_seed", "seed", seed, low=0) & _MASK, 0


def get_state():
    """Where the sequence stands: the seed (None where there is none) and the draws made."""
    return dict(_state)


def set_state(state):
    """Go on where `get_state` was called."""
    _state.update(seed=state["seed"], drawn=state["drawn"])


def next_seed():
    """A seed of 64 bits: the next of the sequence that `set_seed` began, else fresh from the system."""
    if _state["seed"] is None:
        return int.from_bytes(os.urandom(8), "little")
    _state["drawn"] += 1
    return mix(_state["seed"] + _state["drawn"] * 0x9E3779B97F4A7C15)


def mix(value):
    """A 64-bit hash of an integer: the output function of SplitMix64 (Steele, Lea, Flood, 2014)."""
    z = value & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
