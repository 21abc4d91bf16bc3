"""A dict that is made when it is read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Deferred:
    """A dict that is made when it is read: making ``_hidden_params`` takes longer than the rest of an answer."""

    __slots__ = ("function", "made", "source")

    def __init__(self, function: Any, source: Any) -> None:
        self.function, self.source = function, source
        self.made: Any = None

    def make(self) -> dict[str, Any]:
        if self.made is None:
            self.made, self.source = self.function(*self.source), None
        made: dict[str, Any] = self.made
        return made

    def __eq__(self, other: object) -> bool:
        return self.make() == (other.make() if isinstance(other, Deferred) else other)

    def __reduce__(self) -> Any:
        return dict, (self.make(),)

    def __deepcopy__(self, memo: Any) -> Any:
        from copy import deepcopy

        return deepcopy(self.make(), memo)
