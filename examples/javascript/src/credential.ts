/** How the client proves itself. The component is told what a credential can do, and never what it holds. */

import { constants, createHash, createPrivateKey, type KeyObject, sign, X509Certificate } from 'node:crypto';

import type { AssertionContext, Description, SignatureAlgorithm, SignedAssertion } from './component.js';

/** Why a credential can't do what it is asked. The text holds no secret. */
export class CredentialError extends Error {
  constructor(
    readonly kind: 'not-configured' | 'unavailable' | 'unsupported' | 'refused',
    message: string,
  ) {
    super(message);
    this.name = 'CredentialError';
  }
}

/** A credential. Only what its kind needs is there; each may throw {@link CredentialError}. */
export interface Credential {
  /** What may be known about it. */
  describe(): Description;
  /** The shared secret, for its place in a request. */
  secret?(): string;
  /** A JSON Web Signature (RFC 7518 §3.1). */
  sign?(algorithm: SignatureAlgorithm, signingInput: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** A client assertion that was made elsewhere. */
  assertion?(context: AssertionContext): Promise<SignedAssertion>;
  /** The certificate that connections are bound to. */
  certificate?: ClientCertificate | undefined;
}

const UNBOUND = { useBound: 'unspecified', omitAssertionWhenBound: false } as const;

/** A shared secret. */
export class ClientSecret implements Credential {
  readonly #secret: string;

  constructor(secret: string) {
    this.#secret = secret;
  }

  describe(): Description {
    return { name: 'client secret', kind: 'client-secret', ...UNBOUND };
  }

  secret(): string {
    return this.#secret;
  }
}

/**
 * A token made elsewhere that stands in for a client assertion, such as a workload's; asked for once in each request. With a
 * certificate it is bound to that certificate, which is then presented to the authority.
 */
export class ClientAssertion implements Credential {
  readonly #get: (context: AssertionContext) => string | Promise<string>;

  constructor(
    get: (context: AssertionContext) => string | Promise<string>,
    readonly certificate?: ClientCertificate,
  ) {
    this.#get = get;
  }

  describe(): Description {
    const certificate = this.certificate?.describe().certificate;
    return { name: 'client assertion', kind: 'signed-assertion', ...UNBOUND, ...(certificate && { certificate }) };
  }

  async assertion(context: AssertionContext): Promise<SignedAssertion> {
    return { assertion: await this.#get(context), bound: this.certificate !== undefined };
  }
}

/** What {@link ClientCertificate} is made of. */
export interface CertificateParts {
  /** DER, the client's own certificate first. */
  chain: Uint8Array[];
  /** Signs with the private key, wherever that is, by one of `algorithms`. */
  sign(algorithm: SignatureAlgorithm, signingInput: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** `ps256` and `rs256` where absent. */
  algorithms?: SignatureAlgorithm[];
  /** Present the certificate to the authority as well, in the TLS handshake. */
  bound?: boolean;
  /** Certificate and key in PEM, for an HTTP client that presents them. */
  pem?: string;
}

/** A certificate and what signs with its private key. */
export class ClientCertificate implements Credential {
  readonly #parts: CertificateParts;
  readonly #description: Description;

  constructor(parts: CertificateParts) {
    const [leaf] = parts.chain;
    if (!leaf) throw new TypeError('the chain is empty; accepted is DER, the own certificate first');
    this.#parts = parts;
    this.#description = {
      name: 'client certificate',
      kind: 'certificate',
      useBound: parts.bound ? 'required' : 'unspecified',
      omitAssertionWhenBound: false,
      certificate: {
        chain: parts.chain,
        thumbprintSha256: createHash('sha256').update(leaf).digest('base64url'),
        thumbprintSha1: createHash('sha1').update(leaf).digest('base64url'),
        notAfter: BigInt(Math.floor(Date.parse(new X509Certificate(leaf).validTo) / 1000)),
        algorithms: parts.algorithms ?? ['ps256', 'rs256'],
      },
    };
  }

  /** The certificates and the private key of PEM text, which stays in this process. */
  static fromPem(pem: string, { bound = false } = {}): ClientCertificate {
    const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    const chain = certificates.map((certificate) => new Uint8Array(new X509Certificate(certificate).raw));
    const key = createPrivateKey(pem);
    const algorithms: SignatureAlgorithm[] = key.asymmetricKeyType === 'ec' ? ['es256'] : ['ps256', 'rs256'];
    return new ClientCertificate({ chain, sign: signer(key), algorithms, bound, pem });
  }

  get certificate(): ClientCertificate {
    return this;
  }

  /** Certificate and key in PEM, where this process has them. */
  get pem(): string | undefined {
    return this.#parts.pem;
  }

  describe(): Description {
    return this.#description;
  }

  sign(algorithm: SignatureAlgorithm, signingInput: Uint8Array): Uint8Array | Promise<Uint8Array> {
    return this.#parts.sign(algorithm, signingInput);
  }
}

function signer(key: KeyObject): CertificateParts['sign'] {
  const options = {
    rs256: { key, padding: constants.RSA_PKCS1_PADDING },
    ps256: { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
    es256: { key, dsaEncoding: 'ieee-p1363' as const },
  };
  return (algorithm, signingInput) => new Uint8Array(sign('sha256', signingInput, options[algorithm]));
}
