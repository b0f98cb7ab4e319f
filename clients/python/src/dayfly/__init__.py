"""Access tokens of a Dayfly daemon, each bound to a key that never leaves this process.

`dayfly.httpx.DPoPAuth` and `dayfly.requests.DPoPAuth` put them into requests.
"""

from ._errors import DayflyError, OtherOrigin, Refused, Unavailable
from ._session import Session, default_session

__all__ = ["DayflyError", "OtherOrigin", "Refused", "Session", "Unavailable", "default_session"]
