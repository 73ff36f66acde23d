//! What `symbolon doctor` says, in words and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Serialize, Serializer};
use symbolon::ComponentFinding;
use symbolon_resources::digest::sha256_hex;

use super::anatomy::{Anatomy, Item};
use super::role::Role;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DoctorReport {
    component: String,
    bytes: usize,
    sha256: String,
    role: Role,
    exports: Vec<String>,
    missing_exports: Vec<&'static str>,
    imports: Vec<Import>,
    /// Why the engine doesn't take it though the names fit.
    pub(super) problem: Option<String>,
    /// What it must do, tried out.
    #[serde(serialize_with = "findings")]
    pub(super) rules: Vec<ComponentFinding>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Import {
    interface: String,
    /// How many of its functions it calls.
    functions: usize,
    /// Why it isn't provided; nothing where it is.
    missing: Option<String>,
}

impl DoctorReport {
    pub(super) fn new(file: &Path, bytes: &[u8], anatomy: &Anatomy, role: Role) -> Self {
        let import = |import: &Item| Import {
            interface: import.name.clone(),
            functions: import.functions,
            missing: role.missing(import),
        };
        Self {
            component: file.display().to_string(),
            bytes: bytes.len(),
            sha256: sha256_hex(bytes),
            role,
            exports: anatomy.exports.iter().map(|export| export.name.clone()).collect(),
            missing_exports: role.missing_exports(anatomy),
            // What is only a type has nothing to be provided.
            imports: anatomy.imports.iter().filter(|import| import.runs).map(import).collect(),
            problem: None,
            rules: Vec::new(),
        }
    }

    /// Whether everything has its name here that it names.
    pub(super) fn is_provided(&self) -> bool {
        self.missing().next().is_none() && self.missing_exports.is_empty()
    }

    /// Why it can't be used here, in a sentence. Nothing where it can.
    pub(super) fn complaint(&self) -> Option<String> {
        let missing = self.missing().count();
        let broken = self.rules.iter().filter(|rule| rule.broken.is_some()).count();
        if self.role == Role::None {
            Some("the component is nothing that Symbolon runs".to_owned())
        } else if !self.missing_exports.is_empty() {
            Some(format!("the component doesn't export {}", self.missing_exports.join(", ")))
        } else if missing > 0 {
            Some(format!("the component requires {missing} interfaces that this host doesn't provide"))
        } else if self.problem.is_some() {
            Some("the component's interfaces have the right names and another shape".to_owned())
        } else if broken > 0 {
            Some(format!("the component breaks {broken} of {} rules", self.rules.len()))
        } else {
            None
        }
    }

    fn missing(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter().filter(|import| import.missing.is_some())
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}: {} bytes, SHA-256 {}\n", self.component, self.bytes, self.sha256);
        // Writing to a string can't fail.
        let _ = writeln!(text, "for: {}", self.role.in_words());
        let _ = writeln!(text, "exports:");
        for export in &self.exports {
            let _ = writeln!(text, "  {export}");
        }
        for export in &self.missing_exports {
            let _ = writeln!(text, "  {export}\n    missing: its world has it");
        }
        match self.imports.is_empty() {
            true => text.push_str("imports: nothing\n"),
            false => text.push_str("imports:\n"),
        }
        for import in &self.imports {
            let functions = match import.functions {
                0 => "types only".to_owned(),
                1 => "1 function".to_owned(),
                many => format!("{many} functions"),
            };
            let _ = writeln!(text, "  {} ({functions})", import.interface);
            match &import.missing {
                Some(why) if self.role != Role::None => {
                    let _ = writeln!(text, "    missing: {why}");
                }
                Some(what) => {
                    let _ = writeln!(text, "    {what}");
                }
                None => {}
            }
        }
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "the engine says: {problem}");
        }
        if !self.rules.is_empty() {
            text.push_str("rules:\n");
        }
        for rule in &self.rules {
            let _ = match &rule.broken {
                None => writeln!(text, "  ok      {}", rule.rule),
                Some(broken) => writeln!(text, "  BROKEN  {}: {broken}", rule.rule),
            };
        }
        let verdict =
            self.complaint().unwrap_or_else(|| "this host provides all that it requires".to_owned());
        text.push_str(&verdict);
        text
    }
}

fn findings<S: Serializer>(rules: &[ComponentFinding], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Rule<'a> {
        rule: &'a str,
        broken: Option<&'a str>,
    }
    let rules = rules.iter().map(|rule| Rule { rule: &rule.rule, broken: rule.broken.as_deref() });
    serializer.collect_seq(rules)
}
