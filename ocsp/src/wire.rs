//! DER, as far as OCSP and CRLs need it: a strict reader that borrows, and a writer that back-patches lengths.

mod oids;
mod read;
mod write;

pub use oids::*;
pub use read::{Elements, Tlv, context};
pub use write::{header, nested, oid, tag, tlv};
