//! A measurement as people and programs read it.

use std::fmt;

use serde::Serialize;

/// Figures of one measurement. As JSON one object; as text one line a figure.
pub trait Report: Serialize {
    /// What each figure is called, and the figure with its unit.
    fn lines(&self) -> Vec<(&'static str, String)>;
}

/// Writes the lines with the figures one beneath the other.
pub(crate) fn write(report: &impl Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let lines = report.lines();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().try_for_each(|(name, figure)| writeln!(f, "{name:width$}  {figure}"))
}

/// Three digits after the point, so that JSON shows no noise.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

/// `1234567.8` as `1,234,568`.
pub(crate) fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().copied().map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped_by_three() {
        assert_eq!([0.4, 999.0, 1_000.0, 1_234_567.8].map(grouped), ["0", "999", "1,000", "1,234,568"]);
    }
}
