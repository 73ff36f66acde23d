"""Does what the protocol core asks for."""

from __future__ import annotations

import os
import time
from dataclasses import fields
from typing import Any, Callable

from wasmtime.component import Record, Variant

from .cache import TokenCache
from .component import ProtocolCore, refused
from .credential import ClientAssertion, ClientCertificate, Credential, CredentialError
from .errors import TransportError
from .transport import HttpClient, HttpRequest, with_secret
from .wit import Answer, AssertionContext, Context, CredentialFailure, NoAnswer, Platform, Request, SignIn


class Driver:
    """What acquisitions of one application share."""

    def __init__(
        self, credential: Credential, http_client: HttpClient, cache: TokenCache, clock: Callable[[], int]
    ) -> None:
        self._credential = credential
        self._http_client = http_client
        self._cache = cache
        self._clock = clock

    def run(self, request: Request, context: Context) -> Any:
        """Runs one acquisition, in an instance of its own: the record `access-token`."""
        core = ProtocolCore()
        return self._end(core, *core.start(request, context))

    def begin(self, sign_in: SignIn, context: Context) -> Any:
        """Begins a sign-in, in an instance of its own: the record `authorization-request`."""
        core = ProtocolCore()
        return self._end(core, *core.begin(sign_in, context))

    def _end(self, core: ProtocolCore, acquisition: Any, action: Variant) -> Any:
        while action.tag not in ("finish", "sign-in"):
            action = core.handle(acquisition, self._event(action))
        result: Any = action.payload
        if action.tag == "sign-in":
            return result
        return result.payload if result.tag == "ok" else refused(result.payload)

    def _event(self, action: Variant) -> Variant:
        asked: Any = action.payload
        match action.tag:
            case "find":
                return Variant("found", self._cache.find(asked, self._clock()))
            case "put":
                self._cache.put(asked)
                return Variant("stored")
            case "fail":
                return Variant("failed")
            case "recall":
                return Variant("recalled", self._cache.recall(asked, self._clock()))
            case "remember":
                self._cache.remember(asked, self._clock())
                return Variant("remembered")
            case "select":
                return Variant("selected", _tagged(self._credential.describe))
            case "sign":
                signing_input = getattr(asked, "signing-input").encode()
                return Variant("signed", _tagged(lambda: self._credential.sign(asked.algorithm, signing_input)).payload)
            case "assert":
                context = _assertion_context(asked)
                return Variant("asserted", _tagged(lambda: self._credential.assertion(context)))
            case "send":
                return Variant("answered", self._answer(asked))
            case "report":
                return Variant("reported")
            case "wait":
                time.sleep(asked / 1000)
                return Variant("waited", self._clock())
            case "describe-platform":
                return Variant("platform", _platform())
        raise NotImplementedError(f"the protocol core asks for {action.tag}, which this package can't do")

    def _answer(self, asked: Any) -> Variant:
        try:
            answer = self._http_client.send(self._request(asked))
            return Variant("ok", Answer(answer.status, list(answer.headers), answer.body))
        except TransportError as error:
            return Variant("err", NoAnswer(error.kind, error.detail, error.may_be_sent))

    def _request(self, asked: Any) -> HttpRequest:
        request = HttpRequest(
            asked.method,
            asked.url,
            asked.headers,
            asked.body,
            getattr(asked, "connect-timeout-ms") / 1000,
            getattr(asked, "answer-timeout-ms") / 1000,
            self._certificate() if asked.presentation.certificate else None,
        )
        place = asked.presentation.secret
        return with_secret(request, place, self._credential.secret()) if place else request

    def _certificate(self) -> ClientCertificate:
        match self._credential:
            case ClientCertificate():
                return self._credential
            case ClientAssertion(certificate=ClientCertificate() as certificate):
                return certificate
        raise TransportError("denied", "the credential has no certificate", False)


def _tagged(act: Callable[[], Any]) -> Variant:
    try:
        return Variant("ok", act())
    except CredentialError as error:
        return Variant("err", CredentialFailure(error.kind, str(error)))


def _assertion_context(asked: Any) -> AssertionContext:
    values = {field.name: getattr(asked, field.name.replace("_", "-")) for field in fields(AssertionContext)}
    return AssertionContext(**values)


def _platform() -> Platform:
    """What the detection of the region may know of the machine."""
    variable = Record()
    variable.__dict__.update(name="REGION_NAME", value=os.environ.get("REGION_NAME"))
    return Platform([variable] if os.environ.get("REGION_NAME") else [])
