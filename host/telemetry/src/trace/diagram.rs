//! The sequence diagram of an acquisition, as SVG.

use std::fmt::Write as _;

use super::Acquisition;
use super::page::{escaped, short, time};
use super::step::{End, Happening, Step};

/// Draws an acquisition. Each step is a row; who takes part is a lane.
pub(super) fn svg(acquisition: &Acquisition) -> String {
    let lanes = Lanes::of(acquisition);
    let rows: Vec<_> = acquisition.steps.iter().flat_map(|step| rows(step, acquisition)).collect();
    let (width, height) = (lanes.width(), TOP + rows.len() * ROW);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"Sequence diagram\" \
         viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n"
    );
    for (index, name) in lanes.0.iter().enumerate() {
        let x = Lanes::x(index);
        let _ = writeln!(
            out,
            "<line class=\"lane\" x1=\"{x}\" y1=\"34\" x2=\"{x}\" y2=\"{height}\"/>\
             <rect class=\"head\" x=\"{}\" y=\"6\" width=\"{}\" height=\"28\" rx=\"5\"/>\
             <text class=\"name\" x=\"{x}\" y=\"25\">{}</text>",
            x - LANE / 2 + 6,
            LANE - 12,
            escaped(&short(name, 29))
        );
    }
    for (index, row) in rows.iter().enumerate() {
        row.draw(&mut out, &lanes, TOP + index * ROW);
    }
    out.push_str("</svg>");
    out
}

/// Who takes part: the caller, the sandbox, what the host has, and the servers in the order in which they were asked.
struct Lanes(Vec<String>);

impl Lanes {
    fn of(acquisition: &Acquisition) -> Self {
        let mut lanes: Vec<String> = [CALLER, SANDBOX, CACHE, CREDENTIALS].map(str::to_owned).into();
        for step in &acquisition.steps {
            if let Happening::RequestSent { request } = &step.happening
                && !lanes.contains(&request.authority)
            {
                lanes.push(request.authority.clone());
            }
        }
        Self(lanes)
    }

    fn at(&self, name: &str) -> usize {
        Self::x(self.0.iter().position(|lane| lane == name).unwrap_or(0))
    }

    fn width(&self) -> usize {
        LEFT + self.0.len() * LANE
    }

    fn x(index: usize) -> usize {
        LEFT + index * LANE + LANE / 2
    }
}

/// A row of the diagram: an arrow, or a note where both ends are the same.
struct Row {
    at_micros: Option<u64>,
    from: String,
    to: String,
    text: String,
    class: &'static str,
}

impl Row {
    fn draw(&self, out: &mut String, lanes: &Lanes, y: usize) {
        if let Some(at) = self.at_micros {
            let _ =
                write!(out, "<text class=\"time\" x=\"{}\" y=\"{}\">{}</text>", LEFT - 8, y + 4, time(at));
        }
        let (from, to) = (lanes.at(&self.from), lanes.at(&self.to));
        let (class, text) = (self.class, escaped(&self.text));
        if from == to {
            // Where there is more room.
            let (x, side) = match from * 2 > lanes.width() {
                true => (from - 10, " left"),
                false => (from + 10, ""),
            };
            let _ = writeln!(
                out,
                "<circle class=\"{class}\" cx=\"{from}\" cy=\"{y}\" r=\"4\"/>\
                 <text class=\"note{side} {class}\" x=\"{x}\" y=\"{}\">{text}</text>",
                y + 4
            );
            return;
        }
        // The head of the arrow, which is drawn here so that the page needs no marker with an id.
        let tip: isize = if to > from { -7 } else { 7 };
        let back = to.saturating_add_signed(tip);
        let _ = writeln!(
            out,
            "<line class=\"arrow {class}\" x1=\"{from}\" y1=\"{y}\" x2=\"{back}\" y2=\"{y}\"/>\
             <path class=\"tip {class}\" d=\"M{to} {y}L{back} {} {back} {}z\"/>\
             <text class=\"label\" x=\"{}\" y=\"{}\">{text}</text>",
            y - 4,
            y + 4,
            from.midpoint(to),
            y - 6
        );
    }
}

