//! `[connection.help_center]`: the customer's button in the account's Help Center.

use std::collections::HashSet;

use deskbridge_core::settings::{Role, Section, Within, outside_origin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::zendesk::ZendeskSection;

/// The customer's button in the account's Help Center.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HelpCenterSection {
    /// Where the Help Center is beside the account's own address: brands' addresses and those that are mapped to it.
    #[serde(default)]
    pub origins: Vec<String>,
    /// How a customer proves who they are; the first that works is used.
    #[serde(default = "default_proofs")]
    pub customer_proof: Vec<CustomerProof>,
    /// The ticket field that holds the proof `ticket_field`. Its customers see it and cannot edit it.
    #[schemars(range(min = 1))]
    pub ticket_field: Option<u64>,
    /// A ticket field that gets a chat link, for e-mails and for the button.
    #[schemars(range(min = 1))]
    pub link_field: Option<u64>,
    /// Whose ticket it is.
    #[serde(default)]
    pub who: Who,
    /// Minutes in which a chat must be opened after the button was pressed.
    #[serde(default = "default_minutes")]
    #[schemars(range(min = 1, max = 60))]
    pub chat_minutes: u32,
    /// Chats that one customer can start in an hour.
    #[serde(default = "default_of_customer")]
    #[schemars(range(min = 1, max = 1000))]
    pub chats_per_customer: u32,
    /// Chats that can be started on one ticket in an hour.
    #[serde(default = "default_of_ticket")]
    #[schemars(range(min = 1, max = 1000))]
    pub chats_per_ticket: u32,
    /// Refusals in an hour, of proofs from one address and of tickets to one customer. Who gets more is told to wait.
    #[serde(default = "default_refusals")]
    #[schemars(range(min = 1, max = 10_000))]
    pub refusals: u32,
}

/// A way for a customer to prove that a ticket is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CustomerProof {
    /// The token that the Help Center gives its signed-in user. Enterprise plans only (zendesk.md e.3).
    HelpCenterToken,
    /// The value of a field that only those who may read the ticket can read.
    TicketField,
    /// A chat link.
    ChatLink,
}

impl CustomerProof {
    /// Those that count where the settings name none.
    pub const DEFAULT: [Self; 2] = [Self::HelpCenterToken, Self::ChatLink];

    /// Its name in settings and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HelpCenterToken => "help_center_token",
            Self::TicketField => "ticket_field",
            Self::ChatLink => "chat_link",
        }
    }
}

/// Whose ticket it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The requester's.
    #[default]
    Requester,
    /// Theirs, and that of collaborators and people in copy.
    Participants,
}

fn default_proofs() -> Vec<CustomerProof> {
    CustomerProof::DEFAULT.to_vec()
}

fn default_minutes() -> u32 {
    10
}

fn default_of_customer() -> u32 {
    10
}

fn default_of_ticket() -> u32 {
    20
}

fn default_refusals() -> u32 {
    30
}

impl Section for HelpCenterSection {
    const NAME: &'static str = "help_center";
    const ROLE: Role = Role::HelpCenter;
    const SECRETS: &'static [&'static str] = &[];
    const BESIDE: Option<&'static str> = Some(ZendeskSection::NAME);

    fn check(&self, faults: &mut Within<'_>) {
        for origin in &self.origins {
            if let Err(expected) = outside_origin(origin) {
                faults.add("origins", origin, expected);
            }
        }
        if self.customer_proof.is_empty() {
            faults.add("customer_proof", "", "at least one of help_center_token, ticket_field and chat_link");
        }
        let mut seen = HashSet::new();
        for proof in self.customer_proof.iter().filter(|proof| !seen.insert(**proof)) {
            faults.add("customer_proof", proof.name(), "each kind of proof once");
        }
        let by_field = self.customer_proof.contains(&CustomerProof::TicketField);
        if by_field && self.ticket_field.is_none() {
            faults.add("ticket_field", "", "the number of the ticket field that holds the proof ticket_field");
        }
        if let Some(field) = self.link_field {
            if self.ticket_field == Some(field) {
                faults.add("link_field", field, "another field than ticket_field");
            }
            if !self.customer_proof.contains(&CustomerProof::ChatLink) {
                faults.add("link_field", field, "chat_link among customer_proof, or no link_field");
            }
        }
    }

    fn identity(&self) -> Vec<String> {
        Vec::new()
    }

    /// Two connections that write their own values into one field would void each other's.
    fn claims(&self) -> Vec<(&'static str, String)> {
        let fields = [("ticket_field", self.ticket_field), ("link_field", self.link_field)];
        fields.into_iter().filter_map(|(key, field)| Some((key, field?.to_string()))).collect()
    }
}

impl HelpCenterSection {
    /// The origins as browsers write them.
    pub(super) fn origins(&self) -> impl Iterator<Item = String> {
        self.origins.iter().filter_map(|origin| Some(outside_origin(origin).ok()?.origin().ascii_serialization()))
    }
}
