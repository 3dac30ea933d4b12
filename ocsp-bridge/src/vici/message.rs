//! Messages: trees of named sections, values and lists (vici README, "Message format").

use thiserror::Error;

/// A section: the root of a message, or a named part of one. Its elements stay in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Section(Vec<Element>);

/// What a section holds.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Element {
    List(String, Vec<Vec<u8>>),
    Section(String, Section),
    Value(String, Vec<u8>),
}

impl Section {
    /// An empty message.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// With one more value. Names longer than 255 octets and values longer than 65535 are cut off.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.0
            .push(Element::Value(name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With one more section. Its name is cut off as in [`with`](Self::with).
    #[must_use]
    pub fn with_section(mut self, name: &str, section: Self) -> Self {
        self.0.push(Element::Section(name.to_owned(), section));
        self
    }

    /// With one more list. Its name and items are cut off as in [`with`](Self::with).
    #[must_use]
    pub fn with_list<T: AsRef<[u8]>>(mut self, name: &str, items: &[T]) -> Self {
        let items = items.iter().map(|item| item.as_ref().to_vec()).collect();
        self.0.push(Element::List(name.to_owned(), items));
        self
    }

    /// The value of that name in this section.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find_map(|element| match element {
            Element::Value(its, value) if its == name => Some(value.as_slice()),
            _ => None,
        })
    }

    /// As [`value`](Self::value), if it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name)
            .and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The decimal number of that name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// The section of that name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Self> {
        self.sections()
            .find_map(|(its, section)| (its == name).then_some(section))
    }

    /// All sections with their names.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().filter_map(|element| match element {
            Element::Section(name, section) => Some((name.as_str(), section)),
            _ => None,
        })
    }

    /// The items of the list of that name; none if there is no such list.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let items = self.0.iter().find_map(|element| match element {
            Element::List(its, items) if its == name => Some(items.as_slice()),
            _ => None,
        });
        items.unwrap_or_default().iter().map(Vec::as_slice)
    }

    /// Reads a whole message.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when it is cut short, unbalanced, or beyond a bound.
    pub fn decode(message: &[u8]) -> Result<Self, MessageError> {
        let mut rest = Rest(message);
        let mut open: Vec<(String, Self)> = Vec::new();
        let mut current = Self::new();
        let mut elements = 0_usize;
        while let Some(kind) = rest.next() {
            elements += 1;
            if elements > MAX_ELEMENTS {
                return Err(MessageError::Elements);
            }
            match kind {
                SECTION_START => {
                    if open.len() == MAX_DEPTH {
                        return Err(MessageError::Depth);
                    }
                    let name = rest.name()?;
                    open.push((name, core::mem::take(&mut current)));
                }
                SECTION_END => {
                    let (name, parent) = open.pop().ok_or(MessageError::Unbalanced)?;
                    let ended = core::mem::replace(&mut current, parent);
                    current.0.push(Element::Section(name, ended));
                }
                KEY_VALUE => {
                    let name = rest.name()?;
                    current.0.push(Element::Value(name, rest.value()?));
                }
                LIST_START => {
                    let name = rest.name()?;
                    let mut items = Vec::new();
                    loop {
                        elements += 1;
                        if elements > MAX_ELEMENTS {
                            return Err(MessageError::Elements);
                        }
                        match rest.next() {
                            Some(LIST_ITEM) => items.push(rest.value()?),
                            Some(LIST_END) => break,
                            Some(_) => return Err(MessageError::Unbalanced),
                            None => return Err(MessageError::Short),
                        }
                    }
                    current.0.push(Element::List(name, items));
                }
                kind => return Err(MessageError::Kind(kind)),
            }
        }
        if open.is_empty() {
            Ok(current)
        } else {
            Err(MessageError::Short)
        }
    }

    /// Appends the message's octets.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for element in &self.0 {
            match element {
                Element::Section(name, section) => {
                    put_name(out, SECTION_START, name);
                    section.encode(out);
                    out.push(SECTION_END);
                }
                Element::Value(name, value) => {
                    put_name(out, KEY_VALUE, name);
                    put_value(out, value);
                }
                Element::List(name, items) => {
                    put_name(out, LIST_START, name);
                    for item in items {
                        out.push(LIST_ITEM);
                        put_value(out, item);
                    }
                    out.push(LIST_END);
                }
            }
        }
    }
}

