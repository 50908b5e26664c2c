//! Codecs: how messages become bytes.
//!
//! | file        | content                                                                         |
//! |-------------|---------------------------------------------------------------------------------|
//! | [`traits`]  | [`Codec`], which a program implements for a format of its own                   |
//! | [`error`]   | [`EncodeError`] and [`DecodeError`]                                             |
//! | [`bincode`] | [`Bincode`], the default codec: any serde type                                  |
//! | [`raw`]     | [`Raw`]: bytes as they are                                                      |
//! | [`nesting`] | limits how deep a message may nest, for [`bincode`]                             |

mod bincode;
mod error;
mod nesting;
mod raw;
mod traits;

pub use self::bincode::Bincode;
pub use error::{DecodeError, EncodeError};
pub use raw::Raw;
pub use traits::Codec;
