"""A client of the sidecar, by its description at /openapi/v1.json."""

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Optional

Query = dict[str, str]


class Problem(Exception):
    """What the sidecar says where something can't be done (`ProblemDetails`)."""

    def __init__(self, status: int, details: dict[str, Any], challenge: Optional[str]) -> None:
        super().__init__(f"{status}: {details.get('detail') or details.get('title') or 'no details'}")
        self.status = status
        self.details = details
        # What a web API can hand on to its own caller, where the user is to answer a challenge.
        self.challenge = challenge


@dataclass(frozen=True)
class AuthorizationHeader:
    """`AuthorizationHeaderResult`: what a call of the API presents."""

    value: str = field(repr=False)
    session_key: Optional[str] = field(default=None, repr=False)


@dataclass(frozen=True)
class ApiResponse:
    """`DownstreamApiResult`: what the API answered, whatever its status."""

    status: int
    headers: dict[str, list[str]]
    content: Optional[str]
    is_base64: bool


class Sidecar:
    """The sidecar at a URL."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def validate(self, token: str) -> dict[str, Any]:
        """The claims of a token that the application may be called with."""
        claims: dict[str, Any] = self._ask("GET", "/Validate", token)["claims"]
        return claims

    def header_for_user(self, api: str, token: str, **options: str) -> AuthorizationHeader:
        """The header for a call on behalf of the user whose token it is."""
        return self._header(f"/AuthorizationHeader/{api}", token, overrides(options))

    def header_for_app(self, api: str, scope: str) -> AuthorizationHeader:
        """The header for a call as the application itself."""
        query = overrides({"RequestAppToken": "true", "Scopes": scope})
        return self._header(f"/AuthorizationHeaderUnauthenticated/{api}", None, query)

    def header_for_agent(
        self, api: str, agent: str, username: Optional[str] = None, user_id: Optional[str] = None
    ) -> AuthorizationHeader:
        """The header for a call as an agent, for the user of that name or object id."""
        query = {"AgentIdentity": agent}
        if username is not None:
            query["AgentUsername"] = username
        if user_id is not None:
            query["AgentUserId"] = user_id
        return self._header(f"/AuthorizationHeaderUnauthenticated/{api}", None, query)

    def begin_long_running(self, api: str, token: str) -> AuthorizationHeader:
        """Begins a process that goes on when the user's token has expired: its key is in the answer."""
        return self.header_for_user(api, token, **{SESSION_KEY: "AllocateForMe"})

    def continue_long_running(self, api: str, key: str) -> AuthorizationHeader:
        """Goes on with it."""
        return self._header(f"/AuthorizationHeaderUnauthenticated/{api}", None, overrides({SESSION_KEY: key}))

    def call(
        self, api: str, token: str, body: Optional[bytes] = None, content_type: Optional[str] = None, **options: str
    ) -> ApiResponse:
        """Calls the API on behalf of the user whose token it is."""
        answer = self._ask("POST", f"/DownstreamApi/{api}", token, overrides(options), body, content_type)
        return ApiResponse(
            answer["statusCode"], answer["headers"], answer["content"], answer.get("contentIsBase64", False)
        )

    def _header(self, path: str, token: Optional[str], query: Query) -> AuthorizationHeader:
        answer = self._ask("GET", path, token, query)
        return AuthorizationHeader(answer["authorizationHeader"], answer.get("longRunningWebApiSessionKey"))

    def _ask(
        self,
        method: str,
        path: str,
        token: Optional[str],
        query: Optional[Query] = None,
        body: Optional[bytes] = None,
        content_type: Optional[str] = None,
    ) -> dict[str, Any]:
        url = self._url + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(url, data=body, method=method)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        if content_type is not None:
            request.add_header("Content-Type", content_type)
        try:
            with urllib.request.urlopen(request) as answer:
                result: dict[str, Any] = json.load(answer)
                return result
        except urllib.error.HTTPError as error:
            text = error.read()
            is_problem = error.headers.get_content_type() == "application/problem+json"
            details = json.loads(text) if is_problem else {"detail": text.decode(errors="replace")}
            raise Problem(error.code, details, error.headers.get("WWW-Authenticate")) from None


def overrides(options: dict[str, str]) -> Query:
    """What is to be different from the configuration."""
    return {f"optionsOverride.{name}": value for name, value in options.items()}


SESSION_KEY = "AcquireTokenOptions.LongRunningWebApiSessionKey"
