//! The BeyondTrust appliance as a client sees it: Command API, Reporting API, OAuth, session reports.
//!
//! A client is cheap to clone; all clones share one token and one limiter, because the appliance
//! counts tokens and calls per API account (beyondtrust.md C.1, J.1). Must not retry (but for one dead token), must not
//! follow redirects, must not keep connections ("close the connection after each API call", B.1), must not know
//! tickets or notes. Moments are Unix seconds of the appliance's clock.

mod command;
mod engine;
mod error;
mod nothing_found;
mod reporting;
mod section;
mod session;
mod settings;
mod survey;
#[cfg(test)]
mod testing;
mod transport;
mod xml;

/// Whether the text can be a session's id: `^[0-9a-fA-F]{32}$` (beyondtrust.md B.6).
pub fn is_lsid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub use command::{ApiInfo, Health, SessionKey, SessionKeyRequest};
pub use deskbridge_core::session_report::{ExitSurvey, SessionReport};
pub use engine::{BeyondTrust, BeyondTrustKind};
pub use error::Error;
pub use reporting::{SurveyQuery, parse_report};
pub use section::{ApplianceSection, JumpAction, is_appliance_id};
pub use settings::{ApplianceSettings, Credentials, Limits, Timeouts};
pub use xml::{Element, XmlFault};

use std::fmt;
use std::sync::Arc;

/// One appliance, ready to be called.
#[derive(Clone)]
pub struct ApplianceClient {
    inner: Arc<transport::Transport>,
}

impl ApplianceClient {
    /// A client for these settings. Calls nothing yet.
    ///
    /// # Errors
    /// [`Error::Settings`] where the host is no host name or plain HTTP is combined with OAuth.
    pub fn new(settings: ApplianceSettings) -> Result<Self, Error> {
        let base = settings.base_url()?;
        Ok(Self { inner: Arc::new(transport::Transport::new(settings, base, None)?) })
    }

    /// OAuth over plain HTTP, which real settings refuse: the double in these tests speaks no TLS.
    #[cfg(test)]
    pub(crate) fn without_tls(settings: ApplianceSettings) -> Self {
        let base = url::Url::parse(&format!("http://{}/", settings.host)).unwrap();
        Self { inner: Arc::new(transport::Transport::new(settings, base, None).unwrap()) }
    }

    /// The host as configured.
    pub fn host(&self) -> &str {
        self.inner.host()
    }
}

impl fmt::Debug for ApplianceClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApplianceClient").field("host", &self.host()).finish_non_exhaustive()
    }
}
