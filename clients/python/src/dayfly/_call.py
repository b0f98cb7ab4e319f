"""What each adapter does alike: the credentials of a request, and what an answer asks for. Knows no HTTP client."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from ._challenge import error_of
from ._errors import OtherOrigin
from ._session import Session, Token, Wanted, default_session
from ._url import Target


class Next(Enum):
    """What comes after an answer."""

    DONE = auto()
    AGAIN = auto()


class Tool:
    """A tool, by its audience; the origin that its tokens may go to; and whose they are."""

    def __init__(self, resource: str, scope: str, base_url: str | None, session: Session | None) -> None:
        try:
            self.origin = Target.of_text(base_url or resource).origin
        except ValueError:
            raise ValueError("base_url must be the tool's http or https URL, as its audience is none") from None
        self.wanted = Wanted.of(resource, scope)
        self._session = session

    @property
    def session(self) -> Session:
        return self._session or default_session()

    def must_take(self, target: Target) -> None:
        """Raises `OtherOrigin` where a request is for somebody else."""
        if target.origin != self.origin:
            raise OtherOrigin(f"tokens for {self.wanted.resource} go to {self.origin}, and never to {target.origin}")

    def __repr__(self) -> str:
        return f"resource={self.wanted.resource!r}, scope={self.wanted.scope!r}, origin={self.origin!r}"


class Adapter:
    """Sends each request with a token for one tool and a proof of its own.

    `resource` is the tool's audience as it is registered, `scope` what is wanted of it, with a space between each;
    empty for all that is granted. `base_url` is where the tool is, if its audience is not: tokens go to that origin
    alone. Several may share a session; without one it is that of the process.

    A request that is refused for its nonce, proof or token is sent once more for each, where its body can be.
    """

    def __init__(
        self, resource: str, scope: str = "", *, base_url: str | None = None, session: Session | None = None
    ) -> None:
        self._tool = Tool(resource, scope, base_url, session)

    def __repr__(self) -> str:
        return f"DPoPAuth({self._tool!r})"


class Call:
    """One request and its repetitions: for each cause at most one."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        self.session = tool.session
        self._causes: set[str] = set()

    def credentials(self, token: Token, method: str, target: Target) -> dict[str, str]:
        """The two headers, for this request alone."""
        nonce = self.session._state.nonces.of(target.origin)
        proof = self.session._state.key.proof(method, target.url, nonce, token.text)
        return {"Authorization": f"DPoP {token.text.expose()}", "DPoP": proof}

    def judge(
        self, token: Token | None, target: Target, status: int, challenges: Iterable[str], nonce: str | None
    ) -> Next:
        """What comes after the answer to a request with this token, or with none as after a redirect."""
        nonces = self.session._state.nonces
        is_new = nonces.learn(target.origin, nonce)
        if status != 401:
            return Next.DONE
        if token is None:
            return self._once(f"redirected to {target.url}")
        match error_of(challenges):
            case "use_dpop_nonce" if is_new:
                return self._once("nonce")
            case "invalid_token":
                self.session._spoil(self.tool.wanted, token)
                return self._once("token")
            case "invalid_dpop_proof":
                # Perhaps for a nonce that nobody wants, or because something below sent the request twice.
                nonces.forget(target.origin)
                return self._once("proof")
            case _:
                return Next.DONE

    def _once(self, cause: str) -> Next:
        if cause in self._causes:
            return Next.DONE
        self._causes.add(cause)
        return Next.AGAIN
