//! Between the core's types and the values of components, by way of JSON in the words of the interfaces.

use serde_json::{Map, Value, json};
use symbolon_protocol::acquisition::{Absence, Entry, Fact, FactKind, Found, Lookup, Saved, Store};
use symbolon_protocol::cache::{
    AccessTokenItem, AccountItem, AppMetadataItem, Components, IdTokenItem, RefreshTokenItem,
};
use symbolon_protocol::credential::{
    Certificate, CredentialError, Description, Place, Presentation, SignedAssertion,
};
use symbolon_protocol::request::{
    AgentSubject, Application, Context, Flow, ManagedIdentityId, NamedUser, Options, Request, UserAssertion,
};
use wasmtime::component::{Resource, Type, Val};
use wasmtime::{AsContextMut, Result, bail};

use crate::host::{Credential, Ticket};

/// A value of the type. What isn't there is nothing, empty or false; a number in the place of a resource is its handle.
pub(crate) fn lower(store: &mut impl AsContextMut, ty: &Type, json: &Value) -> Result<Val> {
    Ok(match ty {
        Type::Bool => Val::Bool(json.as_bool().unwrap_or_default()),
        Type::U8 => Val::U8(number(json).try_into()?),
        Type::U16 => Val::U16(number(json).try_into()?),
        Type::U32 => Val::U32(number(json).try_into()?),
        Type::U64 => Val::U64(number(json)),
        Type::String => Val::String(json.as_str().unwrap_or_default().to_owned()),
        Type::List(list) => {
            let values = json.as_array().into_iter().flatten();
            Val::List(values.map(|value| lower(store, &list.ty(), value)).collect::<Result<_>>()?)
        }
        Type::Tuple(tuple) => {
            let values = tuple.types().enumerate().map(|(index, ty)| lower(store, &ty, &json[index]));
            Val::Tuple(values.collect::<Result<_>>()?)
        }
        Type::Record(record) => {
            let fields = record
                .fields()
                .map(|field| Ok((field.name.to_owned(), lower(store, &field.ty, &json[field.name])?)));
            Val::Record(fields.collect::<Result<_>>()?)
        }
        Type::Option(option) => Val::Option(match json {
            Value::Null => None,
            value => Some(Box::new(lower(store, &option.ty(), value)?)),
        }),
        Type::Result(result) => {
            let mut part = |ty: Option<Type>, value: &Value| {
                ty.map(|ty| lower(store, &ty, value).map(Box::new)).transpose()
            };
            Val::Result(match json.get("err") {
                Some(error) => Err(part(result.err(), error)?),
                None => Ok(part(result.ok(), &json["ok"])?),
            })
        }
        Type::Enum(_) => Val::Enum(json.as_str().unwrap_or_default().to_owned()),
        Type::Variant(variant) => {
            let (name, payload) = match json {
                Value::Object(object) => object.iter().next().map(|(name, value)| (name.as_str(), value)),
                other => other.as_str().map(|name| (name, &Value::Null)),
            }
            .unwrap_or(("", &Value::Null));
            let case = variant.cases().find(|case| case.name == name);
            let ty = case.and_then(|case| case.ty);
            let payload = ty.map(|ty| lower(store, &ty, payload).map(Box::new)).transpose()?;
            Val::Variant(name.to_owned(), payload)
        }
        Type::Own(resource) => {
            let handle = u32::try_from(number(json))?;
            let is_ticket = *resource == wasmtime::component::ResourceType::host::<Ticket>();
            let any = match is_ticket {
                true => Resource::<Ticket>::new_own(handle).try_into_resource_any(store),
                false => Resource::<Credential>::new_own(handle).try_into_resource_any(store),
            };
            Val::Resource(any?)
        }
        other => bail!("no value of the type {other:?} is made here"),
    })
}

fn number(json: &Value) -> u64 {
    json.as_u64().unwrap_or_default()
}

