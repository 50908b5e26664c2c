//! A transition that gives a block up takes the token, and only when the bytes are no longer borrowed (OWNED-2).
#![allow(warnings)]
include!("../workring.rs");

use protocol::Corrupt;
use protocol::ring::Hint;
use protocol::steps::{OwnedBlock, dead_letters, send, settle};
use segment::Segment;

// `Release` consumes the token.
fn read_after_release(segment: &Segment, held: OwnedBlock) -> Result<usize, Corrupt> {
    settle::acknowledge(segment, segment.view(), held)?;
    Ok(segment.view().payload(&held)?.len()) //~ E0382
}

// `Return` consumes the token.
fn release_after_return(segment: &Segment, held: OwnedBlock) -> Result<(), Corrupt> {
    settle::return_message(segment, held)?;
    settle::acknowledge(segment, segment.view(), held) //~ E0382
}

// `Withdraw` consumes the token.
fn offer_after_withdrawal(segment: &Segment, mut owned: OwnedBlock) -> Result<(), Corrupt> {
    send::withdraw(segment, owned)?;
    send::offer(segment.view(), &mut owned, 8) //~ E0382
}

// The end of `Read` consumes the token.
fn read_after_discarding_a_dead_letter(segment: &Segment, read: OwnedBlock) -> Result<usize, Corrupt> {
    dead_letters::discard(segment, read)?;
    Ok(segment.view().payload(&read)?.len()) //~ E0382
}

// The bytes are borrowed from the token.
fn keep_bytes_past_release(segment: &Segment, held: OwnedBlock) -> Result<u8, Corrupt> {
    let bytes = segment.view().payload(&held)?;
    settle::acknowledge(segment, segment.view(), held)?; //~ E0505
    Ok(bytes[0])
}

// `Publish` needs the token for itself, because it spends the token when it succeeds.
fn write_after_publish(segment: &Segment, mut owned: OwnedBlock) -> Result<(), Corrupt> {
    let bytes = segment.view().payload_mut(&mut owned)?;
    send::publish(segment, segment.view(), &mut owned, &Hint::new())?; //~ E0499
    bytes.fill(0);
    Ok(())
}

fn main() {}
