//! Scopes: which resource a request is for, and what it may do there.

use crate::{
    Registration, Resource,
    agent::{self, EXCHANGE},
    directory::Directory,
    hosts::Cloud,
    refusal::{self, Refusal},
};

/// A resource with the identifier it was asked for by.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    pub(crate) identifier: String,
}

impl Target {
    pub(crate) fn find(identifier: &str, directory: &Directory) -> Result<Self, Refusal> {
        let resource = directory.resource(identifier).ok_or_else(|| resource_not_found(identifier))?;
        Ok(Self { resource, identifier: identifier.to_owned() })
    }

    fn is_graph(&self) -> bool {
        self.resource.app_id == GRAPH
    }
}

/// The scope of a client credentials request: one resource's `/.default`.
pub(crate) fn of_application(scope: &str, directory: &Directory, cloud: &Cloud) -> Result<Target, Refusal> {
    // MSAL for Go sends the scopes of OpenID Connect with every flow; they mean nothing without a user.
    let mut scopes = scope.split(' ').filter(|one| !one.is_empty() && !OPENID_CONNECT.contains(one));
    let invalid = || invalid(scope);
    let (first, rest) = (scopes.next().ok_or_else(invalid)?, scopes.next());
    if rest.is_some() || is_malformed(first) {
        return Err(invalid());
    }
    match first.strip_suffix("/.default").filter(|identifier| !identifier.is_empty()) {
        Some(identifier) => {
            let target = Target::find(identifier, directory)?;
            if target.resource.app_id == EXCHANGE && !agent::is_exchange_of(cloud, identifier) {
                return Err(resource_not_found(identifier));
            }
            Ok(target)
        }
        None => Err(refusal::SCOPE_NOT_DEFAULT.because(format!(
            "The provided value for scope {first} is not valid. Client credential flows must have a scope value \
             with /.default suffixed to the resource identifier (application ID URI)."
        ))),
    }
}

/// The scopes of a request about a user.
#[derive(Debug)]
pub(crate) struct UserScopes {
    pub(crate) target: Target,
    /// The delegated scopes: `scp`.
    pub(crate) granted: Vec<String>,
    /// The `scope` of the answer.
    pub(crate) answered: String,
    /// An id token is wanted.
    pub(crate) openid: bool,
    /// A refresh token is wanted.
    pub(crate) offline_access: bool,
}

impl UserScopes {
    /// Scopes without resource are Microsoft Graph's, as are none at all.
    pub(crate) fn parse(
        scope: &str,
        application: &Registration,
        directory: &Directory,
        cloud: &Cloud,
    ) -> Result<Self, Refusal> {
        let (of_user, of_resource): (Vec<&str>, Vec<&str>) =
            scope.split(' ').filter(|one| !one.is_empty()).partition(|one| OPENID_CONNECT.contains(one));
        if (of_user.is_empty() && of_resource.is_empty()) || of_resource.iter().any(|one| is_malformed(one)) {
            return Err(invalid(scope));
        }
        let graph = graph_of(cloud);
        let parts: Vec<_> =
            of_resource.iter().map(|one| one.rsplit_once('/').unwrap_or((graph, *one))).collect();
        let target = Target::find(parts.first().map_or(graph, |(identifier, _)| *identifier), directory)?;
        if parts.iter().any(|(identifier, _)| !target.resource.is(identifier)) {
            return Err(invalid(scope));
        }
        consent(application, &target)?;
        let openid = of_user.contains(&"openid");
        let mut scopes = Self {
            granted: Vec::new(),
            answered: String::new(),
            openid,
            offline_access: of_user.contains(&"offline_access"),
            target,
        };
        if scopes.target.is_graph() && openid {
            // They are Graph's own, so that other resources' answers are without them.
            let own = ["openid", "profile", "email"].into_iter().filter(|own| of_user.contains(own));
            own.for_each(|own| scopes.grant(own, own));
        }
        for (asked, (identifier, name)) in of_resource.into_iter().zip(parts) {
            scopes.add(asked, identifier, name, application)?;
        }
        Ok(scopes)
    }

    /// Grants one scope of the resource; `.default` is all of them, and stays in the answer.
    fn add(
        &mut self,
        asked: &str,
        identifier: &str,
        name: &str,
        application: &Registration,
    ) -> Result<(), Refusal> {
        if name == ".default" {
            for scope in self.target.resource.scopes.clone() {
                self.grant(&scope, &format!("{identifier}/{scope}"));
            }
            self.answer_with(asked);
            return Ok(());
        }
        let known = self.target.resource.scopes.iter().find(|own| own.eq_ignore_ascii_case(name)).cloned();
        let known = known.ok_or_else(|| {
            refusal::SCOPE_UNKNOWN.because(format!(
                "The application '{}' asked for scope '{name}' that doesn't exist on the resource '{}'. Contact the \
                 app vendor.",
                application.name, self.target.resource.app_id
            ))
        })?;
        self.grant(&known, asked);
        Ok(())
    }

    fn grant(&mut self, name: &str, answered: &str) {
        if !self.granted.iter().any(|own| own == name) {
            self.granted.push(name.to_owned());
            self.answer_with(answered);
        }
    }

    fn answer_with(&mut self, scope: &str) {
        if !self.answered.is_empty() {
            self.answered.push(' ');
        }
        self.answered.push_str(scope);
    }
}

/// An application that is registered for some resources has no user's consent for others.
fn consent(application: &Registration, target: &Target) -> Result<(), Refusal> {
    let allowed = |granted: &Vec<crate::registration::Grant>| {
        granted.iter().any(|granted| target.resource.is(&granted.resource))
    };
    if application.resources.as_ref().is_none_or(allowed) {
        return Ok(());
    }
    let refusal = refusal::CONSENT_REQUIRED.because(format!(
        "The user or administrator has not consented to use the application with ID '{}' named '{}'. Send an \
         interactive authorization request for this user and resource.",
        application.client_id, application.name
    ));
    Err(Refusal { suberror: Some("consent_required".to_owned()), ..refusal })
}

fn resource_not_found(identifier: &str) -> Refusal {
    refusal::RESOURCE_NOT_FOUND.because(format!(
        "The resource principal named {identifier} was not found in the tenant. This can happen if the application has \
         not been installed by the administrator of the tenant or consented to by any user in the tenant. You might \
         have sent your authentication request to the wrong tenant."
    ))
}

fn invalid(scope: &str) -> Refusal {
    refusal::SCOPE_INVALID.because(format!(
        "The provided request must include a 'scope' input parameter. The provided value for the input parameter \
         'scope' is not valid. The scope {scope} is not valid."
    ))
}

fn is_malformed(scope: &str) -> bool {
    scope.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'))
}

fn graph_of(cloud: &Cloud) -> &'static str {
    match cloud.preferred_network.as_str() {
        "login.microsoftonline.us" => "https://graph.microsoft.us",
        "login.partner.microsoftonline.cn" => "https://microsoftgraph.chinacloudapi.cn",
        _ => "https://graph.microsoft.com",
    }
}

/// The scopes that no resource defines.
const OPENID_CONNECT: [&str; 4] = ["openid", "profile", "offline_access", "email"];
/// Microsoft Graph's application id.
pub(crate) const GRAPH: &str = "00000003-0000-0000-c000-000000000000";
