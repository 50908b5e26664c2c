//! Cuts what a worker writes into lines.

/// The longest piece. A longer line is delivered in several.
pub(super) const MAX_PIECE: usize = 8 << 10;

/// What is left of a line until its end arrives.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    begun: Vec<u8>,
}

impl LineBuffer {
    /// Takes what was written, and calls `deliver` with each complete line, without its end, and with each piece of a line that
    /// is too long. A piece does not end inside a character.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut deliver: impl FnMut(String)) {
        while !bytes.is_empty() {
            let room = MAX_PIECE - self.begun.len();
            let end = bytes.iter().take(room).position(|&byte| byte == b'\n');
            let (taken, rest) = bytes.split_at(end.unwrap_or(room.min(bytes.len())));
            self.begun.extend_from_slice(taken);
            bytes = rest;
            if end.is_some() {
                bytes = bytes.get(1..).unwrap_or_default();
                deliver(text(line(&self.begun)));
                self.begun.clear();
            } else if self.begun.len() == MAX_PIECE {
                let kept = self.begun.split_off(whole_characters(&self.begun));
                deliver(text(&self.begun));
                self.begun = kept;
            }
        }
    }

    /// Returns what has no end of line, after the last byte.
    pub(super) fn finish(&mut self) -> Option<String> {
        let begun = core::mem::take(&mut self.begun);
        (!begun.is_empty()).then(|| text(&begun))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns a line without the other half of its end, if it has two.
fn line(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// Returns how many of the bytes are left when a character that is not complete is cut off the end.
fn whole_characters(bytes: &[u8]) -> usize {
    // The longest character has four bytes, so the first of one that is not complete is among the last three.
    for missing in 1..=3 {
        let Some(begin) = bytes.len().checked_sub(missing) else {
            break;
        };
        let length = match bytes.get(begin) {
            Some(0x80..=0xbf) => continue,
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            _ => 1,
        };
        return if length > missing { begin } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&[u8]]) -> Vec<String> {
        let mut buffer = LineBuffer::default();
        let mut all = Vec::new();
        for part in parts {
            buffer.push(part, |line| all.push(line));
        }
        all.extend(buffer.finish());
        all
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let whole: &[u8] = "one\ntw\u{f6}\r\n\nlast".as_bytes();
        let expected = ["one", "tw\u{f6}", "", "last"];
        assert_eq!(lines(&[whole]), expected);
        for at in 0..whole.len() {
            let (first, second) = whole.split_at(at);
            assert_eq!(lines(&[first, second]), expected, "{at}");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(lines(&bytes), expected);
        assert_eq!(lines(&[b"\n"]), [""]);
        assert_eq!(lines(&[b""]), [""; 0]);
    }

    #[test]
    fn a_long_line_comes_in_pieces_that_do_not_cut_a_character() {
        for character in ["x", "\u{f6}", "\u{20ac}", "\u{1f600}"] {
            for before in ["", "a", "ab", "abc"] {
                let text = before.to_owned() + &character.repeat(2 * MAX_PIECE);
                let pieces = lines(&[text.as_bytes(), b"\nnext"]);
                let (next, pieces) = pieces.split_last().expect("a line");
                assert_eq!(next, "next");
                assert!(pieces.iter().all(|piece| piece.len() <= MAX_PIECE));
                assert_eq!(pieces.concat(), text);
                assert!(pieces.len() <= text.len().div_ceil(MAX_PIECE - 3) + 1);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let noise = vec![0xff; 3 * MAX_PIECE];
        assert_eq!(lines(&[&noise]).concat().chars().count(), noise.len());
        let lonely = vec![0x80; MAX_PIECE + 1];
        assert_eq!(lines(&[&lonely]).len(), 2);
    }
}
