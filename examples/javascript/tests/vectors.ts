/** Runs the project's vectors of token requests through the package, and compares what goes over the wire. */

import { constants, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';

import {
  AcquisitionError,
  type AuthenticationResult,
  ClientAssertion,
  ClientCertificate,
  ClientSecret,
  ConfidentialClientApplication,
  type Credential,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
} from 'symbolon';

import { formEncoded } from '../dist/transport.js';

export type Members = Record<string, unknown>;

/** A vector's input: the members that the runner knows. */
export interface Input {
  flow: string;
  client_id?: string;
  blueprint_client_id?: string;
  authority?: string;
  region?: string;
  capabilities?: string[];
  send_x5c?: boolean;
  client_secret?: string;
  client_assertion?: string;
  certificate?: boolean;
  binding_certificate?: boolean;
  send_certificate_over_mtls?: boolean;
  mtls_pop?: boolean;
  scopes?: string[];
  tenant?: string;
  claims?: string;
  client_claims?: string;
  correlation_id?: string;
  extra_query_parameters?: Record<string, string>;
  extra_body_parameters?: Record<string, string>;
  extra_headers?: Record<string, string>;
  fmi_path?: string;
  attributes?: string;
  attribute_tokens?: string[];
  user_assertion?: string;
  assertion_type?: string;
  key?: string;
  home_account_id?: string;
  refresh_token?: string;
  code?: string;
  redirect_uri?: string;
  code_verifier?: string;
  spa_code?: boolean;
  offline_access?: boolean;
  username?: string;
  password?: string;
  user_id?: string;
  assertion?: string;
  agent_app_id?: string;
  leg?: number | string;
  t1?: string;
  t2?: string;
}

/** The members of {@link Input}, so that what nobody reads is noticed. */
export const READ = new Set(
  `flow client_id blueprint_client_id authority region capabilities send_x5c client_secret client_assertion certificate
   binding_certificate send_certificate_over_mtls mtls_pop scopes tenant claims client_claims correlation_id
   extra_query_parameters extra_body_parameters extra_headers fmi_path attributes attribute_tokens user_assertion
   assertion_type key home_account_id refresh_token code redirect_uri code_verifier spa_code offline_access username password
   user_id assertion agent_app_id leg t1 t2`.split(/\s+/),
);

export interface Vector {
  id: string;
  category: string;
  input: Input;
  expect: Members;
}

const NOW = 1_700_000_000_000n;
const USER = 'user@contoso.com';
const TRUSTED_REALM = 'http://schemas.microsoft.com/rel/trusted-realm';

/** Answers as the authority of a vector, and keeps what it was sent. */
class Authority implements HttpClient {
  readonly sent: HttpRequest[] = [];
  readonly account: [string, string];
  readonly #tokens: string[];

  constructor(
    readonly input: Input,
    readonly types: (string | undefined)[] = [],
  ) {
    const [uid = 'uid', utid = 'utid'] = input.home_account_id?.split('.') ?? [];
    this.account = [uid, utid];
    this.#tokens = [input.t1, input.t2].filter((token) => token !== undefined);
  }

  async send(request: HttpRequest): Promise<HttpResponse> {
    const url = new URL(request.url);
    if (url.pathname === '/common/discovery/instance') {
      const host = new URL(url.searchParams.get('authorization_endpoint') ?? '').hostname;
      return json({ metadata: [{ preferred_network: host, preferred_cache: host, aliases: [host] }] });
    }
    if (url.pathname === '/.well-known/webfinger') {
      const { hostname } = new URL(this.input.authority ?? '');
      return json({ links: [{ rel: TRUSTED_REALM, href: `https://${hostname}` }] });
    }
    this.sent.push(request);
    const form = new URLSearchParams(request.body);
    const answer: Members = {
      access_token: this.#tokens.shift() ?? 'token',
      token_type: this.types.shift() ?? form.get('token_type') ?? 'Bearer',
      expires_in: 3600,
    };
    if (form.get('grant_type') !== 'client_credentials') {
      const [uid, utid] = this.account;
      const claims = { oid: uid, tid: utid, preferred_username: form.get('username') ?? USER };
      answer['client_info'] = encoded({ uid, utid });
      answer['id_token'] = `e30.${encoded(claims)}.c2ln`;
      if (form.get('scope')?.includes('offline_access')) answer['refresh_token'] = this.input.refresh_token ?? 'rt';
      if (form.has('return_spa_code')) answer['spa_code'] = 'spa';
    }
    return json(answer);
  }
}

/** What became of a vector: the request that is meant, or the error before there was one. */
export interface Outcome {
  request?: HttpRequest;
  error?: AcquisitionError;
  /** The one type of token that is accepted in answer to the last request. */
  acceptedTokenType?: string | undefined;
}

export async function run({ input, expect }: Vector): Promise<Outcome> {
  const authority = new Authority(input);
  let before = 0;
  try {
    const app = application(input, authority);
    await prepare(input, app);
    before = authority.sent.length;
    await acquire(input, app, authority);
  } catch (error) {
    if (error instanceof AcquisitionError && authority.sent.length === before) return { error };
    throw error;
  }
  const sent = authority.sent.slice(before);
  const request = typeof input.leg === 'number' ? sent[input.leg - 1] : sent.at(-1);
  if (!request) throw new Error('no request was sent');
  const isAsked = 'expected_token_type' in expect;
  return { request, acceptedTokenType: isAsked ? await acceptedTokenType(input, authority.sent.length) : undefined };
}

async function acceptedTokenType(input: Input, requests: number): Promise<string | undefined> {
  for (const type of ['bearer', 'mtls_pop', 'pop']) {
    const authority = new Authority(input, [...Array<undefined>(requests - 1), type]);
    const app = application(input, authority);
    try {
      await prepare(input, app);
      await acquire(input, app, authority);
      return type;
    } catch (error) {
      if (!(error instanceof AcquisitionError)) throw error;
    }
  }
  return undefined;
}

/** What isn't as expected. */
export function differences(expect: Members, outcome: Outcome): string[] {
  const { error, ...members } = expect;
  const wanted: Members = { error_code: error, ...members };
  const found = Object.entries(wanted).flatMap(([name, expected]) => {
    const got = gotOf(name, expected, outcome);
    return isDeepStrictEqual(expected, got) ? [] : [`${name}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`];
  });
  const { request } = outcome;
  if (request && request.body !== encodedForm(fields(request))) found.push(`the body isn't the form that it says: ${request.body}`);
  return found;
}

function gotOf(name: string, expected: unknown, { request, error, acceptedTokenType }: Outcome): unknown {
  if (name === 'error_code') {
    return expected === 'argument' && error?.kind === 'invalid-request' ? 'argument' : error?.code;
  }
  if (!request) return undefined;
  const names = (Array.isArray(expected) ? expected : Object.keys(expected ?? {})) as string[];
  const form = new Map(fields(request));
  const headers = new Map(request.headers.map(([header, value]) => [header.toLowerCase(), value]));
  const values = (valueOf: (name: string) => unknown) => Object.fromEntries(names.map((name) => [name, valueOf(name)]));
  const header = part(form.get('client_assertion'), 0);
  switch (name) {
    case 'url':
      return request.url;
    case 'host':
      return new URL(request.url).host;
    case 'tls_client_cert':
      return request.certificate !== undefined;
    case 'body':
      return values((field) => form.get(field));
    case 'body_order':
      return fields(request).map(([field]) => field);
    case 'required_body':
      return names.filter((field) => form.get(field));
    case 'absent_body':
      return names.filter((field) => !form.has(field));
    case 'headers':
      return values((header) => headers.get(header.toLowerCase()));
    case 'required_headers':
      return names.filter((header) => headers.has(header.toLowerCase()));
    case 'absent_headers':
      return names.filter((header) => !headers.has(header.toLowerCase()));
    case 'assertion_header_has':
      return names.filter((member) => header && member in header);
    case 'absent_assertion_header':
      return names.filter((member) => header && !(member in header));
    case 'assertion_alg':
      return header?.['alg'];
    case 'assertion_aud':
      return part(form.get('client_assertion'), 1)?.['aud'];
    case 'expected_token_type':
      return acceptedTokenType;
    default:
      throw new Error(`the expectation's member ${name} isn't understood here`);
  }
}

/** What is expected where Symbolon does better on purpose: the rules of the conformance runner that apply here. */
export function expectation({ input, expect: written }: Vector): Members {
  if (!/^[a-z0-9]*$/i.test(input.region ?? '')) return { error_code: 'invalid_region' };
  const expect = structuredClone(written);
  const own: Record<string, string> = { 'x-client-sku': 'Symbolon', 'x-client-ver': '0.1.0' };
  const headers = (expect['headers'] ?? {}) as Record<string, string>;
  for (const [name, value] of Object.entries(headers)) headers[name] = own[name.toLowerCase()] ?? value;
  if (typeof expect['url'] === 'string' && input.extra_query_parameters) {
    const query = Object.entries(input.extra_query_parameters).map(([name, value]) => `${percent(name)}=${percent(value)}`);
    expect['url'] = `${expect['url'].split('?')[0]}?${query.join('&')}`;
  }
  return expect;
}

/** The fields of the body, in order. */
function fields(request: HttpRequest): [string, string][] {
  return [...new URLSearchParams(request.body)];
}

/** The bytes of a form: the core percent-encodes, the secret is put into its place as forms are encoded. */
function encodedForm(pairs: [string, string][]): string {
  const encode = ([name, value]: [string, string]) => (name === 'client_secret' ? formEncoded(value) : percent(value));
  return pairs.map((pair) => `${percent(pair[0])}=${encode(pair)}`).join('&');
}

/** Percent-encodes all but RFC 3986's unreserved characters. */
function percent(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

function application(input: Input, httpClient: HttpClient): ConfidentialClientApplication {
  return new ConfidentialClientApplication({
    clientId: input.client_id ?? input.blueprint_client_id ?? 'client',
    authority: input.authority ?? 'https://login.microsoftonline.com/contoso.com',
    clientCredential: credential(input),
    ...(input.region !== undefined && { azureRegion: input.region }),
    clientCapabilities: input.capabilities ?? [],
    sendX5c: input.send_x5c ?? false,
    httpClient,
    clock: () => NOW,
  });
}

function credential(input: Input): Credential {
  const bound = input.send_certificate_over_mtls ?? false;
  const { client_assertion: assertion } = input;
  if (input.certificate) return certificate(bound);
  if (assertion) return new ClientAssertion(() => assertion, input.binding_certificate ? certificate(false) : undefined);
  return bound ? certificate(true) : new ClientSecret(input.client_secret ?? 'secret');
}

const CHAIN = [new Uint8Array(new X509Certificate(readFileSync(new URL('../tests/certificate.crt', import.meta.url))).raw)];
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

/** A certificate whose key is elsewhere. Nobody here compares the two. */
function certificate(bound: boolean): ClientCertificate {
  const padding = { ps256: constants.RSA_PKCS1_PSS_PADDING, rs256: constants.RSA_PKCS1_PADDING, es256: undefined };
  return new ClientCertificate({
    chain: CHAIN,
    sign: (algorithm, input) => sign('sha256', input, { key: privateKey, padding: padding[algorithm] }),
    bound,
  });
}

function optionsOf(input: Input) {
  return {
    ...(input.tenant !== undefined && { tenantId: input.tenant }),
    ...(input.claims !== undefined && { claims: input.claims }),
    ...(input.client_claims !== undefined && { clientClaims: input.client_claims }),
    ...(input.correlation_id !== undefined && { correlationId: input.correlation_id }),
    extraQueryParameters: Object.entries(input.extra_query_parameters ?? {}),
    extraBodyParameters: Object.entries(input.extra_body_parameters ?? {}),
    extraHeaders: Object.entries(input.extra_headers ?? {}),
  };
}

/** Makes the user or the process known that the flow goes on with. */
async function prepare({ claims: _, ...input }: Input, app: ConfidentialClientApplication): Promise<void> {
  const options = { ...optionsOf(input), scopes: ['another/scope'] };
  if (input.flow === 'silent') {
    await app.acquireTokenByAuthorizationCode({ ...options, code: 'code', redirectUri: '' });
  }
  if (input.flow === 'long_running_obo_acquire') {
    const { key: sessionKey = '' } = input;
    await app.initiateLongRunningProcess({ ...options, userAssertion: "the user's token", sessionKey });
  }
}

function acquire(input: Input, app: ConfidentialClientApplication, authority: Authority): Promise<AuthenticationResult> {
  const { key: sessionKey = '', user_assertion: userAssertion = "the user's token", username = USER } = input;
  const scopes = input.scopes ?? ['https://graph.microsoft.com/.default'];
  const request = { ...optionsOf(input), scopes, mtlsProofOfPossession: input.mtls_pop ?? false };
  const user = input.user_id === undefined ? { username } : { userObjectId: input.user_id };
  switch (input.flow) {
    case 'client_credentials':
      return app.acquireTokenForClient({
        ...request,
        ...(input.fmi_path && { fmiPath: input.fmi_path }),
        ...(input.attributes && { attributes: input.attributes }),
        attributeTokens: input.attribute_tokens ?? [],
      });
    case 'obo': {
      const type = input.assertion_type ?? '';
      const assertionKind = type.includes('saml1') ? 'saml11' : type.includes('saml2') ? 'saml2' : 'jwt';
      return app.acquireTokenOnBehalfOf({ ...request, userAssertion, assertionKind });
    }
    case 'long_running_obo_initiate':
      return app.initiateLongRunningProcess({ ...request, userAssertion, sessionKey });
    case 'long_running_obo_acquire':
      return app.acquireTokenInLongRunningProcess({ ...request, sessionKey });
    case 'silent': {
      const account = { homeAccountId: authority.account.join('.'), environment: 'login.microsoftonline.com', username: USER };
      return app.acquireTokenSilent({ ...request, account });
    }
    case 'refresh_token':
      return app.acquireTokenByRefreshToken({ ...request, refreshToken: input.refresh_token ?? '' });
    case 'auth_code':
      return app.acquireTokenByAuthorizationCode({
        ...request,
        code: input.code ?? '',
        redirectUri: input.redirect_uri ?? '',
        ...(input.code_verifier && { codeVerifier: input.code_verifier }),
        spaCode: input.spa_code ?? false,
        offlineAccess: input.offline_access ?? true,
      });
    case 'ropc':
      return app.acquireTokenByUsernamePassword({ ...request, username, password: input.password ?? '' });
    case 'user_fic':
      return app.acquireTokenByUserFederatedIdentityCredential({ ...request, user, assertion: input.assertion ?? '' });
    case 'agent': {
      const isForUser = input.leg === 2 || input.user_id !== undefined || input.username !== undefined;
      return app.acquireTokenForAgent({
        ...request,
        agent: input.agent_app_id ?? 'agent',
        ...(input.user_assertion !== undefined ? { userAssertion } : isForUser && { user }),
      });
    }
    default:
      throw new Error(`nothing runs the flow ${input.flow}`);
  }
}

/** The header or the claims of a JSON Web Token. */
function part(token: string | undefined, index: number): Members | undefined {
  const text = Buffer.from(token?.split('.')[index] ?? '', 'base64url').toString();
  return text.startsWith('{') ? (JSON.parse(text) as Members) : undefined;
}

function encoded(members: Members): string {
  return Buffer.from(JSON.stringify(members)).toString('base64url');
}

function json(members: Members): HttpResponse {
  return { status: 200, headers: [['content-type', 'application/json']], body: new TextEncoder().encode(JSON.stringify(members)) };
}
