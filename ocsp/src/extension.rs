//! Lists of extensions, in requests and in responses.

use der::{ErrorKind, Tag};

use crate::wire::{Elements, Tlv};

/// The most extensions in one list.
const MAX_EXTENSIONS: usize = 16;

/// One `Extension` (RFC 5280 §4.1).
pub(crate) struct Extension<'a> {
    oid: &'a [u8],
    pub(crate) critical: bool,
    pub(crate) value: &'a [u8],
}

impl Extension<'_> {
    pub(crate) fn is(&self, oid: const_oid::ObjectIdentifier) -> bool {
        self.oid == oid.as_bytes()
    }
}

/// What is wrong with a list of extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ExtensionsError {
    Der(ErrorKind),
    Duplicate,
    Empty,
    TooMany { limit: usize },
}

/// Reads `Extensions` (RFC 5280 §4.1), in which none occurs twice.
pub(crate) fn for_each_extension<'a, E: From<ExtensionsError>>(
    octets: &'a [u8],
    mut each: impl FnMut(&Extension<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut list = Tlv::only(octets)
        .and_then(|list| list.open(Tag::Sequence))
        .map_err(ExtensionsError::Der)?;
    if list.is_finished() {
        return Err(ExtensionsError::Empty.into());
    }
    let mut seen: [&[u8]; MAX_EXTENSIONS] = [&[]; MAX_EXTENSIONS];
    let mut places = seen.iter_mut();
    let mut count = 0;
    while !list.is_finished() {
        let extension = extension(&mut list).map_err(ExtensionsError::Der)?;
        let Some(place) = places.next() else {
            let limit = MAX_EXTENSIONS;
            return Err(ExtensionsError::TooMany { limit }.into());
        };
        *place = extension.oid;
        count += 1;
        each(&extension)?;
    }
    let seen = seen.get(..count).unwrap_or_default();
    for (at, oid) in seen.iter().enumerate() {
        if seen.iter().take(at).any(|earlier| earlier == oid) {
            return Err(ExtensionsError::Duplicate.into());
        }
    }
    Ok(())
}

fn extension<'a>(list: &mut Elements<'a>) -> Result<Extension<'a>, ErrorKind> {
    let mut fields = list.expect(Tag::Sequence)?.open(Tag::Sequence)?;
    let oid = object_identifier(&mut fields)?;
    let critical = match fields.optional(Tag::Boolean)?.map(|tlv| tlv.value) {
        // DER leaves FALSE out, but some send it.
        None | Some([0x00]) => false,
        Some([0xff]) => true,
        Some(_) => return Err(ErrorKind::Noncanonical { tag: Tag::Boolean }),
    };
    let value = fields.expect(Tag::OctetString)?.value;
    fields.finish()?;
    Ok(Extension {
        oid,
        critical,
        value,
    })
}

pub(crate) fn object_identifier<'a>(fields: &mut Elements<'a>) -> Result<&'a [u8], ErrorKind> {
    let oid = fields.expect(Tag::ObjectIdentifier)?.value;
    match oid.last() {
        Some(last) if last & 0x80 == 0 => Ok(oid),
        _ => Err(ErrorKind::OidMalformed),
    }
}
