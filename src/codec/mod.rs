//! Codecs: how messages become bytes.
//!
//! | file        | content                                                                         |
//! |-------------|---------------------------------------------------------------------------------|
//! | [`traits`]  | [`Codec`], which a program implements for a format of its own                   |
//! | [`error`]   | [`EncodeError`] and [`DecodeError`]                                             |
//! | [`bincode`] | [`Bincode`], the default codec: any serde type                                  |
//! | `bytemuck`  | `Bytemuck`: plain old data, as it is in memory; a feature                       |
//! | [`raw`]     | [`Raw`]: bytes as they are                                                      |
//! | [`nesting`] | limits how deep a message may nest, for [`bincode`]                             |
//!
//! The build for loom, which models only the protocol, has the errors alone.

#[cfg(not(loom))]
mod bincode;
#[cfg(all(feature = "bytemuck", not(loom)))]
mod bytemuck;
mod error;
#[cfg(not(loom))]
mod nesting;
#[cfg(not(loom))]
mod raw;
#[cfg(not(loom))]
mod traits;

#[cfg(not(loom))]
pub use self::bincode::Bincode;
#[cfg(all(feature = "bytemuck", not(loom)))]
pub use self::bytemuck::Bytemuck;
pub use error::{DecodeError, EncodeError};
#[cfg(not(loom))]
pub use raw::Raw;
#[cfg(not(loom))]
pub use traits::Codec;
