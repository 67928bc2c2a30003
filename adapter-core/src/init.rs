//! `init`: makes the directory of a new adapter. Repeating it shows the same keys again and changes nothing.

use std::path::PathBuf;

use schema::ids::InstitutionCode;
use serde::Serialize;

use crate::clock::Clock;
use crate::keys::{Home, HomeFault};
use crate::settings::{Settings, WrongSettings, platform_url_fault};

/// What the operator passes on: the public key to the platform, the API key to the HIS.
#[derive(Debug, Serialize)]
pub struct Initialised {
    /// Base64; to be approved by the platform's operators.
    pub public_key: String,
    /// What the HIS sends as `Authorization: Bearer …`.
    pub api_key: String,
    /// The settings file.
    pub config: PathBuf,
}

/// The directory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitFault {
    /// A file failed.
    #[error(transparent)]
    Home(#[from] HomeFault),
    /// The platform's address cannot be used.
    #[error("--platform {0}")]
    Platform(&'static str),
    /// The directory's settings are wrong.
    #[error(transparent)]
    Settings(#[from] WrongSettings),
    /// The directory belongs to another adapter.
    #[error(
        "{path} 已属于机构 {institution}（平台 {platform}），未作更改 / already belongs to {institution} at {platform}"
    )]
    Taken {
        /// The settings file.
        path: PathBuf,
        /// Its institution.
        institution: String,
        /// Its platform.
        platform: String,
    },
}

/// Makes settings and secrets in `home`.
pub fn init(
    home: &Home,
    institution: &InstitutionCode,
    platform: &str,
    clock: &dyn Clock,
) -> Result<Initialised, InitFault> {
    if let Some(fault) = platform_url_fault(platform) {
        return Err(InitFault::Platform(fault));
    }
    home.create()?;
    if home.config().exists() {
        let settings = Settings::load(home.dir())?;
        if settings.institution.code != institution.as_str() || settings.link.platform != platform {
            return Err(InitFault::Taken {
                path: home.config(),
                institution: settings.institution.code,
                platform: settings.link.platform,
            });
        }
    } else {
        let platform = serde_json::Value::from(platform);
        home.write_new(
            crate::settings::FILE,
            &format!(
                "# Settings of this adapter. What is left out is taken from the defaults (see `default.toml`).\n\n\
                 [institution]\ncode = \"{institution}\"\n\n[link]\nplatform = {platform}\n"
            ),
        )?;
    }
    home.make_secrets(clock)?;
    Ok(Initialised {
        public_key: home.link_key()?.public().to_string(),
        api_key: home.api_key()?,
        config: home.config(),
    })
}
