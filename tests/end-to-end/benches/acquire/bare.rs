//! The least that a client can do: the same form to the same endpoint over a kept connection, the answer parsed as JSON.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioExecutor;

use crate::connector::Connector;

pub(crate) struct Client {
    client: hyper_util::client::legacy::Client<Connector, Full<Bytes>>,
    url: http::Uri,
    form: Bytes,
}

impl Client {
    pub(crate) fn new(settings: &serde_json::Value, secret: &str) -> Self {
        let (_, address) = settings["Symbolon"]["ConnectTo"].as_object().unwrap().iter().next().unwrap();
        let connector = Connector::new(settings, address.as_str().unwrap().parse().unwrap());
        let tenant = settings["AzureAd"]["TenantId"].as_str().unwrap();
        let client_id = settings["AzureAd"]["ClientId"].as_str().unwrap();
        let secret = secret.replace(' ', "+");
        Self {
            client: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector),
            url: format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token").parse().unwrap(),
            form: format!(
                "client_id={client_id}&client_secret={secret}&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&grant_type=client_credentials&client_info=2"
            )
            .into(),
        }
    }

    pub(crate) async fn token(&self) {
        let request = http::Request::post(self.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(Full::new(self.form.clone()))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(answer["access_token"].is_string(), "{answer}");
    }
}
