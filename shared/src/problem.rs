//! Every kind of problem document (RFC 9457) the server answers: one list, by which the server builds them and their readers word them.
//!
//! A document's `type` is `urn:deskbridge:problem:` and the name of a kind. Some types cover several situations with different advice; then the
//! member `reason` names the kind of the situation. The texts of a kind stand in the translations under [`Kind::text_name`].

/// What stands before a kind's name in `type`.
pub const TYPE_PREFIX: &str = "urn:deskbridge:problem:";

/// Whose calls may be answered with a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The panel's (docs/panel-api.md). Its texts are the `problem_…` of the panel's translations.
    Panel,
    /// Those with which the extension's options page pairs a browser and asks about it.
    OptionsPage,
    /// Those of the customer's button (docs/help-center.md). It words them by their status and type.
    Button,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal of $base:ident, $readers:expr, $members:expr;)*) => {
        /// A kind of problem. Names never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kind whose name stands in `type`: itself, unless it is a `reason`.
            #[must_use]
            pub const fn base(self) -> Self {
                match self { $(Self::$variant => Self::$base,)* }
            }

            /// Who may be answered with it.
            pub const fn readers(self) -> &'static [Reader] {
                match self { $(Self::$variant => $readers,)* }
            }

            /// The members that every document of this kind has beside `type`, `title`, `status`, `detail` and `reason`.
            pub const fn members(self) -> &'static [&'static str] {
                match self { $(Self::$variant => $members,)* }
            }
        }
    };
}

const NOBODY: &[Reader] = &[];
const PANEL: &[Reader] = &[Reader::Panel];
const OPTIONS: &[Reader] = &[Reader::OptionsPage];
const BUTTON: &[Reader] = &[Reader::Button];
const BOTH: &[Reader] = &[Reader::Panel, Reader::OptionsPage];

