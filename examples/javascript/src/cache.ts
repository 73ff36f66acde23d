/** Tokens in memory. */

import type { Entry, Fact, Found, KnownFact, Lookup, Saved, Store } from './component.js';

/**
 * What acquisitions keep, for one application: entries by their keys, and facts that outlive an acquisition. Nobody waits for
 * what another acquisition brings: two that begin at once ask the authority twice.
 */
export class TokenCache {
  readonly #entries = new Map<string, Map<number, Saved>>();
  readonly #facts = new Map<string, { value: Uint8Array; until: bigint }>();
  #count = 0;

  /** Looks an entry up, as `symbolon:core/cache` says. `now` is in Unix milliseconds. */
  find(lookup: Lookup, now: bigint): Found {
    let absence: 'absent' | 'expired' | 'bypassed' = lookup.bypass ? 'bypassed' : 'absent';
    for (const keys of lookup.bypass ? [] : lookup.alternatives) {
      const entry = this.#newest(keys);
      if (!entry) continue;
      const expiresOn = entry.tag === 'access-token' ? entry.val.expiresOn : undefined;
      if (expiresOn !== undefined && expiresOn > lookup.expiresBefore) continue;
      if (expiresOn === undefined || expiresOn > lookup.expiresAfter) return { tag: 'hit', val: entry };
      absence = 'expired';
    }
    return lookup.flight === undefined ? { tag: 'miss' } : { tag: 'lead', val: { absence, now } };
  }

  /** The entry that holds all of these keys. */
  #newest(keys: string[]): Entry | undefined {
    const [first, ...others] = keys.map((key) => this.#entries.get(key));
    const common = [...(first ?? [])].filter(([number]) => others.every((held) => held?.has(number)));
    return common.sort(([a], [b]) => b - a)[0]?.[1].entry;
  }

  /** Stores entries in the place of those that hold one of their keys. */
  put(store: Store): void {
    store.replacedGroups.forEach((group) => this.removeGroup(group));
    for (const saved of store.entries) {
      for (const key of [...saved.keys, ...saved.replaces]) this.#remove([...(this.#entries.get(key) ?? [])]);
      this.#count += 1;
      for (const key of saved.keys) {
        const held = this.#entries.get(key) ?? new Map<number, Saved>();
        this.#entries.set(key, held.set(this.#count, saved));
      }
    }
  }

  /** Removes the entries of a group. Whether there were any. */
  removeGroup(group: string): boolean {
    const members = this.#ofGroup(group);
    this.#remove(members);
    return members.length > 0;
  }

  /** The entries of a group, oldest first. */
  members(group: string): Entry[] {
    return this.#ofGroup(group).map(([, saved]) => saved.entry);
  }

  #ofGroup(group: string): [number, Saved][] {
    const all = new Map([...this.#entries.values()].flatMap((held) => [...held]));
    return [...all].filter(([, saved]) => saved.groups.includes(group)).sort(([a], [b]) => a - b);
  }

  #remove(numbered: [number, Saved][]): void {
    for (const [number, saved] of numbered) {
      for (const key of saved.keys) {
        const held = this.#entries.get(key);
        held?.delete(number);
        if (held?.size === 0) this.#entries.delete(key);
      }
    }
  }

  /** What is known of a fact, while it lasts. */
  recall(fact: Fact, now: bigint): Uint8Array | undefined {
    const known = this.#facts.get(`${fact.kind} ${fact.key}`);
    return known && now < known.until ? known.value : undefined;
  }

  /** Keeps a fact. */
  remember({ fact, value, ttlMs }: KnownFact, now: bigint): void {
    this.#facts.set(`${fact.kind} ${fact.key}`, { value, until: now + ttlMs });
  }
}
