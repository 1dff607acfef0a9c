//! Screenshots of a machine.

use std::io;

/// Converts a PPM as written by QEMU (`P6`, 8 bits per channel; netpbm's ppm(5)) to a PNG.
pub(super) fn png_of_ppm(ppm: &[u8]) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "QEMU's screenshot is not a PPM");
    let mut rest = ppm;
    let mut word = || -> Option<&[u8]> {
        let start = rest.iter().position(|b| !b.is_ascii_whitespace())?;
        let len = rest[start..].iter().position(u8::is_ascii_whitespace)?;
        let word = &rest[start..start + len];
        // One white space ends the header; the pixels follow.
        rest = &rest[start + len + 1..];
        Some(word)
    };
    let mut number = || -> Option<u32> { std::str::from_utf8(word()?).ok()?.parse().ok() };
    // "P6" is not a number.
    let magic = ppm.starts_with(b"P6");
    let _ = number();
    let (Some(width), Some(height), Some(255), true) = (number(), number(), number(), magic) else {
        return Err(wrong());
    };
    let len = u64::from(width) * u64::from(height) * 3;
    if width == 0 || height == 0 || rest.len() as u64 != len {
        return Err(wrong());
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let failed = |e: png::EncodingError| io::Error::other(e);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(rest).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::png_of_ppm;

    #[test]
    fn a_picture_keeps_its_dots() {
        let png = png_of_ppm(b"P6\n2 1\n255\n\x01\x02\x03\n\x20\xff").unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png))
            .read_info()
            .unwrap();
        let mut dots = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut dots).unwrap();
        assert_eq!((info.width, info.height), (2, 1));
        assert_eq!(&dots[..info.buffer_size()], b"\x01\x02\x03\n\x20\xff");
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for bytes in [
            &b""[..],
            b"P6",
            b"P6\n2 1\n255\nshort",
            b"P5\n1 1\n255\n\x01\x02\x03",
            b"P6\n0 0\n255\n",
        ] {
            png_of_ppm(bytes).unwrap_err();
        }
    }
}
