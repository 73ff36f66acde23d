//! Applications that have names: each a configuration of its own, inside of that of the process.

use super::document::{Node, Value};
use super::error::quoted;
use super::reader::{Findings, Section};
use super::server;
use super::settings::{APIS_SECTION, HOST_SECTION, SIDECAR_SECTION};

/// Whether the name can stand in a path, and nothing is said here that holds for the whole process.
pub(super) fn check(name: &str, section: &Section<'_>, findings: &mut Findings) {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_dots = name.bytes().all(|byte| byte == b'.');
    if is_dots || name.len() > LONGEST_NAME || !name.bytes().all(is_sound) {
        findings.problem(section.place(), quoted(name), "as key, up to 64 letters, digits, '-', '_' and '.'");
    }
    let own = section.object(HOST_SECTION, findings).and_then(|own| own.object(SIDECAR_SECTION, findings));
    if let Some(own) = own {
        for key in server::KEYS.into_iter().filter(|key| own.has(key)) {
            let accepted = "the same at the top of the configuration";
            findings.problem(own.place_of(key), "a setting of the whole process", accepted);
        }
    }
}

/// The application's sections, and those of the process for what it doesn't say itself.
pub(super) fn inherit(own: &Node, process: &Node) -> Node {
    let mut merged = own.clone();
    for section in [HOST_SECTION, SIDECAR_SECTION] {
        let Some((written, theirs)) = process.get(section) else { continue };
        match own.get(section) {
            None => add(&mut merged, written, theirs.clone()),
            // Key by key, so that an application may have limits of its own and the process's trust.
            Some((_, ours)) if section == HOST_SECTION => {
                let mut host = theirs.clone();
                for (key, value) in ours.members() {
                    add(&mut host, key, value.clone());
                }
                add(&mut merged, written, host);
            }
            Some(_) => {}
        }
    }
    let limits_apis = own.get(HOST_SECTION).is_some_and(|(_, host)| host.get(APIS_SECTION).is_some());
    if !limits_apis && let Some(host) = member(&mut merged, HOST_SECTION) {
        // They are limits of APIs that the application doesn't have.
        remove(host, APIS_SECTION);
    }
    merged
}

/// Puts a member in the place of one of that name, if there is one.
fn add(node: &mut Node, name: &str, value: Node) {
    remove(node, name);
    if let Value::Members(members) = &mut node.value {
        members.push((name.to_owned(), value));
    }
}

fn remove(node: &mut Node, name: &str) {
    if let Value::Members(members) = &mut node.value {
        members.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }
}

fn member<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    match &mut node.value {
        Value::Members(members) => {
            let found = members.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, node)| node)
        }
        _ => None,
    }
}

const LONGEST_NAME: usize = 64;
