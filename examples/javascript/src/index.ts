/**
 * Microsoft Entra ID tokens for confidential clients.
 *
 * The protocol is a WebAssembly component without imports; this package brings what it hasn't: an HTTP client, a clock, a
 * cache, and keys, which the component never sees.
 *
 * @module
 */

export type { AssertionContext } from './component.js';
export {
  type AuthenticationResult,
  type AuthorizationRequest,
  type ClientOptions,
  ConfidentialClientApplication,
  type RequestOptions,
} from './application.js';
export { TokenCache } from './cache.js';
export { ClientAssertion, ClientCertificate, ClientSecret, type Credential, CredentialError } from './credential.js';
export { AcquisitionError, TransportError } from './errors.js';
export { type HttpClient, type HttpRequest, type HttpResponse, HttpsClient } from './transport.js';
export type { Account } from './component.js';