/// Why octets are no message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// More sections within sections than are read.
    #[error("sections are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// More elements than are read.
    #[error("more than {MAX_ELEMENTS} elements")]
    Elements,
    /// An element of a type that the format does not know.
    #[error("element type {0}, expected 1 to 6")]
    Kind(u8),
    /// The message ends within an element, a list or a section.
    #[error("the message is cut short")]
    Short,
    /// An end without a beginning, or something else than items in a list.
    #[error("sections and lists are not balanced")]
    Unbalanced,
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(MessageError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn name(&mut self) -> Result<String, MessageError> {
        let len = self.next().ok_or(MessageError::Short)?;
        let name = self.take(usize::from(len))?;
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn value(&mut self) -> Result<Vec<u8>, MessageError> {
        let len = self
            .0
            .first_chunk::<2>()
            .map(|len| u16::from_be_bytes(*len))
            .ok_or(MessageError::Short)?;
        self.take(2)?;
        Ok(self.take(usize::from(len))?.to_vec())
    }
}

fn put_name(out: &mut Vec<u8>, kind: u8, name: &str) {
    let name = name.as_bytes();
    let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(&[kind, len]);
    out.extend(name.iter().take(usize::from(len)));
}

fn put_value(out: &mut Vec<u8>, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend(value.iter().take(usize::from(len)));
}

const SECTION_START: u8 = 1;
const SECTION_END: u8 = 2;
const KEY_VALUE: u8 = 3;
const LIST_START: u8 = 4;
const LIST_ITEM: u8 = 5;
const LIST_END: u8 = 6;

/// The most sections within each other; charon uses five.
const MAX_DEPTH: usize = 16;

/// The most elements of one message.
const MAX_ELEMENTS: usize = 65_536;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of the protocol's description.
    const EXAMPLE: &[u8] = b"\x03\x04key1\x00\x06value1\x01\x08section1\x01\x0bsub-section\
        \x03\x04key2\x00\x06value2\x02\x04\x05list1\x05\x00\x05item1\x05\x00\x05item2\x06\x02";

    #[test]
    fn the_documented_example() {
        let message = Section::decode(EXAMPLE).unwrap();
        assert_eq!(message.text("key1"), Some("value1"));
        let section = message.section("section1").unwrap();
        let sub = section.section("sub-section").unwrap();
        assert_eq!(sub.text("key2"), Some("value2"));
        let items = vec![b"item1".to_vec(), b"item2".to_vec()];
        assert_eq!(section.0[1], Element::List("list1".to_owned(), items));
        assert_eq!(message.number("key1"), None);
        assert_eq!(Section::new().with("n", "18").number("n"), Some(18));
        let listed: Vec<_> = section.list("list1").collect();
        assert_eq!(listed, [b"item1", b"item2"]);
        assert_eq!(section.list("sub-section").count(), 0);
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(again, EXAMPLE);
        let sub = Section::new().with("key2", "value2");
        let section = Section::new()
            .with_section("sub-section", sub)
            .with_list("list1", &["item1", "item2"]);
        let built = Section::new()
            .with("key1", "value1")
            .with_section("section1", section);
        assert_eq!(built, message);
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        // The only prefix that is a message of its own is the one after the first value.
        for len in 1..EXAMPLE.len() {
            let prefix = Section::decode(&EXAMPLE[..len]);
            assert_eq!(prefix.is_ok(), len == 14, "{len}: {prefix:?}");
        }
    }

    #[test]
    fn bounds_and_balance() {
        for (octets, error) in [
            (&[2][..], MessageError::Unbalanced),
            (&[6], MessageError::Kind(6)),
            (&[5, 0, 0], MessageError::Kind(5)),
            (&[0], MessageError::Kind(0)),
            (&[4, 0, 3, 0, 0, 0], MessageError::Unbalanced),
            (&[4, 0], MessageError::Short),
            (&[3, 1, b'a', 0xff, 0xff, 1], MessageError::Short),
        ] {
            assert_eq!(Section::decode(octets), Err(error), "{octets:?}");
        }
        let deep = [1, 0].repeat(MAX_DEPTH + 1);
        assert_eq!(Section::decode(&deep), Err(MessageError::Depth));
        let many = [1, 0, 2].repeat(MAX_ELEMENTS);
        assert_eq!(Section::decode(&many), Err(MessageError::Elements));
        let mut many = vec![4, 0];
        many.extend([5, 0, 0].repeat(MAX_ELEMENTS));
        assert_eq!(Section::decode(&many), Err(MessageError::Elements));
    }

    fn sections() -> impl Strategy<Value = Section> {
        let name = "[a-z.-]{0,9}";
        let octets = || proptest::collection::vec(any::<u8>(), 0..40);
        let leaf = prop_oneof![
            (name, octets()).prop_map(|(name, value)| Element::Value(name, value)),
            (name, proptest::collection::vec(octets(), 0..4))
                .prop_map(|(name, items)| Element::List(name, items)),
        ];
        let element = leaf.prop_recursive(4, 32, 6, move |inner| {
            (name, proptest::collection::vec(inner, 0..6))
                .prop_map(|(name, elements)| Element::Section(name, Section(elements)))
        });
        proptest::collection::vec(element, 0..8).prop_map(Section)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in sections()) {
            let mut octets = Vec::new();
            message.encode(&mut octets);
            prop_assert_eq!(Section::decode(&octets), Ok(message));
        }

        #[test]
        fn a_prefix_never_panics_nor_gains(message in sections(), cut in any::<prop::sample::Index>()) {
            let mut octets = Vec::new();
            message.encode(&mut octets);
            let len = cut.index(octets.len() + 1);
            if let Ok(prefix) = Section::decode(&octets[..len]) {
                prop_assert!(message.0.starts_with(&prefix.0));
            }
        }

        #[test]
        fn anything_is_read_or_refused(octets in proptest::collection::vec(0_u8..9, 0..300)) {
            if let Ok(message) = Section::decode(&octets) {
                let mut again = Vec::new();
                message.encode(&mut again);
                prop_assert_eq!(Section::decode(&again), Ok(message));
            }
        }
    }
}
