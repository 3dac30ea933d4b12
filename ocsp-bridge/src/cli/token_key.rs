//! Keys on PKCS#11 tokens, as arguments.

use std::path::{Path, PathBuf};

use clap::Args;
use ocsp_bridge::Pkcs11Key;
use ocsp_bridge::config::{KeySelector, TOKEN_SESSIONS, TokenKey};

#[derive(Args)]
pub(super) struct TokenArgs {
    /// The key is on a PKCS#11 token with this module (its vendor's shared library).
    #[arg(long, value_name = "FILE", requires_all = ["pkcs11_token", "pkcs11_key", "pin_file"])]
    pkcs11_module: Option<PathBuf>,
    /// The token's label.
    #[arg(long, value_name = "LABEL", requires = "pkcs11_module")]
    pkcs11_token: Option<String>,
    /// The private key's label; its CKA_ID in hexadecimal after "id:", as in id:01af.
    #[arg(long, value_name = "LABEL", requires = "pkcs11_module")]
    pkcs11_key: Option<String>,
    /// The file with the token's user PIN, readable by its owner only.
    #[arg(long, value_name = "FILE", requires = "pkcs11_module")]
    pin_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The place of the key, where one was given.
    pub(super) fn place(&self) -> Result<Option<TokenKey>, String> {
        let (Some(module), Some(token), Some(key), Some(pin_file)) = (
            &self.pkcs11_module,
            &self.pkcs11_token,
            &self.pkcs11_key,
            &self.pin_file,
        ) else {
            return Ok(None);
        };
        let key = match key.strip_prefix("id:") {
            Some(id) => KeySelector::from_hex_id(id).ok_or_else(|| {
                format!(
                    "--pkcs11-key {key}: expected hexadecimal digits after \"id:\", as in id:01af"
                )
            })?,
            None => KeySelector::Label(key.clone()),
        };
        Ok(Some(TokenKey {
            module: absolute(module)?,
            token: token.clone(),
            key,
            pin_file: absolute(pin_file)?,
            sessions: TOKEN_SESSIONS,
        }))
    }
}

/// The key at this place, with its public key.
pub(super) fn open(place: &TokenKey) -> Result<Pkcs11Key, String> {
    Pkcs11Key::with_its_public_key(place).map_err(|error| format!("{place}: {error}"))
}

/// The place as it is written in a configuration file, wherever that lies.
pub(super) fn toml(place: &TokenKey) -> String {
    // A TOML basic string escapes as JSON does.
    let text = |text: &str| serde_json::Value::from(text);
    let key = match &place.key {
        KeySelector::Id(id) => {
            let digits: String = id.iter().map(|octet| format!("{octet:02x}")).collect();
            format!("id = {}", text(&digits))
        }
        KeySelector::Label(label) => format!("key = {}", text(label)),
    };
    format!(
        "pkcs11 = {{ module = {}, token = {}, {key}, pin_file = {} }}",
        text(&place.module.to_string_lossy()),
        text(&place.token),
        text(&place.pin_file.to_string_lossy()),
    )
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}
