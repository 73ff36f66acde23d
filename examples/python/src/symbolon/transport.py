"""Requests to the authority: a client for them, and what an HTTP client of the caller's own must be."""

from __future__ import annotations

import http.client
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Mapping, Protocol
from urllib.parse import quote_plus, unquote_plus, urlsplit

from wasmtime.component import Variant

from .credential import ClientCertificate
from .errors import TransportError

MAX_BODY_BYTES = 1024 * 1024
"""A longer body counts as no answer."""


@dataclass(frozen=True, repr=False)
class HttpRequest:
    """A request, with its secret in its place. Redirects must not be followed."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str
    connect_timeout: float
    """In seconds."""
    answer_timeout: float
    """How long the answer may take to begin, in seconds."""
    certificate: ClientCertificate | None = None
    """What must be presented in the TLS handshake: a client that can't raises `TransportError`, and never sends without."""


@dataclass(frozen=True, repr=False)
class HttpResponse:
    """An answer, whatever its status."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class HttpClient(Protocol):
    """What sends requests."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """The answer; `TransportError` where there is none."""
        ...


class HttpsClient:
    """The standard library's client, a connection for each request.

    Certificates are trusted as `ssl.create_default_context` does (`SSL_CERT_FILE` is honoured), or as `ca_file` says.
    `connect_to` maps host names to `address:port`, as curl's `--connect-to` does.
    """

    def __init__(self, connect_to: Mapping[str, str] | None = None, ca_file: str | None = None) -> None:
        self._connect_to = dict(connect_to or {})
        self._ca_file = ca_file

    def send(self, request: HttpRequest) -> HttpResponse:
        connection = self._connect(request)
        try:
            return _exchange(connection, request)
        except TimeoutError as error:
            raise TransportError("timeout", "no answer in time", True) from error
        except ssl.SSLError as error:
            raise TransportError("tls", str(error), True) from error
        except OSError as error:
            raise TransportError("connection", str(error), True) from error
        except http.client.HTTPException as error:
            raise TransportError("protocol", type(error).__name__, True) from error
        finally:
            connection.close()

    def _connect(self, request: HttpRequest) -> http.client.HTTPConnection:
        """A connection, handshake done: until then nothing was sent."""
        url = urlsplit(request.url)
        host, port = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
        mapped = self._connect_to.get(host, f"{host}:{port}").rpartition(":")
        try:
            stream = socket.create_connection((mapped[0].strip("[]"), int(mapped[2])), request.connect_timeout)
            if url.scheme != "http":
                stream = self._context(request.certificate).wrap_socket(stream, server_hostname=host)
        except socket.gaierror as error:
            raise TransportError("name-resolution", str(error), False) from error
        except TimeoutError as error:
            raise TransportError("timeout", "no connection in time", False) from error
        except ssl.SSLCertVerificationError as error:
            raise TransportError("server-certificate", error.verify_message, False) from error
        except ssl.SSLError as error:
            raise TransportError("tls", str(error), False) from error
        except OSError as error:
            raise TransportError("connection", str(error), False) from error
        connection = http.client.HTTPConnection(host, port)
        connection.sock = stream
        return connection

    def _context(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._ca_file)
        if certificate is not None:
            if certificate.file is None:
                raise TransportError("denied", "the client certificate has no file to present it from", False)
            context.load_cert_chain(certificate.file)
        return context


def _exchange(connection: http.client.HTTPConnection, request: HttpRequest) -> HttpResponse:
    connection.sock.settimeout(request.answer_timeout)
    url = urlsplit(request.url)
    target = url.path + (f"?{url.query}" if url.query else "")
    body = request.body.encode()
    connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("host", url.netloc)
    for name, value in request.headers:
        connection.putheader(name, value)
    if request.method != "GET":
        connection.putheader("content-length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return HttpResponse(answer.status, answer.getheaders(), answer.read(MAX_BODY_BYTES + 1))


def with_secret(request: HttpRequest, place: Variant, secret: str) -> HttpRequest:
    """The request with the secret in its place, which is there once and empty."""
    named: str = place.payload or ""
    if place.tag == "form-field":
        fields = request.body.split("&")
        index = _only([unquote_plus(field.partition("=")[0]) == named for field in fields])
        name, _, value = fields[index].partition("=")
        fields[index] = f"{name}={_empty(value)}{form_encoded(secret)}"
        return replace(request, body="&".join(fields))
    headers = list(request.headers)
    if place.tag == "basic-authorization":
        pair = f"{form_encoded(named)}:{form_encoded(secret)}"
        _empty("".join(value for name, value in headers if name.lower() == "authorization"))
        return replace(request, headers=headers + [("authorization", "Basic " + b64encode(pair.encode()).decode())])
    index = _only([name.lower() == named.lower() for name, _ in headers])
    name, value = headers[index]
    headers[index] = name, (value if value.endswith(" ") else _empty(value)) + secret
    return replace(request, headers=headers)


def form_encoded(text: str) -> str:
    """As the WHATWG's `application/x-www-form-urlencoded` serializer."""
    return quote_plus(text, safe="*").replace("~", "%7E")


def _only(matches: list[bool]) -> int:
    if matches.count(True) != 1:
        raise TransportError("internal", f"the secret has {matches.count(True)} places; it must have one", False)
    return matches.index(True)


def _empty(value: str) -> str:
    if value:
        raise TransportError("internal", "the place of the secret isn't empty", False)
    return value
