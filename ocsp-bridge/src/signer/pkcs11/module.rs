//! Modules in use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use zeroize::Zeroizing;

use super::token::text;
use super::{Pkcs11Error, lock};

/// A module is initialised once in a process, whoever uses it (PKCS#11 v2.40 §5.4); signers that are being replaced use
/// it together with their successors.
static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

/// A module, and what its tokens refused.
pub(super) struct Module {
    pkcs11: Pkcs11,
    /// Whether it was initialised here, and by which attempt. It is read by whoever calls the module.
    initialised: RwLock<Initialised>,
    /// By the token's label.
    refused: Mutex<BTreeMap<String, Arc<RefusedPins>>>,
}

/// PINs that a token refused, the oldest first.
pub(super) type RefusedPins = Mutex<Vec<Zeroizing<Vec<u8>>>>;

#[derive(Debug)]
struct Initialised {
    by_us: bool,
    generation: u64,
    at: Instant,
}

/// The right to call a module; it is not initialised anew meanwhile.
pub(super) struct InUse<'m> {
    pub(super) pkcs11: &'m Pkcs11,
    /// Sessions of another generation are none any more, and their handles may be those of new ones.
    pub(super) generation: u64,
    _initialised: RwLockReadGuard<'m, Initialised>,
}

impl Module {
    pub(super) fn enter(&self) -> InUse<'_> {
        let initialised = self
            .initialised
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        InUse {
            pkcs11: &self.pkcs11,
            generation: initialised.generation,
            _initialised: initialised,
        }
    }

    /// Initialises the module anew, since there are some that never find a token again which was away. Not while it is
    /// in use, nor soon after the last time: it ends the sessions of its other tokens, too.
    pub(super) fn begin_anew(&self) {
        let Ok(mut initialised) = self.initialised.try_write() else {
            return;
        };
        if !initialised.by_us || initialised.at.elapsed() < BEGIN_ANEW_PAUSE {
            return;
        }
        initialised.generation += 1;
        initialised.at = Instant::now();
        let outcome = match self.pkcs11.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {
                initialise(&self.pkcs11)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            let error = text(&error);
            tracing::debug!(error, "a PKCS#11 module cannot be initialised anew");
        }
    }

    /// The PINs that this token refused since the last one that it took. Whoever logs in holds them.
    pub(super) fn refused(&self, token: &str) -> Arc<RefusedPins> {
        let mut refused = lock(&self.refused);
        Arc::clone(refused.entry(token.to_owned()).or_default())
    }
}

fn initialise(pkcs11: &Pkcs11) -> Result<(), Error> {
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

/// The module at `path`, loaded and initialised.
pub(super) fn module(path: &Path) -> Result<Arc<Module>, Pkcs11Error> {
    let bad = |error: &dyn std::error::Error| Pkcs11Error::Module(error.to_string());
    // One file may have several names; it is one module.
    let file = path.canonicalize().map_err(|error| {
        Pkcs11Error::Module(format!(
            "{}: {error}; expected the vendor's shared library",
            path.display()
        ))
    })?;
    let mut modules = lock(&MODULES);
    if let Some(module) = modules.get(&file) {
        return Ok(Arc::clone(module));
    }
    let pkcs11 = Pkcs11::new(&file).map_err(|error| bad(&error))?;
    let by_us = match initialise(&pkcs11) {
        Ok(()) => true,
        // By a program that this library is part of.
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => false,
        Err(error) => return Err(Pkcs11Error::Module(text(&error))),
    };
    let module = Arc::new(Module {
        pkcs11,
        initialised: RwLock::new(Initialised {
            by_us,
            generation: 0,
            at: Instant::now(),
        }),
        refused: Mutex::default(),
    });
    modules.insert(file, Arc::clone(&module));
    Ok(module)
}

/// How long a module is left as it is after it was initialised.
const BEGIN_ANEW_PAUSE: Duration = Duration::from_secs(5);
