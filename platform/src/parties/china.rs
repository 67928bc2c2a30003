//! China Standard Time, in which the bureau and the wallet write their times. It has had no summer time since 1991.

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeZone};

fn offset() -> FixedOffset {
    FixedOffset::east_opt(8 * 3600).expect("eight hours are less than a day")
}

/// A moment (microseconds UTC) on China's clocks.
pub(super) fn at(us: i64) -> DateTime<FixedOffset> {
    DateTime::from_timestamp_micros(us).unwrap_or_default().with_timezone(&offset())
}

/// Reads `yyyy-MM-dd HH:mm:ss`, with or without a fraction of a second: microseconds UTC.
pub(super) fn read_dt19(text: &str) -> Option<i64> {
    read(text, "%Y-%m-%d %H:%M:%S%.f")
}

/// Reads `yyyyMMddHHmmssSSS`, the bureau's C17: microseconds UTC.
pub(super) fn read_c17(text: &str) -> Option<i64> {
    let (seconds, millis) = text.split_at_checked(14)?;
    let millis: i64 = if millis.is_empty() { 0 } else { millis.get(..3)?.parse().ok()? };
    Some(read(seconds, "%Y%m%d%H%M%S")? + millis * 1000)
}

fn read(text: &str, format: &str) -> Option<i64> {
    let local = NaiveDateTime::parse_from_str(text.trim(), format).ok()?;
    offset().from_local_datetime(&local).single().map(|moment| moment.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_clocks_are_eight_hours_ahead() {
        let us = 1_767_225_600_000_000; // 2026-01-01T00:00:00Z
        assert_eq!(at(us).format("%Y-%m-%d %H:%M:%S").to_string(), "2026-01-01 08:00:00");
        assert_eq!(read_dt19("2026-01-01 08:00:00"), Some(us));
        assert_eq!(read_dt19("2026-01-01 08:00:00.250"), Some(us + 250_000));
        assert_eq!(read_c17("20260101080000007"), Some(us + 7_000));
        for wrong in ["", "2026-01-01", "2026-13-01 08:00:00", "八点"] {
            assert_eq!(read_dt19(wrong), None, "{wrong}");
            assert_eq!(read_c17(wrong), None, "{wrong}");
        }
    }
}
