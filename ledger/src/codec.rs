//! Bounded decoding of the binary (borsh) form.

use std::io::{self, Read};

use borsh::BorshDeserialize;

use crate::member::MemberError;

/// The most certificates in one `submit`.
pub const MAX_BATCH: usize = 1_000;

/// The longest encoded transaction, in octets. A batch that does not fit is split.
pub const MAX_TRANSACTION: usize = 1 << 20;

/// Why octets are not what they should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not the encoding of the type.
    #[error("not a known encoding: {detail}")]
    Encoding {
        /// What the decoder met.
        detail: String,
    },
    /// A member's description that cannot stand.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// More octets than allowed.
    #[error("{found} octets are more than the {limit} allowed; send less at once")]
    TooLong {
        /// How many there are.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// More entries, or a longer text, than allowed.
    #[error("{what}: {found} are more than the {limit} allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// Octets are left over.
    #[error("{count} octets follow the end")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// The octets end too early.
    #[error("the octets end too early")]
    Truncated,
    /// Bits that stand for no role.
    #[error("role bits {bits:#04x} are not known")]
    UnknownRole {
        /// The bits.
        bits: u8,
    },
}

impl From<DecodeError> for io::Error {
    fn from(error: DecodeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl DecodeError {
    fn from_io(error: io::Error) -> Self {
        let text = error.to_string();
        // Borsh reports a slice that ends too early as invalid data with this text.
        if error.kind() == io::ErrorKind::UnexpectedEof || text == "Unexpected length of input" {
            return Self::Truncated;
        }
        error
            .into_inner()
            .and_then(|inner| inner.downcast::<Self>().ok())
            .map_or(Self::Encoding { detail: text }, |inner| *inner)
    }
}

/// Decodes the whole of `octets`, at most `limit` of them.
pub(crate) fn decode_all<T: BorshDeserialize>(
    octets: &[u8],
    limit: usize,
) -> Result<T, DecodeError> {
    if octets.len() > limit {
        return Err(DecodeError::TooLong {
            found: octets.len(),
            limit,
        });
    }
    let mut rest = octets;
    let value = T::deserialize(&mut rest).map_err(DecodeError::from_io)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError::Trailing { count: rest.len() })
    }
}

fn bounded_length<R: Read>(reader: &mut R, what: &'static str, limit: usize) -> io::Result<usize> {
    let found = u32::deserialize_reader(reader)?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > limit {
        return Err(DecodeError::TooMany { what, found, limit }.into());
    }
    Ok(found)
}

/// A list of at most `limit` entries.
pub(crate) fn bounded_vec<T: BorshDeserialize, R: Read>(
    reader: &mut R,
    what: &'static str,
    limit: usize,
) -> io::Result<Vec<T>> {
    let count = bounded_length(reader, what, limit)?;
    // Room is made as entries arrive: the count alone must not reserve memory.
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(T::deserialize_reader(reader)?);
    }
    Ok(entries)
}

/// A UTF-8 text of at most `limit` octets.
pub(crate) fn bounded_string<R: Read>(
    reader: &mut R,
    what: &'static str,
    limit: usize,
) -> io::Result<String> {
    let length = bounded_length(reader, what, limit)?;
    let mut octets = vec![0; length];
    reader.read_exact(&mut octets)?;
    String::from_utf8(octets).map_err(|_| {
        DecodeError::Encoding {
            detail: format!("the {what} is not UTF-8"),
        }
        .into()
    })
}
