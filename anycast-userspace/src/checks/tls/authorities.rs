//! Certificate authorities: the system's or a file's. All checks share them; they are read off the runtime's thread.
//!
//! A file is looked at while checks run, and read again when it has changed. What it said before holds until then,
//! also while the file is gone, broken or on a file system that hangs: none of it says anything about the service. The
//! system's store is read once.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::super::probe::Failure;
use super::provider;
use crate::health::FailureKind;

/// How often a file is looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Those that checks use now, by their file; the system's without one.
static SHARED: Mutex<BTreeMap<Option<PathBuf>, Weak<Authorities>>> = Mutex::new(BTreeMap::new());

/// A verifier by its authorities.
pub(super) type Chain = Arc<dyn ServerCertVerifier>;

/// The authorities of one file, or of the system.
pub(super) struct Authorities {
    file: Option<PathBuf>,
    known: Mutex<Known>,
    /// Given back once a look has ended: on a file system that hangs, there is one thread that waits.
    looks: Arc<Semaphore>,
}

#[derive(Default)]
struct Known {
    loaded: Option<Loaded>,
    looked_at: Option<Instant>,
    /// Why the last look failed, to be told once.
    failure: Option<String>,
}

struct Loaded {
    chain: Chain,
    version: Option<Version>,
}

/// Two versions of a file differ in one of these.
#[derive(PartialEq, Eq)]
struct Version {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Authorities {
    /// Those of the file, or the system's. Nothing is read yet.
    pub(super) fn of(file: Option<&Path>) -> Arc<Self> {
        let mut shared = lock(&SHARED);
        shared.retain(|_, authorities| authorities.strong_count() > 0);
        let file = file.map(Path::to_owned);
        if let Some(known) = shared.get(&file).and_then(Weak::upgrade) {
            return known;
        }
        let authorities = Arc::new(Self {
            file: file.clone(),
            known: Mutex::default(),
            looks: Arc::new(Semaphore::new(1)),
        });
        shared.insert(file, Arc::downgrade(&authorities));
        authorities
    }

    /// A verifier by the authorities as they are known. Only the first look is waited for.
    ///
    /// # Errors
    /// They have never been read, and cannot be read now.
    pub(super) async fn chain(self: &Arc<Self>) -> Result<Chain, Failure> {
        if let Some(chain) = self.known_chain() {
            self.look_again();
            return Ok(chain);
        }
        let look = Arc::clone(&self.looks).acquire_owned().await;
        let look = look.map_err(io::Error::other)?;
        // Another check may have waited for the same.
        if let Some(chain) = self.known_chain() {
            return Ok(chain);
        }
        let this = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || this.look(look));
        looked.await.map_err(io::Error::from)?.map_err(resource)?;
        self.known_chain()
            .ok_or_else(|| resource("the certificate authorities are not known".to_owned()))
    }

    fn known_chain(&self) -> Option<Chain> {
        let known = lock(&self.known);
        known
            .loaded
            .as_ref()
            .map(|loaded| Arc::clone(&loaded.chain))
    }

    fn look_again(self: &Arc<Self>) {
        let recently = lock(&self.known)
            .looked_at
            .is_some_and(|at| at.elapsed() < LOOK_INTERVAL);
        if recently || self.file.is_none() {
            return;
        }
        if let Ok(look) = Arc::clone(&self.looks).try_acquire_owned() {
            let this = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                // Told in the log; the authorities stay as they were.
                let _ = this.look(look);
            });
        }
    }

    /// Reads the authorities if they have changed. Blocks.
    fn look(&self, look: OwnedSemaphorePermit) -> Result<(), String> {
        let seen = match &self.file {
            None => system().map(Some),
            Some(file) => self
                .read_if_changed(file)
                .map_err(|error| format!("{}: {error}", file.display())),
        };
        let mut known = lock(&self.known);
        known.looked_at = Some(Instant::now());
        let result = match seen {
            Ok(loaded) => {
                if known.loaded.is_some() && loaded.is_some() {
                    tracing::info!(file = ?self.file, "the certificate authorities have changed");
                }
                known.loaded = loaded.or(known.loaded.take());
                known.failure = None;
                Ok(())
            }
            Err(error) => {
                if known.loaded.is_some() && known.failure.as_ref() != Some(&error) {
                    tracing::warn!(error, "the certificate authorities stay as they were");
                }
                known.failure = Some(error.clone());
                Err(error)
            }
        };
        drop(known);
        drop(look);
        result
    }

    fn read_if_changed(&self, file: &Path) -> Result<Option<Loaded>, String> {
        // Before it is read: a change in between is seen by the next look.
        let version = std::fs::metadata(file).map_err(|error| error.to_string())?;
        let version = Some(Version::of(&version));
        let unchanged = lock(&self.known)
            .loaded
            .as_ref()
            .is_some_and(|loaded| loaded.version == version);
        if unchanged {
            return Ok(None);
        }
        let chain = read(file)?;
        Ok(Some(Loaded { chain, version }))
    }
}

fn system() -> Result<Loaded, String> {
    let verifier =
        rustls_platform_verifier::Verifier::new(provider()).map_err(|error| error.to_string())?;
    Ok(Loaded {
        chain: Arc::new(verifier),
        version: None,
    })
}

fn read(file: &Path) -> Result<Chain, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    Ok(verifier.map_err(|error| error.to_string())?)
}

fn resource(detail: String) -> Failure {
    Failure::new(FailureKind::Resource, detail)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
