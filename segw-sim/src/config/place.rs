//! Where in the file something is: lines and fields for messages.

use core::fmt;
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
            line: offset_of(self.text, field).map(|offset| line_of(self.text, offset)),
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

    pub(super) fn at_least<T: PartialOrd + fmt::Display>(
        &self,
        field: &[&str],
        value: T,
        least: T,
    ) -> Result<T, ConfigError> {
        if value < least {
            return Err(self.error(
                field,
                format!("{value} was found, expected at least {least}"),
            ));
        }
        Ok(value)
    }

    pub(super) fn not_empty(
        &self,
        field: &[&str],
        value: String,
        expected: &str,
    ) -> Result<String, ConfigError> {
        if value.is_empty() {
            return Err(self.error(field, format!("nothing was found, expected {expected}")));
        }
        Ok(value)
    }
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|&&b| b == b'\n')
        .count()
        + 1
}

/// Where the value of a field begins; where its table begins, if the field is missing.
fn offset_of(text: &str, field: &[&str]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut offset = None;
    for name in field {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
            break;
        };
        offset = Some(key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    offset
}

/// The field whose key or value holds this offset.
pub(super) fn field_at(text: &str, offset: usize) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut path = Vec::new();
    'descend: loop {
        // A table that is written as `[name]` spans its header only, its fields come after it: look deeper first.
        for (key, value) in table.iter() {
            if let DeValue::Table(inner) = value.get_ref()
                && inner
                    .iter()
                    .any(|(k, v)| k.span().contains(&offset) || v.span().contains(&offset))
            {
                path.push(key.get_ref().to_string());
                table = inner;
                continue 'descend;
            }
        }
        for (key, value) in table.iter() {
            if key.span().contains(&offset) || value.span().contains(&offset) {
                path.push(key.get_ref().to_string());
                break;
            }
        }
        break;
    }
    (!path.is_empty()).then(|| path.join("."))
}
