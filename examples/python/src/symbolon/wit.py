"""The records of `symbolon:core` that a driver makes, with the names of Python.

`wit/core` has their documentation. An absent value is `None`; enumerations are strings, variants are `Variant`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Union

from wasmtime.component import Record, Variant

Pairs = list[tuple[str, str]]


class WitRecord(Record):
    """wasmtime reads the fields by their names in the interface, which have hyphens."""

    def __getattr__(self, name: str) -> Any:
        if "-" in name:
            return getattr(self, name.replace("-", "_"))
        raise AttributeError(name)


@dataclass(frozen=True)
class Application(WitRecord):
    client_id: str
    authority: str
    authority_type: str | None = None
    skip_authority_validation: bool = False
    instance_metadata: str | None = None
    instance_discovery_uri: str | None = None
    token_endpoint_auth_method: str | None = None
    assertions_for_token_endpoint: bool = False
    azure_region: str | None = None
    client_capabilities: list[str] = field(default_factory=list)
    send_x5c: bool = False
    token_exchange_url: str | None = None
    bound_flows: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Context(WitRecord):
    application: Application
    now: int
    deadline: int
    seed: tuple[int, int, int, int]
    proactive_refresh: bool = False


@dataclass(frozen=True)
class CachePartition(WitRecord):
    """A name of the caller's own that keeps tokens apart in the cache."""

    name: str
    value: str
    refresh_tokens: bool = False


@dataclass(frozen=True)
class Options(WitRecord):
    """What is asked beside scopes and flow. What is absent or empty asks for nothing."""

    authority: str | None = None
    """Another authority than the application's."""
    tenant_id: str | None = None
    """Another directory than that of the authority."""
    claims: str | None = None
    """The claims of a claims challenge, JSON. They bypass the cache."""
    client_claims: str | None = None
    """The client's own claims, JSON. They partition the cache."""
    force_refresh: bool = False
    """Take no token from the cache."""
    access_token_sha256_to_refresh: str | None = None
    pop_public_key: str | None = None
    client_assertion_fmi_path: str | None = None
    extra_client_assertion_claims: str | None = None
    send_x5c: bool | None = None
    cache_partitions: list[CachePartition] = field(default_factory=list)
    correlation_id: str | None = None
    """A GUID that goes to the authority as `client-request-id`."""
    extra_query_parameters: Pairs = field(default_factory=list)
    encoded_query_parameters: Pairs = field(default_factory=list)
    extra_body_parameters: Pairs = field(default_factory=list)
    extra_headers: Pairs = field(default_factory=list)


@dataclass(frozen=True)
class Request(WitRecord):
    flow: Variant
    scopes: list[str]
    scheme: str
    options: Options


@dataclass(frozen=True)
class ClientFlow(WitRecord):
    fmi_path: str | None = None
    attributes: str | None = None
    attribute_tokens: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class UserAssertion(WitRecord):
    assertion: str
    kind: str = "jwt"


@dataclass(frozen=True)
class SessionStart(WitRecord):
    assertion: UserAssertion
    session_key: str | None
    search_in_cache: bool


@dataclass(frozen=True)
class AuthorizationCode(WitRecord):
    code: str
    redirect_uri: str
    code_verifier: str | None
    spa_code: bool
    offline_access: bool
    issuer: str | None
    skip_issuer_check: bool = False


@dataclass(frozen=True)
class UsernamePassword(WitRecord):
    username: str
    password: str


@dataclass(frozen=True)
class FederatedUser(WitRecord):
    user: Variant
    assertion: str


@dataclass(frozen=True)
class AgentFlow(WitRecord):
    agent: str
    subject: Union[None, Variant, UserAssertion]


@dataclass(frozen=True)
class SignIn(WitRecord):
    scopes: list[str]
    redirect_uri: str
    offline_access: bool
    login_hint: str | None
    domain_hint: str | None
    prompt: str | None
    options: Options


@dataclass(frozen=True)
class Certificate(WitRecord):
    chain: list[bytes]
    thumbprint_sha256: str
    thumbprint_sha1: str
    not_after: int
    algorithms: list[str]
    key_id: str | None = None


@dataclass(frozen=True)
class Description(WitRecord):
    """What may be known about a credential."""

    name: str
    kind: str
    use_bound: str = "unspecified"
    omit_assertion_when_bound: bool = False
    certificate: Certificate | None = None


@dataclass(frozen=True)
class CredentialFailure(WitRecord):
    kind: str
    message: str
    retry_after_ms: int | None = None


@dataclass(frozen=True)
class AssertionContext:
    """What a client assertion is wanted for."""

    client_id: str
    token_endpoint: str
    authority: str
    tenant_id: str | None
    fmi_path: str | None
    claims: str | None
    client_capabilities: list[str]
    correlation_id: str


@dataclass(frozen=True)
class SignedAssertion(WitRecord):
    assertion: str
    bound: bool
    expires_on: int | None = None


@dataclass(frozen=True)
class Lead(WitRecord):
    absence: str
    now: int


@dataclass(frozen=True)
class Answer(WitRecord):
    status: int
    headers: Pairs
    body: bytes


@dataclass(frozen=True)
class NoAnswer(WitRecord):
    kind: str
    detail: str
    may_be_sent: bool


@dataclass(frozen=True)
class Platform(WitRecord):
    variables: list[Any] = field(default_factory=list)
    arc_agent_installed: bool = False
