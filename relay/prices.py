"""What a model's tokens cost, by the operator's own prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relay.models.base import Usage

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens, in whatever currency: of what a model reads, of that part of it which the provider
    had in its cache, and of what it writes."""

    input: float
    cached: float
    output: float

    def of(self, usage: Usage) -> Mapping[str, float]:
        """Money by kind. ``cached`` tokens are a part of the ``input`` and are paid once, at their own price."""
        return {
            "input": max(0, usage.input - usage.cached) * self.input / MILLION,
            "cached": usage.cached * self.cached / MILLION,
            "output": usage.output * self.output / MILLION,
        }


def make_prices(input: float | None, cached: float | None, output: float | None) -> Prices | None:
    """None while one of the two prices that everything costs is not set: a part of the money would look like all."""
    if input is None or output is None:
        return None
    return Prices(input, input if cached is None else cached, output)
