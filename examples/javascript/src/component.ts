/** The component: compiled once for a process, instantiated for each acquisition and thrown away afterwards. */

import { readFile } from 'node:fs/promises';

import type * as acquisition from '../core/interfaces/symbolon-core-acquisition.js';
import { instantiate } from '../core/protocol-core.js';
import { AcquisitionError } from './errors.js';

export type {
  Account,
  AccessToken,
  Action,
  Application,
  AssertionContext,
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
  Store,
  TransportError as NoAnswer,
  User,
} from '../core/interfaces/symbolon-core-acquisition.js';
export type { Fact, KnownFact } from '../core/interfaces/symbolon-core-acquisition.js';
export type { Entry, Saved } from '../core/interfaces/symbolon-core-cache.js';
export type { Place, SignatureAlgorithm } from '../core/interfaces/symbolon-core-credentials.js';

const modules = new Map<string, Promise<WebAssembly.Module>>();

function coreModule(path: string): Promise<WebAssembly.Module> {
  const known = modules.get(path);
  if (known) return known;
  const compiled = readFile(new URL(`../core/${path}`, import.meta.url)).then((bytes) => WebAssembly.compile(bytes));
  modules.set(path, compiled);
  return compiled;
}

/** What the interface `symbolon:core/acquisition` exports, in an instance of its own. */
export async function protocolCore(): Promise<typeof acquisition> {
  return (await instantiate(coreModule, {})).acquisition;
}

/** Calls the component, whose errors become this package's. */
export function call<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof Error && 'payload' in error) throw new AcquisitionError(error.payload as acquisition.Error);
    throw error;
  }
}