kinds! {
    /// No such route.
    NotFound = "not-found" of NotFound, BOTH, &[];
    /// The route does not take this method.
    MethodNotAllowed = "method-not-allowed" of MethodNotAllowed, BOTH, &[];
    /// The request does not read.
    BadRequest = "bad-request" of BadRequest, BOTH, &[];
    /// The request is too large.
    TooLarge = "too-large" of TooLarge, BOTH, &[];
    /// The request's body came too slowly.
    SlowRequest = "slow-request" of SlowRequest, BOTH, &[];
    /// The answer took too long.
    TooSlow = "too-slow" of TooSlow, BOTH, &["retry_after"];
    /// The database does not answer.
    Unavailable = "unavailable" of Unavailable, BOTH, &["retry_after"];

    /// No session, or an ended one.
    NoSession = "no-session" of NoSession, BOTH, &[];
    /// Another site's page made the browser send it.
    CrossSite = "cross-site" of CrossSite, BOTH, &[];
    /// The connection is none of the caller's.
    ForeignConnection = "foreign-connection" of ForeignConnection, PANEL, &[];

    /// A device's proof that does not read.
    DeviceProof = "device-proof" of DeviceProof, BOTH, &[];
    /// A session and a device's proof in one request.
    TwoProofs = "two-proofs" of TwoProofs, BOTH, &[];
    /// Only a device may ask this.
    NoDevice = "no-device" of NoDevice, OPTIONS, &[];
    /// No such device, or not its signature.
    DeviceRefused = "device-refused" of DeviceRefused, BOTH, &[];
    /// The device's pairing was ended.
    DeviceRevoked = "device-revoked" of DeviceRevoked, BOTH, &[];
    /// Signed too long ago, or in the future.
    Clock = "clock" of Clock, BOTH, &["server_time"];
    /// The same signed request again.
    Replayed = "replayed" of Replayed, BOTH, &[];
    /// No such pairing code.
    PairingCode = "pairing-code" of PairingCode, OPTIONS, &[];
    /// The pairing code was used before.
    PairingCodeUsed = "pairing-code-used" of PairingCodeUsed, OPTIONS, &[];
    /// The pairing code has expired.
    PairingCodeExpired = "pairing-code-expired" of PairingCodeExpired, OPTIONS, &[];
    /// The key is, or was, a device's.
    AlreadyPaired = "already-paired" of AlreadyPaired, OPTIONS, &[];
    /// Too many wrong pairing codes.
    TooManyCodes = "too-many-codes" of TooManyCodes, OPTIONS, &["retry_after"];

    /// A value that cannot be used.
    InvalidValue = "invalid-value" of InvalidValue, BOTH, &["field"];
    /// A required value is missing.
    ValueMissing = "value-missing" of InvalidValue, PANEL, &["field"];
    /// A value is longer than `limit` characters.
    ValueTooLong = "value-too-long" of InvalidValue, PANEL, &["field", "limit"];
    /// The Jump method has no such option.
    ValueNotTaken = "value-not-taken" of InvalidValue, PANEL, &["field", "method"];
    /// The Jumpoint is none of those offered.
    JumpointUnknown = "jumpoint-unknown" of InvalidValue, PANEL, &["field"];
    /// The issue is none of those offered.
    IssueUnknown = "issue-unknown" of InvalidValue, PANEL, &["field"];
    /// The session is another ticket's.
    SessionOfAnotherTicket = "session-of-another-ticket" of InvalidValue, PANEL, &["field"];
    /// The session is not known as one of this ticket that has ended.
    SessionNotEnded = "session-not-ended" of InvalidValue, PANEL, &["field"];
    /// The session has no recording, or not yet.
    SessionNotRecorded = "session-not-recorded" of InvalidValue, PANEL, &["field"];

    /// The settings do not allow it.
    NotOffered = "not-offered" of NotOffered, PANEL, &[];
    /// The settings do not allow this Jump method.
    MethodNotOffered = "method-not-offered" of NotOffered, PANEL, &["method"];
    /// No issues are set up, so there are no chat links.
    ChatNotOffered = "chat-not-offered" of NotOffered, PANEL, &[];
    /// Keys go to the agent's own queue, and no e-mail address is known to find the representative by.
    AgentWithoutEmail = "agent-without-email" of NotOffered, PANEL, &[];
    /// The connection has no remote-support system.
    NoRemoteSupport = "no-remote-support" of NotOffered, PANEL, &[];
    /// Reports reach this help desk without its page.
    RecordNotNeeded = "record-not-needed" of NotOffered, PANEL, &[];
    /// The report's template failed.
    ReportNotWritten = "report-not-written" of NotOffered, PANEL, &["cause"];

    /// The ticket has no such link to a machine.
    LinkUnknown = "link-unknown" of LinkUnknown, PANEL, &[];

    /// The help desk has no such ticket.
    TicketNotFound = "ticket-not-found" of TicketNotFound, PANEL, &[];
    /// The agent may not work on the ticket.
    TicketNotAllowed = "ticket-not-allowed" of TicketNotAllowed, PANEL, &[];
    /// The person is no active agent of the help desk.
    NotAnAgent = "not-an-agent" of TicketNotAllowed, PANEL, &[];
    /// The ticket is closed.
    TicketClosed = "ticket-closed" of TicketNotAllowed, PANEL, &[];
    /// These tickets have the panel in Zendesk's sidebar.
    PanelInSidebar = "panel-in-sidebar" of TicketNotAllowed, PANEL, &[];
    /// These tickets have the panel in the browser extension.
    PanelInExtension = "panel-in-extension" of TicketNotAllowed, PANEL, &[];
    /// The ticket system does not answer.
    TicketSystemUnavailable = "ticket-system-unavailable" of TicketSystemUnavailable, PANEL, &["retry_after"];
    /// The ticket system refused the API user.
    TicketSystemRefused = "ticket-system-refused" of TicketSystemRefused, PANEL, &[];

    /// The appliance does not answer.
    ApplianceUnavailable = "appliance-unavailable" of ApplianceUnavailable, PANEL, &[];
    /// What answers is not understood; it may be no appliance.
    ApplianceNotUnderstood = "appliance-not-understood" of ApplianceUnavailable, PANEL, &[];
    /// The limit of API calls is used up.
    ApplianceBusy = "appliance-busy" of ApplianceBusy, PANEL, &["retry_after"];
    /// The appliance refused the API account.
    ApplianceDenied = "appliance-denied" of ApplianceDenied, PANEL, &[];
    /// The appliance refused this call.
    ApplianceRefused = "appliance-refused" of ApplianceRefused, PANEL, &["said"];
    /// The appliance's report is too large to be read.
    ReportTooLarge = "report-too-large" of ApplianceRefused, PANEL, &[];
    /// Another browser is adding a report to this ticket.
    NoteUnderWay = "note-under-way" of NoteUnderWay, PANEL, &["agent", "retry_after"];
    /// The appliance has no complete report yet.
    ReportNotReady = "report-not-ready" of ReportNotReady, PANEL, &["retry_after"];

    /// `?appliance=` names none of ours.
    UnknownAppliance = "unknown-appliance" of UnknownAppliance, NOBODY, &[];
    /// An event that is not the appliance's.
    EventRefused = "event-refused" of EventRefused, NOBODY, &[];
    /// Not form data.
    NotAForm = "not-a-form" of NotAForm, NOBODY, &[];

    /// No API token, or one that does not hold.
    ApiToken = "api-token" of ApiToken, NOBODY, &[];
    /// The API token is another connection's.
    ApiTokenConnection = "api-token-connection" of ApiTokenConnection, NOBODY, &[];
    /// The API token is for something else.
    ApiTokenPurpose = "api-token-purpose" of ApiTokenPurpose, NOBODY, &[];
    /// The connection is disabled or faulty.
    ConnectionNotRunning = "connection-not-running" of ConnectionNotRunning, NOBODY, &[];

    /// The connection's ticket system takes no incidents.
    IncidentsNotTaken = "incidents-not-taken" of IncidentsNotTaken, NOBODY, &[];
    /// The ticket system refused the ticket of an incident.
    TicketRefused = "ticket-refused" of TicketRefused, NOBODY, &["said"];
    /// The ticket of an incident could not be made for now.
    TicketNotMade = "ticket-not-made" of TicketNotMade, NOBODY, &["said", "retry_after"];
    /// The ticket of an incident is still being made.
    TicketUnderWay = "ticket-under-way" of TicketUnderWay, NOBODY, &["retry_after"];

    /// Not JSON.
    NotJson = "not-json" of NotJson, BUTTON, &[];
    /// No connection with a Help Center is called so.
    ConnectionNotFound = "connection-not-found" of ConnectionNotFound, BUTTON, &[];
    /// What the customer shows proves nothing.
    ProofRefused = "proof-refused" of ProofRefused, BUTTON, &[];
    /// The ticket is not the customer's, or there is none.
    NotYourTicket = "not-your-ticket" of NotYourTicket, BUTTON, &[];
    /// Too many chats were started, or refused.
    TooManyChats = "too-many-chats" of TooManyChats, BUTTON, &["retry_after"];
}

impl Kind {
    /// What the text of this kind is called in the translations.
    pub fn text_name(self) -> String {
        ["problem_", &self.name().replace('-', "_")].concat()
    }

    /// Whether that reader's calls may be answered with it.
    pub fn is_read_by(self, reader: Reader) -> bool {
        self.readers().contains(&reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_one_kinds_and_each_reason_has_a_type() {
        for (number, kind) in Kind::ALL.iter().enumerate() {
            let name = kind.name();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!(Kind::ALL[..number].iter().all(|other| other.name() != name), "{name} is used twice");
            assert_eq!(kind.base().base(), kind.base(), "{name}");
            // Whoever reads a situation's kind reads its type too.
            assert!(kind.readers().iter().all(|reader| kind.base().is_read_by(*reader)), "{name}");
        }
    }
}