/// A value in the words of its interface. Resources are left out.
pub(crate) fn lift(value: &Val) -> Value {
    match value {
        Val::Bool(value) => (*value).into(),
        Val::U8(value) => (*value).into(),
        Val::U16(value) => (*value).into(),
        Val::U32(value) => (*value).into(),
        Val::U64(value) => (*value).into(),
        Val::String(value) | Val::Enum(value) => value.as_str().into(),
        Val::List(values) | Val::Tuple(values) => values.iter().map(lift).collect(),
        Val::Record(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), lift(value))).collect())
        }
        Val::Variant(name, None) => name.as_str().into(),
        Val::Variant(name, Some(payload)) => json!({ name.as_str(): lift(payload) }),
        Val::Option(value) => value.as_deref().map_or(Value::Null, lift),
        Val::Result(Ok(value)) => json!({ "ok": value.as_deref().map(lift) }),
        Val::Result(Err(value)) => json!({ "err": value.as_deref().map(lift) }),
        _ => Value::Null,
    }
}

/// A field of a record of the core.
trait Part {
    fn to(&self) -> Value;
    fn from(json: &Value) -> Self;
}

impl Part for String {
    fn to(&self) -> Value {
        self.as_str().into()
    }
    fn from(json: &Value) -> Self {
        json.as_str().unwrap_or_default().to_owned()
    }
}

impl Part for u64 {
    fn to(&self) -> Value {
        (*self).into()
    }
    fn from(json: &Value) -> Self {
        number(json)
    }
}

impl<T: Part> Part for Option<T> {
    fn to(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to)
    }
    fn from(json: &Value) -> Self {
        (!json.is_null()).then(|| T::from(json))
    }
}

impl Part for Components {
    fn to(&self) -> Value {
        self.iter().map(|(name, value)| json!([name, value])).collect()
    }
    fn from(json: &Value) -> Self {
        let pairs = json.as_array().into_iter().flatten();
        pairs.map(|pair| (<String as Part>::from(&pair[0]), <String as Part>::from(&pair[1]))).collect()
    }
}

fn kebab(name: &str) -> String {
    name.replace('_', "-")
}

/// Records that are the same on both sides, but for what the interface doesn't carry.
macro_rules! items {
    ($($item:ident { $($field:ident)* } without { $($absent:ident)* })*) => {$(
        impl Part for $item {
            fn to(&self) -> Value {
                let mut object = Map::new();
                $(object.insert(kebab(stringify!($field)), self.$field.to());)*
                object.into()
            }
            fn from(json: &Value) -> Self {
                Self {
                    $($field: Part::from(&json[kebab(stringify!($field))]),)*
                    $($absent: None,)*
                }
            }
        }
    )*};
}

items! {
    AccessTokenItem {
        home_account_id environment client_id realm target secret token_type key_id user_assertion_hash cached_at
        expires_on extended_expires_on refresh_on components username
    } without { client_info }
    RefreshTokenItem {
        home_account_id environment client_id family_id secret user_assertion_hash components
    } without { client_info }
    IdTokenItem { home_account_id environment client_id realm secret } without { client_info }
    AccountItem {
        home_account_id environment realm local_account_id username name
    } without { client_info given_name family_name }
    AppMetadataItem { environment client_id family_id } without {}
}

fn entry(entry: &Entry) -> Value {
    match entry {
        Entry::AccessToken(item) => json!({ "access-token": item.to() }),
        Entry::RefreshToken(item) => json!({ "refresh-token": item.to() }),
        Entry::IdToken(item) => json!({ "id-token": item.to() }),
        Entry::Account(item) => json!({ "account": item.to() }),
        Entry::AppMetadata(item) => json!({ "app-metadata": item.to() }),
    }
}

fn stored(json: &Value) -> Entry {
    let Some((kind, item)) = json.as_object().and_then(|object| object.iter().next()) else {
        return Entry::AppMetadata(Part::from(json));
    };
    match kind.as_str() {
        "access-token" => Entry::AccessToken(Box::new(Part::from(item))),
        "refresh-token" => Entry::RefreshToken(Box::new(Part::from(item))),
        "id-token" => Entry::IdToken(Box::new(Part::from(item))),
        "account" => Entry::Account(Box::new(Part::from(item))),
        _ => Entry::AppMetadata(Part::from(item)),
    }
}

fn texts(json: &Value) -> Vec<String> {
    json.as_array().into_iter().flatten().map(<String as Part>::from).collect()
}

