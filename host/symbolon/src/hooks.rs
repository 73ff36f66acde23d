//! What an embedding program sees of acquisitions, and may change about them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use symbolon_resources::cache::ApplicationId;
use symbolon_resources::configuration::ApplicationOptions;
use uuid::Uuid;

use crate::acquire::{RequestOptions, UserAssertion};
use crate::agent::AgentIdentity;
use crate::error::Result;
use crate::result::AuthenticationResult;

/// Called on the way to a token. Every method does nothing unless it is written.
///
/// Those whose name begins with `before_` or `on_` run once for each call, with or without options of the caller, when it is
/// awaited and before anything is looked up: what they change is part of what the cache is asked for. They have the last
/// word over the caller. None of them runs for a renewal in the background, which repeats a request as it was.
///
/// The methods run in the place of the call itself: they must not block.
///
/// ```
/// use std::sync::Arc;
/// use symbolon::{AcquisitionForApp, Symbolon, TokenAcquisitionHooks};
///
/// struct Slice;
///
/// impl TokenAcquisitionHooks for Slice {
///     fn before_acquisition_for_app(&self, acquisition: &mut AcquisitionForApp<'_>) {
///         acquisition.options.set_extra_query_parameter("slice", "testslice");
///     }
/// }
///
/// # fn example() -> symbolon::Result<()> {
/// let symbolon = Symbolon::builder().hooks(Arc::new(Slice)).build()?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "TokenAcquisitionExtensionOptions")]
pub trait TokenAcquisitionHooks: Send + Sync {
    /// Before a token is acquired for the application itself, for an agent of it, or for an agent's own user.
    #[doc(alias = "OnBeforeTokenAcquisitionForApp")]
    fn before_acquisition_for_app(&self, _acquisition: &mut AcquisitionForApp<'_>) {}

    /// Before anything else about a token that is acquired on behalf of the user of another token, also where a long-running
    /// process begins, and where an agent acts: may put another assertion in the place of the user's.
    #[doc(alias = "OnBeforeOnBehalfOfInitialized")]
    fn on_behalf_of_initialized(&self, _initialized: &mut OnBehalfOfInitialized<'_>) {}

    /// Before a token is acquired on behalf of a user, with the assertion that will be sent. Without one where a
    /// long-running process goes on.
    #[doc(alias = "OnBeforeTokenAcquisitionForOnBehalfOf")]
    fn before_on_behalf_of(&self, _acquisition: &mut AcquisitionOnBehalfOf<'_>) {}

    /// Before a token is acquired by username and password.
    #[doc(alias = "OnBeforeTokenAcquisitionForTestUser")]
    fn before_test_user(&self, _acquisition: &mut AcquisitionForTestUser<'_>) {}

    /// A renewal in the background has ended. Nobody else learns of its failure while the token lives.
    #[doc(alias = "OnBackgroundTokenRefreshCompleted")]
    fn background_refresh_completed(&self, _refresh: &BackgroundRefresh<'_>) {}

    /// A request is about to be sent: once for each attempt of each call, with all retries, an agent's legs, and what is
    /// asked about an authority.
    fn token_request(&self, _attempt: &TokenRequestAttempt<'_>) {}
}

/// A token for the application itself, for an agent of it, or for an agent's own user.
#[derive(Debug)]
#[non_exhaustive]
pub struct AcquisitionForApp<'a> {
    /// Whose call it is.
    pub application: &'a ApplicationOptions,
    /// What the token is for.
    pub scopes: &'a [Cow<'a, str>],
    /// The agent, with the user of its own where it acts for one.
    pub agent: Option<&'a AgentIdentity>,
    /// What is asked beside.
    pub options: &'a mut RequestOptions,
}

/// A token on behalf of a user, whose token may still be replaced.
#[derive(Debug)]
#[non_exhaustive]
pub struct OnBehalfOfInitialized<'a> {
    /// Whose call it is.
    pub application: &'a ApplicationOptions,
    /// What the token is for.
    pub scopes: &'a [Cow<'a, str>],
    /// The agent, where one acts for the user.
    pub agent: Option<&'a AgentIdentity>,
    original: &'a UserAssertion<'a>,
    replacement: Option<UserAssertion<'static>>,
}

impl OnBehalfOfInitialized<'_> {
    /// The user's token as it is now.
    pub fn user_assertion(&self) -> &UserAssertion<'_> {
        self.replacement.as_ref().unwrap_or(self.original)
    }

    /// Acts for the user of this token instead.
    pub fn replace_user_assertion(&mut self, assertion: impl Into<UserAssertion<'static>>) {
        self.replacement = Some(assertion.into());
    }
}

/// A token on behalf of a user.
#[derive(Debug)]
#[non_exhaustive]
pub struct AcquisitionOnBehalfOf<'a> {
    /// Whose call it is.
    pub application: &'a ApplicationOptions,
    /// What the token is for.
    pub scopes: &'a [Cow<'a, str>],
    /// The agent, where one acts for the user.
    pub agent: Option<&'a AgentIdentity>,
    /// The user's token as it will be sent; nothing where a long-running process goes on.
    pub user_assertion: Option<&'a UserAssertion<'a>>,
    /// What is asked beside.
    pub options: &'a mut RequestOptions,
}

