//! A simulated BeyondTrust appliance, for tests, benches and the demo.
//!
//! It speaks the real one's protocols over TLS on loopback, as strictly as the facts allow (beyondtrust.md, all of section
//! K): what the real appliance refuses is refused in its words, what is unknown about it can be chosen in [`Options`].
//! It must not share code with the server it is there to test, and must not be lenient where a real appliance is not.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use deskbridge_tests::appliance::{Options, Recipient, SessionScript, SimulatedAppliance};
//!
//! let appliance = SimulatedAppliance::start(Options::default()).await?;
//! appliance.set_recipient(Recipient::new("http://127.0.0.1:8180/ERSPost?appliance=default"));
//! let lsid = appliance.play(SessionScript::example("88121"))?;
//! appliance.outbound_idle().await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod answer;
mod client_script;
mod clock;
mod command;
mod command_v2;
mod control;
mod doors;
mod lifecycle;
mod options;
mod outbound;
mod pages;
mod parameters;
mod recording;
mod reporting;
mod script;
mod session;
mod start_session;
mod state;

pub use access::{AuthorizationKind, TOKEN_LIMIT, TOKEN_SECONDS};
pub use client_script::{ScriptCommand, read_script};
pub use clock::SimulatedClock;
pub use control::SimulatedAppliance;
pub use options::{
    ApiInfoStyle, Authentication, CommandPermission, CustomField, ErrorStyle, ExpiresFormat, Issue, LagShape, NamespaceSpelling, Options,
    PermissionEncoding, Permissions, RateLimits, ReportLag, Representative, SurveyTimestamp, Team,
};
pub use outbound::{Attempt, CustomFieldNames, EventKind, Recipient, RecipientStatus};
pub use recording::{Endpoint, Fault, FaultRule, RecordedRequest};
pub use script::{SessionScript, Step};
pub use session::{
    Body, Customer, File, FileDirection, FileShape, JumpGroup, Member, NewSession, Party, Queue, Session, SessionEvent, StampedEvent,
    Survey, SurveyAnswer, SystemInformation,
};
