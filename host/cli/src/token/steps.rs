//! The file of `--steps`.

use std::fs;
use std::path::Path;

use super::arguments::AcquisitionArguments;
use super::origin::Origin;
use super::step::{Reader, Step};
use crate::failure::Failure;

/// Reads the steps. What a step doesn't say is as `defaults` say. Relative paths start at the file's directory.
pub(super) fn read(
    file: &Path,
    defaults: &AcquisitionArguments,
    reader: &mut Reader,
) -> Result<Vec<Step>, Failure> {
    let text = fs::read_to_string(file).map_err(|error| Failure::file(file, &error))?;
    let steps = parse(&text).map_err(|problem| Failure::usage(format!("{}: {problem}", file.display())))?;
    let directory = file.parent().unwrap_or(Path::new(""));
    let mut read = Vec::with_capacity(steps.len());
    for (index, step) in steps.into_iter().enumerate() {
        read.push(reader.read(step.relative_to(directory), defaults, Origin::Step { file, index })?);
    }
    Ok(read)
}

fn parse(text: &str) -> Result<Vec<AcquisitionArguments>, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let steps: Vec<AcquisitionArguments> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let problem = error.into_inner();
        if path == "." { problem.to_string() } else { format!("{path}: {problem}") }
    })?;
    json.end().map_err(|error| error.to_string())?;
    match steps.is_empty() {
        true => Err("found no step; accepted: a list with at least one".to_owned()),
        false => Ok(steps),
    }
}
#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    /// The acquisition that a command line describes.
    fn flags(line: &[&str]) -> AcquisitionArguments {
        let line = ["symbolon", "token", "--config", "x"].iter().chain(line);
        match Arguments::try_parse_from(line).unwrap().command {
            Command::Token(arguments) => arguments.acquisition,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn members_are_the_flags_in_camel_case() {
        let steps = parse(
            r#"[
                {"scope": ["a/.default", "b/.default"], "scheme": "mtls-pop", "flow": "for-client", "fmiPath": "p/q",
                 "tenant": "contoso.com", "claims": "{}", "forceRefresh": true,
                 "correlationId": "3a8b1f5e-2f6c-4a0e-9a53-0f5c7d8e9b10"},
                {"scope": "a/.default"}
            ]"#,
        );
        let expected = [
            flags(&[
                "--scope",
                "a/.default",
                "--scope",
                "b/.default",
                "--scheme",
                "mtls-pop",
                "--flow",
                "for-client",
                "--fmi-path",
                "p/q",
                "--tenant",
                "contoso.com",
                "--claims",
                "{}",
                "--force-refresh",
                "--correlation-id",
                "3a8b1f5e-2f6c-4a0e-9a53-0f5c7d8e9b10",
            ]),
            flags(&["--scope", "a/.default"]),
        ];
        assert_eq!(steps.unwrap(), expected);
    }

    #[test]
    fn a_step_goes_before_the_flags() {
        let defaults = flags(&["--scope", "a", "--tenant", "t", "--force-refresh"]);
        let step = parse(r#"[{"tenant": "u", "forceRefresh": false}]"#).unwrap().remove(0);
        assert_eq!(step.or(&defaults), flags(&["--scope", "a", "--tenant", "u", "--force-refresh=false"]));
    }

    #[test]
    fn scopes_are_a_text_or_a_list_under_either_name() {
        for text in [r#""scope": "a""#, r#""scope": ["a"]"#, r#""scopes": "a""#, r#""scopes": ["a"]"#] {
            assert_eq!(parse(&format!("[{{{text}}}]")).unwrap(), [flags(&["--scope", "a"])], "{text}");
        }
        let nothing = r#"[{"scope": null, "sessionKey": null, "codeFile": null}]"#;
        assert_eq!(parse(nothing).unwrap(), [flags(&[])]);
    }

    #[test]
    fn relative_paths_start_at_the_directory_of_the_file() {
        let text = r#"[{"codeFile": "code", "passwordFile": "/absolute", "userAssertionFile": "-"}]"#;
        let step = parse(text).unwrap().remove(0).relative_to(Path::new("/there"));
        let expected =
            ["--code-file", "/there/code", "--password-file", "/absolute", "--user-assertion-file", "-"];
        assert_eq!(step, flags(&expected));
    }

    #[test]
    fn mistakes_are_named_with_their_path() {
        for (text, expected) in [
            (
                r#"[{"scope": "a"}, {"scop": "b"}]"#,
                &[
                    "[1].scop: unknown field `scop`, expected one of `scope`, `scopes`, ",
                    "`agentUserId`",
                    "column 24",
                ][..],
            ),
            (r#"[{"scope": 7}]"#, &["[0].scope: expected a scope or a list of scopes at line 1 column 13"]),
            (r#"[{"scope": "a", "scopes": "b"}]"#, &["duplicate field `scope`"]),
            (
                r#"[{"scheme": "pop"}]"#,
                &["[0].scheme: unknown variant `pop`, expected `bearer` or `mtls-pop` at line 1 column 17"],
            ),
            (
                r#"[{"flow": "implicit"}]"#,
                &["[0].flow: unknown variant `implicit`, expected one of `for-client`, ", "`remove-account`"],
            ),
            (
                r#"[{"forceRefresh": "yes"}]"#,
                &["[0].forceRefresh: invalid type: string \"yes\", expected a boolean at line 1 column 23"],
            ),
            (r#"[{"userId": "alice"}]"#, &["[0].userId: UUID parsing failed"]),
            ("{}", &["invalid type: map, expected a sequence at line 1 column 0"]),
            ("[]", &["found no step; accepted: a list with at least one"]),
            ("[{}] x", &["trailing characters at line 1 column 6"]),
        ] {
            let problem = parse(text).unwrap_err();
            for words in expected {
                assert!(problem.contains(words), "{text}: `{words}` is not in {problem}");
            }
        }
    }
}
