//! Reads `tests/vectors/*.txt`: stanzas of `name = value`, hex for octets, parted by empty lines; `#` begins a comment line, which names the source.

use std::{collections::HashMap, ops::Deref};

/// The stanzas of one file.
pub(crate) struct Vectors(Vec<Vector>);

/// One known answer.
pub(crate) struct Vector(HashMap<&'static str, &'static str>);

impl Vectors {
    pub(crate) fn parse(text: &'static str) -> Self {
        let stanza = |stanza: &'static str| {
            let lines = stanza
                .lines()
                .filter(|line| !line.starts_with('#') && !line.is_empty());
            Vector(
                lines
                    .map(|line| line.split_once(" = ").expect(line))
                    .collect(),
            )
        };
        Self(
            text.split("\n\n")
                .map(stanza)
                .filter(|vector| !vector.0.is_empty())
                .collect(),
        )
    }
}

impl Deref for Vectors {
    type Target = [Vector];

    fn deref(&self) -> &[Vector] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Vectors {
    type IntoIter = std::slice::Iter<'a, Vector>;
    type Item = &'a Vector;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Vector {
    pub(crate) fn text(&self, name: &str) -> &'static str {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("vector without {name}"))
    }

    pub(crate) fn octets(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap()
    }
}
