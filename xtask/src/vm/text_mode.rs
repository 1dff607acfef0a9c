//! What a PC's screen shows in text mode, read from its memory.
//!
//! GRUB writes there itself, without the BIOS, so SeaBIOS's copy of the screen does not have it.

use crate::printable;

/// Physical address of the text, and its length in bytes: 25 rows of 80 characters, each with a
/// byte for its colours (IBM PC/AT Technical Reference, colour adapters).
pub(super) const PLACE: (u64, u64) = (0xb_8000, (2 * WIDTH * HEIGHT) as u64);

const WIDTH: usize = 80;
const HEIGHT: usize = 25;

/// The rows that are not empty. None in a graphics mode, where something else is in this memory.
pub(super) fn rows(memory: &[u8]) -> Vec<String> {
    let cells = || memory.chunks_exact(2);
    let text = |byte: u8| byte == 0 || (0x20..0x7f).contains(&byte);
    // Lines and blocks of menus are few; colours are the same in most places.
    let count = cells().count();
    let readable = cells().filter(|cell| text(cell[0])).count();
    let written = cells()
        .filter(|cell| (0x21..0x7f).contains(&cell[0]))
        .count();
    let visible = cells()
        .filter(|cell| cell[1] & 0x0f != cell[1] >> 4)
        .count();
    if count < WIDTH * HEIGHT || written == 0 || readable * 10 < count * 7 || visible * 2 < count {
        return Vec::new();
    }
    let rows = memory.chunks_exact(2 * WIDTH).take(HEIGHT).map(|row| {
        let text: String = row
            .chunks_exact(2)
            .map(|cell| match cell[0] {
                byte @ 0x20..0x7f => char::from(byte),
                _ => ' ',
            })
            .collect();
        printable::line(text.trim_end()).into_owned()
    });
    rows.filter(|row| !row.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(rows: &[&str], colours: u8) -> Vec<u8> {
        let mut memory = [b' ', colours].repeat(WIDTH * HEIGHT);
        for (n, row) in rows.iter().enumerate() {
            for (m, byte) in row.bytes().enumerate() {
                memory[2 * (n * WIDTH + m)] = byte;
            }
        }
        memory
    }

    #[test]
    fn text_is_told_from_pictures() {
        let shown = screen(&["", "error: no such partition.", "", "grub rescue>"], 7);
        assert_eq!(rows(&shown), ["error: no such partition.", "grub rescue>"]);
        assert_eq!(rows(&screen(&["\x1b[31m menu"], 0x1f)), [" [31m menu"]);
        for noise in [0, 0xff] {
            assert_eq!(rows(&[noise; 4000]), [""; 0], "{noise}");
        }
        let noise: Vec<u8> = (0..4000_u32).map(|n| (n * n / 7) as u8).collect();
        assert_eq!(rows(&noise), [""; 0]);
        assert_eq!(rows(b""), [""; 0]);
        assert_eq!(rows(&screen(&[], 7)), [""; 0]);
    }
}