/// The rows of a step.
fn rows(step: &Step, acquisition: &Acquisition) -> Vec<Row> {
    let is_call = acquisition.flow == "downstream-api";
    let asks = if is_call { CALLER } else { SANDBOX };
    let row = |from: &str, to: &str, text: String, class| Row {
        at_micros: Some(step.at_micros),
        from: from.to_owned(),
        to: to.to_owned(),
        text: match &step.inside {
            Some(_) => format!("inside: {text}"),
            None => text,
        },
        class,
    };
    let (note, ask) =
        (|text, class| row(SANDBOX, SANDBOX, text, class), |to: &str, text| row(SANDBOX, to, text, "ask"));
    vec![match &step.happening {
        Happening::Began { scopes, mtls_pop, forced, proactive } => {
            let mut text = format!("{} {}", acquisition.flow, short(&scopes.join(" "), 40));
            for (is_so, word) in [(mtls_pop, "bound"), (forced, "forced"), (proactive, "renewal")] {
                text += &if *is_so { format!(", {word}") } else { String::new() };
            }
            row(CALLER, SANDBOX, text, "ask")
        }
        Happening::InstanceStarted { kept } => {
            note(format!("{} instance", if *kept { "a kept" } else { "a fresh" }), "plain")
        }
        Happening::InstanceStopped { why } => note(format!("stopped: {}", short(why, 60)), "bad"),
        Happening::CacheLookedUp { answer, joined, .. } => {
            let waited = if *joined > 0 { ", after another's request" } else { "" };
            ask(CACHE, format!("find: {answer}{waited}"))
        }
        Happening::CacheStored { entries } => ask(CACHE, format!("put {entries}")),
        Happening::FlightFailed { code } => ask(CACHE, format!("not coming: {}", short(code, 24))),
        Happening::FactAsked { about, known } => {
            ask(CACHE, format!("{about}: {}", if *known { "known" } else { "nothing known" }))
        }
        Happening::FactLearnt { about, lasts_ms } => {
            ask(CACHE, format!("{about}, for {}", time(lasts_ms.saturating_mul(1000))))
        }
        Happening::CredentialSelected { name, passed_over, .. } => {
            let mut rows: Vec<_> = passed_over
                .iter()
                .map(|passed| Row {
                    at_micros: None,
                    ..row(CREDENTIALS, CREDENTIALS, format!("passed over: {}", short(&passed.why, 70)), "bad")
                })
                .collect();
            rows.push(ask(CREDENTIALS, format!("select: {}", short(name, 48))));
            return rows;
        }
        Happening::CredentialUnavailable { .. } => {
            row(SANDBOX, CREDENTIALS, "select: none can be used".to_owned(), "bad")
        }
        Happening::CredentialReported { accepted, .. } => {
            ask(CREDENTIALS, format!("report: {}", if *accepted { "accepted" } else { "refused" }))
        }
        Happening::AssertionMade { algorithm, made, duration_micros, .. } => {
            let what = algorithm.map_or("assertion".to_owned(), |algorithm| format!("sign {algorithm}"));
            let failed = if *made { "" } else { ", failed" };
            ask(CREDENTIALS, format!("{what} in {}{failed}", time(*duration_micros)))
        }
        Happening::RequestSent { request } => {
            let shown = if request.certificate.is_some() { " with certificate" } else { "" };
            row(asks, &request.authority, format!("{} #{}{shown}", request.method, request.attempt), "ask")
        }
        Happening::RequestEnded { authority, status, error, duration_micros, .. } => {
            let took = time(*duration_micros);
            match (status, error) {
                (Some(status), _) => {
                    let class = if *status < 400 { "answer" } else { "answer bad" };
                    row(authority, asks, format!("{status} in {took}"), class)
                }
                (None, _) => row(authority, asks, format!("no answer in {took}"), "answer bad"),
            }
        }
        Happening::Paused { duration_micros } => {
            note(format!("pause of {}", time(*duration_micros)), "plain")
        }
        Happening::Abandoned => row(CALLER, CALLER, "the caller went away".to_owned(), "bad"),
        Happening::Ended { reused, outcome, .. } => {
            let from = if *reused { CACHE } else { SANDBOX };
            match outcome {
                End::Token { token_type, token_source, .. } => {
                    let again = match (reused, acquisition.times) {
                        (true, 1) => ", an earlier answer".to_owned(),
                        (true, times) => format!(", an earlier answer, {times} times"),
                        _ => String::new(),
                    };
                    row(from, CALLER, format!("{token_type}, {token_source}{again}"), "answer good")
                }
                End::Failure { code, .. } => row(from, CALLER, short(code, 40), "answer bad"),
            }
        }
    }]
}

const CALLER: &str = "caller";
const SANDBOX: &str = "protocol (sandbox)";
const CACHE: &str = "cache and facts";
const CREDENTIALS: &str = "credentials";

/// The room for times, left of the lanes.
const LEFT: usize = 76;
const LANE: usize = 236;
const TOP: usize = 62;
const ROW: usize = 30;
