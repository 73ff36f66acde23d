//! A local Entra ID, for development and tests.
//!
//! It answers under the real host names (`login.microsoftonline.com`, `westus2.mtlsauth.microsoft.com`, every cloud)
//! with certificates of its own CA, checks what Entra ID checks (secrets, assertions, certificates, client
//! certificates in the handshake), refuses with Entra ID's codes, and goes wrong on demand. Its tokens are real
//! tokens, signed with a key that nobody else trusts: **it protects nothing, and is no identity provider for
//! anything that matters**.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use symbolon_authority::{Authority, Fault, FaultRule, Registration};
//!
//! let authority = Authority::builder()
//!     .application(Registration::new("11111111-2222-3333-4444-555555555555").secret("local only"))
//!     .start()
//!     .await?;
//! println!("{} {}", authority.address(), authority.ca_pem());
//!
//! authority.faults().add(FaultRule::once(Fault::ResetBeforeHeaders));
//! for request in authority.log() {
//!     println!("{} {} {:?}", request.host, request.path, request.aadsts);
//! }
//! # Ok(()) }
//! ```
//!
//! Clients reach it by its real names at [`Authority::address`]: with `Symbolon:ConnectTo`, with curl's
//! `--connect-to ::127.0.0.1:PORT`, or with a resolver of their own; they trust [`Authority::ca_pem`].
//!
//! # Endpoints
//!
//! | Path | Answers |
//! |---|---|
//! | `POST /{tenant}/oauth2/v2.0/token` | token requests; see [the grants](#grants) |
//! | `GET /{tenant}/oauth2/v2.0/authorize` | a redirect with a code for the user whom `login_hint` names, or a page that says why not |
//! | `GET /{tenant}/v2.0/.well-known/openid-configuration`, `GET /{tenant}/.well-known/openid-configuration` | metadata |
//! | `GET /{tenant}/discovery/v2.0/keys`, `GET /{tenant}/discovery/keys` | the signing keys |
//! | `GET /common/discovery/instance` | the table of clouds |
//!
//! Login hosts never ask for a client certificate. Mutual TLS hosts ask in the first handshake and take any
//! certificate there; whether the application may use it is decided with the request.
//!
//! # Grants
//!
//! | `grant_type` | Needs | Gives a token for |
//! |---|---|---|
//! | `client_credentials` | a `/.default` scope | the application; with `fmi_path`, an agent's client assertion |
//! | `urn:ietf:params:oauth:grant-type:jwt-bearer` | `assertion`, `requested_token_use=on_behalf_of` | the user of an access token that is for the client (or the blueprint of an agent); for the application of one |
//! | `urn:ietf:params:oauth:grant-type:saml1_1-bearer`, `…:saml2-bearer` | the same | the user of a [`SamlAssertion`] |
//! | `refresh_token` | `refresh_token` | the user of an earlier answer, for any resource |
//! | `authorization_code` | `code`, `redirect_uri`, `code_verifier` where there was a challenge | the user who signed in; `return_spa_code=1` brings `spa_code` for the page in the browser |
//! | `user_fic` | `user_federated_identity_credential`, `user_id` or `username` | the user of an agent, or of a client that [may name users](Registration::names_users) |
//! | `password` | `username`, `password` | that user |
//!
//! Answers about users carry `scope`; an `id_token` where `openid` is asked for, a `refresh_token` where
//! `offline_access` is, `client_info` where the request's is `1` or `2`. `/.default` stands for every delegated scope of
//! the resource. `common` and `organizations` are the home tenant of the user. `token_type=pop` with `req_cnf` binds the
//! token to that key, `mtls_pop` the application's to the certificate of the handshake. `claims` asks for `xms_cc` and
//! `acrs`, and answers a [`ConditionalAccess`].
//!
//! An agent ([`Registration::agent_of`]) takes three: its blueprint asks for `api://AzureADTokenExchange/.default` with
//! `fmi_path={agent}`; with that token as client assertion the agent asks for tokens of its own, or for the exchange
//! once more; and that token is the `user_federated_identity_credential` of its user.
//!
//! # Refusals
//!
//! | Code | Status | `error` | When |
//! |---|---|---|---|
//! | AADSTS50011 | 400 | `invalid_request` | the redirect URI of an authorization request is not registered |
//! | AADSTS50013 | 400 | `invalid_grant` | the user assertion is no token of this authority, or its signature is wrong |
//! | AADSTS50020 | 400 | `invalid_grant` | the user is not known in the tenant |
//! | AADSTS50034 | 400 | `invalid_grant` | no user of that name or object id |
//! | AADSTS50049 | 400 | `invalid_instance` | instance discovery for a host that is no authority's |
//! | AADSTS50027 | 401 | `invalid_client` | the assertion is no JWT, or breaks a rule of the application's strict mode |
//! | AADSTS50059 | 400 | `invalid_request` | client credentials at `common` or `organizations`, or anything at `consumers` |
//! | AADSTS50076 | 400 | `interaction_required` | conditional access: multi-factor authentication, with a claims challenge |
//! | AADSTS50126 | 400 | `invalid_grant` | the password is wrong |
//! | AADSTS50173 | 400 | `invalid_grant` | the refresh token was revoked, or used twice where it rotates |
//! | AADSTS51000 | 400 | `invalid_request` | mutual TLS is not enabled for the application |
//! | AADSTS53000 | 400 | `interaction_required` | conditional access: a device that complies, with a claims challenge |
//! | AADSTS53003 | 400 | `interaction_required` | conditional access: blocked |
//! | AADSTS54005 | 400 | `invalid_grant` | the authorization code was redeemed before |
//! | AADSTS65001 | 400 | `invalid_grant` | no user consented to that resource for the application |
//! | AADSTS70000 | 400 | `invalid_grant` | the refresh token, code or token for the exchange is unknown or another client's |
//! | AADSTS70003 | 400 | `unsupported_grant_type` | `grant_type` is none that the authority knows |
//! | AADSTS70008 | 400 | `invalid_grant` | the authorization code is older than 10 minutes |
//! | AADSTS70011 | 400 | `invalid_scope` | the scope is malformed, empty, or names two resources |
//! | AADSTS90023 | 400 | `invalid_request` | a parameter has a value that nothing accepts |
//! | AADSTS90002 | 400 | `invalid_request` | no tenant of that id or domain (metadata: `invalid_tenant`) |
//! | AADSTS240002 | 400 | `invalid_request` | the user assertion is an id token |
//! | AADSTS392189 | 400 | `invalid_request` | mutual TLS is enabled, but not for what is asked: PoP tokens, a client secret, or the flow |
//! | AADSTS500181 | 401 | `invalid_client` | the certificate of the handshake and of the assertion (or its `cnf`) differ |
//! | AADSTS500011 | 400 | `invalid_resource` | no resource of that identifier in the tenant |
//! | AADSTS500112 | 400 | `invalid_grant` | the redirect URI is not the one that the code was sent to |
//! | AADSTS500131 | 400 | `invalid_grant` | the user assertion is for another application |
//! | AADSTS500133 | 400 | `invalid_grant` | the user assertion is expired or not valid yet |
//! | AADSTS501051 | 400 | `invalid_grant` | the application may not call that resource |
//! | AADSTS501481 | 400 | `invalid_grant` | the code verifier is missing or does not meet the challenge |
//! | AADSTS501491 | 400 | `invalid_request` | the code challenge is shorter than 43 or longer than 128 characters |
//! | AADSTS650053 | 400 | `invalid_client` | the resource defines no such scope |
//! | AADSTS700016 | 400 | `unauthorized_client` | no application of that id in the tenant |
//! | AADSTS700021 | 401 | `invalid_client` | the assertion's `iss` and `sub` are not the client id |
//! | AADSTS700023 | 401 | `invalid_client` | the assertion's `aud` is no form of the token endpoint or issuer |
//! | AADSTS700024 | 401 | `invalid_client` | the assertion is expired, not valid yet, or valid for too long |
//! | AADSTS700027 | 401 | `invalid_client` | the certificate is not registered, or the signature is wrong |
//! | AADSTS700030 | 401 | `invalid_client` | the certificate's name or chain is not one that is registered |
//! | AADSTS700054 | 400 | `unsupported_response_type` | an authorization request for something else than a code |
//! | AADSTS700082 | 400 | `invalid_grant` | the refresh token is expired |
//! | AADSTS700211 | 401 | `invalid_client` | no federated credential for the assertion's issuer |
//! | AADSTS700212 | 401 | `invalid_client` | no federated credential for the assertion's audience |
//! | AADSTS700213 | 401 | `invalid_client` | no federated credential for the assertion's subject |
//! | AADSTS900023 | 400 | `invalid_request` | the tenant is neither an id nor a domain |
//! | AADSTS900144 | 400 | `invalid_request` | a parameter is missing |
//! | AADSTS900561 | 400 | `invalid_request` | the token endpoint was called with another method than POST |
//! | AADSTS1000502 | 401 | `invalid_client` | the certificate is expired or not valid yet |
//! | AADSTS1002012 | 400 | `invalid_scope` | a scope without `/.default` for client credentials |
//! | AADSTS7000215 | 401 | `invalid_client` | the client secret is wrong |
//! | AADSTS7000218 | 401 | `invalid_client` | no client credential, or no client certificate where the handshake must bring one |
//! | AADSTS7000222 | 401 | `invalid_client` | the client secret is expired |
//! | AADSTS9002313 | 400 | `invalid_request` | the request is no form, or repeats a parameter |
//! | AADSTS9002313 | 400 | `invalid_grant` | the refresh token or code is none that could have been issued |
//! | AADSTS9002326 | 400 | `invalid_request` | a page in a browser redeems a code that was not given to one |
//! | AADSTS9002327 | 400 | `invalid_request` | a code that was given to a page in a browser is redeemed by something else |
//!
//! What Entra ID takes from today's libraries is taken: times as numbers or strings, `x5c` as a string or an array,
//! thumbprints in either base64 alphabet, `aud` as any alias, regional or mutual TLS form of the token endpoint or as
//! the issuer, a `jti` used again, 5 minutes of difference between clocks. [`Registration::strict`] ends that for an
//! application.
//!
//! # Managed identities
//!
//! A [`Platform`] is a machine in Azure with managed identities, seen through every kind of endpoint there is, each on
//! a port of its own:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use symbolon_authority::{Authority, CONTOSO, ManagedIdentity, Platform, Registration, Source};
//!
//! let identity = ManagedIdentity::new("22222222-0000-4000-8000-000000000001", "0b1ec700-0000-4000-8000-000000000001");
//! let issuer = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
//! let application = Registration::new("11111111-2222-3333-4444-555555555555")
//!     .federated_credential(&issuer, identity.object_id(), "api://AzureADTokenExchange");
//! let authority = Authority::builder().application(application).start().await?;
//! let platform = Platform::builder().system_assigned(identity).start(&authority).await?;
//! for (name, value) in platform.environment(Source::AppService) {
//!     println!("{name}={value}");
//! }
//! # Ok(()) }
//! ```
//!
//! | [`Source`] | Request | Identity by | Refuses in the form of |
//! |---|---|---|---|
//! | `Imds` | `GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=`, `Metadata: true`, no `X-Forwarded-For` | `client_id`, `object_id`, `msi_res_id` | `{"error", "error_description"}` |
//! | | `GET /metadata/instance/compute?api-version=2021-02-01` | | the same, with `newest-versions` |
//! | | `GET /metadata/identity/getplatformmetadata?cred-api-version=2.0`, `POST /metadata/identity/issuecredential?cred-api-version=2.0` with `{"csr", "attestation_token"}` | as for tokens | the same |
//! | `AppService` | `GET /msi/token?api-version=2019-08-01&resource=`, `X-IDENTITY-HEADER` | `client_id`, `mi_res_id`, `object_id`, `principal_id` | `{"statusCode", "message", "correlationId"}` |
//! | `ServiceFabric` | `GET /metadata/identity/oauth2/token?api-version=2020-05-01&resource=`, `secret`, over TLS; `xms_cc`, `token_sha256_to_refresh` | `principalId` | `{"error": {"code", "message", "correlationId"}}` |
//! | `AzureArc` | `GET /metadata/identity/oauth2/token?api-version=2020-06-01&resource=`, `Metadata: true`; then again with `Authorization: Basic {content of the key file}` | | 401 with `WWW-Authenticate: Basic realm={key file}` ([`ArcChallenge`]); `{"error", "error_description", …}` |
//! | `CloudShell` | `POST /oauth2/token` with the form `resource=`, `Metadata: true` | | `{"error": {"code", "message"}}` |
//! | `MachineLearning` | `GET /msi/token?api-version=2017-09-01&resource=`, `secret` | `clientid` | `{"StatusCode", "Message", "CorrelationId"}`, or a text |
//!
//! A request that names no identity is for the system-assigned one; IMDS, Service Fabric and Machine Learning then
//! take the user-assigned one where it is the only one. Parameters that a platform does not know are ignored, as
//! there. Each endpoint but Service Fabric's issues a new token each time; Service Fabric's keeps them, until
//! `token_sha256_to_refresh` has the digest of the one that it would give.
//!
//! The tokens are tokens of the authority: `oid` and `sub` are the object id, `xms_mirid` the resource id, and for
//! `api://AzureADTokenExchange` they are federated assertions there. `issuecredential` certifies the key of a PKCS#10
//! request: RSASSA-PSS with SHA-256, the subject `CN={client id}, DC={tenant id}` in either order, the attribute
//! 1.3.6.1.4.1.311.90.2.10 with the `cuId` of the platform's metadata. With that certificate the identity gets tokens
//! at the mutual TLS host of the region, as an application of its client id. The issuer of these certificates is new
//! with each start of the authority.
//!
//! Faults, log and clock are the authority's: [`FaultRule::endpoint`] takes an [`Endpoint`] for each, [`LogEntry`] says
//! which it was, and [`Fault::Status`] comes with the platform's own body. Connections are counted apart, in
//! [`Platform::stats`].
//!
//! # Key Vault
//!
//! [`Authority::vault`] makes a vault, `https://{name}.vault.azure.net` at the authority's own port:
//!
//! | Request | Answers |
//! |---|---|
//! | `GET /certificates/{name}`, `GET /certificates/{name}/{version}` | the certificate's public half, its policy, the ids of its secret and key |
//! | `GET /secrets/{name}`, `GET /secrets/{name}/{version}` | the certificate with its key, as `application/x-pkcs12` or `application/x-pem-file`; or another secret |
//!
//! Without version it is the newest. `api-version` is `7.0` to `7.6` or a later date. The token must be this
//! authority's: signed, in time, for `https://vault.azure.net` without a slash at the end, of the vault's tenant, and
//! of somebody whom [`Vault::allow`] lets in. Refusals are `{"error": {"code", "message"}}`:
//!
//! | Status | Code | When |
//! |---|---|---|
//! | 400 | `BadParameter` | `api-version` is missing or unknown |
//! | 401 | `Unauthorized` | no token (AKV10000), a wrong signature (AKV10046), audience (AKV10022) or tenant (AKV10032), expired; with `WWW-Authenticate: Bearer authorization=…, resource=…` |
//! | 403 | `Forbidden` | not let in (`AccessDenied`), or the version is disabled (`SecretDisabled`) |
//! | 404 | `CertificateNotFound`, `SecretNotFound` | no such name or version |
//! | 405, 404 | `MethodNotAllowed`, `NotFound`, `VaultNotFound` | anything else |
//!
//! [`Vault::import`] again is a rotation.
//!
//! # The data directory
//!
//! [`AuthorityBuilder::data_dir`] keeps what must survive a restart:
//!
//! | File | Is | Written |
//! |---|---|---|
//! | `ca.pem`, `ca.key` | the CA; give clients the first | once |
//! | `signing.key`, `federation.key` | the keys of tokens and of the test issuer | once |
//! | `applications.json` | the registrations, read at each start; edit it | once |
//! | `client.pem`, `client.crt`, `client.pfx` | a client certificate with key, without, and as PFX (password [`PFX_PASSWORD`]) | with `applications.json` |
//! | `client-chain.pem`, `client-chain.crt`, `client-issuer.pem` | one that an issuer signed, and the issuer | with `applications.json` |
//! | `client-expired.pem`, `client-expired.crt` | one that is expired | with `applications.json` |
//! | `federated-assertion.jwt` | an assertion of the test issuer, good for a day | at each start |
//! | `user-assertion-alice.jwt`, `user-assertion-bob.jwt` | what the sample users call the sample `web-api` with, good for a day; `user-assertion-alice-{name}.jwt` is for another sample API | at each start |
//! | `appsettings-*.json` | settings for each application of [`sample`], with the address | at each start |
//!
//! Files with keys or secrets have mode 0600.
//!
//! `applications.json`, with every member that there is (all but `clientId` are optional; paths are relative to the
//! directory; a certificate is one of `file`, `pem`, `thumbprint`):
//!
//! ```json
//! {
//!   "tenants": [{ "id": "aaaabbbb-0000-cccc-1111-dddd2222eee0", "domains": ["woodgrove.com"] }],
//!   "resources": [
//!     {
//!       "identifiers": ["api://orders"],
//!       "appId": "22222222-0000-4000-8000-000000000001",
//!       "tokenVersion": 2,
//!       "roles": ["Orders.Read"],
//!       "scopes": ["Orders.Write"],
//!       "conditionalAccess": [
//!         { "requirement": "multiFactor", "claims": { "access_token": { "acrs": { "essential": true, "value": "c1" } } } }
//!       ]
//!     }
//!   ],
//!   "trustedIssuers": ["client-issuer.pem"],
//!   "federationIssuers": [{ "issuer": "https://ci.contoso.test", "certificate": "client.crt" }],
//!   "users": [
//!     {
//!       "objectId": "ca401000-0000-4000-8000-000000000003",
//!       "userPrincipalName": "carol@woodgrove.com",
//!       "name": "Carol",
//!       "password": "local only",
//!       "tenant": "woodgrove.com",
//!       "guestOf": ["contoso.com"]
//!     }
//!   ],
//!   "applications": [
//!     {
//!       "clientId": "11111111-0000-4000-8000-000000000099",
//!       "name": "orders-client",
//!       "tenants": ["woodgrove.com"],
//!       "secrets": [{ "value": "local only", "expires": "2030-01-01T00:00:00Z" }],
//!       "certificates": [{ "file": "client.crt" }, { "thumbprint": "bmQeK7jALQuzsm3zZhXskUB41iAU0lyzzX2AKJAtiZ8" }],
//!       "subjectNames": [{ "subject": "client.contoso.test", "issuer": "Contoso client certificates" }],
//!       "federatedCredentials": [{ "issuer": "https://ci.contoso.test", "subject": "main", "audience": "api://AzureADTokenExchange" }],
//!       "mtls": true,
//!       "mtlsFlows": ["client_credentials", "on_behalf_of", "refresh_token", "authorization_code", "user_fic", "password"],
//!       "pop": true,
//!       "tlsClientAuth": false,
//!       "strict": false,
//!       "tokenLifetimeSeconds": 3599,
//!       "refreshInSeconds": 1800,
//!       "namesUsers": false,
//!       "rotating": false,
//!       "refreshTokenLifetimeSeconds": 7776000,
//!       "resources": [{ "resource": "api://orders", "roles": ["Orders.Read"] }],
//!       "identifierUris": ["api://orders-client"],
//!       "redirectUris": ["https://localhost:5001/signin-oidc"],
//!       "scopes": ["access_as_user"],
//!       "conditionalAccess": [],
//!       "fmiPaths": ["orders/worker", "11111111-0000-4000-8000-000000000098"],
//!       "attributes": true,
//!       "faults": [{ "fault": { "kind": "delay", "milliseconds": 200 }, "times": "always" }]
//!     },
//!     { "clientId": "11111111-0000-4000-8000-000000000098", "agentOf": "11111111-0000-4000-8000-000000000099" }
//!   ]
//! }
//! ```
//!
//! # The control port
//!
//! [`AuthorityBuilder::control`] opens a second port, plain HTTP on a loopback address, JSON in and out:
//!
//! | Request | Does |
//! |---|---|
//! | `GET /faults` | lists the faults: [`ActiveFault`] |
//! | `POST /faults` | adds one: [`FaultRule`]; answers `{"id": n}` |
//! | `DELETE /faults`, `DELETE /faults/{id}` | removes all, or one |
//! | `GET /log` | what the authority saw: [`LogEntry`] |
//! | `GET /stats` | connections and handshakes: [`Stats`] |
//! | `GET /applications` | the client ids |
//! | `POST /reset` | [`Authority::reset`] |
//! | `POST /clock` | `{"advanceSeconds": n}` moves the authority's time forward |
//! | `POST /user-token` | `{"user": …, "audience": …, "scope", "lifetimeSeconds", "claims"}` gives `{"token": …}`: [`UserToken`] |
//! | `POST /authorization-code` | `{"clientId": …, "user": …, "redirectUri": …, "scope", "nonce", "codeChallenge"}` gives `{"code": …}`: [`AuthorizationCode`] |
//! | `POST /revoke-refresh-tokens` | `{"user": …}` gives `{"revoked": n}` |
//! | `GET /platforms` | the environment variables of each running [`Platform`], by source: `[{"environment": {"imds": {…}, …}, "arcKeyDirectory": …}]` |
//! | `POST /vault-certificate` | `{"vault": …, "name": …, "commonName", "lifetimeSeconds", "pem", "exportable"}` makes a certificate, the newest version of its name, and gives `{"version": …, "x5t#S256": …, "certificate": …}` |
//! | `POST /federated-assertion` | `{"subject": …, "issuer", "audience", "lifetimeSeconds", "boundTo"}` gives `{"assertion": …}` |
//!
//! ```text
//! curl -d '{"fault":{"kind":"status","status":503,"retryAfter":{"seconds":2}},"times":3}' http://127.0.0.1:PORT/faults
//! ```

