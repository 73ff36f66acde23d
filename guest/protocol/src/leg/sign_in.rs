//! The beginning of a sign-in, once it is known where.

use super::{Leg, Step, World};
use crate::acquisition::Action;
use crate::authorization::{self, AuthorizationParameters, AuthorizationRequest};
use crate::error::Error;
use crate::request::SignIn;

impl Leg {
    pub(super) fn sign_in(&mut self, sign_in: &SignIn, world: &World) -> Step {
        match self.authorization_request(sign_in, world) {
            Ok(request) => Step::Do(Action::SignIn(request.into())),
            Err(error) => self.fail(error),
        }
    }

    fn authorization_request(&self, sign_in: &SignIn, world: &World) -> Result<AuthorizationRequest, Error> {
        let plan = &self.plan;
        let endpoint = match &self.learnt.provider {
            Some(provider) => provider.authorization_endpoint.clone(),
            None => {
                let host = self.environment(false)?.network_host;
                plan.authority.with_host(&host).authorization_endpoint()
            }
        };
        let parameters = AuthorizationParameters {
            client_id: &plan.client_id,
            redirect_uri: &sign_in.redirect_uri,
            scopes: &plan.scopes,
            offline_access: sign_in.offline_access,
            login_hint: sign_in.login_hint.as_deref(),
            domain_hint: sign_in.domain_hint.as_deref(),
            prompt: sign_in.prompt.as_deref(),
            claims: plan.claims.as_deref(),
            extra_query: &plan.query,
            correlation_id: &plan.correlation_id,
        };
        let endpoint = endpoint.ok_or_else(|| self.no_endpoint("authorization"))?;
        authorization::request(&endpoint, &parameters, &world.seed)
    }
}
