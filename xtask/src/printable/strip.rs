//! Removes terminal control sequences from the output of another program or a guest.

/// Removes terminal control from a stream of bytes: the escape sequences of ECMA-48, carriage
/// returns and backspaces.
#[derive(Debug, Default)]
pub struct Stripper {
    state: State,
    /// After a carriage return, whose meaning depends on the next byte.
    returned: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence: `ESC [`, parameters, a final byte.
    Control,
    /// In a string: `ESC ]` and the like, until BEL or `ESC \`.
    String,
    /// After ESC in a string.
    StringEscape,
    /// One more byte belongs to the sequence: `ESC (` and the like.
    OneMore,
}

impl Stripper {
    /// Processes one more byte; text goes to `out`.
    pub fn push(&mut self, b: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Text => self.text(b, out),
            State::Escape => {
                self.state = match b {
                    b'[' => State::Control,
                    b']' | b'P' | b'X' | b'^' | b'_' => State::String,
                    0x20..=0x2f => State::OneMore,
                    _ => State::Text,
                }
            }
            State::Control => {
                if (0x40..=0x7e).contains(&b) {
                    self.state = State::Text;
                    // The cursor moves to another line. Programs that draw a screen (firmware, a
                    // menu) start a new line this way.
                    if matches!(b, b'H' | b'f' | b'E' | b'd') {
                        self.returned = false;
                        new_line(out);
                    }
                } else if b == 0x1b {
                    self.state = State::Escape;
                }
            }
            State::String => match b {
                0x07 => self.state = State::Text,
                0x1b => self.state = State::StringEscape,
                _ => {}
            },
            State::StringEscape => {
                self.state = if b == b'\\' {
                    State::Text
                } else {
                    State::String
                };
            }
            State::OneMore => self.state = State::Text,
        }
    }

    fn text(&mut self, b: u8, out: &mut Vec<u8>) {
        match b {
            0x1b => self.state = State::Escape,
            b'\r' => self.returned = true,
            b'\n' => {
                self.returned = false;
                out.push(b'\n');
            }
            0x08 => back(out),
            b'\t' | 0x20..=0x7e | 0x80.. => {
                // The line is overwritten from its start: the reader gets a separate line.
                if std::mem::take(&mut self.returned) {
                    new_line(out);
                }
                out.push(b);
            }
            _ => {}
        }
    }
}

/// Removes the last character of the line: its last byte, and the other bytes of the same UTF-8
/// character.
fn back(out: &mut Vec<u8>) {
    while let Some(&b) = out.last().filter(|&&b| b != b'\n') {
        out.pop();
        if b & 0xc0 != 0x80 {
            return;
        }
    }
}

fn new_line(out: &mut Vec<u8>) {
    if out.last().is_some_and(|&l| l != b'\n') {
        out.push(b'\n');
    }
}

/// `raw` without terminal control, as plain text.
pub fn plain(raw: &str) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut stripper = Stripper::default();
    for b in raw.bytes() {
        stripper.push(b, &mut out);
    }
    String::from_utf8_lossy(&out).into_owned()
}
