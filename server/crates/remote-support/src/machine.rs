//! Machines, and how a session with one begins.

use deskbridge_shared::api::{JumpRequest, MachineState};

use crate::{ArgumentFault, Error, SessionTag};

/// A machine that the engine can reach, or could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its id, which a Jump names.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Whether it can be reached.
    pub state: MachineState,
    /// Who is signed in at it.
    pub person: Option<String>,
    /// Its host name and address: it is found by these, too.
    pub other_names: Vec<String>,
}

/// A Jump that an agent asks for.
#[derive(Clone, Copy, Debug)]
pub struct Jump<'a> {
    /// How, and where.
    pub request: &'a JumpRequest,
    /// The agent's name. Whoever is at the machine may read it.
    pub agent: &'a str,
    /// The agent's e-mail address.
    pub agent_email: Option<&'a str>,
    /// The ticket.
    pub tag: SessionTag<'a>,
}

/// What opens a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// An address for the agent's browser.
    pub url: String,
    /// Unix seconds from which the address opens nothing. None: it does not expire by itself.
    pub expires_at: Option<i64>,
    /// What was made at the engine for it, where something was.
    pub link: Option<LinkId>,
    /// The agent's name as reports of the link's sessions will tell it.
    pub agent: Option<String>,
}

/// A link that was made at the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkId {
    /// The machine it leads to.
    pub machine: String,
    /// The name of that machine.
    pub machine_name: String,
    /// The link.
    pub id: String,
}

/// Why there is no launch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// A value cannot be used.
    #[error("{0}")]
    Argument(ArgumentFault),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] Error),
}
