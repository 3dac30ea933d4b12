//! Writes DER into a growing buffer.

/// The identifier octets that OCSP uses.
pub mod tag {
    /// INTEGER.
    pub const INTEGER: u8 = 0x02;
    /// BIT STRING.
    pub const BIT_STRING: u8 = 0x03;
    /// OCTET STRING.
    pub const OCTET_STRING: u8 = 0x04;
    /// NULL.
    pub const NULL: u8 = 0x05;
    /// OBJECT IDENTIFIER.
    pub const OID: u8 = 0x06;
    /// ENUMERATED.
    pub const ENUMERATED: u8 = 0x0a;
    /// BOOLEAN.
    pub const BOOLEAN: u8 = 0x01;
    /// UTCTime.
    pub const UTC_TIME: u8 = 0x17;
    /// GeneralizedTime.
    pub const GENERALIZED_TIME: u8 = 0x18;
    /// SEQUENCE.
    pub const SEQUENCE: u8 = 0x30;

    /// `[number]`, primitive, number below 31.
    #[must_use]
    pub const fn primitive(number: u8) -> u8 {
        0x80 | number
    }

    /// `[number]`, constructed, number below 31.
    #[must_use]
    pub const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// Writes one element with this content.
pub fn tlv(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    header(out, tag, value.len());
    out.extend_from_slice(value);
}

/// Writes what stands before the content of an element.
pub fn header(out: &mut Vec<u8>, tag: u8, content: usize) {
    out.push(tag);
    length(out, content);
}

/// Writes an OBJECT IDENTIFIER.
pub fn oid(out: &mut Vec<u8>, oid: const_oid::ObjectIdentifier) {
    tlv(out, tag::OID, oid.as_bytes());
}

/// Writes one element whose content `fill` writes; the length is put in afterwards.
pub fn nested<T>(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    out.extend_from_slice(&[tag, 0]);
    let start = out.len();
    let filled = fill(out);
    let (octets, used) = encode(out.len() - start);
    out.splice(start - 1..start, octets.into_iter().take(used));
    filled
}

fn length(out: &mut Vec<u8>, length: usize) {
    let (octets, used) = encode(length);
    out.extend(octets.into_iter().take(used));
}

/// The octets of a length, and how many of them count.
fn encode(length: usize) -> ([u8; 9], usize) {
    let mut octets = [0; 9];
    let mut used = 0;
    if length >= 0x80 {
        let significant = size_of::<usize>() - length.leading_zeros() as usize / 8;
        for at in (0..significant).rev() {
            used += 1;
            octets[used] = (length >> (8 * at)) as u8;
        }
        octets[0] = 0x80 | used as u8;
    } else {
        octets[0] = length as u8;
    }
    (octets, used + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal() {
        for (len, octets) in [
            (0, &[0][..]),
            (1, &[1]),
            (127, &[127]),
            (128, &[0x81, 0x80]),
            (255, &[0x81, 0xff]),
            (256, &[0x82, 1, 0]),
            (65_536, &[0x83, 1, 0, 0]),
        ] {
            let value = vec![7; len];
            let expected = [&[tag::OCTET_STRING][..], octets, &value].concat();
            let mut out = Vec::new();
            tlv(&mut out, tag::OCTET_STRING, &value);
            assert_eq!(out, expected);
            let mut out = vec![9];
            nested(&mut out, tag::OCTET_STRING, |out| {
                out.extend_from_slice(&value);
            });
            assert_eq!(out[1..], expected);
        }
    }
}
