"""Confidential clients, with the names of MSAL."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

from wasmtime.component import Variant

from .cache import TokenCache
from .component import ProtocolCore, refused
from .credential import ClientSecret, Credential
from .driver import Driver
from .transport import HttpClient, HttpsClient
from .wit import (
    AgentFlow,
    Application,
    AuthorizationCode,
    ClientFlow,
    Context,
    FederatedUser,
    Options,
    Request,
    SessionStart,
    SignIn,
    UserAssertion,
    UsernamePassword,
)

DEADLINE_MS = 30_000
"""How long an acquisition may take."""


@dataclass(frozen=True)
class Account:
    """A user who is known."""

    home_account_id: str
    """`{object id}.{tenant id}` of the user's home."""
    environment: str
    username: str


@dataclass(frozen=True)
class AuthenticationResult:
    """An access token and what is known about it."""

    access_token: str = field(repr=False)
    token_type: str
    expires_on: int
    """Unix seconds."""
    scopes: list[str]
    tenant_id: str | None
    account: Account | None
    id_token: str | None = field(repr=False)
    correlation_id: str
    token_source: str
    """`identity-provider` or `cache`."""
    key_id: str | None
    """`x5t#S256` of the certificate that the token is bound to."""
    session_key: str | None = field(repr=False)
    """The key of the long-running process."""
    spa_authorization_code: str | None = field(repr=False)

    @property
    def authorization_header(self) -> str:
        """The value of the header `authorization`."""
        return f"{self.token_type} {self.access_token}"


@dataclass(frozen=True)
class AuthorizationRequest:
    """The beginning of a sign-in: `url` is for the browser, the rest for the end of it."""

    url: str
    code_verifier: str = field(repr=False)
    state: str
    nonce: str


