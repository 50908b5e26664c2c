//! Messages in a stream of bytes: how they are separated, and queues that are created for them.

use super::args::Framing;
use super::exit::{End, with_causes};
use workring::Options;
use workring::error::CreateNamedError;
use workring::inspect::{Address, Bytes};
use workring::queue::Raw;

/// Splits a stream of bytes into messages.
#[derive(Debug)]
pub(crate) struct Splitter {
    framing: Framing,
    /// The bytes of a message whose end has not come yet.
    rest: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            framing,
            rest: Vec::new(),
        }
    }

    /// Returns the messages that are complete with this piece of the stream.
    pub(crate) fn split(&mut self, piece: &[u8]) -> Vec<Bytes> {
        let mut messages = Vec::new();
        match self.framing {
            Framing::Lines => self.split_at(b'\n', piece, &mut messages),
            Framing::Nul => self.split_at(0, piece, &mut messages),
            Framing::Length => self.split_by_length(piece, &mut messages),
        }
        messages
    }

    fn split_at(&mut self, end: u8, piece: &[u8], messages: &mut Vec<Bytes>) {
        let mut parts = piece.split(|&byte| byte == end).peekable();
        while let Some(part) = parts.next() {
            self.rest.extend_from_slice(part);
            if parts.peek().is_some() {
                messages.push(core::mem::take(&mut self.rest));
            }
        }
    }

    fn split_by_length(&mut self, piece: &[u8], messages: &mut Vec<Bytes>) {
        self.rest.extend_from_slice(piece);
        let mut rest = self.rest.as_slice();
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some((message, after)) = after.split_at_checked(length) else {
                break;
            };
            messages.push(message.to_vec());
            rest = after;
        }
        self.rest = rest.to_vec();
    }

    /// Returns what is left at the end of the stream: a last message without its end mark.
    ///
    /// # Errors
    ///
    /// A message is shorter than its length.
    pub(crate) fn finish(self) -> Result<Option<Bytes>, String> {
        match self.framing {
            _ if self.rest.is_empty() => Ok(None),
            Framing::Lines | Framing::Nul => Ok(Some(self.rest)),
            Framing::Length => Err(format!(
                "the input ends in a message of which {} bytes came: each begins with its length, 4 bytes, \
                 little-endian",
                self.rest.len()
            )),
        }
    }
}

/// Writes a message to the end of `into`.
pub(crate) fn frame(framing: Framing, message: &[u8], into: &mut Vec<u8>) {
    if framing == Framing::Length {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        into.extend_from_slice(&length.to_le_bytes());
    }
    into.extend_from_slice(message);
    match framing {
        Framing::Lines => into.push(b'\n'),
        Framing::Nul => into.push(0),
        Framing::Length => {}
    }
}

/// Creates a raw queue, if there is none of the name.
pub(crate) fn create(name: &Address, capacity: Option<usize>) -> Result<(), End> {
    let Some(capacity) = capacity else {
        return Ok(());
    };
    let Address::Named(plain) = name else {
        return Err(End::Failed(format!(
            "{name}: only a queue with a name can be created"
        )));
    };
    match Options::new(capacity).create_named_with::<Bytes, Raw>(plain) {
        Ok(_) | Err(CreateNamedError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(End::failed(name, with_causes(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_in_pieces_of_any_size_has_the_same_messages() {
        let messages: [&[u8]; 5] = [b"one", b"", b"three", &[b'x'; 300], b"last"];
        for framing in [Framing::Lines, Framing::Nul, Framing::Length] {
            let mut stream = Vec::new();
            for message in messages {
                frame(framing, message, &mut stream);
            }
            for size in [1, 2, 3, 7, 64, 1000] {
                let mut splitter = Splitter::new(framing);
                let split: Vec<Bytes> = stream
                    .chunks(size)
                    .flat_map(|piece| splitter.split(piece))
                    .collect();
                assert_eq!(split, messages, "{framing:?} in pieces of {size}");
                assert_eq!(splitter.finish(), Ok(None));
            }
        }
    }

    #[test]
    fn a_last_line_needs_no_end_but_a_length_needs_all_its_bytes() {
        let mut lines = Splitter::new(Framing::Lines);
        assert_eq!(lines.split(b"a\nb"), [b"a"]);
        assert_eq!(lines.finish(), Ok(Some(b"b".to_vec())));
        let mut lengths = Splitter::new(Framing::Length);
        assert!(lengths.split(&[5, 0, 0, 0, 1]).is_empty());
        assert!(lengths.finish().is_err());
    }
}
