/**
 * The component: one instance serves a process, because making one costs as much as seventy acquisitions. One that trapped
 * is replaced.
 */

import { readFile } from 'node:fs/promises';

import type * as acquisition from '../core/interfaces/symbolon-core-acquisition.js';
import { instantiate } from '../core/protocol-core.js';
import { AcquisitionError } from './errors.js';

export type {
  Account,
  AccessToken,
  Acquisition,
  Action,
  Application,
  AssertionContext,
  AuthorityType,
  AuthorizationRequest,
  Context,
  Description,
  Event,
  Flow,
  Found,
  HttpRequest as CoreRequest,
  Lookup,
  Options,
  Request,
  SignedAssertion,
  SignIn,
  Store,
  TransportError as NoAnswer,
  User,
} from '../core/interfaces/symbolon-core-acquisition.js';
export type { Fact, KnownFact } from '../core/interfaces/symbolon-core-acquisition.js';
export type { Entry, Saved } from '../core/interfaces/symbolon-core-cache.js';
export type { Place, SignatureAlgorithm } from '../core/interfaces/symbolon-core-credentials.js';

async function coreModule(path: string): Promise<WebAssembly.Module> {
  return WebAssembly.compile(await readFile(new URL(`../core/${path}`, import.meta.url)));
}

let instance: Promise<typeof acquisition> | undefined;

/** What the interface `symbolon:core/acquisition` exports. */
export function protocolCore(): Promise<typeof acquisition> {
  instance ??= Promise.resolve(instantiate(coreModule, {})).then((root) => root.acquisition);
  return instance;
}

/** Calls the component, whose errors become this package's. Whatever else is thrown may be a trap. */
export function call<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof Error && 'payload' in error) throw new AcquisitionError(error.payload as acquisition.Error);
    instance = undefined;
    throw error;
  }
}

/** Frees what an acquisition holds in the component. */
export function release(of: acquisition.Acquisition): void {
  (of as Partial<Disposable>)[Symbol.dispose]?.();
}
