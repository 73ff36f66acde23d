/** Requests to the authority: a client for them, and what an HTTP client of the caller's own must be. */

import { type IncomingMessage, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

import type { Place } from './component.js';
import type { ClientCertificate } from './credential.js';
import { TransportError } from './errors.js';

/** A longer body counts as no answer. */
const MAX_BODY_BYTES = 1024 * 1024;

/** A request, with its secret in its place. Redirects must not be followed. */
export interface HttpRequest {
  method: string;
  url: string;
  headers: [string, string][];
  body: string;
  connectTimeoutMs: number;
  /** How long the answer may take to begin. */
  answerTimeoutMs: number;
  /** What must be presented in the TLS handshake: a client that can't throws {@link TransportError} and never sends without. */
  certificate?: ClientCertificate | undefined;
}

/** An answer, whatever its status. */
export interface HttpResponse {
  status: number;
  headers: [string, string][];
  body: Uint8Array;
}

/** What sends requests. */
export interface HttpClient {
  /** The answer; {@link TransportError} where there is none. */
  send(request: HttpRequest): Promise<HttpResponse>;
}

/**
 * Node's client, a connection for each request. Certificates are trusted as Node does (`NODE_EXTRA_CA_CERTS` is honoured), or as
 * `ca` says. `connectTo` maps host names to `address:port`, as curl's `--connect-to` does.
 */
export class HttpsClient implements HttpClient {
  readonly #connectTo: Record<string, string>;
  readonly #ca: string | undefined;

  constructor({ connectTo = {}, ca }: { connectTo?: Record<string, string>; ca?: string } = {}) {
    this.#connectTo = connectTo;
    this.#ca = ca;
  }

  async send(request: HttpRequest): Promise<HttpResponse> {
    const { certificate } = request;
    if (certificate && certificate.pem === undefined) {
      throw new TransportError('denied', 'the client certificate has no key to present it with', false);
    }
    let isConnected = false;
    try {
      const response = await this.#answer(request, () => (isConnected = true));
      return { status: response.statusCode ?? 0, headers: pairs(response.rawHeaders), body: await body(response) };
    } catch (error) {
      throw error instanceof TransportError ? error : transportError(error as NodeJS.ErrnoException, isConnected);
    }
  }

  #answer(request: HttpRequest, connected: () => void): Promise<IncomingMessage> {
    const url = new URL(request.url);
    const port = url.port || (url.protocol === 'http:' ? '80' : '443');
    const target = new URL(`tcp://${this.#connectTo[url.hostname] ?? `${url.hostname}:${port}`}`);
    const { certificate } = request;
    return new Promise((resolve, reject) => {
      const isTls = url.protocol === 'https:';
      const outgoing = (isTls ? httpsRequest : httpRequest)({
        agent: false,
        host: target.hostname.replace(/^\[|\]$/g, ''),
        port: target.port,
        servername: url.hostname,
        path: url.pathname + url.search,
        method: request.method,
        setHost: false,
        ...(this.#ca && { ca: this.#ca }),
        ...(certificate && { cert: certificate.pem, key: certificate.pem }),
      });
      const timeOut = (what: string) => () => outgoing.destroy(Object.assign(new Error(what), { code: 'ETIMEDOUT' }));
      let timer = setTimeout(timeOut('no connection in time'), request.connectTimeoutMs);
      outgoing.on('socket', (socket) =>
        socket.once(isTls ? 'secureConnect' : 'connect', () => {
          connected();
          clearTimeout(timer);
          timer = setTimeout(timeOut('no answer in time'), request.answerTimeoutMs);
        }),
      );
      outgoing.on('response', resolve).on('error', reject).on('close', () => clearTimeout(timer));
      outgoing.setHeader('host', url.host);
      for (const [name, value] of request.headers) outgoing.setHeader(name, value);
      outgoing.end(request.body || undefined);
    });
  }
}

async function body(response: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw new TransportError('response-too-large', 'more than 1 MiB', true);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

function pairs(raw: string[]): [string, string][] {
  return raw.flatMap((name, index): [string, string][] => (index % 2 ? [] : [[name, raw[index + 1] ?? '']]));
}

function transportError({ code = '', message }: NodeJS.ErrnoException, isConnected: boolean): TransportError {
  const error = (kind: TransportError['kind']) => new TransportError(kind, code || message, isConnected);
  if (code === 'ETIMEDOUT') return error('timeout');
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return error('name-resolution');
  if (code.startsWith('HPE_')) return error('protocol');
  if (/CERT|SIGNATURE/.test(code)) return error('server-certificate');
  if (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || code === 'EPROTO') return error('tls');
  return error('connection');
}

/** The request with the secret in its place, which is there once and empty. */
export function withSecret(request: HttpRequest, place: Place, secret: string): HttpRequest {
  if (place.tag === 'form-field') {
    const fields = request.body.split('&');
    const index = only(fields.map((field) => formDecoded(field.split('=')[0] ?? '') === place.val));
    const [name, value = ''] = (fields[index] ?? '').split('=');
    fields[index] = `${name}=${empty(value)}${formEncoded(secret)}`;
    return { ...request, body: fields.join('&') };
  }
  const headers = request.headers.map(([name, value]): [string, string] => [name, value]);
  if (place.tag === 'basic-authorization') {
    const pair = Buffer.from(`${formEncoded(place.val)}:${formEncoded(secret)}`).toString('base64');
    headers.forEach(([name, value]) => name.toLowerCase() === 'authorization' && empty(value));
    return { ...request, headers: [...headers, ['authorization', `Basic ${pair}`]] };
  }
  const index = only(headers.map(([name]) => name.toLowerCase() === place.val.toLowerCase()));
  const [name, value] = headers[index] ?? ['', ''];
  headers[index] = [name, (value.endsWith(' ') ? value : empty(value)) + secret];
  return { ...request, headers };
}

/** As the WHATWG's `application/x-www-form-urlencoded` serializer. */
export function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1);
}

function formDecoded(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '));
}

function only(matches: boolean[]): number {
  const count = matches.filter(Boolean).length;
  if (count !== 1) throw new TransportError('internal', `the secret has ${count} places; it must have one`, false);
  return matches.indexOf(true);
}

function empty(value: string): string {
  if (value) throw new TransportError('internal', "the place of the secret isn't empty", false);
  return value;
}
