//! What the platform's processes say of themselves, in the text format of Prometheus.
//!
//! Read here because no crate does: `prometheus-parse` (0.2) ends a label set at the first brace, and routes have braces;
//! `openmetrics-parser` (0.4) is under the LGPL.

use std::collections::BTreeMap;
use std::io;

use sandbox::city::City;

/// One line: its labels, and its value.
pub(crate) type Sample = (BTreeMap<String, String>, f64);

/// Every line of one name (a histogram's buckets have their own, `…_bucket`), over all platform processes.
pub(crate) async fn samples(city: &City, name: &str) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for url in city.platform_urls() {
        let text = reqwest::get(format!("{url}/metrics")).await.map_err(io::Error::other)?;
        let text = text.text().await.map_err(io::Error::other)?;
        samples.extend(text.lines().filter_map(|line| read(line, name)));
    }
    Ok(samples)
}

/// A line of this name, if it is one. What we label with has neither quotes nor backslashes.
fn read(line: &str, name: &str) -> Option<Sample> {
    let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("\"} ")?;
    let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
    Some((labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_by_its_whole_name_and_its_labels_may_hold_braces_and_commas() {
        let line = "t_bucket{le=\"0.005\",route=\"/orders/{id},{no}/pay\"} 31";
        let (labels, value) = read(line, "t_bucket").expect("it is one");
        let expected = [("le", "0.005"), ("route", "/orders/{id},{no}/pay")];
        assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(value, 31.0);
        assert_eq!(read("t_sum{route=\"/orders\"} 0.25", "t_sum").map(|(_, value)| value), Some(0.25));
        for (line, name) in [(line, "t"), ("# TYPE t_bucket histogram", "t_bucket"), ("t_bucket 3", "t_bucket")] {
            assert_eq!(read(line, name), None, "{line} as {name}");
        }
    }
}
