"""Runs the project's vectors of token requests through the package, and compares what goes over the wire."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timezone
from typing import Any, Callable, Iterable
from urllib.parse import parse_qsl, quote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from symbolon import (
    Account,
    AcquisitionError,
    AuthenticationResult,
    ClientAssertion,
    ClientCertificate,
    ClientSecret,
    ConfidentialClientApplication,
    Credential,
    Options,
)
from symbolon.pem import read_pem
from symbolon.transport import HttpRequest, HttpResponse, form_encoded

NOW = 1_700_000_000_000
USER = "user@contoso.com"
TRUSTED_REALM = "http://schemas.microsoft.com/rel/trusted-realm"
Members = dict[str, Any]


class Uncovered(Exception):
    """A member of a vector that isn't understood."""


class Authority:
    """Answers as the authority of a vector, and keeps what it was sent."""

    def __init__(self, vector: Members, token_types: Iterable[str | None] = ()) -> None:
        self.sent: list[HttpRequest] = []
        self.account = vector.get("home_account_id", "uid.utid").split(".")
        self._refresh_token = vector.get("refresh_token", "rt")
        self._authority = vector.get("authority", "")
        self._tokens = [vector[name] for name in ("t1", "t2") if name in vector]
        self._types = list(token_types)

    def send(self, request: HttpRequest) -> HttpResponse:
        url = urlsplit(request.url)
        if url.path == "/common/discovery/instance":
            host = urlsplit(dict(parse_qsl(url.query))["authorization_endpoint"]).hostname
            return _json({"metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}]})
        if url.path == "/.well-known/webfinger":
            host = urlsplit(self._authority).hostname
            return _json({"links": [{"rel": TRUSTED_REALM, "href": f"https://{host}"}]})
        self.sent.append(request)
        form = dict(fields(request))
        token_type = self._types.pop(0) if self._types else None
        answer = {
            "access_token": self._tokens.pop(0) if self._tokens else "token",
            "token_type": token_type or form.get("token_type", "Bearer"),
            "expires_in": 3600,
        }
        if form["grant_type"] != "client_credentials":
            uid, utid = self.account
            claims = {"oid": uid, "tid": utid, "preferred_username": form.get("username", USER)}
            answer["client_info"] = _encoded({"uid": uid, "utid": utid})
            answer["id_token"] = f"e30.{_encoded(claims)}.c2ln"
            if "offline_access" in form.get("scope", ""):
                answer["refresh_token"] = self._refresh_token
            if "return_spa_code" in form:
                answer["spa_code"] = "spa"
        return _json(answer)


class Outcome:
    """What became of a vector: the request that is meant, or the error before there was one."""

    def __init__(self, vector: Members) -> None:
        self._vector = vector
        authority = Authority(vector)
        self.error: AcquisitionError | None = None
        before = 0
        try:
            app = _application(vector, authority)
            _prepare(vector, app, authority)
            before = len(authority.sent)
            _acquire(vector, app, authority)
        except AcquisitionError as error:
            self.error = error
        self._before = before
        self.sent = authority.sent[before:]
        if self.error and self.sent:
            raise self.error
        leg = vector.get("leg")
        self.request = None if self.error else self.sent[leg - 1 if isinstance(leg, int) else -1]

    def accepted_token_type(self) -> str | None:
        """The one type of token that is accepted in answer to the last request."""
        for token_type in ("bearer", "mtls_pop", "pop"):
            types = [None] * (self._before + len(self.sent) - 1) + [token_type]
            authority = Authority(self._vector, types)
            app = _application(self._vector, authority)
            try:
                _prepare(self._vector, app, authority)
                _acquire(self._vector, app, authority)
                return token_type
            except AcquisitionError:
                pass
        return None


def differences(expect: Members, outcome: Outcome) -> list[str]:
    """What isn't as expected."""
    wanted = dict(expect)
    wanted.setdefault("error_code", wanted.pop("error", None))
    got = {name: _got(name, value, outcome) for name, value in wanted.items()}
    found = [f"{name}: expected {wanted[name]!r}, got {got[name]!r}" for name in wanted if wanted[name] != got[name]]
    if outcome.request and outcome.request.body != encoded_form(fields(outcome.request)):
        found.append(f"the body isn't the form that it says: {outcome.request.body}")
    return found


def _got(name: str, expected: Any, outcome: Outcome) -> Any:
    request = outcome.request
    if request is None:
        if name == "error_code" and outcome.error:
            return "argument" if expected == "argument" and outcome.error.kind == "invalid-request" else outcome.error.code
        return None
    form = dict(fields(request))
    headers = {header.lower(): value for header, value in request.headers}
    header, payload = (_part(form.get("client_assertion", ""), part) for part in (0, 1))
    readers: dict[str, Callable[[], Any]] = {
        "error_code": lambda: None,
        "url": lambda: request.url,
        "host": lambda: urlsplit(request.url).netloc,
        "tls_client_cert": lambda: request.certificate is not None,
        "body": lambda: {field: form.get(field) for field in expected},
        "body_order": lambda: [field for field, _ in fields(request)],
        "required_body": lambda: [field for field in expected if form.get(field)],
        "absent_body": lambda: [field for field in expected if field not in form],
        "headers": lambda: {header: headers.get(header.lower()) for header in expected},
        "required_headers": lambda: [header for header in expected if header.lower() in headers],
        "absent_headers": lambda: [header for header in expected if header.lower() not in headers],
        "assertion_header_has": lambda: [member for member in expected if member in header],
        "absent_assertion_header": lambda: [member for member in expected if header and member not in header],
        "assertion_alg": lambda: header.get("alg"),
        "assertion_aud": lambda: payload.get("aud"),
        "expected_token_type": outcome.accepted_token_type,
    }
    if name not in readers:
        raise Uncovered(name)
    return readers[name]()


def expectation(vector: Members) -> Members:
    """What is expected where Symbolon does better on purpose: the rules of the conformance runner that apply here."""
    expect: Members = json.loads(json.dumps(vector["expect"]))
    for name, value in (("x-client-sku", "Symbolon"), ("x-client-ver", "0.1.0")):
        for header in expect.get("headers", {}):
            if header.lower() == name:
                expect["headers"][header] = value
    if "url" in expect and (query := vector["input"].get("extra_query_parameters")):
        pairs = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
        expect["url"] = f"{expect['url'].partition('?')[0]}?{pairs}"
    if not vector["input"].get("region", "a").isalnum():
        expect = {"error_code": "invalid_region"}
    return expect


def fields(request: HttpRequest) -> list[tuple[str, str]]:
    """The fields of the body, in order."""
    return parse_qsl(request.body, keep_blank_values=True)


def encoded_form(pairs: list[tuple[str, str]]) -> str:
    """The bytes of a form: the core percent-encodes, the secret is put into its place as forms are encoded."""
    encoded = {name: quote(value, safe="") for name, value in pairs}
    if secret := dict(pairs).get("client_secret"):
        encoded["client_secret"] = form_encoded(secret)
    return "&".join(f"{quote(name, safe='')}={encoded[name]}" for name, _ in pairs)


def _application(vector: Members, authority: Authority) -> ConfidentialClientApplication:
    return ConfidentialClientApplication(
        vector.get("client_id") or vector.get("blueprint_client_id", "client"),
        _credential(vector),
        vector.get("authority", "https://login.microsoftonline.com/contoso.com"),
        azure_region=vector.get("region"),
        client_capabilities=vector.get("capabilities", []),
        send_x5c=vector.get("send_x5c", False),
        http_client=authority,
        clock=lambda: NOW,
    )


def _credential(vector: Members) -> Credential:
    bound = vector.get("send_certificate_over_mtls", False)
    if vector.get("certificate"):
        return certificate(bound)
    if assertion := vector.get("client_assertion"):
        return ClientAssertion(lambda context: str(assertion), certificate(False) if vector.get("binding_certificate") else None)
    return certificate(bound) if bound else ClientSecret(vector.get("client_secret", "secret"))


def certificate(bound: bool) -> ClientCertificate:
    """A certificate whose key signs, made once."""
    chain, sign, algorithms, not_after = _identity()
    return ClientCertificate(chain, sign, not_after=not_after, algorithms=algorithms, bound=bound)


def _identity() -> tuple[list[bytes], Callable[[str, bytes], bytes], list[str], int]:
    if not _made:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "conformance.example")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
        builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=timezone.utc))
        signed = builder.not_valid_after(datetime(2040, 1, 1, tzinfo=timezone.utc)).sign(key, SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _made.append(read_pem(pem + signed.public_bytes(Encoding.PEM)))
    return _made[0]


_made: list[tuple[list[bytes], Callable[[str, bytes], bytes], list[str], int]] = []


def _options(vector: Members) -> Options:
    return Options(
        tenant_id=vector.get("tenant"),
        claims=vector.get("claims"),
        client_claims=vector.get("client_claims"),
        correlation_id=vector.get("correlation_id"),
        extra_query_parameters=list(vector.get("extra_query_parameters", {}).items()),
        extra_body_parameters=list(vector.get("extra_body_parameters", {}).items()),
        extra_headers=list(vector.get("extra_headers", {}).items()),
    )


def _prepare(vector: Members, app: ConfidentialClientApplication, authority: Authority) -> None:
    """Makes the user or the process known that the flow goes on with."""
    scopes, options = ["another/scope"], _options({**vector, "claims": None})
    if vector["flow"] == "silent":
        app.acquire_token_by_authorization_code("code", scopes, "", options)
    if vector["flow"] == "long_running_obo_acquire":
        app.initiate_long_running_process("the user's token", scopes, vector["key"], options)


def _acquire(vector: Members, app: ConfidentialClientApplication, authority: Authority) -> AuthenticationResult:
    scopes = vector.get("scopes", ["https://graph.microsoft.com/.default"])
    options, pop = _options(vector), vector.get("mtls_pop", False)
    user = {"username": vector.get("username"), "user_object_id": vector.get("user_id")}
    match vector["flow"]:
        case "client_credentials":
            names = ("fmi_path", "attributes", "attribute_tokens")
            inputs = {name: vector[name] for name in names if name in vector}
            return app.acquire_token_for_client(scopes, options, mtls_proof_of_possession=pop, **inputs)
        case "obo":
            kind = vector.get("assertion_type", "jwt")
            kind = "saml11" if "saml1" in kind else "saml2" if "saml2" in kind else "jwt"
            assertion = vector.get("user_assertion", "the user's token")
            return app.acquire_token_on_behalf_of(
                assertion, scopes, options, assertion_kind=kind, mtls_proof_of_possession=pop
            )
        case "long_running_obo_initiate":
            return app.initiate_long_running_process(vector["user_assertion"], scopes, vector["key"], options)
        case "long_running_obo_acquire":
            return app.acquire_token_in_long_running_process(vector["key"], scopes, options)
        case "silent":
            account = Account(".".join(authority.account), "login.microsoftonline.com", USER)
            return app.acquire_token_silent(scopes, account, options)
        case "refresh_token":
            return app.acquire_token_by_refresh_token(vector["refresh_token"], scopes, options)
        case "auth_code":
            names = ("code_verifier", "spa_code", "offline_access")
            inputs = {name: vector[name] for name in names if name in vector}
            return app.acquire_token_by_authorization_code(
                vector["code"], scopes, vector.get("redirect_uri", ""), options, **inputs
            )
        case "ropc":
            return app.acquire_token_by_username_password(vector["username"], vector["password"], scopes, options)
        case "user_fic":
            return app.acquire_token_by_user_federated_identity_credential(
                vector["assertion"], scopes, options, **user
            )
        case "agent":
            if vector.get("leg") == 2:
                user["username"] = USER
            return app.acquire_token_for_agent(
                vector.get("agent_app_id", "agent"), scopes, options, user_assertion=vector.get("user_assertion"), **user
            )
    raise Uncovered(vector["flow"])


def _part(token: str, part: int) -> Members:
    """The header or the claims of a JSON Web Token."""
    try:
        encoded = token.split(".")[part]
        members: Members = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        return members
    except (IndexError, ValueError):
        return {}


def _encoded(members: Members) -> str:
    return urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()


def _json(members: Members) -> HttpResponse:
    return HttpResponse(200, [("content-type", "application/json")], json.dumps(members).encode())
