//! Strict, borrowing, bounded by its input: no recursion, no allocation.

use der::{Decode, ErrorKind, Header, Reader, SliceReader, Tag, TagNumber};

/// One element: tag, content, and all its octets.
#[derive(Clone, Copy, Debug)]
pub struct Tlv<'a> {
    /// Its identifier octet.
    pub tag: Tag,
    /// Its content octets.
    pub value: &'a [u8],
    /// All its octets: identifier, length and content.
    pub raw: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// The one element that `octets` are, without anything after it.
    ///
    /// # Errors
    ///
    /// What is not DER about it.
    pub fn only(octets: &'a [u8]) -> Result<Self, ErrorKind> {
        let mut elements = Elements::new(octets)?;
        let tlv = elements.any()?;
        elements.finish()?;
        Ok(tlv)
    }

    /// What is inside, when it has this tag.
    ///
    /// # Errors
    ///
    /// Another tag.
    pub fn open(self, tag: Tag) -> Result<Elements<'a>, ErrorKind> {
        if self.tag == tag {
            Elements::new(self.value)
        } else {
            Err(self.tag.unexpected_error(Some(tag)))
        }
    }
}

/// The elements of a constructed value, one after the other.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    octets: &'a [u8],
    reader: SliceReader<'a>,
}

impl<'a> Elements<'a> {
    /// The elements that these octets are.
    ///
    /// # Errors
    ///
    /// More octets than a DER length can tell.
    pub fn new(octets: &'a [u8]) -> Result<Self, ErrorKind> {
        let reader = SliceReader::new(octets).map_err(|error| error.kind())?;
        Ok(Self { octets, reader })
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.reader.is_finished()
    }

    /// The next element, whatever it is.
    ///
    /// # Errors
    ///
    /// None is left, or what is not DER about it.
    pub fn any(&mut self) -> Result<Tlv<'a>, ErrorKind> {
        let start = self.position()?;
        let header = Header::decode(&mut self.reader).map_err(|error| error.kind())?;
        let value = self
            .reader
            .read_slice(header.length())
            .map_err(|error| error.kind())?;
        let end = self.position()?;
        let raw = self.octets.get(start..end).ok_or(ErrorKind::Failed)?;
        Ok(Tlv {
            tag: header.tag(),
            value,
            raw,
        })
    }

    /// The next element, which must have this tag.
    ///
    /// # Errors
    ///
    /// As for [`any`](Self::any), and another tag.
    pub fn expect(&mut self, tag: Tag) -> Result<Tlv<'a>, ErrorKind> {
        let tlv = self.any()?;
        if tlv.tag == tag {
            Ok(tlv)
        } else {
            Err(tlv.tag.unexpected_error(Some(tag)))
        }
    }

    /// The next element if it has this tag; else it stays.
    ///
    /// # Errors
    ///
    /// What is not DER about it.
    pub fn optional(&mut self, tag: Tag) -> Result<Option<Tlv<'a>>, ErrorKind> {
        if self.is_finished() {
            return Ok(None);
        }
        let mut ahead = self.clone();
        let tlv = ahead.any()?;
        if tlv.tag != tag {
            return Ok(None);
        }
        *self = ahead;
        Ok(Some(tlv))
    }

    /// Nothing may be left.
    ///
    /// # Errors
    ///
    /// Something is.
    pub fn finish(self) -> Result<(), ErrorKind> {
        self.reader.finish().map_err(|error| error.kind())
    }

    fn position(&self) -> Result<usize, ErrorKind> {
        usize::try_from(self.reader.position()).map_err(|error| error.kind())
    }
}

/// The tag `[number]` of an explicitly tagged or constructed field.
#[must_use]
pub const fn context(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}