mod agent;
mod answer;
mod api;
mod assertion;
mod authority;
mod authorization_code;
mod authorize;
mod body;
mod ca;
mod certificate;
mod client;
mod clock;
mod conditional_access;
mod control;
mod credentials;
mod directory;
mod discovery;
mod encoding;
mod error;
mod fault;
mod federation;
mod files;
mod flow;
mod grants;
mod hosts;
mod incoming;
mod issue;
mod jwt;
mod log;
mod platform;
mod refresh_token;
mod refusal;
mod registration;
mod registration_file;
mod request;
mod resource;
mod samples;
mod scopes;
mod server;
mod state;
mod stats;
mod store;
mod tls;
mod token;
mod user;
mod user_assertion;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use api::{Api, ApiBuilder, ApiRequest, Ask, CertificateRefusal, Demand};
pub use authority::{Authority, AuthorityBuilder};
pub use authorization_code::AuthorizationCode;
pub use certificate::{Certificate, CertificateError};
pub use clock::Clock;
pub use conditional_access::ConditionalAccess;
pub use credentials::{CertificateRequest, ClientCertificate, ClientCertificateIssuer, KeyKind};
pub use error::StartError;
pub use fault::{ActiveFault, Endpoint, Fault, FaultRule, Faults, RetryAfter, Times};
pub use federation::{FEDERATION_ISSUER, FederatedAssertion};
pub use flow::Flow;
pub use log::{Field, FieldValue, LogEntry};
pub use platform::{
    ArcChallenge, CertificatePolicy, ManagedIdentity, Platform, PlatformBuilder, Source, Vault,
};
pub use refusal::{REFUSALS, RefusalKind};
pub use registration::Registration;
pub use resource::{Resource, Tenant};
pub use samples::{CONTOSO, FABRIKAM, FEDERATED_SUBJECT, PFX_PASSWORD, REDIRECT_URI, sample};
pub use stats::{Connection, HostStats, Stats};
pub use user::User;
pub use user_assertion::{SamlAssertion, UnknownUser, UserToken};

/// A lock whose holder panicked is taken over: every change under a lock here is complete at each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
