/** Does what the protocol core asks for. */

import { TokenCache } from './cache.js';
import {
  type AccessToken,
  type Acquisition,
  type Action,
  type AuthorizationRequest,
  call,
  type Context,
  type CoreRequest,
  type Event,
  protocolCore,
  release,
  type Request,
  type SignIn,
} from './component.js';
import { type ClientCertificate, type Credential, CredentialError } from './credential.js';
import { AcquisitionError, TransportError } from './errors.js';
import { type HttpClient, type HttpRequest, withSecret } from './transport.js';

/** What acquisitions of one application share. */
export interface Driver {
  credential: Credential;
  httpClient: HttpClient;
  cache: TokenCache;
  /** Unix milliseconds. */
  clock: () => bigint;
}

/** Runs one acquisition. */
export async function run(driver: Driver, request: Request, context: Context): Promise<AccessToken> {
  const core = await protocolCore();
  const end = await endOf(driver, call(() => core.Acquisition.start(request, context)));
  if (end.tag !== 'finish') throw new Error('an acquisition ended as a sign-in');
  return finished(end);
}

/** Begins a sign-in. */
export async function begin(driver: Driver, signIn: SignIn, context: Context): Promise<AuthorizationRequest> {
  const core = await protocolCore();
  const end = await endOf(driver, call(() => core.Acquisition.begin(signIn, context)));
  if (end.tag === 'sign-in') return end.val;
  finished(end);
  throw new Error('the beginning of a sign-in ended with a token');
}

type End = Extract<Action, { tag: 'finish' | 'sign-in' }>;

function finished({ val }: Extract<Action, { tag: 'finish' }>): AccessToken {
  if (val.tag === 'err') throw new AcquisitionError(val.val);
  return val.val;
}

async function endOf(driver: Driver, [acquisition, first]: [Acquisition, Action]): Promise<End> {
  let action = first;
  try {
    while (action.tag !== 'finish' && action.tag !== 'sign-in') {
      const event = await eventOf(action, driver);
      action = call(() => acquisition.handle(event));
    }
    return action;
  } finally {
    release(acquisition);
  }
}

async function eventOf(action: Action, { credential, httpClient, cache, clock }: Driver): Promise<Event> {
  switch (action.tag) {
    case 'find':
      return { tag: 'found', val: cache.find(action.val, clock()) };
    case 'put':
      cache.put(action.val);
      return { tag: 'stored' };
    case 'fail':
      return { tag: 'failed' };
    case 'recall':
      return { tag: 'recalled', val: cache.recall(action.val, clock()) };
    case 'remember':
      cache.remember(action.val, clock());
      return { tag: 'remembered' };
    case 'select':
      return { tag: 'selected', val: await attempt(() => credential.describe()) };
    case 'sign': {
      const { algorithm, signingInput } = action.val;
      const bytes = new TextEncoder().encode(signingInput);
      return { tag: 'signed', val: await attempt(() => credential.sign?.(algorithm, bytes)) };
    }
    case 'assert': {
      const context = action.val;
      return { tag: 'asserted', val: await attempt(() => credential.assertion?.(context)) };
    }
    case 'send':
      return { tag: 'answered', val: await answer(action.val, credential, httpClient) };
    case 'report':
      return { tag: 'reported' };
    case 'wait': {
      const milliseconds = Number(action.val);
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      return { tag: 'waited', val: clock() };
    }
    case 'describe-platform': {
      // What the detection of the region may know of the machine.
      const value = process.env['REGION_NAME'];
      return { tag: 'platform', val: { variables: value ? [{ name: 'REGION_NAME', value }] : [], arcAgentInstalled: false } };
    }
    default:
      throw new Error(`the protocol core asks for ${action.tag}, which this package can't do`);
  }
}

async function answer(asked: CoreRequest, credential: Credential, client: HttpClient) {
  try {
    return { tag: 'ok' as const, val: await client.send(requestOf(asked, credential)) };
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    const { kind, detail, mayBeSent } = error;
    return { tag: 'err' as const, val: { kind, detail, mayBeSent } };
  }
}

function requestOf({ presentation, connectTimeoutMs, answerTimeoutMs, ...asked }: CoreRequest, credential: Credential): HttpRequest {
  const request: HttpRequest = {
    ...asked,
    connectTimeoutMs: Number(connectTimeoutMs),
    answerTimeoutMs: Number(answerTimeoutMs),
    certificate: presentation.certificate ? certificateOf(credential) : undefined,
  };
  return presentation.secret ? withSecret(request, presentation.secret, secretOf(credential)) : request;
}

function certificateOf({ certificate }: Credential): ClientCertificate {
  if (!certificate) throw new TransportError('denied', 'the credential has no certificate', false);
  return certificate;
}

function secretOf(credential: Credential): string {
  const secret = credential.secret?.();
  if (secret === undefined) throw new TransportError('denied', 'the credential is no secret', false);
  return secret;
}

async function attempt<T>(act: () => T | Promise<T> | undefined) {
  try {
    const value = await act();
    if (value === undefined) throw new CredentialError('unsupported', "The credential can't do this.");
    return { tag: 'ok' as const, val: value };
  } catch (error) {
    if (!(error instanceof CredentialError)) throw error;
    return { tag: 'err' as const, val: { kind: error.kind, message: error.message } };
  }
}
