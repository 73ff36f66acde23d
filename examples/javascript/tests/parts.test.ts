/** The parts of a driver that the authority can't tell apart: places of secrets, look-ups. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { type HttpRequest, TokenCache, TransportError } from 'symbolon';

import { call, type Place, protocolCore, type Saved } from '../dist/component.js';
import { withSecret } from '../dist/transport.js';

const SECRET = 's3cr&t ~*=';

function request(body = '', headers: [string, string][] = []): HttpRequest {
  return { method: 'POST', url: 'https://login.example/token', headers, body, connectTimeoutMs: 1, answerTimeoutMs: 1 };
}

describe('a secret', () => {
  const field: Place = { tag: 'form-field', val: 'client_secret' };
  const header: Place = { tag: 'header', val: 'X-Secret' };
  const basic: Place = { tag: 'basic-authorization', val: 'id:1' };

  it('goes into the field', () => {
    const { body } = withSecret(request('a=1&client%5Fsecret=&b=2'), field, SECRET);
    assert.equal(body, 'a=1&client%5Fsecret=s3cr%26t+%7E*%3D&b=2');
  });

  it('goes into the header', () => {
    assert.deepEqual(withSecret(request('', [['x-secret', '']]), header, SECRET).headers, [['x-secret', SECRET]]);
    assert.deepEqual(withSecret(request('', [['x-secret', 'Key ']]), header, SECRET).headers, [['x-secret', `Key ${SECRET}`]]);
  });

  it('is the password of basic authorization', () => {
    const [[name, value] = ['', '']] = withSecret(request(), basic, SECRET).headers;
    const pair = Buffer.from(value.replace('Basic ', ''), 'base64').toString();
    assert.deepEqual([name, pair], ['authorization', 'id%3A1:s3cr%26t+%7E*%3D']);
  });

  it('has one place, which is empty', () => {
    const wrong: [HttpRequest, Place][] = [
      [request('a=1'), field],
      [request('client_secret=&client_secret='), field],
      [request('client_secret=x'), field],
      [request(), header],
      [request('', [['x-secret', 'x']]), header],
      [request('', [['Authorization', 'Bearer x']]), basic],
    ];
    for (const [request, place] of wrong) {
      const isError = (error: unknown) => error instanceof TransportError && !error.mayBeSent && !/s3cr/.test(error.message);
      assert.throws(() => withSecret(request, place, SECRET), isError);
    }
  });
});

describe('the cache', () => {
  const saved = (keys: string[], expiresOn: bigint): Saved => {
    const names = { homeAccountId: '', environment: '', clientId: '', realm: '', target: '', secret: '', tokenType: '' };
    const val = { ...names, cachedAt: 0n, expiresOn, components: [] };
    return { entry: { tag: 'access-token', val }, keys, replaces: [], partitionKey: '', itemKey: '', groups: ['group'] };
  };
  const put = (cache: TokenCache, entry: Saved) => cache.put({ entries: [entry], replacedGroups: [], endsFlight: true });
  const filled = () => {
    const cache = new TokenCache();
    put(cache, saved(['a', 'b'], 2000n));
    return cache;
  };
  const find = (cache: TokenCache, alternatives: string[][], { after = 0n, before = 9000n, bypass = false } = {}) => {
    const found = cache.find({ alternatives, expiresAfter: after, expiresBefore: before, bypass, flight: 'f' }, 0n);
    return found.tag === 'lead' ? found.val.absence : found.tag;
  };

  it('finds an entry that holds all keys of an alternative', () => {
    const cache = filled();
    assert.deepEqual([find(cache, [['a', 'b']]), find(cache, [['a', 'c'], ['b']])], ['hit', 'hit']);
    assert.deepEqual([find(cache, [['a', 'c']]), find(cache, [[]])], ['absent', 'absent']);
  });

  it('knows when a token has its time', () => {
    const cache = filled();
    assert.deepEqual([find(cache, [['a']], { after: 1999n }), find(cache, [['a']], { after: 2000n })], ['hit', 'expired']);
    assert.equal(find(cache, [['a']], { before: 1999n }), 'absent');
  });

  it('is passed by, and leads no flight that nobody named', () => {
    const cache = filled();
    assert.equal(find(cache, [['a']], { bypass: true }), 'bypassed');
    const lookup = { alternatives: [['c']], expiresAfter: 0n, expiresBefore: 9000n, bypass: false };
    assert.equal(cache.find(lookup, 0n).tag, 'miss');
  });

  it('replaces entries with one of the same keys', () => {
    const cache = filled();
    put(cache, saved(['b'], 3000n));
    assert.deepEqual([find(cache, [['a']]), find(cache, [['b']], { after: 2500n })], ['absent', 'hit']);
  });

  it('removes a group as a whole', () => {
    const cache = filled();
    assert.equal(cache.members('group').length, 1);
    assert.deepEqual([cache.removeGroup('group'), cache.removeGroup('group')], [true, false]);
    assert.equal(find(cache, [['a']]), 'absent');
  });

  it('keeps a fact as long as it lasts', () => {
    const [cache, fact] = [filled(), { kind: 'throttle', key: 'k' } as const];
    cache.remember({ fact, value: new Uint8Array([1]), ttlMs: 10n }, 100n);
    assert.deepEqual([cache.recall(fact, 109n), cache.recall(fact, 110n)], [new Uint8Array([1]), undefined]);
  });
});

describe('the instance', () => {
  it('serves until something is thrown that may be a trap', async () => {
    const instance = await protocolCore();
    assert.equal(await protocolCore(), instance);
    const trap = () => {
      throw new WebAssembly.RuntimeError('unreachable');
    };
    assert.throws(() => call(trap), WebAssembly.RuntimeError);
    assert.notEqual(await protocolCore(), instance);
  });
});
