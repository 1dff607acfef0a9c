//! Parts of stores in memory, for contents that are written in nearly the order in which they lie.

use crate::rootfs::Stores;
use std::io;

/// Bytes of a piece. Pieces begin at multiples of it.
const PIECE: usize = 512 << 10;

/// Pieces that are kept. The names of a folder are written in another order than a tar has them,
/// and the files of one folder may lie in two pieces.
const PIECES: usize = 4;

/// Fewest bytes that are read for a content that is far from those before it.
const ALONE: usize = 16 << 10;

/// A content that begins at most this many bytes from what was read before counts as its neighbour.
const NEAR: u64 = 64 << 10;

/// What is in memory of the stores. Files are in a tar in nearly the same order in which they are
/// written, with only a header between two of them: one large read serves hundreds of small files.
#[derive(Default)]
pub(super) struct Window {
    pieces: Vec<Piece>,
    /// What was read for one content only.
    alone: Piece,
    /// Reads so far.
    turn: u64,
}

/// A part of a store.
#[derive(Default)]
struct Piece {
    store: u32,
    start: u64,
    bytes: Vec<u8>,
    /// When it was read.
    turn: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn has(&self, store: u32, at: u64) -> bool {
        self.store == store && (self.start..self.end()).contains(&at)
    }

    fn is_near(&self, store: u32, at: u64) -> bool {
        let near = self.start.saturating_sub(NEAR)..=self.end().saturating_add(NEAR);
        !self.bytes.is_empty() && self.store == store && near.contains(&at)
    }

    /// Reads `want` bytes from `start` on, or fewer where the store ends before.
    fn fill(&mut self, stores: &Stores, store: u32, start: u64, want: usize) -> io::Result<()> {
        let from = stores.get(store)?;
        (self.store, self.start) = (store, start);
        self.bytes.resize(want, 0);
        let mut filled = 0;
        while filled < want {
            let n = from
                .read_at(&mut self.bytes[filled..], start + filled as u64)
                .inspect_err(|_| self.bytes.clear())?;
            if n == 0 {
                break;
            }
            filled += n;
        }
        self.bytes.truncate(filled);
        Ok(())
    }
}

impl Window {
    /// At least one and at most `len` bytes of the store at byte `at`.
    pub(super) fn get(
        &mut self,
        stores: &Stores,
        store: u32,
        at: u64,
        len: u64,
    ) -> io::Result<&[u8]> {
        let piece = match self.pieces.iter().position(|p| p.has(store, at)) {
            Some(found) => &self.pieces[found],
            None if self.alone.has(store, at) => &self.alone,
            None => self.read(stores, store, at, len)?,
        };
        let skip = usize::try_from(at - piece.start).map_err(io::Error::other)?;
        let n = (piece.bytes.len() - skip).min(usize::try_from(len).unwrap_or(PIECE));
        Ok(&piece.bytes[skip..skip + n])
    }

    /// Reads a part that contains byte `at`.
    fn read(&mut self, stores: &Stores, store: u32, at: u64, len: u64) -> io::Result<&Piece> {
        self.turn += 1;
        let near = |piece: &Piece| piece.is_near(store, at);
        // A content near others gets a whole piece. Any other read gets only what it asks for, so
        // that contents in another order than in the store do not cost a piece each.
        let piece = if near(&self.alone) || self.pieces.iter().any(near) {
            let oldest = (0..self.pieces.len()).min_by_key(|n| self.pieces[*n].turn);
            let place = match oldest {
                Some(oldest) if self.pieces.len() == PIECES => oldest,
                _ => {
                    self.pieces.push(Piece::default());
                    self.pieces.len() - 1
                }
            };
            let piece = &mut self.pieces[place];
            piece.turn = self.turn;
            piece.fill(stores, store, at - at % PIECE as u64, PIECE)?;
            piece
        } else {
            let want = usize::try_from(len).map_or(PIECE, |len| len.clamp(ALONE, PIECE));
            self.alone.fill(stores, store, at, want)?;
            &mut self.alone
        };
        if piece.has(store, at) {
            return Ok(piece);
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file contents end early: the tar was changed while it was read",
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rootfs::Store;
    use std::io::Write;

    /// A store of `len` bytes, of which no two pieces are the same.
    fn stores(len: u64) -> (Stores, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|n| (n ^ (n >> 9) ^ (n >> 17)) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut stores = Stores::default();
        stores.add(Store::new(file));
        (stores, bytes)
    }

    #[test]
    fn every_order_gives_the_bytes_of_the_store() {
        let len = 5 * PIECE as u64 + 777;
        let (stores, bytes) = stores(len);
        let mut window = Window::default();
        let mut at = 1;
        for n in 0..20_000_u64 {
            // Steps forwards and backwards, and now and then a jump.
            at = match n % 97 {
                0 => n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % len,
                _ => (at + 7_000 * (n % 5)).saturating_sub(9_000 * (n % 3)) % len,
            };
            let want = (n * 131 % 40_000 + 1).min(len - at);
            let got = window.get(&stores, 0, at, want).unwrap();
            assert!(!got.is_empty() && got.len() as u64 <= want);
            let place = usize::try_from(at).unwrap();
            assert_eq!(
                got,
                &bytes[place..place + got.len()],
                "at {at}, {want} bytes"
            );
        }
    }

    #[test]
    fn files_of_two_pieces_by_turns_are_read_once() {
        let (stores, _) = stores(3 * PIECE as u64);
        let mut window = Window::default();
        let border = PIECE as u64;
        for n in 0..60 {
            let at = if n % 2 == 0 {
                border + n * 1024
            } else {
                border - n * 1024
            };
            window.get(&stores, 0, at, 100).unwrap();
        }
        // The first content alone, then both pieces.
        assert_eq!(window.turn, 3);
    }

    #[test]
    fn a_store_that_ends_early_is_an_error() {
        let (stores, bytes) = stores(10_000);
        let mut window = Window::default();
        let end = bytes.len() as u64;
        assert_eq!(window.get(&stores, 0, end - 1, 9).unwrap().len(), 1);
        for at in [end, end + 1, end + (1 << 40)] {
            let error = window.get(&stores, 0, at, 9).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
