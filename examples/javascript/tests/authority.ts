/**
 * The local authority of `symbolon emulator --data DIR`, as its sample applications see it. `SYMBOLON_AUTHORITY` names the
 * directory.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  ClientCertificate,
  ConfidentialClientApplication,
  type Credential,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  HttpsClient,
} from 'symbolon';

export const GRAPH = ['https://graph.microsoft.com/.default'];
export const VAULT = ['https://vault.azure.net/.default'];
export const REDIRECT_URI = 'https://localhost:5001/signin-oidc';
export const DIRECTORY = process.env['SYMBOLON_AUTHORITY'];

interface Settings {
  AzureAd: { Instance: string; TenantId: string; ClientId: string; ClientCredentials: { ClientSecret?: string }[] };
  Symbolon: { ConnectTo: Record<string, string> };
}

export function file(name: string): string {
  return readFileSync(join(DIRECTORY ?? '', name), 'utf8').trim();
}

/** A sample application by the configuration that the authority wrote for it, and a client whose requests are counted. */
export class Sample implements HttpClient {
  readonly #settings: Settings;
  readonly #client: HttpClient;
  requests = 0;

  constructor(name: string) {
    this.#settings = JSON.parse(file(`appsettings-${name}.json`)) as Settings;
    this.#client = new HttpsClient({ connectTo: this.connectTo, ca: file('ca.pem') });
  }

  get connectTo(): Record<string, string> {
    return this.#settings.Symbolon.ConnectTo;
  }

  get authority(): string {
    const { Instance, TenantId } = this.#settings.AzureAd;
    return `${Instance.replace(/\/$/, '')}/${TenantId}`;
  }

  get secret(): string {
    return this.#settings.AzureAd.ClientCredentials[0]?.ClientSecret ?? '';
  }

  send(request: HttpRequest): Promise<HttpResponse> {
    this.requests += 1;
    return this.#client.send(request);
  }

  application(clientCredential: Credential | string, httpClient: HttpClient = this): ConfidentialClientApplication {
    const clientId = this.#settings.AzureAd.ClientId;
    return new ConfidentialClientApplication({ clientId, clientCredential, authority: this.authority, httpClient });
  }

  /** The same, which takes the authority for an OpenID Connect provider that it knows nothing of. */
  ofAnyProvider(clientCredential: Credential | string, httpClient: HttpClient = this): ConfidentialClientApplication {
    const [clientId, authority] = [this.#settings.AzureAd.ClientId, `${this.authority}/v2.0`];
    return new ConfidentialClientApplication({ clientId, clientCredential, authority, authorityType: 'oidc', httpClient });
  }
}

export function certificate(bound = false): ClientCertificate {
  return ClientCertificate.fromPem(file('client.pem'), { bound });
}
