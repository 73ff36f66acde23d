//! APIs that applications call.

use serde_json::{Value, json};
use symbolon::{Application, DownstreamApi, Symbolon};
use symbolon_authority::{Api, ApiBuilder, Demand};

use crate::{GRAPH, World};

/// The name by which the APIs of tests are configured.
pub const API: &str = "api";

/// The audience of tokens for [`GRAPH`].
pub const GRAPH_AUDIENCE: &str = "https://graph.microsoft.com";

/// An API that takes tokens for [`GRAPH`].
pub fn of_tokens() -> ApiBuilder {
    Api::builder().demand(Demand::Token(GRAPH_AUDIENCE.to_owned()))
}

impl World {
    /// Starts an API.
    ///
    /// # Panics
    ///
    /// Where it doesn't start.
    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    pub async fn api(&self, builder: ApiBuilder) -> Api {
        builder.start(&self.authority).await.expect("an API")
    }

    /// A sample application that knows this API as [`API`], for tokens of its own for [`GRAPH`], with what is in `options`
    /// beside and instead.
    ///
    /// # Panics
    ///
    /// Where that isn't accepted.
    #[expect(clippy::expect_used, reason = "a test can't go on without it")]
    pub fn calling(&self, symbolon: &Symbolon, sample: &str, api: &Api, options: Value) -> DownstreamApi {
        self.caller(symbolon, sample, api, options).downstream_api(API).expect("the API's settings")
    }

    /// The same, the application.
    pub fn caller(&self, symbolon: &Symbolon, sample: &str, api: &Api, options: Value) -> Application {
        self.application_with(symbolon, sample, |settings| configure(settings, api, options))
    }
}

/// Adds an API to settings.
pub fn configure(settings: &mut Value, api: &Api, options: Value) {
    settings["Symbolon"]["ConnectTo"][api.host()] = api.address().to_string().into();
    let mut configured = json!({ "BaseUrl": api.url(), "Scopes": [GRAPH], "RequestAppToken": true });
    if let (Some(configured), Value::Object(options)) = (configured.as_object_mut(), options) {
        configured.extend(options);
    }
    settings["DownstreamApis"][API] = configured;
}
