//! Numbers and times in header fields and PAX records.

use crate::rootfs::Time;

/// The number in a header field; 0 if the field is blank. `None` if it is not a number, or needs
/// more than 63 bits.
///
/// Forms: octal digits (POSIX.1-2017, `pax`, "ustar Interchange Format"); GNU's base-256, where the
/// first bit is set and the rest is one number in two's complement (GNU tar, "Basic Tar Format").
/// Writers differ in what surrounds the digits: spaces or NULs before them (GNU tar and Go skip
/// those), a sign (Python), anything after them (libarchive).
pub(super) fn field(bytes: &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    if first & 0x80 != 0 {
        // The sign is the second bit.
        let mut value = i128::from(first & 0x7f) - i128::from(first & 0x40) * 2;
        for byte in rest {
            value = value.checked_mul(256)? + i128::from(*byte);
        }
        return i64::try_from(value).ok();
    }
    let start = bytes.iter().position(|b| !is_blank_byte(*b));
    let Some(text) = start.map(|at| &bytes[at..]) else {
        return Some(0);
    };
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let len = digits.iter().take_while(|b| is_octal(**b)).count();
    // A decimal number must not be read as octal digits followed by something else.
    if len == 0 || matches!(digits.get(len), Some(b'8' | b'9')) {
        return None;
    }
    let mut value = 0_i64;
    for digit in &digits[..len] {
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(if negative { -value } else { value })
}

/// Whether a header field is empty.
pub(super) fn is_blank(field: &[u8]) -> bool {
    field.iter().all(|b| is_blank_byte(*b))
}

fn is_blank_byte(byte: u8) -> bool {
    byte == 0 || byte.is_ascii_whitespace()
}

fn is_octal(byte: u8) -> bool {
    (b'0'..=b'7').contains(&byte)
}

/// The integer in a PAX record.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The integer in a PAX record that cannot be negative.
pub(super) fn unsigned(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// The time in a PAX record: seconds with a fraction, negative before 1970. A time outside the
/// range of 64 bits becomes the nearest possible one.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let secs: i64 = match whole {
        "" => 0,
        // The only thing wrong is the number of digits.
        _ => whole.parse().unwrap_or(i64::MAX),
    };
    // Digits after the ninth are finer than a nanosecond.
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(match (negative, nanos) {
        (false, nanos) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        // -1.25 is 0.75 after -2.
        (true, nanos) => Time {
            secs: -secs - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_others_write_them() {
        let cases: [(&[u8], Option<i64>); 23] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644     ", Some(0o644)),
            (b"\x000000644", Some(0o644)),
            (b"77777777", Some(0o7777_7777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"   \0    ", Some(0)),
            (b"0000644x", Some(0o644)),
            (b"644\0junk", Some(0o644)),
            (b"644 junk", Some(0o644)),
            (b"-0000002", Some(-2)),
            (b"+0000002", Some(2)),
            (b"0000648\0", None),
            (b"garbage\0", None),
            (b"0x1a4\0\0\0", Some(0)),
            (b"-\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"777777777777", Some(0o7777_7777_7777)),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(field(bytes), wanted, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn times_of_records() {
        let at = |secs, nanos| Some(Time { secs, nanos });
        let cases: [(&str, Option<Time>); 12] = [
            ("1.5", at(1, 500_000_000)),
            ("-1.25", at(-2, 750_000_000)),
            ("-0.5", at(-1, 500_000_000)),
            (".5", at(0, 500_000_000)),
            ("7.", at(7, 0)),
            ("0.1234567899", at(0, 123_456_789)),
            ("99999999999999999999", at(i64::MAX, 0)),
            ("-99999999999999999999.5", at(i64::MIN, 500_000_000)),
            ("--5", None),
            ("1e9", None),
            ("", None),
            (".", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(time(text.as_bytes()), wanted, "{text:?}");
        }
    }
}
