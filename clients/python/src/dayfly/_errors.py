"""What can go wrong before a request is sent. No text here ever has a token, a key or a proof in it."""

from __future__ import annotations


class DayflyError(Exception):
    """Any error of this package."""

    def _again(self) -> DayflyError:
        """The same for another thread, as a traceback belongs to one."""
        return type(self)(*self.args)


class Unavailable(DayflyError):
    """The daemon does not answer, or not as one does."""


class OtherOrigin(DayflyError):
    """A request goes to another origin than the one that the token is for."""


class Refused(DayflyError):
    """The daemon issues no token.

    `error` and `error_description` are the daemon's (RFC 6749 §5.2), `status` is that of HTTP, and `retry_after` the
    seconds after which it may be asked again, where it says so.
    """

    def __init__(self, error: str, error_description: str, status: int, retry_after: int | None = None) -> None:
        super().__init__(error, error_description, status, retry_after)
        self.error = error
        self.error_description = error_description
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        later = "" if self.retry_after is None else f" (again in {self.retry_after} s)"
        return f"no access token: {self.error}: {self.error_description}{later}"
