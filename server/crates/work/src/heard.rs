//! What the work at one event heard from the outside systems. A connection's health is made of it, for each system by itself: what one of
//! them answers says nothing about the other.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deskbridge_help_desks::HelpDeskError;
use deskbridge_remote_support::Error as EngineError;

use crate::WorkError;

/// An outside system of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// The remote-support system, such as an appliance.
    Engine,
    /// The help desk.
    HelpDesk,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Engine, Self::HelpDesk];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine => "remote-support system",
            Self::HelpDesk => "help desk",
        }
    }
}

/// What a system's answers came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It answered, whatever it said.
    Well,
    /// It failed in a way that passes.
    Passing {
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It refused credentials or rights.
    Denied(String),
    /// It refused the credentials before, and is not asked now.
    Resting {
        /// How they were refused.
        what: String,
        /// When it is asked again.
        again_in: Duration,
    },
}

/// What was heard at one event. Whatever is asked of an outside system goes through it.
#[derive(Debug, Default)]
pub struct Heard(Mutex<[Option<Said>; System::ALL.len()]>);

impl Heard {
    /// Notes what the remote-support system answered.
    ///
    /// # Errors
    /// Its error, as the event's.
    pub fn engine<T>(&self, answer: Result<T, EngineError>) -> Result<T, WorkError> {
        self.note(System::Engine, answer.map_err(WorkError::of_engine))
    }

    /// Notes what the help desk answered.
    ///
    /// # Errors
    /// Its error, as the event's.
    pub fn help_desk<T>(&self, answer: Result<T, HelpDeskError>) -> Result<T, WorkError> {
        self.note(System::HelpDesk, answer.map_err(WorkError::of_help_desk))
    }

    fn note<T>(&self, system: System, answer: Result<T, WorkError>) -> Result<T, WorkError> {
        let said = match &answer {
            Err(WorkError::Passing { retry_after, .. }) => Said::Passing { retry_after: *retry_after },
            Err(WorkError::Denied(what)) => Said::Denied(what.clone()),
            Err(WorkError::Resting { what, again_in }) => Said::Resting { what: what.clone(), again_in: *again_in },
            _ => Said::Well,
        };
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut heard[system as usize];
        // One failure among several answers is what the event will wait for.
        if said != Said::Well || known.is_none() {
            *known = Some(said);
        }
        answer
    }

    /// All that was heard.
    pub fn into_said(self) -> Vec<(System, Said)> {
        let heard = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        System::ALL.into_iter().zip(heard).filter_map(|(system, said)| Some((system, said?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use deskbridge_remote_support::EngineFault;

    use super::*;

    #[test]
    fn each_system_is_heard_by_itself_and_a_failure_stays() {
        let heard = Heard::default();
        heard.engine(Ok(())).unwrap();
        assert_eq!(heard.into_said(), [(System::Engine, Said::Well)]);

        let heard = Heard::default();
        heard.help_desk(Ok(())).unwrap();
        heard.help_desk::<()>(Err(HelpDeskError::Denied("no".into()))).unwrap_err();
        heard.help_desk(Ok(())).unwrap();
        // What concerns one ticket is an answer like any other.
        heard.engine::<()>(Err(EngineError::new(EngineFault::NoReport, "none yet"))).unwrap_err();
        assert_eq!(heard.into_said(), [(System::Engine, Said::Well), (System::HelpDesk, Said::Denied("no".into()))]);
    }
}
