"""A text that is shown nowhere by accident."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Holds a text. Printing, formatting and pickling do not show it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def expose(self) -> str:
        """The text. Each call is a place to review."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(..)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is neither copied nor pickled")
