//! DER, as far as OCSP needs it: a strict reader that borrows, and a writer that back-patches lengths.

mod oids;
mod read;
mod write;

pub(crate) use oids::*;
pub(crate) use read::{Elements, Tlv, context};
pub(crate) use write::{nested, oid, tag, tlv};
