/** Tokens from the local authority, over TLS. Skipped where `SYMBOLON_AUTHORITY` names none. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { AcquisitionError, type AuthorizationRequest, ClientAssertion, HttpsClient, TransportError } from 'symbolon';

import { certificate, DIRECTORY, file, GRAPH, REDIRECT_URI, Sample, VAULT } from './authority.js';

const skip = DIRECTORY ? false : 'needs SYMBOLON_AUTHORITY, the --data of `symbolon emulator`';

function isError(kind: string): (error: unknown) => boolean {
  return (error) => error instanceof AcquisitionError && error.kind === kind;
}

/** The code that the redirect brings back when a browser has gone there. */
async function codeOf(sample: Sample, { url, state }: AuthorizationRequest): Promise<string> {
  const limits = { connectTimeoutMs: 10_000, answerTimeoutMs: 10_000 };
  const { headers } = await sample.send({ method: 'GET', url, headers: [], body: '', ...limits });
  const redirect = new URL(headers.find(([name]) => name.toLowerCase() === 'location')?.[1] ?? '');
  assert.equal(redirect.searchParams.get('state'), state);
  return redirect.searchParams.get('code') ?? '';
}

describe('the local authority', { skip }, () => {
  it('gives a token for a secret, which the cache keeps', async () => {
    const sample = new Sample('secret');
    const app = sample.application(sample.secret);
    const first = await app.acquireTokenForClient({ scopes: GRAPH });
    const again = await app.acquireTokenForClient({ scopes: GRAPH });
    assert.deepEqual([first.tokenType, first.tokenSource], ['Bearer', 'identity-provider']);
    assert.deepEqual([again.accessToken, again.tokenSource], [first.accessToken, 'cache']);
    assert.equal(sample.requests, 1);
    const forced = await app.acquireTokenForClient({ scopes: GRAPH, forceRefresh: true });
    assert.notEqual(forced.accessToken, first.accessToken);
  });

  it('accepts what a certificate signs', async () => {
    const app = new Sample('certificate').application(certificate());
    assert.equal((await app.acquireTokenForClient({ scopes: GRAPH })).tokenSource, 'identity-provider');
    assert.equal((await app.acquireTokenForClient({ scopes: VAULT })).tokenSource, 'identity-provider');
  });

  it('binds a token to the certificate that is presented', async () => {
    const bound = certificate(true);
    const app = new Sample('bound').application(bound);
    const token = await app.acquireTokenForClient({ scopes: GRAPH, mtlsProofOfPossession: true });
    assert.deepEqual([token.tokenType, token.keyId], ['mtls_pop', bound.describe().certificate?.thumbprintSha256]);
  });

  it('accepts an assertion made elsewhere', async () => {
    const app = new Sample('federated').application(new ClientAssertion(() => file('federated-assertion.jwt')));
    assert.equal((await app.acquireTokenForClient({ scopes: GRAPH })).tokenSource, 'identity-provider');
  });

  it('lets the application act for a user', async () => {
    const sample = new Sample('web-api');
    const app = sample.application(sample.secret);
    const ask = (name: string) =>
      app.acquireTokenOnBehalfOf({ userAssertion: file(`user-assertion-${name}.jwt`), scopes: GRAPH });
    const [alice, bob, again] = [await ask('alice'), await ask('bob'), await ask('alice')];
    assert.notEqual(alice.accessToken, bob.accessToken);
    assert.deepEqual([again.accessToken, again.tokenSource], [alice.accessToken, 'cache']);
    assert.equal(sample.requests, 2);
  });

  it("lets a process run on without the user's token", async () => {
    const sample = new Sample('web-api');
    const app = sample.application(sample.secret);
    const userAssertion = file('user-assertion-alice.jwt');
    const { sessionKey = '' } = await app.initiateLongRunningProcess({ userAssertion, scopes: GRAPH });
    const goOn = (scopes: string[]) => app.acquireTokenInLongRunningProcess({ sessionKey, scopes });
    assert.equal((await goOn(GRAPH)).tokenSource, 'cache');
    assert.equal((await goOn(VAULT)).tokenSource, 'identity-provider');
    assert.equal(await app.stopLongRunningProcess(sessionKey), true);
    await assert.rejects(goOn(GRAPH), isError('interaction-required'));
  });

  it('makes a user known who signed in', async () => {
    const sample = new Sample('web-api');
    const app = sample.application(sample.secret);
    const hints = { redirectUri: REDIRECT_URI, loginHint: 'alice@contoso.com' };
    const begun = await app.authorizationRequest({ scopes: GRAPH, ...hints });
    const code = await codeOf(sample, begun);
    const { codeVerifier } = begun;
    const signedIn = await app.acquireTokenByAuthorizationCode({ code, scopes: GRAPH, redirectUri: REDIRECT_URI, codeVerifier });
    const { account } = signedIn;
    assert.ok(account);
    assert.deepEqual(await app.getAccounts(), [account]);
    const cached = await app.acquireTokenSilent({ account, scopes: GRAPH });
    assert.deepEqual([cached.accessToken, cached.tokenSource], [signedIn.accessToken, 'cache']);
    assert.equal((await app.acquireTokenSilent({ account, scopes: VAULT })).tokenSource, 'identity-provider');
    assert.equal(await app.removeAccount(account), true);
    assert.deepEqual(await app.getAccounts(), []);
    await assert.rejects(app.acquireTokenSilent({ account, scopes: GRAPH }), isError('interaction-required'));
  });

  it('says as any provider where people sign in', async () => {
    const sample = new Sample('web-api');
    const app = sample.ofAnyProvider(sample.secret);
    const hints = { redirectUri: REDIRECT_URI, loginHint: 'alice@contoso.com' };
    const begun = await app.authorizationRequest({ scopes: ['openid', ...GRAPH], ...hints });
    assert.equal(begun.url.split('?')[0], `${sample.authority}/oauth2/v2.0/authorize`);
    assert.equal(sample.requests, 1);
    const again = await app.authorizationRequest({ scopes: GRAPH, redirectUri: REDIRECT_URI });
    assert.notDeepEqual([again.state, again.codeVerifier], [begun.state, begun.codeVerifier]);
    assert.equal(sample.requests, 1, 'the provider is asked once');
    const code = await codeOf(sample, begun);
    const { codeVerifier } = begun;
    const signedIn = await app.acquireTokenByAuthorizationCode({ code, scopes: GRAPH, redirectUri: REDIRECT_URI, codeVerifier });
    assert.equal(signedIn.tokenSource, 'identity-provider');
  });

  it('begins no sign-in where it is not there', async () => {
    const nobody = new HttpsClient({ connectTo: { 'login.microsoftonline.com': '127.0.0.1:1' } });
    const sample = new Sample('web-api');
    const app = sample.ofAnyProvider(sample.secret, nobody);
    await assert.rejects(app.authorizationRequest({ scopes: GRAPH, redirectUri: REDIRECT_URI }), isError('transport-failed'));
  });

  it('says why it refuses', async () => {
    const refused = new Sample('secret').application('another secret').acquireTokenForClient({ scopes: GRAPH });
    await assert.rejects(refused, (error) => {
      assert.ok(error instanceof AcquisitionError);
      assert.deepEqual([error.kind, error.aadstsCodes], ['invalid-client', [7000215]]);
      return !error.message.includes('another secret');
    });
  });

  it('may not be there', async () => {
    const nobody = new HttpsClient({ connectTo: { 'login.microsoftonline.com': '127.0.0.1:1' } });
    const sample = new Sample('secret');
    const app = sample.application(sample.secret, nobody);
    await assert.rejects(app.acquireTokenForClient({ scopes: GRAPH }), isError('transport-failed'));
  });

  it('gets nothing where it is not trusted', async () => {
    const { connectTo } = new Sample('secret');
    const limits = { connectTimeoutMs: 10_000, answerTimeoutMs: 10_000 };
    const request = { method: 'GET', url: 'https://login.microsoftonline.com/', headers: [], body: '', ...limits };
    // Trusts one that signed nothing here, whatever the environment adds.
    const answer = new HttpsClient({ connectTo, ca: file('client.crt') }).send(request);
    await assert.rejects(answer, (error) => {
      assert.ok(error instanceof TransportError);
      assert.deepEqual([error.kind, error.mayBeSent], ['server-certificate', false]);
      return true;
    });
  });
});
