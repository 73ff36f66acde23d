"""What goes wrong."""

from __future__ import annotations

from typing import Any


class TransportError(Exception):
    """Why an HTTP client has no answer.

    `kind` is a word of the interface `symbolon:core/http`, such as `connection`, `timeout` or `denied`; `may_be_sent` is whether
    the server may have got the request.
    """

    def __init__(self, kind: str, detail: str, may_be_sent: bool) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.may_be_sent = may_be_sent


class AcquisitionError(Exception):
    """Why there is no token: what to do about it (`kind`), and the authority's own details.

    `code` is MSAL's word where MSAL has one: `invalid_grant`, `token_type_mismatch`, `request_timeout`. `claims` are those that
    the next request must carry. No token, secret or assertion is in any of it.
    """

    def __init__(self, error: Any) -> None:
        super().__init__(error.message)
        self.kind: str = error.kind
        self.code: str = error.code
        self.message: str = error.message
        self.retryable: bool = error.retryable
        self.retry_after_ms: int | None = getattr(error, "retry-after-ms")
        self.status: int | None = error.status
        self.aadsts_codes: list[int] = getattr(error, "aadsts-codes")
        self.suberror: str | None = error.suberror
        self.claims: str | None = error.claims
        self.correlation_id: str = getattr(error, "correlation-id")
