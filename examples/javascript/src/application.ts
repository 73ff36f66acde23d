/** Confidential clients, with the names of MSAL. */

import { webcrypto } from 'node:crypto';

import { TokenCache } from './cache.js';
import {
  type AccessToken,
  type Account,
  type Application,
  type AuthorityType,
  call,
  type Context,
  type Flow,
  type Options,
  protocolCore,
  type User,
} from './component.js';
import { ClientSecret, type Credential } from './credential.js';
import { begin, type Driver, run } from './driver.js';
import { type HttpClient, HttpsClient } from './transport.js';

/** How long an acquisition may take. */
const DEADLINE_MS = 30_000n;

/** A confidential client. */
export interface ClientOptions {
  /** The application (client) id. */
  clientId: string;
  /** The authority with its tenant, such as `https://login.microsoftonline.com/contoso.com`. */
  authority: string;
  /** A string is a secret. */
  clientCredential: Credential | string;
  /** `oidc`: the authority is the issuer of any OpenID Connect provider. Absent: as its URL says. */
  authorityType?: AuthorityType;
  azureRegion?: string;
  clientCapabilities?: string[];
  /** Send the certificate chain in client assertions. */
  sendX5c?: boolean;
  httpClient?: HttpClient;
  tokenCache?: TokenCache;
  /** Unix milliseconds. */
  clock?: () => bigint;
}

/** What is asked beside the flow. What is absent asks for nothing. */
export interface RequestOptions extends Partial<Options> {
  /** What the token is for, such as `https://graph.microsoft.com/.default`. */
  scopes: string[];
  /** Bind the token to the client's certificate. */
  mtlsProofOfPossession?: boolean;
}

/** An access token and what is known about it. */
export interface AuthenticationResult {
  accessToken: string;
  tokenType: string;
  /** The value of the header `authorization`. */
  authorizationHeader: string;
  expiresOn: Date;
  scopes: string[];
  tenantId: string | undefined;
  account: Account | undefined;
  idToken: string | undefined;
  correlationId: string;
  tokenSource: 'identity-provider' | 'cache';
  /** `x5t#S256` of the certificate that the token is bound to. */
  keyId: string | undefined;
  /** The key of the long-running process. */
  sessionKey: string | undefined;
  spaAuthorizationCode: string | undefined;
}

/** The beginning of a sign-in: `url` is for the browser, the rest for the end of it. */
export interface AuthorizationRequest {
  url: string;
  codeVerifier: string;
  state: string;
  nonce: string;
}

/** A user, named in one of two ways. */
export type NamedUser = { username: string } | { userObjectId: string };

/** A confidential client of Microsoft Entra ID. */
export class ConfidentialClientApplication {
  readonly #application: Application;
  readonly #driver: Driver;

