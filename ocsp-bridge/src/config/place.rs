//! Where in the file something is: lines and fields for messages.

use core::fmt;
use core::ops::RangeInclusive;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// The text that is being checked, to say where something is.
pub(super) struct SourceText<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl SourceText<'_> {
    pub(super) fn error(&self, field: &[&str], message: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.path.to_path_buf(),
            line: start_of(self.text, field).map(|offset| line_of(self.text, offset)),
            field: Some(field.join(".")),
            message: message.into(),
        }
    }

    pub(super) fn parse<T: core::str::FromStr>(
        &self,
        field: &[&str],
        value: &str,
        expected: &str,
    ) -> Result<T, ConfigError> {
        value
            .parse()
            .map_err(|_| self.error(field, format!("\"{value}\" was found, expected {expected}")))
    }

    /// A number within bounds; `unit` names what is counted.
    pub(super) fn within<T: PartialOrd + fmt::Display>(
        &self,
        field: &[&str],
        value: T,
        bounds: RangeInclusive<T>,
        unit: &str,
    ) -> Result<T, ConfigError> {
        if bounds.contains(&value) {
            return Ok(value);
        }
        let (least, most) = bounds.into_inner();
        Err(self.error(
            field,
            format!("{value} was found, expected {least} to {most} {unit}"),
        ))
    }
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|&&octet| octet == b'\n').count() + 1
}

/// The field whose key or value holds this offset.
pub(super) fn field_at(text: &str, offset: usize) -> Option<String> {
    fn look(table: &DeTable<'_>, offset: usize) -> Option<Vec<String>> {
        // The span of `[name]` is its header only, so tables are looked into before they are looked at.
        for (key, value) in table {
            if let DeValue::Table(inner) = value.get_ref()
                && let Some(mut path) = look(inner, offset)
            {
                path.insert(0, key.get_ref().to_string());
                return Some(path);
            }
        }
        let (key, _) = table
            .iter()
            .find(|(key, value)| key.span().contains(&offset) || value.span().contains(&offset))?;
        Some(vec![key.get_ref().to_string()])
    }

    let root = DeTable::parse(text).ok()?;
    Some(look(root.get_ref(), offset)?.join("."))
}

/// Where a field begins; where its table begins, if the field is not there.
fn start_of(text: &str, field: &[&str]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut start = None;
    for name in field {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
            break;
        };
        start = Some(key.span().start);
        let DeValue::Table(inner) = value.get_ref() else {
            break;
        };
        table = inner;
    }
    start
}