pub(crate) fn lookup(json: &Value) -> Lookup {
    Lookup {
        alternatives: json["alternatives"].as_array().into_iter().flatten().map(texts).collect(),
        expires_after: number(&json["expires-after"]),
        expires_before: number(&json["expires-before"]),
        bypass: json["bypass"] == true,
        flight: Part::from(&json["flight"]),
    }
}

/// What was found; a lead's ticket is a handle that means nothing.
pub(crate) fn found(found: &Found) -> Value {
    match found {
        Found::Hit(hit) => json!({ "hit": entry(hit) }),
        Found::Lead { absence, now } => {
            let absence = match absence {
                Absence::Absent => "absent",
                Absence::Expired => "expired",
                Absence::Bypassed => "bypassed",
            };
            json!({ "lead": { "ticket": 0, "absence": absence, "now": now } })
        }
        Found::Failed(_) | Found::Miss => "miss".into(),
    }
}

pub(crate) fn store(ends_flight: bool, replaced_groups: &Value, entries: &Value) -> Store {
    let saved = |json: &Value| Saved {
        entry: stored(&json["entry"]),
        keys: texts(&json["keys"]),
        replaces: texts(&json["replaces"]),
        partition_key: Part::from(&json["partition-key"]),
        item_key: Part::from(&json["item-key"]),
        groups: texts(&json["groups"]),
    };
    Store {
        entries: entries.as_array().into_iter().flatten().map(saved).collect(),
        replaced_groups: texts(replaced_groups),
        ends_flight,
    }
}

pub(crate) fn fact(kind: &Value, key: &Value) -> Fact {
    let kind = match kind.as_str() {
        Some("instance-discovery") => FactKind::InstanceDiscovery,
        Some("oidc-metadata") => FactKind::OidcMetadata,
        Some("region") => FactKind::Region,
        Some("throttle") => FactKind::Throttle,
        _ => FactKind::BoundRefusal,
    };
    Fact { kind, key: Part::from(key) }
}

/// An enum's name in the interfaces, from its name in the core.
fn word(value: impl std::fmt::Debug) -> Value {
    case(&format!("{value:?}")).into()
}

