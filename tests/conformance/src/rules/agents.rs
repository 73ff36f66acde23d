//! What is said of agents otherwise.

use serde_json::{Value, json};

use super::{Members, Rule};

pub(super) static RULES: [Rule; 2] = [
    Rule {
        name: "a-request-has-one-agent",
        about: "`apply_agent_helpers`: `ExtraParameters`",
        when: "one helper is called after another",
        instead: "the identity that the last one names, and nothing of those before",
        reason: "a user who was replaced isn't meant any more",
        apply: |category, input, expect| {
            let calls = input.get("when").and_then(|when| when.get("calls")?.as_array());
            let Some([.., _, Value::Array(last)]) =
                calls.filter(|_| category == "apply_agent_helpers").map(Vec::as_slice)
            else {
                return;
            };
            let is_for_user = last.first() == Some(&"WithAgentUserIdentity".into());
            let is_id = last.get(2).and_then(Value::as_str).is_some_and(is_guid);
            for (name, value) in parameters(expect) {
                let is_left = match name.as_str() {
                    "IDWEB_AGENT_IDENTITY" => is_for_user,
                    "IDWEB_USERNAME" => is_for_user && !is_id,
                    "IDWEB_USER_ID" => is_for_user && is_id,
                    "IDWEB_FMI_PATH_FOR_CLIENT_ASSERTION" => !is_for_user,
                    _ => true,
                };
                if !is_left {
                    *value = Value::Null;
                }
            }
        },
    },
    Rule {
        name: "agents-bring-no-options",
        about: "`apply_agent_helpers`: `IDWEB_FMI_MICROSOFT_IDENTITY_OPTIONS`",
        when: "options of the agent's own are expected beside its id",
        instead: "the id",
        reason: "its blueprint vouches for it, and its requests are made as the blueprint's are",
        apply: |category, _, expect| {
            if category != "apply_agent_helpers" {
                return;
            }
            for (name, value) in parameters(expect) {
                if let ("IDWEB_FMI_MICROSOFT_IDENTITY_OPTIONS", Some(id)) =
                    (name.as_str(), value.get("ClientId"))
                {
                    *value = json!({ "ClientId": id });
                }
            }
        },
    },
];

fn parameters(expect: &mut Members) -> impl Iterator<Item = (&String, &mut Value)> {
    expect.get_mut("ExtraParameters").and_then(Value::as_object_mut).into_iter().flatten()
}

fn is_guid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}
