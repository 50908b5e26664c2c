//! The codec for plain old data.

use super::error::{DecodeError, EncodeError};
use super::traits::Codec;
use bytemuck::{Pod, PodCastError};

/// A codec for values that are plain old data: a value is sent as its bytes in memory. Needs the feature `bytemuck`.
///
/// Plain old data are the types that are [`Pod`]: numbers, arrays of them, and structs of them without padding, for
/// which the crate [bytemuck] derives the trait. (This crate is used, and not zerocopy, because many crates with such
/// types implement its trait.) They may be aligned to at most 8 bytes, as messages are, also those that lie in a batch of
/// others; a type that needs more does not compile.
///
/// With this codec, a value can be written and read where it lies in shared memory
/// ([`Sender::reserve_value`](crate::Sender::reserve_value),
/// [`Receiver::lease_value`](crate::Receiver::lease_value)). Whether one end uses values in place makes no difference to the
/// other end.
///
/// Both ends must have the same type and be compiled for the same machine. A message of another length than the type's
/// fails to be received, with a [`DecodeError`], and becomes a dead letter.
///
/// [bytemuck]: https://docs.rs/bytemuck
///
/// # Examples
///
/// ```
/// use bytemuck::{Pod, Zeroable};
/// use workring::{Options, queue::Bytemuck};
///
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[repr(C)]
/// struct Pose {
///     position: [f32; 3],
///     heading: f32,
/// }
///
/// let (tx, rx) = Options::new(16).channel_with::<Pose, Bytemuck>()?;
///
/// let mut pose = tx.reserve_value()?.zeroed();
/// pose.heading = 0.5;
/// pose.commit()?;
/// tx.send(Pose { position: [1.0; 3], heading: 1.5 })?;
///
/// assert_eq!(rx.recv()?.heading, 0.5);
/// let pose = rx.lease_value()?;
/// assert_eq!(pose.position, [1.0; 3]);
/// pose.ack();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A type that needs a larger alignment:
///
/// ```compile_fail
/// use workring::{Options, queue::Bytemuck};
///
/// let (tx, _rx) = Options::new(16).channel_with::<u128, Bytemuck>()?;
/// tx.send(1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bytemuck;

impl Bytemuck {
    /// The largest alignment of a type, in bytes. A value that needs more than messages have could not be read in place.
    pub(crate) const MAX_ALIGN: usize = 8;

    /// Returns the value that `bytes` are, where they lie. They must be aligned as messages are.
    #[inline(always)]
    pub(crate) fn value<T: Pod>(bytes: &[u8]) -> Result<&T, PodCastError> {
        const { assert_aligned::<T>() };
        bytemuck::try_from_bytes(bytes)
    }

    /// Does the same as [`value`](Bytemuck::value), for a value that is to be written.
    #[inline(always)]
    pub(crate) fn value_mut<T: Pod>(bytes: &mut [u8]) -> Result<&mut T, PodCastError> {
        const { assert_aligned::<T>() };
        bytemuck::try_from_bytes_mut(bytes)
    }

    /// Checks that `bytes` are a value.
    #[inline(always)]
    pub(crate) fn check<T: Pod>(bytes: &[u8]) -> Result<(), DecodeError> {
        match Self::value::<T>(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(Self::mismatch::<T>(bytes)),
        }
    }

    /// Returns the error for bytes that are no `T`.
    #[cold]
    fn mismatch<T>(bytes: &[u8]) -> DecodeError {
        DecodeError::new(format!(
            "{} bytes instead of {}",
            bytes.len(),
            size_of::<T>()
        ))
    }
}

/// Called in constant expressions, so that it fails at compile time.
const fn assert_aligned<T>() {
    assert!(
        align_of::<T>() <= Bytemuck::MAX_ALIGN,
        "messages are aligned to 8 bytes, and this type needs more"
    );
}

impl<T: Pod> Codec<T> for Bytemuck {
    const NAME: &'static str = "plain old data";

    #[inline(always)]
    fn encode(message: &T, into: &mut [u8]) -> Result<usize, EncodeError> {
        const { assert_aligned::<T>() };
        into.get_mut(..size_of::<T>())
            .ok_or(EncodeError::NoRoom)?
            .copy_from_slice(bytemuck::bytes_of(message));
        Ok(size_of::<T>())
    }

    fn encoded_len(_: &T) -> Result<usize, EncodeError> {
        Ok(size_of::<T>())
    }

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        const { assert_aligned::<T>() };
        match bytemuck::try_pod_read_unaligned(bytes) {
            Ok(value) => Ok(value),
            Err(_) => not_a_value(bytes),
        }
    }

    #[inline(always)]
    fn decode_as<R>(
        bytes: &[u8],
        usual: impl FnOnce(T) -> R,
        failed: impl FnOnce(DecodeError) -> R,
    ) -> R {
        match bytemuck::try_from_bytes::<T>(bytes) {
            Ok(value) => usual(*value),
            Err(_) => failed(Self::mismatch::<T>(bytes)),
        }
    }
}

/// Fails for bytes that are no `T`. Returns the whole result, through memory, as in [`super::raw`].
#[cold]
#[inline(never)]
fn not_a_value<T>(bytes: &[u8]) -> Result<T, DecodeError> {
    Err(Bytemuck::mismatch::<T>(bytes))
}