/// The name of a case in the interfaces, from its name in generated code.
pub(crate) fn case(name: &str) -> String {
    let name = name.split('(').next().and_then(|name| name.rsplit("::").next()).unwrap_or_default();
    let mut word = String::new();
    for letter in name.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

pub(crate) fn description(description: &Description) -> Value {
    let certificate = |certificate: &Certificate| {
        json!({
            "chain": certificate.chain, "thumbprint-sha256": certificate.thumbprint_sha256,
            "thumbprint-sha1": certificate.thumbprint_sha1, "not-after": certificate.not_after,
            "algorithms": certificate.algorithms.iter().map(word).collect::<Vec<_>>(),
        })
    };
    json!({
        "name": description.name, "kind": word(description.kind), "use-bound": word(description.use_bound),
        "omit-assertion-when-bound": description.omit_assertion_when_bound,
        "certificate": description.certificate.as_ref().map(certificate),
    })
}

pub(crate) fn credential_error(error: &CredentialError) -> Value {
    json!({ "err": {
        "kind": word(error.kind), "message": error.message, "retry-after-ms": error.retry_after_ms,
    } })
}

pub(crate) fn signed_assertion(made: &SignedAssertion) -> Value {
    json!({ "ok": { "assertion": made.assertion, "bound": made.bound } })
}

pub(crate) fn presentation(json: &Value) -> Presentation {
    let place = |name: &str| json["secret"].get(name).map(<String as Part>::from);
    let secret = place("form-field").map(Place::FormField).or_else(|| place("header").map(Place::Header));
    Presentation { certificate: json["certificate"] == true, secret }
}

pub(crate) fn request(request: &Request) -> Value {
    json!({
        "flow": flow(&request.flow), "scopes": request.scopes, "scheme": word(request.scheme),
        "options": options(&request.options),
    })
}

fn flow(flow: &Flow) -> Value {
    match flow {
        Flow::ForClient(flow) => json!({ "for-client": {
            "fmi-path": flow.fmi_path, "attributes": flow.attributes, "attribute-tokens": flow.attribute_tokens,
        } }),
        Flow::OnBehalfOf(assertion) => json!({ "on-behalf-of": user_assertion(assertion) }),
        Flow::InitiateLongRunningProcess(start) => json!({ "initiate-long-running-process": {
            "assertion": user_assertion(&start.assertion), "session-key": start.session_key,
            "search-in-cache": start.search_in_cache,
        } }),
        Flow::AcquireInLongRunningProcess(key) => json!({ "acquire-in-long-running-process": key }),
        Flow::Silent(account) => json!({ "silent": account }),
        Flow::ByRefreshToken(token) => json!({ "by-refresh-token": token.0 }),
        Flow::ByAuthorizationCode(code) => json!({ "by-authorization-code": {
            "code": code.code, "redirect-uri": code.redirect_uri, "code-verifier": code.code_verifier,
            "spa-code": code.spa_code, "offline-access": code.offline_access,
        } }),
        Flow::ByUsernamePassword(user) => json!({ "by-username-password": {
            "username": user.username, "password": user.password,
        } }),
        Flow::ByUserFederatedIdentityCredential(federated) => {
            json!({ "by-user-federated-identity-credential": {
                "user": user(&federated.user), "assertion": federated.assertion,
            } })
        }
        Flow::ForAgent(agent) => {
            let subject = match &agent.subject {
                AgentSubject::App => "app".into(),
                AgentSubject::User(named) => json!({ "user": user(named) }),
                AgentSubject::Assertion(assertion) => json!({ "assertion": user_assertion(assertion) }),
            };
            json!({ "for-agent": { "agent": agent.agent, "subject": subject } })
        }
        Flow::ForManagedIdentity(flow) => {
            let identity = match &flow.identity {
                ManagedIdentityId::SystemAssigned => "system-assigned".into(),
                ManagedIdentityId::ClientId(id) => json!({ "client-id": id }),
                ManagedIdentityId::ResourceId(id) => json!({ "resource-id": id }),
                ManagedIdentityId::ObjectId(id) => json!({ "object-id": id }),
            };
            json!({ "for-managed-identity": { "identity": identity } })
        }
    }
}

fn user_assertion(assertion: &UserAssertion) -> Value {
    json!({ "assertion": assertion.assertion, "kind": word(assertion.kind) })
}

fn user(user: &NamedUser) -> Value {
    match user {
        NamedUser::ObjectId(id) => json!({ "object-id": id }),
        NamedUser::Username(name) => json!({ "username": name }),
    }
}

fn options(options: &Options) -> Value {
    let partitions = options.cache_partitions.iter().map(|partition| {
        json!({ "name": partition.name, "value": partition.value, "refresh-tokens": partition.refresh_tokens })
    });
    json!({
        "tenant-id": options.tenant_id, "claims": options.claims, "client-claims": options.client_claims,
        "force-refresh": options.force_refresh,
        "access-token-sha256-to-refresh": options.access_token_sha256_to_refresh,
        "pop-public-key": options.pop_public_key,
        "client-assertion-fmi-path": options.client_assertion_fmi_path,
        "extra-client-assertion-claims": options.extra_client_assertion_claims,
        "send-x5c": options.send_x5c, "cache-partitions": partitions.collect::<Vec<_>>(),
        "correlation-id": options.correlation_id, "extra-query-parameters": options.extra_query_parameters,
        "encoded-query-parameters": options.encoded_query_parameters,
        "extra-body-parameters": options.extra_body_parameters, "extra-headers": options.extra_headers,
    })
}

pub(crate) fn context(context: &Context) -> Value {
    json!({
        "application": application(&context.application), "now": context.now, "deadline": context.deadline,
        "seed": context.seed, "proactive-refresh": context.proactive_refresh,
    })
}

fn application(application: &Application) -> Value {
    json!({
        "client-id": application.client_id, "authority": application.authority,
        "authority-type": application.authority_type.map(word),
        "skip-authority-validation": application.skip_authority_validation,
        "instance-metadata": application.instance_metadata,
        "token-endpoint-auth-method": application.token_endpoint_auth_method,
        "azure-region": application.azure_region, "client-capabilities": application.client_capabilities,
        "send-x5c": application.send_x5c, "token-exchange-url": application.token_exchange_url,
        "bound-flows": application.bound_flows.iter().map(word).collect::<Vec<_>>(),
    })
}
