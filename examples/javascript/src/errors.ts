/** What goes wrong. */

import type { Error as CoreError, ErrorKind } from '../core/interfaces/symbolon-core-types.js';
import type { TransportErrorKind } from '../core/interfaces/symbolon-core-http.js';

/** Why an HTTP client has no answer. */
export class TransportError extends Error {
  /**
   * @param kind What happened.
   * @param detail The details; no secret is among them.
   * @param mayBeSent Whether the server may have got the request.
   */
  constructor(
    readonly kind: TransportErrorKind,
    readonly detail: string,
    readonly mayBeSent: boolean,
  ) {
    super(detail);
    this.name = 'TransportError';
  }
}

/** Why there is no token. No token, secret or assertion is in any of it. */
export class AcquisitionError extends Error {
  /** What to do about it. */
  readonly kind: ErrorKind;
  /** MSAL's word where MSAL has one: `invalid_grant`, `token_type_mismatch`, `request_timeout`. */
  readonly code: string;
  /** Whether sending the same request again may succeed, after `retryAfterMs`. */
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  /** The status of the authority's answer. */
  readonly status: number | undefined;
  readonly aadstsCodes: number[];
  readonly suberror: string | undefined;
  /** The claims that the next request must carry, JSON. */
  readonly claims: string | undefined;
  readonly correlationId: string;

  constructor(error: CoreError) {
    super(error.message);
    this.name = 'AcquisitionError';
    this.kind = error.kind;
    this.code = error.code;
    this.retryable = error.retryable;
    this.retryAfterMs = error.retryAfterMs === undefined ? undefined : Number(error.retryAfterMs);
    this.status = error.status;
    this.aadstsCodes = [...error.aadstsCodes];
    this.suberror = error.suberror;
    this.claims = error.claims;
    this.correlationId = error.correlationId;
  }
}
