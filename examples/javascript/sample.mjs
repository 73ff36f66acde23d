// Tokens from the local authority of `symbolon emulator --data DIR`, which SYMBOLON_AUTHORITY names; NODE_EXTRA_CA_CERTS trusts it.
import { readFileSync } from 'node:fs';
import { ConfidentialClientApplication, HttpsClient } from 'symbolon';

const file = (name) => readFileSync(`${process.env.SYMBOLON_AUTHORITY}/${name}`, 'utf8').trim();
const { AzureAd, Symbolon } = JSON.parse(file('appsettings-web-api.json'));

const app = new ConfidentialClientApplication({
  clientId: AzureAd.ClientId,
  authority: AzureAd.Instance + AzureAd.TenantId,
  clientCredential: AzureAd.ClientCredentials[0].ClientSecret,
  httpClient: new HttpsClient({ connectTo: Symbolon.ConnectTo }),
});
const scopes = ['https://graph.microsoft.com/.default'];

for (let call = 0; call < 2; call += 1) {
  const token = await app.acquireTokenForClient({ scopes });
  console.log(`for client: ${token.tokenType} from ${token.tokenSource}`);
}
const userAssertion = file('user-assertion-alice.jwt');
const token = await app.acquireTokenOnBehalfOf({ userAssertion, scopes });
console.log(`on behalf of alice: ${token.tokenType} from ${token.tokenSource}`);
