//! A TOML file, with lines and fields for messages.

use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// The text that is being checked, to say where in it something is wrong.
#[derive(Clone, Copy, Debug)]
pub struct SourceText<'a> {
    /// Where it lies; relative paths in it count from its folder.
    pub path: &'a Path,
    /// The file's content.
    pub text: &'a str,
}

impl SourceText<'_> {
    /// The fields as `T` has them.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is not TOML, or has fields that are missing, unknown or of another type.
    pub fn fields<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(self.text).map_err(|error| {
            let at = error.span().map(|span| span.start);
            ConfigError {
                file: self.path.to_path_buf(),
                line: at.map(|offset| line_of(self.text, offset)),
                field: at.and_then(|offset| field_at(self.text, offset)),
                message: error.message().trim().replace('\n', ", "),
            }
        })
    }

    /// Something is wrong with a field: `["pool", "network"]`.
    #[must_use]
    pub fn error(&self, field: &[&str], message: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.path.to_path_buf(),
            line: start_of(self.text, field).map(|offset| line_of(self.text, offset)),
            field: Some(field.join(".")),
            message: message.into(),
        }
    }

    /// What a field's text means; `expected` says what it should be, with an example.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is something else.
    pub fn parse<T: FromStr>(
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
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is outside.
    pub fn within<T: PartialOrd + fmt::Display>(
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

    /// A number with a lower bound.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is less.
    pub fn at_least<T: PartialOrd + fmt::Display>(
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

    /// A text that says something.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is empty.
    pub fn not_empty(
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

/// What is wrong with a configuration file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// The field, with its table: `answers.lifetime_s`.
    pub field: Option<String>,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl core::error::Error for ConfigError {}

/// The text of a configuration file.
///
/// # Errors
///
/// [`ConfigError`] when it cannot be read, or is no text.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError {
        file: path.to_path_buf(),
        line: None,
        field: None,
        message: format!("cannot be read: {error}"),
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|&&octet| octet == b'\n').count() + 1
}

/// The field whose key or value holds this offset.
fn field_at(text: &str, offset: usize) -> Option<String> {
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

    match DeTable::parse(text) {
        Ok(root) => Some(look(root.get_ref(), offset)?.join(".")),
        // It is no TOML: what the line says that it sets.
        Err(_) => {
            let line = text.lines().nth(line_of(text, offset) - 1)?;
            let name = line.split_once('=')?.0.trim();
            (!name.is_empty() && !name.starts_with('#')).then(|| name.to_owned())
        }
    }
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        pool: Pool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pool {
        hold_s: u64,
    }

    fn source(text: &str) -> SourceText<'_> {
        SourceText {
            path: Path::new("conf/x.toml"),
            text,
        }
    }

    #[test]
    fn messages_name_file_line_field_and_what_was_expected() {
        let source_text = source("# a\n[pool]\nhold_s = 7\n");
        let hold = source_text.fields::<Fields>().unwrap().pool.hold_s;
        let field = ["pool", "hold_s"];
        assert_eq!(source_text.within(&field, hold, 1..=7, "seconds"), Ok(7));
        for (error, expected) in [
            (
                source_text.within(&field, hold, 8..=9, "seconds"),
                "conf/x.toml:3: pool.hold_s: 7 was found, expected 8 to 9 seconds",
            ),
            (
                source_text.at_least(&field, hold, 8),
                "conf/x.toml:3: pool.hold_s: 7 was found, expected at least 8",
            ),
            (
                source_text.parse(&["pool", "absent"], "x", "a number"),
                "conf/x.toml:2: pool.absent: \"x\" was found, expected a number",
            ),
            (
                source_text
                    .not_empty(&["absent"], String::new(), "a name")
                    .map(|_| 0),
                "conf/x.toml: absent: nothing was found, expected a name",
            ),
        ] {
            assert_eq!(error.unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_toml_or_of_another_type_is_named_with_its_place() {
        for (text, expected) in [
            (
                "[pool]\nhold_s = \"x\"\n",
                "conf/x.toml:2: pool.hold_s: invalid type",
            ),
            (
                "[pool]\nhold = 1\n",
                "conf/x.toml:2: pool.hold: unknown field",
            ),
            ("[pool]\n\nhold_s = \n", "conf/x.toml:3: hold_s: "),
            ("hold\n", "conf/x.toml:1: "),
        ] {
            let error = source(text).fields::<Fields>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
        let absent = read_text(Path::new("/absent/x.toml")).unwrap_err();
        assert!(
            absent
                .to_string()
                .starts_with("/absent/x.toml: cannot be read: ")
        );
    }
}
