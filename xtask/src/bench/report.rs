//! What was measured, as a Markdown table. In docs/benchmarks.md the table lies between two markers; what people wrote around it stays.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};

use crate::checkout::root;

/// Where the report is.
const PAGE: &str = "docs/benchmarks.md";

/// What stands before the table, and after it.
const BEGIN: &str = "<!-- measured: made by `cargo xtask bench`, as all up to the next such line -->";
const END: &str = "<!-- written by hand from here on -->";

const HEAD: &str = "| measured | median | range | target | |\n|---|---|---|---|---|\n";

/// One figure over all rounds.
#[derive(Debug, Clone)]
pub struct Row {
    /// The measurement's name, a colon, and which of its figures it is.
    what: &'static str,
    unit: &'static str,
    /// One for each round.
    samples: Vec<f64>,
    target: Option<Target>,
}

/// What a figure is to be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// So much, or less.
    AtMost(f64),
    /// So much, or more.
    AtLeast(f64),
}

impl Row {
    /// A figure that is nothing but told. There is a sample for each round, so at least one.
    pub fn new(what: &'static str, unit: &'static str, samples: Vec<f64>) -> Self {
        Self { what, unit, samples, target: None }
    }

    /// With a target.
    pub fn target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// The measurement that it belongs to.
    fn measure(&self) -> &str {
        self.what.split(':').next().unwrap_or(self.what)
    }
}

impl Target {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, unit) = (median(&self.samples), self.unit);
        let least = self.samples.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        write!(f, "| {} | {} {unit} | {} – {} |", self.what, figure(median), figure(least), figure(most))?;
        match self.target {
            Some(target) => write!(f, " {target} | {} |", if target.is_met(median) { "met" } else { "**missed**" }),
            None => f.write_str(" | |"),
        }
    }
}

/// The middle of some figures, of which there is at least one.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2].midpoint(sorted[(sorted.len() - 1) / 2])
}

/// Three digits that count: more are noise.
fn figure(figure: f64) -> String {
    match figure.abs() {
        1000.0.. => format!("{:.0}", (figure / 100.0).round() * 100.0),
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// These rows, before them those of `kept` that are of other measurements.
pub fn table(rows: &[Row], kept: &[&str]) -> String {
    let is_measured = |line: &&str| rows.iter().any(|row| line.starts_with(&format!("| {}:", row.measure())));
    let kept = kept.iter().filter(|line| !is_measured(line)).map(|line| format!("{line}\n"));
    let lines: String = kept.chain(rows.iter().map(|row| format!("{row}\n"))).collect();
    HEAD.to_owned() + &lines
}

/// Puts the rows into the page, in place of those of the same measurements.
pub fn write(rows: &[Row], machine: &str) -> Result<()> {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).unwrap_or_else(|_| format!("# Benchmarks\n\n{BEGIN}\n{END}\n"));
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{PAGE} lacks the line `{BEGIN}`"))?;
    let (made, after) = rest.split_once(END).with_context(|| format!("{PAGE} lacks the line `{END}`"))?;
    let kept: Vec<&str> = made.lines().filter(|line| line.starts_with("| ") && !HEAD.contains(line)).collect();
    let page = format!("{before}{BEGIN}\n\n{}\n{machine}\n\n{END}{after}", table(rows, &kept));
    fs::write(&path, page).with_context(|| format!("writing {PAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_its_median_its_range_and_whether_the_target_is_met() {
        let row = Row::new("hit: ratio", "×", vec![1.5, 2.0, 1.0]).target(Target::AtMost(1.6));
        assert_eq!(row.to_string(), "| hit: ratio | 1.50 × | 1.00 – 2.00 | ≤ 1.6 | met |");
        let row = Row::new("warm: rows", "rows/s", vec![12345.0, 10000.0]).target(Target::AtLeast(20000.0));
        assert_eq!(row.to_string(), "| warm: rows | 11200 rows/s | 10000 – 12300 | ≥ 20000 | **missed** |");
    }

    #[test]
    fn rows_of_measurements_that_were_not_taken_stay() {
        let rows = [Row::new("hit: ratio", "×", vec![1.0])];
        let kept = ["| hit: ratio | old |", "| hit: gone | old |", "| warm: rows | old |"];
        assert_eq!(table(&rows, &kept), format!("{HEAD}| warm: rows | old |\n{}\n", rows[0]));
    }
}
