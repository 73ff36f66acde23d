//! The description of the routes (OpenAPI 3.1), for the makers of clients. Names of operations and schemas are those of the
//! Entra ID SDK's sidecar, so that clients made from its description fit.

use serde_json::{Value, json};

use crate::parameters::DESCRIBED;

/// What the server answers to, in OpenAPI 3.1.
pub fn description() -> Value {
    json!({
        "openapi": "3.1.1",
        "info": { "title": "Symbolon sidecar", "version": env!("CARGO_PKG_VERSION") },
        "paths": {
            "/Validate": { "get": validate() },
            "/AuthorizationHeader/{apiName}": { "get": of_an_api(
                "AuthorizationHeader",
                "The authorization header for a call of a configured API, for the caller.",
                "AuthorizationHeaderResult",
                true,
            ) },
            "/AuthorizationHeaderUnauthenticated/{apiName}": { "get": of_an_api(
                "AuthorizationHeaderUnauthenticated",
                "The authorization header for a call of a configured API, with the application's own credentials.",
                "AuthorizationHeaderResult",
                false,
            ) },
            "/DownstreamApi/{apiName}": { "post": call(
                "DownstreamApi",
                "Calls a configured API for the caller.",
                true,
            ) },
            "/DownstreamApiUnauthenticated/{apiName}": { "post": call(
                "DownstreamApiUnauthenticated",
                "Calls a configured API with the application's own credentials.",
                false,
            ) },
            "/ForwardAuth/{apiName}": { "get": forward(
                "ForwardAuth",
                "For proxies: the authorization header for a call of a configured API, for the caller, as a header of the answer.",
                true,
            ) },
            "/ForwardAuthUnauthenticated/{apiName}": { "get": forward(
                "ForwardAuthUnauthenticated",
                "For proxies: the same with the application's own credentials.",
                false,
            ) },
        },
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "Bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}

fn validate() -> Value {
    let mut responses = responses("ValidateAuthorizationHeaderResult", true);
    responses["403"] = json!({
        "description": "The token has none of the accepted scopes.",
        "content": { "text/plain": { "schema": { "type": "string" } } },
    });
    json!({
        "operationId": "ValidateAuthorizationHeader",
        "summary": "Checks the caller's token and says what is in it.",
        "security": [{ "Bearer": [] }],
        "responses": responses,
    })
}

fn call(id: &str, summary: &str, is_authenticated: bool) -> Value {
    let mut operation = of_an_api(id, summary, "DownstreamApiResult", is_authenticated);
    operation["requestBody"] = json!({
        "description": "What the API is sent, as it is, under any media type.",
        "required": false,
        "content": {
            "application/json": { "schema": {} },
            "text/plain": { "schema": { "type": "string" } },
            "application/octet-stream": { "schema": { "type": "string", "format": "binary" } },
        },
    });
    operation
}

fn forward(id: &str, summary: &str, is_authenticated: bool) -> Value {
    let header = json!({ "required": true, "schema": { "type": "string" } });
    let mut operation = json!({
        "operationId": id,
        "summary": summary,
        "parameters": [api_name()],
        "responses": {
            "200": { "description": "The request may go on, with this header.", "headers": { "Authorization": header } },
            "401": problem("The caller can do something about it."),
            "403": { "description": "The request can't go on." },
            "429": problem("The caller asks too often."),
            "503": problem("The authority doesn't answer now."),
        },
    });
    if is_authenticated {
        operation["security"] = json!([{ "Bearer": [] }]);
    }
    operation
}

fn of_an_api(id: &str, summary: &str, result: &str, is_authenticated: bool) -> Value {
    let mut operation = json!({
        "operationId": id,
        "summary": summary,
        "parameters": parameters(),
        "responses": responses(result, is_authenticated),
    });
    if is_authenticated {
        operation["security"] = json!([{ "Bearer": [] }]);
    }
    operation
}

fn api_name() -> Value {
    json!({
        "name": "apiName",
        "in": "path",
        "required": true,
        "description": "The name of the API in the section DownstreamApis.",
        "schema": { "type": "string", "minLength": 1 },
    })
}

fn parameters() -> Vec<Value> {
    let described = DESCRIBED.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "deprecated": parameter.name == "optionsOverride.BaseUrl",
            "schema": { "type": if parameter.is_flag { "boolean" } else { "string" } },
        })
    });
    std::iter::once(api_name()).chain(described).collect()
}

fn responses(result: &str, is_authenticated: bool) -> Value {
    let mut responses = json!({
        "200": { "description": "OK", "content": { "application/json": { "schema": reference(result) } } },
        "400": problem("The request can't be done as it is."),
        "401": problem("There is no token, by the authority's word or for want of a user."),
        "403": { "description": "The caller isn't of this machine." },
        "404": problem("There is no such API (in strict mode)."),
        "429": problem("The caller asks too often; `Retry-After` says when to come again."),
        "500": problem("Something else went wrong; the log says what."),
    });
    if is_authenticated {
        responses["401"]["description"] =
            json!("The caller's token isn't accepted, or there is no token for its user.");
        responses["503"] =
            problem("The authority's keys can't be had, so the caller's token can't be checked.");
    }
    responses
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": { "application/problem+json": { "schema": reference("ProblemDetails") } },
    })
}

fn schemas() -> Value {
    let optional = json!({ "type": ["null", "string"] });
    let session_key = json!({ "type": "string", "description": "The key of the long-running process." });
    json!({
        "ValidateAuthorizationHeaderResult": {
            "type": "object",
            "required": ["protocol", "token", "claims"],
            "properties": {
                "protocol": { "type": "string" },
                "token": { "type": "string" },
                "claims": reference("JsonNode"),
            },
        },
        "JsonNode": {},
        "AuthorizationHeaderResult": {
            "type": "object",
            "required": ["authorizationHeader"],
            "properties": {
                "authorizationHeader": { "type": "string" },
                "longRunningWebApiSessionKey": session_key,
            },
        },
        "DownstreamApiResult": {
            "type": "object",
            "required": ["statusCode", "headers", "content"],
            "properties": {
                "statusCode": { "type": "integer", "format": "int32" },
                "headers": {
                    "type": "object",
                    "additionalProperties": { "type": "array", "items": { "type": "string" } },
                },
                "content": optional,
                "contentIsBase64": {
                    "type": "boolean",
                    "description": "Whether the content isn't text, and is in base64. Absent where it is text.",
                },
                "longRunningWebApiSessionKey": session_key,
            },
        },
        "ProblemDetails": {
            "type": "object",
            "properties": {
                "type": optional,
                "title": optional,
                "status": { "type": ["null", "integer"], "format": "int32" },
                "detail": optional,
                "instance": optional,
                "error": { "type": "string", "description": "The code of the error, such as `invalid_grant`." },
                "errorCodes": {
                    "type": "array",
                    "items": { "type": "integer" },
                    "description": "The numbers of the AADSTS codes.",
                },
                "suberror": { "type": "string" },
                "claims": { "type": "string", "description": "The claims that the next request must carry, JSON." },
                "scopes": { "type": "array", "items": { "type": "string" } },
                "correlationId": { "type": "string" },
                "traceId": { "type": "string" },
            },
        },
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}
