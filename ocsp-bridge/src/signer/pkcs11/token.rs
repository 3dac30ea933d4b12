//! A token: its slot, its sessions, its objects.

use std::num::NonZeroUsize;
use std::sync::Arc;

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;

use super::module::{InUse, Module, module};
use super::public_key::{self, PublicKey};
use super::{Pkcs11Error, lock};
use crate::config::{KeySelector, TokenKey};

/// A token with the key that is used of it.
pub(super) struct Token {
    module: Arc<Module>,
    place: TokenKey,
}

/// A session that is logged in, with the key as it is known in it.
#[derive(Debug)]
pub(super) struct Open {
    session: Session,
    key: ObjectHandle,
    generation: u64,
}

impl Token {
    pub(super) fn new(place: &TokenKey) -> Result<Self, Pkcs11Error> {
        Ok(Self {
            module: module(&place.module)?,
            place: place.clone(),
        })
    }

    pub(super) const fn place(&self) -> &TokenKey {
        &self.place
    }

    pub(super) const fn sessions(&self) -> NonZeroUsize {
        self.place.sessions
    }

    pub(super) fn mechanisms(&self) -> Result<Vec<MechanismType>, Pkcs11Error> {
        let module = self.module.enter();
        let slot = self.slot(&module)?;
        module
            .pkcs11
            .get_mechanism_list(slot)
            .map_err(|error| failed(&error))
    }

    /// Opens a session, logs in where that is needed, and finds the key.
    pub(super) fn open(&self) -> Result<Open, Pkcs11Error> {
        let module = self.module.enter();
        let slot = self.slot(&module)?;
        let session = module
            .pkcs11
            .open_ro_session_no_drop(slot)
            .map_err(|error| failed(&error))?;
        let found = self
            .log_in(&session)
            .and_then(|()| self.find(&session, ObjectClass::PRIVATE_KEY));
        match found {
            Ok(Some(key)) => Ok(Open {
                session,
                key,
                generation: module.generation,
            }),
            found => {
                close(session);
                Err(found.err().unwrap_or(Pkcs11Error::NoKey))
            }
        }
    }

    pub(super) fn sign(
        &self,
        open: &Open,
        mechanism: &Mechanism<'_>,
        octets: &[u8],
    ) -> Result<Vec<u8>, Pkcs11Error> {
        let module = self.module.enter();
        if open.generation != module.generation {
            return Err(Pkcs11Error::Token("the session has ended".to_owned()));
        }
        open.session
            .sign(mechanism, open.key, octets)
            .map_err(|error| failed(&error))
    }

    pub(super) fn close(&self, open: Open) {
        let module = self.module.enter();
        if open.generation == module.generation {
            close(open.session);
        }
    }

    /// Nothing else helped.
    pub(super) fn begin_anew(&self) {
        self.module.begin_anew();
    }

    /// The public key that the token has beside the private one.
    pub(super) fn public_key(&self, open: &Open) -> Result<PublicKey, Pkcs11Error> {
        let module = self.module.enter();
        if open.generation != module.generation {
            return Err(Pkcs11Error::Token("the session has ended".to_owned()));
        }
        let session = &open.session;
        let public = self.find(session, ObjectClass::PUBLIC_KEY)?;
        // An RSA private key knows its public numbers.
        let object = public.unwrap_or(open.key);
        let wanted = [
            AttributeType::KeyType,
            AttributeType::EcParams,
            AttributeType::EcPoint,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
        ];
        let attributes = session
            .get_attributes(object, &wanted)
            .map_err(|error| failed(&error))?;
        let mut kind = None;
        let (mut params, mut point, mut modulus, mut exponent) = (None, None, None, None);
        for attribute in attributes {
            match attribute {
                Attribute::KeyType(found) => kind = Some(found),
                Attribute::EcParams(octets) => params = Some(octets),
                Attribute::EcPoint(octets) => point = Some(octets),
                Attribute::Modulus(octets) => modulus = Some(octets),
                Attribute::PublicExponent(octets) => exponent = Some(octets),
                _ => {}
            }
        }
        match (kind, params, point, modulus, exponent) {
            (Some(KeyType::EC | KeyType::EC_EDWARDS), Some(params), Some(point), ..) => {
                public_key::of_curve(&params, &point)
            }
            (Some(KeyType::RSA), _, _, Some(modulus), Some(exponent)) => {
                public_key::of_rsa(&modulus, &exponent)
            }
            (Some(KeyType::EC | KeyType::EC_EDWARDS | KeyType::RSA), ..) => {
                Err(Pkcs11Error::NoPublicKey)
            }
            _ => Err(Pkcs11Error::KeyKind),
        }
    }

