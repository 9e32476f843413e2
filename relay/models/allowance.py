"""How much one response may have us hold beside the words it lets us speak."""

from __future__ import annotations

from relay.errors import ModelRejected

ARGUMENTS = 128 * 1024  # characters of the arguments of all calls
CARRY = 1024 * 1024  # bytes of items that go back to the provider
CALL = 1024  # a call counts for so many characters even without arguments


class Allowance:
    __slots__ = ("_left",)

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> None:
        """Raises ModelRejected when it is used up: asked once more, the model would do the same."""
        self._left -= size
        if self._left < 0:
            raise ModelRejected("the model's answer does not end", received=True, fields={"reason": "too much"})
