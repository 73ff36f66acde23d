//! From what was written to what is done: complete, or an error before the first request.

use std::path::PathBuf;

use symbolon::{AgentIdentity, ManagedIdentityId, SessionKey, User};
use uuid::Uuid;

use super::acquisition::{Acquisition, How, UserToken};
use super::arguments::{AcquisitionArguments, Flow, Kind};
use super::files::{FileText, Files};
use super::origin::Origin;
use crate::failure::Failure;

/// What is done at once.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Acquire(Box<Acquisition>),
    /// Without a key: that of the latest step that has one.
    StopLongRunning(Option<String>),
    Accounts,
    /// Without a home account id: as `silent`.
    RemoveAccount(Option<String>),
}

impl Step {
    /// Whether it goes on with what an earlier step began.
    fn needs_session_key(&self) -> bool {
        match self {
            Self::Acquire(acquisition) => {
                matches!(acquisition.how, How::AcquireInLongRunningProcess { key: None })
            }
            Self::StopLongRunning(key) => key.is_none(),
            Self::Accounts | Self::RemoveAccount(_) => false,
        }
    }

    /// Whether it brings a session key.
    fn has_session_key(&self) -> bool {
        match self {
            Self::Acquire(acquisition) => matches!(
                acquisition.how,
                How::InitiateLongRunningProcess { .. } | How::AcquireInLongRunningProcess { .. }
            ),
            _ => false,
        }
    }
}

/// Makes steps of what was written.
#[derive(Debug)]
pub(super) struct Reader {
    /// Whether contradictions are errors.
    strict: bool,
    files: Files,
    /// Whether a step so far brings a session key.
    has_session_key: bool,
    /// What is probably not meant.
    pub(super) warnings: Vec<String>,
}

impl Reader {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, files: Files::default(), has_session_key: false, warnings: Vec::new() }
    }

    /// What `own` asks for. What it leaves open is as `defaults` say.
    pub(super) fn read(
        &mut self,
        own: AcquisitionArguments,
        defaults: &AcquisitionArguments,
        origin: Origin<'_>,
    ) -> Result<Step, Failure> {
        let flow = own.flow.or(defaults.flow).unwrap_or(Flow::ForClient);
        check_members(&own, flow, origin)?;
        let step = Inputs { reader: self, flow, origin }.step(own.or(defaults))?;
        if step.needs_session_key() && !self.has_session_key {
            let accepted = "the key of a process, or in a step nothing after one that begins a process";
            return Err(origin.problem("session_key", format!("found nothing; accepted: {accepted}")));
        }
        self.has_session_key |= step.has_session_key();
        Ok(step)
    }
}

/// Refuses what the flow doesn't use.
fn check_members(own: &AcquisitionArguments, flow: Flow, origin: Origin<'_>) -> Result<(), Failure> {
    let unused = own.given().find(|given| *given != "flow" && flow.members().all(|member| member != *given));
    let Some(unused) = unused else { return Ok(()) };
    let accepted: Vec<_> = flow.members().map(|member| origin.name(member)).collect();
    let accepted = if accepted.is_empty() { "nothing".to_owned() } else { accepted.join(", ") };
    let name = flow.name();
    Err(origin
        .problem(unused, format!("the flow `{name}` doesn't use it; accepted with `{name}`: {accepted}")))
}

/// The inputs of one step.
struct Inputs<'a> {
    reader: &'a mut Reader,
    flow: Flow,
    origin: Origin<'a>,
}