/// A token for the user of a name and password.
#[non_exhaustive]
pub struct AcquisitionForTestUser<'a> {
    /// Whose call it is.
    pub application: &'a ApplicationOptions,
    /// What the token is for.
    pub scopes: &'a [Cow<'a, str>],
    /// What the user signs in with. `Debug` doesn't show it.
    pub username: &'a str,
    /// What is asked beside.
    pub options: &'a mut RequestOptions,
}

impl fmt::Debug for AcquisitionForTestUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquisitionForTestUser")
            .field("scopes", &self.scopes)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The end of a renewal in the background.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BackgroundRefresh<'a> {
    /// Whose token it is.
    pub application: &'a ApplicationOptions,
    /// The flow that brought it, such as `for-client`.
    pub flow: &'static str,
    /// The new token, or why there is none.
    pub result: &'a Result<AuthenticationResult>,
}

/// A request that is about to be sent. Headers and body stay out.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TokenRequestAttempt<'a> {
    /// Whose call it is.
    pub application: &'a ApplicationId,
    /// The flow that was called, such as `for-agent`.
    pub flow: &'static str,
    /// The host that is asked, such as `login.microsoftonline.com`.
    pub host: &'a str,
    /// The path, without the query. That of a token endpoint ends in `/token`.
    pub path: &'a str,
    /// The id that correlates the call with the authority's logs.
    pub correlation_id: Uuid,
    /// Which request of the call it is, from 1 on.
    pub attempt: u32,
    /// Whether the client's certificate is presented in the handshake.
    pub presents_certificate: bool,
}

/// The hooks of an application, if there are any.
#[derive(Clone, Default)]
pub(crate) struct Hooks(Option<Arc<dyn TokenAcquisitionHooks>>);

impl Hooks {
    /// With further ones, which come later.
    pub(crate) fn and(self, later: Arc<dyn TokenAcquisitionHooks>) -> Self {
        Self(Some(match self.0 {
            Some(earlier) => Arc::new(Both(earlier, later)),
            None => later,
        }))
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&dyn TokenAcquisitionHooks> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.is_some()).finish()
    }
}

/// Two hooks, one after the other.
struct Both(Arc<dyn TokenAcquisitionHooks>, Arc<dyn TokenAcquisitionHooks>);

impl TokenAcquisitionHooks for Both {
    fn before_acquisition_for_app(&self, acquisition: &mut AcquisitionForApp<'_>) {
        self.0.before_acquisition_for_app(acquisition);
        self.1.before_acquisition_for_app(acquisition);
    }

    fn on_behalf_of_initialized(&self, initialized: &mut OnBehalfOfInitialized<'_>) {
        self.0.on_behalf_of_initialized(initialized);
        self.1.on_behalf_of_initialized(initialized);
    }

    fn before_on_behalf_of(&self, acquisition: &mut AcquisitionOnBehalfOf<'_>) {
        self.0.before_on_behalf_of(acquisition);
        self.1.before_on_behalf_of(acquisition);
    }

    fn before_test_user(&self, acquisition: &mut AcquisitionForTestUser<'_>) {
        self.0.before_test_user(acquisition);
        self.1.before_test_user(acquisition);
    }

    fn background_refresh_completed(&self, refresh: &BackgroundRefresh<'_>) {
        self.0.background_refresh_completed(refresh);
        self.1.background_refresh_completed(refresh);
    }

    fn token_request(&self, attempt: &TokenRequestAttempt<'_>) {
        self.0.token_request(attempt);
        self.1.token_request(attempt);
    }
}

/// A call before anything is looked up, for the flow to say which hooks it has.
pub(crate) struct Beginning<'a> {
    pub(crate) hooks: &'a dyn TokenAcquisitionHooks,
    pub(crate) application: &'a ApplicationOptions,
    pub(crate) scopes: &'a [Cow<'a, str>],
    pub(crate) options: &'a mut RequestOptions,
}

impl Beginning<'_> {
    pub(crate) fn for_app(self, agent: Option<&AgentIdentity>) {
        let Self { hooks, application, scopes, options } = self;
        hooks.before_acquisition_for_app(&mut AcquisitionForApp { application, scopes, agent, options });
    }

    pub(crate) fn on_behalf_of(self, agent: Option<&AgentIdentity>, assertion: &mut UserAssertion<'_>) {
        let mut initialized = OnBehalfOfInitialized {
            application: self.application,
            scopes: self.scopes,
            agent,
            original: assertion,
            replacement: None,
        };
        self.hooks.on_behalf_of_initialized(&mut initialized);
        if let Some(replacement) = initialized.replacement {
            *assertion = replacement;
        }
        self.before_on_behalf_of(agent, Some(assertion));
    }

    pub(crate) fn in_long_running_process(self) {
        self.before_on_behalf_of(None, None);
    }

    pub(crate) fn for_test_user(self, username: &str) {
        let Self { hooks, application, scopes, options } = self;
        hooks.before_test_user(&mut AcquisitionForTestUser { application, scopes, username, options });
    }

    fn before_on_behalf_of(self, agent: Option<&AgentIdentity>, user_assertion: Option<&UserAssertion<'_>>) {
        let Self { hooks, application, scopes, options } = self;
        hooks.before_on_behalf_of(&mut AcquisitionOnBehalfOf {
            application,
            scopes,
            agent,
            user_assertion,
            options,
        });
    }
}
