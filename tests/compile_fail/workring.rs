// The modules of workring below `queue`, as `src/lib.rs` declares them: included at the root of each case.

#[macro_use]
#[path = "../../src/mutants.rs"]
mod mutants;

#[path = "../../src/announce.rs"]
mod announce;
#[path = "../../src/codec/mod.rs"]
mod codec;
#[path = "../../src/error/mod.rs"]
mod error;
#[path = "../../src/os/mod.rs"]
mod os;
#[path = "../../src/protocol/mod.rs"]
mod protocol;
#[path = "../../src/segment/mod.rs"]
mod segment;
#[path = "../../src/sync/mod.rs"]
mod sync;