impl Inputs<'_> {
    fn step(&mut self, mut given: AcquisitionArguments) -> Result<Step, Failure> {
        let how = match self.flow {
            Flow::StopLongRunning => return Ok(Step::StopLongRunning(self.existing_key(given.session_key)?)),
            Flow::Accounts => return Ok(Step::Accounts),
            Flow::RemoveAccount => return Ok(Step::RemoveAccount(given.account)),
            _ => self.how(&mut given)?,
        };
        let scopes = given.scope.take().unwrap_or_default();
        if scopes.is_empty() && self.needs_scope() {
            return Err(self.missing("scope", "at least one, such as https://graph.microsoft.com/.default"));
        }
        if let (How::ForManagedIdentity { .. }, [_, _, ..]) = (&how, &scopes[..]) {
            let problem = format!("found {}; accepted: one, as the token is for one resource", scopes.len());
            return Err(self.origin.problem("scope", problem));
        }
        let pop_public_key = self.file("pop_public_key_file", given.pop_public_key_file.take())?;
        Ok(Step::Acquire(Box::new(Acquisition { scopes, how, pop_public_key, options: given })))
    }

    /// How the token is acquired.
    fn how(&mut self, given: &mut AcquisitionArguments) -> Result<How, Failure> {
        Ok(match self.flow {
            Flow::OnBehalfOf => How::OnBehalfOf { assertion: self.required_user_token(given)? },
            Flow::LongRunning => self.long_running(given)?,
            Flow::Silent => How::Silent { account: given.account.take() },
            Flow::ByRefreshToken => {
                let file = given.refresh_token_file.take();
                How::ByRefreshToken { token: self.secret("refresh_token_file", file, "the refresh token")? }
            }
            Flow::ByAuthorizationCode => How::ByAuthorizationCode {
                code: self.secret("code_file", given.code_file.take(), "the code")?,
                redirect_uri: self.text(
                    "redirect_uri",
                    given.redirect_uri.take(),
                    "the URI that the code was sent to",
                )?,
                verifier: self.file("code_verifier_file", given.code_verifier_file.take())?,
                issuer: given.issuer.take(),
                spa_code: given.spa_code.unwrap_or(false),
            },
            Flow::ByUsernamePassword => How::ByUsernamePassword {
                username: self.text("username", given.username.take(), "a user principal name")?,
                password: self.secret("password_file", given.password_file.take(), "the password")?,
            },
            Flow::ByUserFederatedIdentityCredential => self.federated_user(given)?,
            Flow::ForAgent => self.for_agent(given)?,
            Flow::ForManagedIdentity => How::ForManagedIdentity { identity: self.managed_identity(given)? },
            _ => How::ForClient { fmi_path: given.fmi_path.take() },
        })
    }

    fn long_running(&mut self, given: &mut AcquisitionArguments) -> Result<How, Failure> {
        let key = given.session_key.take();
        if let Some(assertion) = self.user_token(given)? {
            let search_in_cache = given.search_in_cache.unwrap_or(false);
            let key = key.unwrap_or_default();
            return Ok(How::InitiateLongRunningProcess { assertion, key, search_in_cache });
        }
        if given.search_in_cache.is_some() {
            return Err(self.useless("search_in_cache", "user_assertion_file"));
        }
        Ok(How::AcquireInLongRunningProcess { key: self.existing_key(key)? })
    }

    /// The key of a process that goes on or ends. There is nothing to allocate one from.
    fn existing_key(&self, key: Option<SessionKey>) -> Result<Option<String>, Failure> {
        match key {
            None => Ok(None),
            Some(SessionKey::Key(key)) => Ok(Some(key)),
            Some(SessionKey::AllocateForMe) => Err(self.origin.problem(
                "session_key",
                format!(
                    "found {}, and no user's token to allocate a key from; accepted: the key of a process",
                    SessionKey::ALLOCATE_FOR_ME
                ),
            )),
        }
    }

    fn federated_user(&mut self, given: &mut AcquisitionArguments) -> Result<How, Failure> {
        let user = self.user(["username", "user_id"], given.username.take(), given.user_id)?;
        let by_id = self.origin.name("user_id");
        let accepted = format!("a user principal name, or the object id as {by_id}");
        let user = user.ok_or_else(|| self.missing("username", accepted))?;
        let file = given.federated_assertion_file.take();
        let what = "a token that lets the application name users";
        let assertion = self.secret("federated_assertion_file", file, what)?;
        Ok(How::ByUserFederatedIdentityCredential { user, assertion })
    }

    fn for_agent(&mut self, given: &mut AcquisitionArguments) -> Result<How, Failure> {
        let agent = self.text("agent", given.agent.take(), "the agent's application (client) id")?;
        let members = ["agent_username", "agent_user_id"];
        let user = self.user(members, given.agent_username.take(), given.agent_user_id)?;
        let assertion = self.user_token(given)?;
        let agent = match (user, &assertion) {
            (None, _) => AgentIdentity::app_only(agent),
            (Some(user), None) => AgentIdentity::with_user(agent, user),
            (Some(_), Some(_)) => {
                let [username, id] = members.map(|member| self.origin.name(member));
                let problem =
                    format!("found a user beside it; accepted: a user's token, or {username}, or {id}");
                return Err(self.origin.problem("user_assertion_file", problem));
            }
        };
        Ok(How::ForAgent { agent, assertion })
    }

    /// The one that is named, by one of its ids; else the system-assigned one.
    fn managed_identity(&self, given: &mut AcquisitionArguments) -> Result<ManagedIdentityId, Failure> {
        type Named = fn(String) -> ManagedIdentityId;
        let ids: [(&str, Option<String>, Named); 3] = [
            (
                "managed_identity_client_id",
                given.managed_identity_client_id.take(),
                ManagedIdentityId::ClientId,
            ),
            (
                "managed_identity_resource_id",
                given.managed_identity_resource_id.take(),
                ManagedIdentityId::ResourceId,
            ),
            (
                "managed_identity_object_id",
                given.managed_identity_object_id.take(),
                ManagedIdentityId::ObjectId,
            ),
        ];
        let mut named = ids.into_iter().filter_map(|(member, id, named)| Some((member, named(id?))));
        match (named.next(), named.next()) {
            (None, _) => Ok(ManagedIdentityId::SystemAssigned),
            (Some((_, identity)), None) => Ok(identity),
            (Some((first, _)), Some((second, _))) => {
                let first = self.origin.name(first);
                Err(self.origin.problem(second, format!("found {first} beside it; accepted: one of them")))
            }
        }
    }

    /// A user by name or by object id. Where both are there, the name wins, as in Microsoft.Identity.Web.
    fn user(
        &mut self,
        [by_name, by_id]: [&str; 2],
        name: Option<String>,
        id: Option<Uuid>,
    ) -> Result<Option<User>, Failure> {
        if name.is_some() && id.is_some() {
            let name = self.origin.name(by_name);
            if self.reader.strict {
                let problem = format!("found {name} beside it; accepted with Symbolon:Strict: one of them");
                return Err(self.origin.problem(by_id, problem));
            }
            self.reader
                .warnings
                .push(format!("{}: not used, as {name} says who it is", self.origin.place(by_id)));
        }
        Ok(name.map(User::Username).or(id.map(User::ObjectId)))
    }

    fn required_user_token(&mut self, given: &mut AcquisitionArguments) -> Result<UserToken, Failure> {
        self.user_token(given)?
            .ok_or_else(|| self.missing("user_assertion_file", "a file with the user's token"))
    }

    fn user_token(&mut self, given: &mut AcquisitionArguments) -> Result<Option<UserToken>, Failure> {
        match (self.file("user_assertion_file", given.user_assertion_file.take())?, given.assertion_kind) {
            (None, Some(_)) => Err(self.useless("assertion_kind", "user_assertion_file")),
            (None, None) => Ok(None),
            (Some(text), kind) => Ok(Some(UserToken { text, kind: kind.unwrap_or(Kind::Jwt) })),
        }
    }

    fn secret(
        &mut self,
        member: &'static str,
        file: Option<PathBuf>,
        what: &str,
    ) -> Result<FileText, Failure> {
        self.file(member, file)?.ok_or_else(|| self.missing(member, format!("a file with {what}")))
    }

    fn file(&mut self, member: &'static str, file: Option<PathBuf>) -> Result<Option<FileText>, Failure> {
        let Some(file) = file else { return Ok(None) };
        let text = self.reader.files.read(member, &file);
        text.map(Some).map_err(|problem| self.origin.problem(member, problem))
    }

    fn text(&self, member: &str, text: Option<String>, accepted: &str) -> Result<String, Failure> {
        text.filter(|text| !text.trim().is_empty()).ok_or_else(|| self.missing(member, accepted))
    }

    fn missing(&self, member: &str, accepted: impl std::fmt::Display) -> Failure {
        let flow = self.flow.name();
        self.origin
            .problem(member, format!("found nothing, and the flow `{flow}` needs it; accepted: {accepted}"))
    }

    /// The error for what goes with something else that isn't there.
    fn useless(&self, member: &str, other: &str) -> Failure {
        let other = self.origin.name(other);
        self.origin.problem(member, format!("found it without {other}; accepted: both, or neither"))
    }

    /// Some grants say themselves what the token is for, or may.
    fn needs_scope(&self) -> bool {
        !matches!(
            self.flow,
            Flow::ByRefreshToken
                | Flow::ByAuthorizationCode
                | Flow::ByUsernamePassword
                | Flow::ByUserFederatedIdentityCredential
        )
    }
}
