//! What interfaces are that this host doesn't provide, and what takes their place.

use super::anatomy::Item;
use super::role::Role;

/// Why an import isn't provided, and what to do about it.
pub(super) fn advice(import: &Item, role: Role) -> String {
    let known = KNOWN.iter().find(|(prefix, ..)| import.name.starts_with(prefix));
    let (what, instead) = known.map_or((None, None), |(_, what, instead)| (Some(*what), Some(*instead)));
    let instead = match (role, import.interface()) {
        (Role::CredentialProvider, name) if name.starts_with("wasi:http/") => {
            Some("who has keys has no network: what it needs comes with `custody.configure`")
        }
        (Role::None, _) => None,
        _ => instead,
    };
    let what = what.unwrap_or("an interface that this host doesn't know");
    match instead {
        Some(instead) => format!("{what}; {instead}"),
        None if role == Role::None => what.to_owned(),
        None => format!("{what}; compose it with a component that exports it (wac plug), or do without"),
    }
}

/// A beginning of names, what such interfaces are, and what takes their place.
const KNOWN: [(&str, &str, &str); 23] = [
    ("wasi:cli/environment", "variables and arguments of a process", STANDARD_LIBRARY),
    ("wasi:cli/exit", "the end of a process", STANDARD_LIBRARY),
    ("wasi:cli/std", "the streams of a process", STANDARD_LIBRARY),
    ("wasi:cli/terminal-", "the terminal of a process", STANDARD_LIBRARY),
    ("wasi:cli/", "a process", STANDARD_LIBRARY),
    (
        "wasi:filesystem/",
        "files",
        "this host gives none; a component that has credentials gets the content of its `Files` by `custody.configure`",
    ),
    (
        "wasi:sockets/",
        "sockets",
        "this host gives none; requests go out by symbolon:credentials/transport, where the host checks where they go",
    ),
    ("wasi:random/", "randomness", "a seed is given: `context.seed`, or `configuration.seed`"),
    ("wasi:clocks/wall-clock", "the time", "it is given: `context.now`"),
    ("wasi:clocks/", "clocks", "the time is given: `context.now`; `transport.wait` waits"),
    ("wasi:http/types@0.3", "HTTP of WASI 0.3", WASI_0_3),
    ("wasi:http/client@0.3", "HTTP of WASI 0.3", WASI_0_3),
    ("wasi:http/handler@0.3", "HTTP of WASI 0.3", WASI_0_3),
    (
        "wasi:http/",
        "HTTP",
        "requests go out by wasi:http/outgoing-handler and symbolon:credentials/transport, for components of the world token-acquisition",
    ),
    ("wasi:io/", "streams and what can be waited for", STANDARD_LIBRARY),
    (
        "wasi:config/",
        "configuration",
        "this host's own comes with the question: `context`, or `configuration`",
    ),
    (
        "wasi:keyvalue/",
        "a store of values",
        "this host keeps tokens in symbolon:token/cache and other facts in symbolon:token/facts",
    ),
    ("wasi:logging/", "a log", "errors are told in words; the host logs them"),
    (
        "wasi:tls/",
        "TLS",
        "the host makes connections, and presents certificates on them (symbolon:credentials/transport)",
    ),
    ("symbolon:concurrent/", "what waits of the protocol's imports, as WASI 0.3 has it", WASI_0_3),
    (
        "symbolon:credentials/custody",
        "what a host alone asks a component that has credentials",
        "no host gives it to a guest",
    ),
    (
        "symbolon:credentials/",
        "credentials that can be named",
        "a host gives them to components of the world token-acquisition only",
    ),
    (
        "symbolon:token/",
        "the cache and the facts of the protocol",
        "a host gives them to components of the world token-acquisition only",
    ),
];

const STANDARD_LIBRARY: &str = "a language's standard library imports it, needed or not: build without it \
                                (Rust: no_std, as examples/credential-provider is)";

const WASI_0_3: &str = "this host speaks 0.2";