  constructor(options: ClientOptions) {
    const { clientCredential: credential } = options;
    this.#application = {
      clientId: options.clientId,
      authority: options.authority,
      ...(options.authorityType && { authorityType: options.authorityType }),
      skipAuthorityValidation: false,
      assertionsForTokenEndpoint: false,
      ...(options.azureRegion && { azureRegion: options.azureRegion }),
      clientCapabilities: options.clientCapabilities ?? [],
      sendX5c: options.sendX5c ?? false,
      boundFlows: [],
    };
    this.#driver = {
      credential: typeof credential === 'string' ? new ClientSecret(credential) : credential,
      httpClient: options.httpClient ?? new HttpsClient(),
      cache: options.tokenCache ?? new TokenCache(),
      clock: options.clock ?? (() => BigInt(Date.now())),
    };
  }

  /** A token for the application itself. */
  acquireTokenForClient(
    request: RequestOptions & { fmiPath?: string; attributes?: string; attributeTokens?: string[] },
  ): Promise<AuthenticationResult> {
    const { fmiPath, attributes, attributeTokens = [] } = request;
    const flow = { ...(fmiPath && { fmiPath }), ...(attributes && { attributes }), attributeTokens };
    return this.#acquire({ tag: 'for-client', val: flow }, request);
  }

  /** A token for the user whose token the caller was given. */
  acquireTokenOnBehalfOf(
    request: RequestOptions & { userAssertion: string; assertionKind?: 'jwt' | 'saml11' | 'saml2' },
  ): Promise<AuthenticationResult> {
    const { userAssertion: assertion, assertionKind: kind = 'jwt' } = request;
    return this.#acquire({ tag: 'on-behalf-of', val: { assertion, kind } }, request);
  }

  /** The same, and keeps what it takes to go on without the user's token, under a session key that the result tells. */
  initiateLongRunningProcess(
    request: RequestOptions & { userAssertion: string; sessionKey?: string; searchInCache?: boolean },
  ): Promise<AuthenticationResult> {
    const { userAssertion, sessionKey, searchInCache = false } = request;
    const assertion = { assertion: userAssertion, kind: 'jwt' as const };
    const start = { assertion, ...(sessionKey && { sessionKey }), searchInCache };
    return this.#acquire({ tag: 'initiate-long-running-process', val: start }, request);
  }

  /** Goes on under a session key. */
  acquireTokenInLongRunningProcess(request: RequestOptions & { sessionKey: string }): Promise<AuthenticationResult> {
    return this.#acquire({ tag: 'acquire-in-long-running-process', val: request.sessionKey }, request);
  }

  /** Ends a long-running process: its tokens are gone. Whether there were any. */
  async stopLongRunningProcess(sessionKey: string): Promise<boolean> {
    const core = await protocolCore();
    return this.#driver.cache.removeGroup(call(() => core.sessionGroup(this.#application, sessionKey)));
  }

  /** A token for a user who is known: from the cache, or by the refresh token there. */
  acquireTokenSilent(request: RequestOptions & { account: Account }): Promise<AuthenticationResult> {
    return this.#acquire({ tag: 'silent', val: request.account.homeAccountId }, request);
  }

  /** A token by a refresh token that another library kept. */
  acquireTokenByRefreshToken(request: RequestOptions & { refreshToken: string }): Promise<AuthenticationResult> {
    return this.#acquire({ tag: 'by-refresh-token', val: request.refreshToken }, request);
  }

  /** Begins a person's sign-in. Asks nobody, except an OpenID Connect provider for its metadata. */
  async authorizationRequest(
    request: RequestOptions & {
      redirectUri: string;
      loginHint?: string;
      domainHint?: string;
      prompt?: string;
      offlineAccess?: boolean;
    },
  ): Promise<AuthorizationRequest> {
    const { redirectUri, loginHint, domainHint, prompt, offlineAccess = true } = request;
    const hints = { ...(loginHint && { loginHint }), ...(domainHint && { domainHint }), ...(prompt && { prompt }) };
    const signIn = { scopes: request.scopes, redirectUri, offlineAccess, ...hints, options: withDefaults(request) };
    return begin(this.#driver, signIn, this.#context());
  }

  /** Ends a person's sign-in. */
  acquireTokenByAuthorizationCode(
    request: RequestOptions & {
      code: string;
      redirectUri: string;
      codeVerifier?: string;
      spaCode?: boolean;
      offlineAccess?: boolean;
      /** The `iss` that came with the code (RFC 9207). */
      issuer?: string;
    },
  ): Promise<AuthenticationResult> {
    const { code, redirectUri, codeVerifier, spaCode = false, offlineAccess = true, issuer } = request;
    const sent = { ...(codeVerifier && { codeVerifier }), ...(issuer && { issuer }) };
    const flow = { code, redirectUri, ...sent, spaCode, offlineAccess, skipIssuerCheck: false };
    return this.#acquire({ tag: 'by-authorization-code', val: flow }, request);
  }

  /** A token by name and password. Discouraged: it keeps no second factor. */
  acquireTokenByUsernamePassword(
    request: RequestOptions & { username: string; password: string },
  ): Promise<AuthenticationResult> {
    const { username, password } = request;
    return this.#acquire({ tag: 'by-username-password', val: { username, password } }, request);
  }

  /** A token for a user, by a token of the application that is trusted to name users. */
  acquireTokenByUserFederatedIdentityCredential(
    request: RequestOptions & { user: NamedUser; assertion: string },
  ): Promise<AuthenticationResult> {
    const federated = { user: userOf(request.user), assertion: request.assertion };
    return this.#acquire({ tag: 'by-user-federated-identity-credential', val: federated }, request);
  }

  /** A token for an agent of this application: for itself, for a user of its own, or for the user of an assertion. */
  acquireTokenForAgent(
    request: RequestOptions & { agent: string; user?: NamedUser; userAssertion?: string },
  ): Promise<AuthenticationResult> {
    const { agent, user, userAssertion } = request;
    if (userAssertion !== undefined) {
      const assertion = { assertion: userAssertion, kind: 'jwt' as const };
      return this.#acquire({ tag: 'for-agent', val: { agent, subject: { tag: 'assertion', val: assertion } } }, request);
    }
    const subject = user ? { tag: 'user' as const, val: userOf(user) } : { tag: 'app' as const };
    return this.#acquire({ tag: 'for-agent', val: { agent, subject } }, request);
  }

  /** The users who are known. */
  async getAccounts(): Promise<Account[]> {
    const core = await protocolCore();
    const entries = this.#driver.cache.members(core.accountsGroup(this.#application));
    return entries.flatMap((entry) => core.knownAccount(entry) ?? []);
  }

  /** Forgets a user. Whether there was anything to forget. */
  async removeAccount(account: Account): Promise<boolean> {
    const core = await protocolCore();
    return this.#driver.cache.removeGroup(call(() => core.accountGroup(this.#application, account.homeAccountId)));
  }

  async #acquire(flow: Flow, options: RequestOptions): Promise<AuthenticationResult> {
    const scheme = options.mtlsProofOfPossession ? ('mtls-pop' as const) : ('bearer' as const);
    const request = { flow, scopes: options.scopes, scheme, options: withDefaults(options) };
    return resultOf(await run(this.#driver, request, this.#context()));
  }

  #context(): Context {
    const now = this.#driver.clock();
    const [a = 0n, b = 0n, c = 0n, d = 0n] = webcrypto.getRandomValues(new BigUint64Array(4));
    return { application: this.#application, now, deadline: now + DEADLINE_MS, seed: [a, b, c, d], proactiveRefresh: false };
  }
}

function withDefaults(options: Partial<Options>): Options {
  return {
    forceRefresh: false,
    cachePartitions: [],
    extraQueryParameters: [],
    encodedQueryParameters: [],
    extraBodyParameters: [],
    extraHeaders: [],
    ...options,
  };
}

function userOf(user: NamedUser): User {
  return 'username' in user ? { tag: 'username', val: user.username } : { tag: 'object-id', val: user.userObjectId };
}

function resultOf(token: AccessToken): AuthenticationResult {
  return {
    accessToken: token.token,
    tokenType: token.tokenType,
    authorizationHeader: `${token.tokenType} ${token.token}`,
    expiresOn: new Date(Number(token.expiresOn) * 1000),
    scopes: token.scopes,
    tenantId: token.tenantId,
    account: token.account,
    idToken: token.idToken,
    correlationId: token.correlationId,
    tokenSource: token.source,
    keyId: token.keyId,
    sessionKey: token.sessionKey,
    spaAuthorizationCode: token.spaCode,
  };
}
