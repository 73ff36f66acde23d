// A certified OpenID Connect provider on loopback, over TLS: one port that asks for no client certificate, and one that does.
//
// Its one argument is a JSON object: `issuer`, `mtls` (the URL of the second port under its own name), `key`, `certificate`
// and `clients_ca` (files), `clients` (metadata; `certificate`, a file, and `kid` make their key set). It tells on standard
// output, a line of JSON each, where it listens and what its token endpoint saw. On standard input it takes what becomes of
// the next answer of that endpoint, once the provider has done what was asked: `502` and the like, or `drop`.

import { X509Certificate, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';

import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader } from 'jose';
import { Provider } from 'oidc-provider';

const settings = JSON.parse(process.argv[2]);
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const provider = new Provider(settings.issuer, {
  clients: await Promise.all(settings.clients.map(client)),
  jwks: { keys: [generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })] },
  scopes: ['openid', 'offline_access', 'profile'],
  claims: { openid: ['sub'], profile: ['preferred_username'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: `${id}@contoso.test` }),
  }),
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth',
    'self_signed_tls_client_auth',
  ],
  enabledJWA: { clientAuthSigningAlgValues: ['PS256', 'RS256', 'ES256'] },
  cookies: { keys: ['of no consequence'] },
  discovery: { mtls_endpoint_aliases: { token_endpoint: new URL('/token', settings.mtls).href } },
  // Whoever uses one twice loses the session.
  rotateRefreshToken: true,
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns'
        && ctx.socket.getPeerX509Certificate().checkHost(expected, { subject: 'never' }) === expected,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'https://api.contoso.test',
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'read write', accessTokenFormat: 'jwt' }),
    },
  },
});

/** Metadata of a client, with its public key, which goes by its thumbprint where nothing else is said. */
async function client({ certificate, kid, ...metadata }) {
  if (certificate === undefined) return metadata;
  const x509 = new X509Certificate(readFileSync(certificate));
  const key = x509.publicKey.export({ format: 'jwk' });
  const id = kid ?? await calculateJwkThumbprint(key);
  const x5c = [x509.raw.toString('base64')];
  return { ...metadata, jwks: { keys: [{ ...key, use: 'sig', kid: id, x5c }] } };
}

// Why it refused something, which the client isn't told.
provider.on('grant.error', (ctx, error) => { ctx.refusal = error.error_detail ?? error.message; });

// What the front of the provider does with its next answer.
const faults = [];
createInterface({ input: process.stdin })
  .on('line', (line) => {
    faults.push(line);
    tell({ told: line });
  })
  .on('close', () => process.exit());

provider.use(async (ctx, next) => {
  await next();
  if (ctx.path !== '/token') return;
  const { authorization } = ctx.headers;
  const { client_assertion: assertion, ...form } = ctx.oidc?.body ?? {};
  tell({
    host: ctx.host,
    status: ctx.status,
    refusal: ctx.refusal,
    scheme: authorization?.split(' ')[0],
    form: Object.keys(form),
    grant: form.grant_type,
    header: assertion && decodeProtectedHeader(assertion),
    claims: assertion && decodeJwt(assertion),
    certificate: ctx.socket.getPeerX509Certificate?.()?.fingerprint256,
  });
  const fault = faults.shift();
  if (fault === 'drop') {
    ctx.respond = false;
    ctx.socket.destroy();
  } else if (fault !== undefined) {
    ctx.status = Number(fault);
    ctx.body = '';
  }
});

const tls = { key: readFileSync(settings.key), cert: readFileSync(settings.certificate) };
const listen = (options) => new Promise((resolve) => {
  const server = createServer({ ...tls, ...options }, provider.callback());
  server.listen(0, '127.0.0.1', () => resolve(server.address().port));
});
tell({
  port: await listen({}),
  mtls_port: await listen({
    ca: readFileSync(settings.clients_ca),
    requestCert: true,
    rejectUnauthorized: false,
  }),
});