class ConfidentialClientApplication:
    """A confidential client of Microsoft Entra ID.

    `authority` names the tenant, such as `https://login.microsoftonline.com/contoso.com`; with the `authority_type` `oidc` it is the issuer of
    any OpenID Connect provider. A `client_credential` that is a string is a secret. `http_client` and `token_cache` may be the caller's own.
    """

    def __init__(
        self,
        client_id: str,
        client_credential: Credential | str,
        authority: str,
        *,
        authority_type: str | None = None,
        azure_region: str | None = None,
        client_capabilities: Sequence[str] = (),
        send_x5c: bool = False,
        http_client: HttpClient | None = None,
        token_cache: TokenCache | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        if isinstance(client_credential, str):
            client_credential = ClientSecret(client_credential)
        self._application = Application(
            client_id=client_id,
            authority=authority,
            authority_type=authority_type,
            azure_region=azure_region,
            client_capabilities=list(client_capabilities),
            send_x5c=send_x5c,
        )
        self._cache = token_cache or TokenCache()
        self._clock = clock
        self._driver = Driver(client_credential, http_client or HttpsClient(), self._cache, clock)

    def acquire_token_for_client(
        self,
        scopes: Sequence[str],
        options: Options = Options(),
        *,
        mtls_proof_of_possession: bool = False,
        fmi_path: str | None = None,
        attributes: str | None = None,
        attribute_tokens: Sequence[str] = (),
    ) -> AuthenticationResult:
        """A token for the application itself, such as for `https://graph.microsoft.com/.default`."""
        flow = ClientFlow(fmi_path, attributes, list(attribute_tokens))
        return self._acquire("for-client", flow, scopes, options, mtls_proof_of_possession)

    def acquire_token_on_behalf_of(
        self,
        user_assertion: str,
        scopes: Sequence[str],
        options: Options = Options(),
        *,
        assertion_kind: str = "jwt",
        mtls_proof_of_possession: bool = False,
    ) -> AuthenticationResult:
        """A token for the user whose token the caller was given. `assertion_kind` is `jwt`, `saml11` or `saml2`."""
        flow = UserAssertion(user_assertion, assertion_kind)
        return self._acquire("on-behalf-of", flow, scopes, options, mtls_proof_of_possession)

    def initiate_long_running_process(
        self,
        user_assertion: str,
        scopes: Sequence[str],
        session_key: str | None = None,
        options: Options = Options(),
        *,
        search_in_cache: bool = False,
    ) -> AuthenticationResult:
        """The same, and keeps what it takes to go on without the user's token, under a session key that the result tells."""
        start = SessionStart(UserAssertion(user_assertion), session_key, search_in_cache)
        return self._acquire("initiate-long-running-process", start, scopes, options)

    def acquire_token_in_long_running_process(
        self, session_key: str, scopes: Sequence[str], options: Options = Options()
    ) -> AuthenticationResult:
        """Goes on under a session key."""
        return self._acquire("acquire-in-long-running-process", session_key, scopes, options)

    def stop_long_running_process(self, session_key: str) -> bool:
        """Ends a long-running process: its tokens are gone. Whether there were any."""
        return self._remove("session-group", session_key)

    def acquire_token_silent(
        self, scopes: Sequence[str], account: Account, options: Options = Options()
    ) -> AuthenticationResult:
        """A token for a user who is known: from the cache, or by the refresh token there."""
        return self._acquire("silent", account.home_account_id, scopes, options)

    def acquire_token_by_refresh_token(
        self, refresh_token: str, scopes: Sequence[str], options: Options = Options()
    ) -> AuthenticationResult:
        """A token by a refresh token that another library kept."""
        return self._acquire("by-refresh-token", refresh_token, scopes, options)

    def authorization_request(
        self,
        scopes: Sequence[str],
        redirect_uri: str,
        *,
        login_hint: str | None = None,
        domain_hint: str | None = None,
        prompt: str | None = None,
        offline_access: bool = True,
        options: Options = Options(),
    ) -> AuthorizationRequest:
        """Begins a person's sign-in. Asks nobody, except an OpenID Connect provider for its metadata."""
        sign_in = SignIn(list(scopes), redirect_uri, offline_access, login_hint, domain_hint, prompt, options)
        request = self._driver.begin(sign_in, self._context())
        return AuthorizationRequest(request.url, getattr(request, "code-verifier"), request.state, request.nonce)

    def acquire_token_by_authorization_code(
        self,
        code: str,
        scopes: Sequence[str],
        redirect_uri: str,
        options: Options = Options(),
        *,
        code_verifier: str | None = None,
        spa_code: bool = False,
        offline_access: bool = True,
        issuer: str | None = None,
    ) -> AuthenticationResult:
        """Ends a person's sign-in. `issuer` is the `iss` that came with the code (RFC 9207)."""
        flow = AuthorizationCode(code, redirect_uri, code_verifier, spa_code, offline_access, issuer)
        return self._acquire("by-authorization-code", flow, scopes, options)

    def acquire_token_by_username_password(
        self, username: str, password: str, scopes: Sequence[str], options: Options = Options()
    ) -> AuthenticationResult:
        """A token by name and password. Discouraged: it keeps no second factor."""
        return self._acquire("by-username-password", UsernamePassword(username, password), scopes, options)

    def acquire_token_by_user_federated_identity_credential(
        self,
        assertion: str,
        scopes: Sequence[str],
        options: Options = Options(),
        *,
        username: str | None = None,
        user_object_id: str | None = None,
    ) -> AuthenticationResult:
        """A token for a user, named in one of two ways, by a token of the application that is trusted to name users."""
        user = FederatedUser(_user(username, user_object_id), assertion)
        return self._acquire("by-user-federated-identity-credential", user, scopes, options)

    def acquire_token_for_agent(
        self,
        agent: str,
        scopes: Sequence[str],
        options: Options = Options(),
        *,
        username: str | None = None,
        user_object_id: str | None = None,
        user_assertion: str | None = None,
    ) -> AuthenticationResult:
        """A token for an agent of this application: for itself, for a user of its own, or for the user of an assertion."""
        subject: Variant | UserAssertion | None = None
        if user_assertion is not None:
            subject = UserAssertion(user_assertion)
        elif username is not None or user_object_id is not None:
            subject = _user(username, user_object_id)
        return self._acquire("for-agent", AgentFlow(agent, subject), scopes, options)

    def get_accounts(self) -> list[Account]:
        """The users who are known."""
        core = ProtocolCore()
        group = core.call("accounts-group", self._application)
        known = (core.call("known-account", entry) for entry in self._cache.members(group))
        return [_account(account) for account in known if account is not None]

    def remove_account(self, account: Account) -> bool:
        """Forgets a user. Whether there was anything to forget."""
        return self._remove("account-group", account.home_account_id)

    def _acquire(
        self, flow: str, inputs: Any, scopes: Sequence[str], options: Options, is_bound: bool = False
    ) -> AuthenticationResult:
        scheme = "mtls-pop" if is_bound else "bearer"
        request = Request(Variant(flow, inputs), list(scopes), scheme, options)
        return _result(self._driver.run(request, self._context()))

    def _context(self) -> Context:
        now, seed = self._clock(), [secrets.randbits(64) for _ in range(4)]
        return Context(self._application, now, now + DEADLINE_MS, (seed[0], seed[1], seed[2], seed[3]))

    def _remove(self, group_of: str, name: str) -> bool:
        group = ProtocolCore().call(group_of, self._application, name)
        return self._cache.remove_group(group if isinstance(group, str) else refused(group))


def _user(username: str | None, object_id: str | None) -> Variant:
    if (username is None) == (object_id is None):
        raise ValueError("a user has one name here: username or user_object_id")
    return Variant("username", username) if object_id is None else Variant("object-id", object_id)


def _account(record: Any) -> Account:
    return Account(getattr(record, "home-account-id"), record.environment, record.username)


def _result(token: Any) -> AuthenticationResult:
    return AuthenticationResult(
        access_token=token.token,
        token_type=getattr(token, "token-type"),
        expires_on=getattr(token, "expires-on"),
        scopes=token.scopes,
        tenant_id=getattr(token, "tenant-id"),
        account=_account(token.account) if token.account else None,
        id_token=getattr(token, "id-token"),
        correlation_id=getattr(token, "correlation-id"),
        token_source=token.source,
        key_id=getattr(token, "key-id"),
        session_key=getattr(token, "session-key"),
        spa_authorization_code=getattr(token, "spa-code"),
    )
