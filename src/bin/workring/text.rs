//! Numbers, times and bytes for people.

use std::fmt::Write as _;
use std::time::Duration;

/// Returns a number in at most five characters: `999`, `9999`, `12.3k`, `1.2M`.
pub(crate) fn count(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    scaled(number, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

/// Returns a number of bytes: `152 KiB`.
pub(crate) fn bytes(number: u64) -> String {
    if number < 1024 {
        return format!("{number} B");
    }
    scaled(
        number,
        1024,
        &["", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"],
    )
}

/// Returns a number of bytes in at most five characters: `152K`.
pub(crate) fn short_bytes(number: u64) -> String {
    scaled(number, 1024, &["", "K", "M", "G", "T", "P", "E"])
}

/// Returns a number in units of powers of `base`, with three digits.
fn scaled(number: u64, base: u64, units: &[&str]) -> String {
    let (mut whole, mut rest, mut unit) = (number, 0, 0);
    while whole >= 1000 && unit + 1 < units.len() {
        rest = whole % base;
        whole /= base;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if whole < 100 && unit > 0 {
        format!("{whole}.{}{name}", rest * 10 / base)
    } else {
        format!("{whole}{name}")
    }
}

/// Returns a number per second.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second <= 0.0 {
        return "0".to_owned();
    }
    if per_second < 9.95 {
        return format!("{per_second:.1}");
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are positive, and far below 2^64"
    )]
    count(per_second.round() as u64)
}

/// Returns a time in one unit or two: `12ms`, `4.2s`, `3m20s`, `5h10m`, `2d3h`.
pub(crate) fn time(time: Duration) -> String {
    let (millis, seconds) = (time.as_millis(), time.as_secs());
    match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{:.1}s", time.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// Returns bytes as text on one line, with escapes for what is no printable text. Nothing in it can control a terminal.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&printable(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Returns text on one line, with escapes for control characters.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if c == '\\' {
            shown.push_str("\\\\");
        } else if c.is_control() || ('\u{200e}'..='\u{202e}').contains(&c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns text shortened to this many characters, with a mark where some are missing.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0, "0"),
            (9999, "9999"),
            (12_345, "12.3k"),
            (999_999, "999k"),
            (1_234_567, "1.2M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(bytes(139_264), "136 KiB");
        assert_eq!(short_bytes(5 << 20), "5.0M");
        assert_eq!(rate(0.25), "0.2");
        assert_eq!(rate(1_500_000.0), "1.5M");
        assert_eq!(time(Duration::from_secs(3 * 86400 + 7200)), "3d2h");
    }

    #[test]
    fn nothing_that_is_printed_controls_a_terminal() {
        let all: Vec<u8> = (0..=255).collect();
        for text in [escaped(&all), printable("\u{1b}[31m\u{9b}\n\u{202e}")] {
            assert!(!text.chars().any(char::is_control), "{text}");
        }
        assert_eq!(escaped(b"a\xff\n\\"), "a\\xff\\n\\\\");
        assert_eq!(shortened("abcdef", 4), "abc…");
    }
}