    /// The slot that the token is in now.
    fn slot(&self, module: &InUse<'_>) -> Result<Slot, Pkcs11Error> {
        let slots = module
            .pkcs11
            .get_slots_with_initialized_token()
            .map_err(|error| failed(&error))?;
        let mut found = Vec::new();
        let mut labels = Vec::new();
        for slot in slots {
            // One that is being removed is none.
            let Ok(info) = module.pkcs11.get_token_info(slot) else {
                continue;
            };
            if info.label() == self.place.token {
                found.push(slot);
            }
            labels.push(format!("\"{}\"", info.label()));
        }
        match *found {
            [slot] => Ok(slot),
            [] => {
                labels.truncate(MAX_LABELS);
                Err(Pkcs11Error::NoToken {
                    label: self.place.token.clone(),
                    found: labels,
                })
            }
            _ => Err(Pkcs11Error::Several("several tokens")),
        }
    }

    /// Logs in, unless another session has: a login is for all sessions of the process (PKCS#11 v2.40 §5.6).
    fn log_in(&self, session: &Session) -> Result<(), Pkcs11Error> {
        let state = session
            .get_session_info()
            .map_err(|error| failed(&error))?
            .session_state();
        if matches!(state, SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        let pin = self.place.read_pin()?;
        let refused = self.module.refused(&self.place.token);
        // Until the token has answered: another thread must not try the same one meanwhile.
        let mut refused = lock(&refused);
        if refused.contains(&pin) {
            return Err(Pkcs11Error::PinRefused("earlier".to_owned()));
        }
        // It zeroises its octets when it is dropped.
        let secret = RawAuthPin::new(Box::new(pin.to_vec()));
        match session.login_with_raw(UserType::User, &secret) {
            Ok(()) => {
                // The token's own count begins anew, too.
                refused.clear();
                Ok(())
            }
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(
                rv @ (RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange),
                _,
            )) => {
                refused.push(pin);
                if refused.len() > MAX_REFUSED {
                    refused.remove(0);
                }
                Err(Pkcs11Error::PinRefused(format!("{rv:?}")))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    fn find(
        &self,
        session: &Session,
        class: ObjectClass,
    ) -> Result<Option<ObjectHandle>, Pkcs11Error> {
        let selector = match &self.place.key {
            KeySelector::Id(id) => Attribute::Id(id.clone()),
            KeySelector::Label(label) => Attribute::Label(label.clone().into_bytes()),
        };
        let mut template = vec![Attribute::Class(class), selector];
        if class == ObjectClass::PRIVATE_KEY {
            template.push(Attribute::Sign(true));
        }
        let found = session
            .find_objects(&template)
            .map_err(|error| failed(&error))?;
        match *found {
            [] => Ok(None),
            [key] => Ok(Some(key)),
            _ if class == ObjectClass::PRIVATE_KEY => {
                Err(Pkcs11Error::Several("several private keys"))
            }
            _ => Err(Pkcs11Error::Several("several public keys")),
        }
    }
}

/// A session that cannot be closed has ended already.
fn close(session: Session) {
    let _closed = session.close();
}

/// What the token said, in the standard's words and short.
pub(super) fn text(error: &Error) -> String {
    match error {
        Error::Pkcs11(rv, function) => format!("C_{function:?}: {rv:?}"),
        other => other.to_string(),
    }
}

fn failed(error: &Error) -> Pkcs11Error {
    Pkcs11Error::Token(text(error))
}

/// The most PINs of a token that are remembered as refused: more than any token lets one try.
const MAX_REFUSED: usize = 64;

/// The most labels that are told.
const MAX_LABELS: usize = 16;
