//! Codecs: how messages become bytes.
//!
//! | file        | content                                                                         |
//! |-------------|---------------------------------------------------------------------------------|
//! | [`traits`]  | [`Codec`], which a program implements for a format of its own                   |
//! | [`error`]   | [`EncodeError`] and [`DecodeError`]                                             |
//! | [`bincode`] | [`Bincode`], the default codec: any serde type                                  |
//! | `bytemuck`  | `Bytemuck`: plain old data, as it is in memory; a feature                       |
//! | `postcard`  | `Postcard`: any serde type that describes itself no less than for bincode; a feature |
//! | `json`      | `Json`: serde types whose shape is known only from the message, too; a feature  |
//! | [`coded`]   | [`Coded`]: a value that is carried by a codec of its own                        |
//! | [`raw`]     | [`Raw`]: bytes as they are                                                      |
//! | [`nesting`] | limits how deep a message may nest, for [`bincode`]                             |
//!
//! The build for loom, which models only the protocol, has the errors alone.

#[cfg(not(loom))]
mod bincode;
#[cfg(all(feature = "bytemuck", not(loom)))]
mod bytemuck;
#[cfg(all(test, feature = "json", feature = "postcard", not(loom)))]
mod carried_tests;
#[cfg(not(loom))]
mod coded;
mod error;
#[cfg(all(feature = "json", not(loom)))]
mod json;
#[cfg(not(loom))]
mod nesting;
#[cfg(all(feature = "postcard", not(loom)))]
mod postcard;
#[cfg(not(loom))]
mod raw;
#[cfg(not(loom))]
mod traits;

#[cfg(not(loom))]
pub use self::bincode::Bincode;
#[cfg(all(feature = "bytemuck", not(loom)))]
pub use self::bytemuck::Bytemuck;
#[cfg(all(feature = "json", not(loom)))]
pub use self::json::Json;
#[cfg(all(feature = "postcard", not(loom)))]
pub use self::postcard::Postcard;
#[cfg(not(loom))]
pub use coded::Coded;
pub use error::{DecodeError, EncodeError};
#[cfg(not(loom))]
pub use raw::Raw;
#[cfg(not(loom))]
pub use traits::Codec;
