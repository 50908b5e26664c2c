//! `doctor`: what a queue or a pool on this machine could be refused for.

use super::args::Doctor;
use super::exit::End;
use super::json;
use super::output::{self, Style, Tone};
use serde_json::{Value, json};
use workring::inspect::{Check, Verdict, checks};

pub(crate) fn run(args: &Doctor) -> Result<(), End> {
    let checks = checks();
    let shown = if args.json {
        let checks: Vec<Value> = checks.iter().map(check).collect();
        json::pretty(&json!({ "version": json::VERSION, "checks": checks }))
    } else {
        let style = Style::of_stdout();
        checks.iter().map(|check| line(check, style)).collect()
    };
    output::print(&shown)?;
    let failures = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Failure);
    match failures.count() {
        0 => Ok(()),
        failures => Err(End::Failed(format!(
            "{failures} checks failed: follow the remedies that are printed with them"
        ))),
    }
}

fn verdict(verdict: Verdict) -> (&'static str, Tone) {
    match verdict {
        Verdict::Good => ("good", Tone::Good),
        Verdict::Warning => ("warning", Tone::Warning),
        _ => ("failure", Tone::Bad),
    }
}

fn check(check: &Check) -> Value {
    json!({
        "what": check.what,
        "verdict": verdict(check.verdict).0,
        "found": check.found,
        "remedy": (!check.remedy.is_empty()).then_some(&check.remedy),
    })
}

fn line(check: &Check, style: Style) -> String {
    let (word, tone) = verdict(check.verdict);
    let word = style.paint(tone, &format!("{word:<7}"));
    let mut line = format!("{word} {}: {}\n", check.what, check.found);
    if !check.remedy.is_empty() {
        line += "        ";
        line += &check.remedy;
        line.push('\n');
    }
    line
}
