//! What is shown of a comparison: how each change went, then both ways in numbers.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// A line of the demonstration.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    Phase { at_us: u64, round: u32, phase: String, price: String },
    Read { at_us: u64, way: Way, value: String, source: String, stale_ms: Option<f64> },
    End { usual: Tally, freshline: Tally },
    Failed { detail: String },
}

/// How a product is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    Usual,
    Freshline,
}

/// What became of one way's reads.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Tally {
    reads: u64,
    stale: u64,
    longest_stale_ms: f64,
}

/// What has been told so far.
#[derive(Debug, Default)]
pub struct Shown {
    /// When this round began.
    began_us: u64,
    /// What was said last of each way, so that the same is not said again.
    usual: String,
    freshline: String,
    end: Option<(Tally, Tally)>,
}

impl Shown {
    /// The line that an event is worth; none where it says nothing new.
    pub fn take(&mut self, event: Event) -> Result<Option<String>> {
        Ok(match event {
            Event::Phase { at_us, round, phase, price } => Some(self.phase(at_us, round, &phase, &price)),
            Event::Read { at_us, way, value, source, stale_ms } => self.read(at_us, way, &value, &source, stale_ms),
            Event::End { usual, freshline } => {
                self.end = Some((usual, freshline));
                None
            }
            Event::Failed { detail } => bail!("the comparison failed: {detail}"),
        })
    }

    fn phase(&mut self, at_us: u64, round: u32, phase: &str, price: &str) -> String {
        let what = match phase {
            "began" => {
                (self.began_us, self.usual, self.freshline) = (at_us, String::new(), String::new());
                return format!("\nchange {round}: the price becomes {price}");
            }
            "committing" => "the commit is sent to Postgres",
            "streamed" => "the usual way's consumer receives the change",
            "deleted" => "and has deleted the key",
            "visible" => "a new reader of Postgres sees the change",
            "round-over" => "both ways have served the new price",
            other => other,
        };
        self.line(at_us, what)
    }

    fn read(&mut self, at_us: u64, way: Way, value: &str, source: &str, stale_ms: Option<f64>) -> Option<String> {
        if self.began_us == 0 {
            return None; // both caches are being filled
        }
        let stale = if stale_ms.is_some() { ": STALE" } else { "" };
        let (name, last) = match way {
            Way::Usual => ("the usual way", &mut self.usual),
            Way::Freshline => ("Freshline", &mut self.freshline),
        };
        let place = if source == "cache" { "its cache" } else { "Postgres" };
        let said = format!("{name} serves {value} from {place}{stale}");
        if *last == said {
            return None;
        }
        last.clone_from(&said);
        Some(self.line(at_us, &said))
    }

    fn line(&self, at_us: u64, what: &str) -> String {
        let us = i64::try_from(at_us).unwrap_or(i64::MAX) - i64::try_from(self.began_us).unwrap_or(i64::MAX);
        format!("  {:>8}.{:01} ms  {what}", us / 1000, us.rem_euclid(1000) / 100)
    }

    /// Both ways in numbers.
    pub fn table(&self) -> Result<String> {
        let (usual, freshline) = self.end.as_ref().context("the demonstration broke off before the end")?;
        let row = |name: &str, tally: &Tally| {
            let longest = if tally.stale == 0 { "-".to_owned() } else { format!("{:.0} ms", tally.longest_stale_ms) };
            format!("{name:15} {:>7} {:>7}   {longest:>13}\n", tally.reads, tally.stale)
        };
        let head = format!("\n{:15} {:>7} {:>7}   {:>13}\n", "", "reads", "stale", "longest stale");
        Ok(format!("{head}{}{}", row("the usual way", usual), row("Freshline", freshline)))
    }

    /// Whether Freshline served something stale.
    pub fn is_freshline_stale(&self) -> bool {
        self.end.is_some_and(|(_, freshline)| freshline.stale > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(shown: &mut Shown, line: &str) -> Option<String> {
        shown.take(serde_json::from_str(line).expect("an event")).expect("no failure")
    }

    #[test]
    fn a_change_is_told_once_a_step_and_the_end_is_a_table() {
        let mut shown = Shown::default();
        let began = r#"{"event":"phase","at_us":1000000,"round":1,"phase":"began","price":"2.00"}"#;
        assert_eq!(take(&mut shown, began).as_deref(), Some("\nchange 1: the price becomes 2.00"));
        let read = r#"{"event":"read","at_us":1001500,"round":1,"way":"usual","value":"1.00","source":"cache","is_stale":true,"stale_ms":0.5}"#;
        let said = "         1.5 ms  the usual way serves 1.00 from its cache: STALE";
        assert_eq!(take(&mut shown, read).as_deref(), Some(said));
        assert_eq!(take(&mut shown, read), None, "the same is not said twice");
        let end = r#"{"event":"end","usual":{"reads":90,"stale":40,"longest_stale_ms":6012.4},"freshline":{"reads":90,"stale":0,"longest_stale_ms":0.0}}"#;
        assert_eq!((take(&mut shown, end), shown.is_freshline_stale()), (None, false));
        let table = shown.table().expect("an end");
        assert!(table.contains("the usual way        90      40         6012 ms"), "{table}");
        assert!(table.contains("Freshline            90       0               -"), "{table}");
    }

    #[test]
    fn a_failure_is_an_error_and_so_is_an_end_that_did_not_come() {
        let failed = Event::Failed { detail: "Redis is away".to_owned() };
        assert!(Shown::default().take(failed).is_err() && Shown::default().table().is_err());
    }
}
