//! The adapter's directory and the secrets in it. Every secret is a file that only its owner can read, is made once by
//! `init` and is never overwritten.
//!
//! | file | what |
//! | --- | --- |
//! | `config.toml` | settings |
//! | `link.key` | Ed25519 seed (64 hex digits) that proves who we are to the platform |
//! | `journal.key` | 64 hex digits that seal the journal |
//! | `his-api.key` | what the HIS shows us as a bearer token, and what we show it in callbacks |
//! | `platform.pub` | the platform's public key, kept at first contact |
//! | `journal.db` | the journal |
//! | `adapter.lock` | held while `run` runs |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ring::hmac;
use schema::ids::TenantId;
use schema::seal::Vault;
use schema::sign::{PublicKey, SigningKey};

use crate::clock::Clock;

/// The directory with its file names.
#[derive(Debug, Clone)]
pub struct Home {
    dir: PathBuf,
}

/// A file of the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeFault {
    /// Reading or writing failed.
    #[error("cannot {doing} {path} / 无法读写文件: {source}")]
    Io {
        /// `read`, `write` …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is there but does not hold what it should.
    #[error("{path} does not hold a key / 文件内容不是有效密钥")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// Others can read a secret.
    #[error("{path} can be read by others: chmod 600 it / 密钥文件可被他人读取，请改为仅所有者可读")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Another adapter runs in this directory.
    #[error("another adapter already runs in this directory (it holds {path}) / 该目录已有适配器在运行")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
}

fn io_fault(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeFault {
    let path = path.to_owned();
    move |source| HomeFault::Io { doing, path, source }
}

/// Says that this process is the one that runs in the directory, until dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock, never read")] File);

impl Home {
    /// The directory; it need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Home {
        Home { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The settings file.
    pub fn config(&self) -> PathBuf {
        self.file(crate::settings::FILE)
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.file("journal.db")
    }

    /// The files that only their owner may read.
    pub fn secrets(&self) -> [PathBuf; 3] {
        [self.file("link.key"), self.file("journal.key"), self.file("his-api.key")]
    }

    /// Makes the directory, private to its owner.
    pub fn create(&self) -> Result<(), HomeFault> {
        fs::create_dir_all(&self.dir).map_err(io_fault("create", &self.dir))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))
                .map_err(io_fault("protect", &self.dir))?;
        }
        Ok(())
    }

    /// Claims the directory for this process.
    pub fn lock(&self) -> Result<Lock, HomeFault> {
        let path = self.file("adapter.lock");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io_fault("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(HomeFault::Locked { path }),
            Err(fs::TryLockError::Error(source)) => Err(HomeFault::Io { doing: "lock", path, source }),
        }
    }

    /// The key of the link; made at the first call of `init`.
    pub fn link_key(&self) -> Result<SigningKey, HomeFault> {
        let path = self.file("link.key");
        SigningKey::from_hex_seed(&read_secret(&path)?).map_err(|_| HomeFault::NotAKey { path })
    }

    /// The journal's vault.
    pub fn vault(&self) -> Result<Vault, HomeFault> {
        let path = self.file("journal.key");
        let bytes = hex::decode(read_secret(&path)?).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let Some(master) = bytes else { return Err(HomeFault::NotAKey { path }) };
        Ok(Vault::derive(&master, TenantId::from_uuid(uuid::Uuid::nil()), 0))
    }

    /// The HIS's bearer token.
    pub fn api_key(&self) -> Result<String, HomeFault> {
        read_secret(&self.file("his-api.key"))
    }

    /// The platform's key as kept at first contact.
    pub fn platform_key(&self) -> Result<Option<PublicKey>, HomeFault> {
        let path = self.file("platform.pub");
        match fs::read_to_string(&path) {
            Ok(text) => PublicKey::parse(&text).map(Some).map_err(|_| HomeFault::NotAKey { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_fault("read", &path)(error)),
        }
    }

    /// Keeps the platform's key.
    pub fn keep_platform_key(&self, key: &PublicKey) -> Result<(), HomeFault> {
        self.write_new("platform.pub", &key.to_string())
    }

    /// Makes the secrets that are not there yet.
    pub fn make_secrets(&self, clock: &dyn Clock) -> Result<(), HomeFault> {
        for path in self.secrets() {
            if !path.exists() {
                let mut bytes = [0_u8; 32];
                clock.fill(&mut bytes);
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                self.write_new(name, &hex::encode(bytes))?;
            }
        }
        Ok(())
    }

    /// Writes a small file whole or not at all: beside it first, synced, then renamed; private to its owner.
    pub fn write_new(&self, name: &str, content: &str) -> Result<(), HomeFault> {
        let path = self.file(name);
        let beside = self.file(&format!("{name}.new"));
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(&beside).map_err(io_fault("write", &beside))?;
        file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(io_fault("write", &beside))?;
        fs::rename(&beside, &path).map_err(io_fault("write", &path))?;
        #[cfg(unix)]
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io_fault("sync", &self.dir))?;
        Ok(())
    }
}

/// Whether a file can be read by anyone but its owner. Always false where the system has no such notion.
pub fn is_exposed(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

fn read_secret(path: &Path) -> Result<String, HomeFault> {
    let text = fs::read_to_string(path).map_err(io_fault("read", path))?;
    if is_exposed(path) {
        return Err(HomeFault::Exposed { path: path.to_owned() });
    }
    Ok(text.trim().to_owned())
}

/// The HIS's bearer token as the running adapter knows it: enough to recognise it, in time that does not depend on
/// how much of a guess was right.
pub struct ApiKey {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

impl ApiKey {
    /// Remembers the token.
    pub fn new(token: &str, clock: &dyn Clock) -> ApiKey {
        let mut bytes = [0_u8; 32];
        clock.fill(&mut bytes);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let tag = hmac::sign(&key, token.as_bytes());
        ApiKey { key, tag }
    }

    /// Whether this is the token.
    pub fn is(&self, presented: &str) -> bool {
        hmac::verify(&self.key, presented.as_bytes(), self.tag.as_ref()).is_ok()
    }
}
