//! What trying a system found out, for `deskbridge check` and the admin pages.

/// How well one thing works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It works.
    Good,
    /// It works, but somebody should know this.
    Note,
    /// It does not work.
    Bad,
}

/// One line of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How well it works.
    pub mark: Mark,
    /// What was tried.
    pub what: &'static str,
    /// What was found, and what to do about it.
    pub message: String,
}

impl Finding {
    /// Something works.
    pub fn good(what: &'static str, message: impl Into<String>) -> Self {
        Self { mark: Mark::Good, what, message: message.into() }
    }

    /// Something to know.
    pub fn note(what: &'static str, message: impl Into<String>) -> Self {
        Self { mark: Mark::Note, what, message: message.into() }
    }

    /// Something does not work.
    pub fn bad(what: &'static str, message: impl Into<String>) -> Self {
        Self { mark: Mark::Bad, what, message: message.into() }
    }
}

/// Something an administrator enters by hand in one of the systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupLink {
    /// Where it is entered.
    pub title: String,
    /// Names and values of its fields.
    pub fields: Vec<(&'static str, String)>,
    /// What else to do.
    pub remark: Option<String>,
}
