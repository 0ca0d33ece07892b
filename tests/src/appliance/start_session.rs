//! Session generation: how a customer starts a session from a link or a form (beyondtrust.md F.1).
//!
//! Public, without credentials. A chat begins at once; a downloaded customer client begins its session when it is run.

use super::answer::Refusal;
use super::options::Options;
use super::parameters::Parameters;
use super::script::Step;
use super::session::{Customer, NewSession, Queue};
use super::state::{CustomerClient, State, random_hex};

const KNOWN: [&str; 18] = [
    "id",
    "name",
    "short_key",
    "skipconfirm",
    "issue_menu",
    "codeName",
    "customer.name",
    "customer.company",
    "customer.company_code",
    "customer.details",
    "session.skills",
    "c2cjs",
    "popup",
    "download",
    "cobrowse",
    "timezone_offset",
    "locale",
    "chat_locale",
];
/// Names of old appliances (beyondtrust.md F.1).
const LEGACY: [&str; 3] = ["customer_name", "customer_desc", "external_key"];

const NAME_LIMIT: usize = 100;
const DETAILS_BYTES: usize = 1024;

/// Downloaded clients which were never run; the oldest are forgotten first.
const CLIENT_LIMIT: usize = 1000;

/// A session about to start.
#[derive(Clone, Debug)]
pub(super) struct Start {
    from: From,
    customer: Customer,
    custom_fields: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum From {
    Key(String),
    Queue(Queue),
}

/// What the customer gets.
pub(super) enum Started {
    /// A chat; the session has begun.
    Chat { lsid: String },
    /// A customer client with this id inside.
    Download { client_id: String },
}

impl State {
    /// Handles `/api/start_session`.
    pub(super) fn start_session(&mut self, parameters: &Parameters, now: i64) -> Result<Started, Refusal> {
        let start = read(self, parameters, now)?;
        if parameters.get("c2cjs") == Some("1") {
            let lsid = self.start(start, now)?;
            return Ok(Started::Chat { lsid });
        }
        let client_id = random_hex();
        if self.clients.len() >= CLIENT_LIMIT {
            self.clients.remove(0);
        }
        self.clients.push(CustomerClient { id: client_id.clone(), start });
        Ok(Started::Download { client_id })
    }

    /// Begins the session and lets the customer join.
    pub(super) fn start(&mut self, start: Start, now: i64) -> Result<String, Refusal> {
        let lsid = match start.from {
            From::Key(key) => self.begin_with_key(&key, &start.custom_fields, now)?,
            From::Queue(queue) => {
                let mut new = NewSession { queue, ..NewSession::default() };
                new.set_attributes(&start.custom_fields);
                self.begin(new, now)
            }
        };
        let joined = self.apply(&lsid, Step::CustomerJoins(start.customer), now);
        joined.map_err(|error| Refusal::new(format!("{error:#}")))?;
        Ok(lsid)
    }
}

fn read(state: &State, parameters: &Parameters, now: i64) -> Result<Start, Refusal> {
    let options = &state.options;
    let legacy = options.authentication.allows_password();
    let names: &[&str] = if legacy { &LEGACY } else { &[] };
    let platform = ["platform"];
    let allowed: Vec<&str> = KNOWN.iter().chain(&platform).chain(names).copied().collect();
    parameters.allow_only(&allowed, true)?;
    for name in ["customer.name", "customer.company", "customer.company_code", "customer_name"] {
        parameters.at_most(name, NAME_LIMIT)?;
    }
    for name in ["customer.details", "customer_desc"] {
        parameters.at_most_bytes(name, DETAILS_BYTES)?;
    }
    for name in ["c2cjs", "popup", "download", "cobrowse", "skipconfirm", "issue_menu"] {
        parameters.one_of(name, &["0", "1"])?;
    }
    parameters.one_of("platform", &["ios"])?;
    parameters.number::<i32>("timezone_offset")?;
    let mut custom_fields = parameters.custom_fields(options)?;
    if let Some(external_key) = parameters.get("external_key") {
        custom_fields.push(("external_key".into(), external_key.into()));
        super::parameters::check_custom_fields(&custom_fields, options)?;
    }
    let (from, issue) = origin(state, parameters, now)?;
    let text = |name: &str, old: &str| {
        let value = parameters.get(name).or_else(|| parameters.get(old));
        value.unwrap_or_default().to_owned()
    };
    let name = text("customer.name", "customer_name");
    let name = if name.is_empty() { "Customer" } else { &name };
    let customer = Customer {
        company: text("customer.company", ""),
        company_code: text("customer.company_code", ""),
        issue,
        details: text("customer.details", "customer_desc"),
        ..Customer::named(name)
    };
    Ok(Start { from, customer, custom_fields })
}

/// Exactly one of a representative, a session key and an issue; the issue's title with the last.
fn origin(state: &State, parameters: &Parameters, now: i64) -> Result<(From, String), Refusal> {
    let by_issue = parameters.get("issue_menu") == Some("1");
    if let Some(key) = parameters.get("short_key") {
        for other in ["id", "name", "issue_menu", "codeName"] {
            if parameters.get(other).is_some() {
                return Err(Refusal::new("Give a session key or a queue, not both."));
            }
        }
        state.find_key(key, now)?;
        return Ok((From::Key(key.to_owned()), String::new()));
    }
    if by_issue {
        return find_issue(&state.options, parameters);
    }
    if parameters.get("codeName").is_some() {
        return Err(Refusal::new("The parameter 'codeName' needs issue_menu=1."));
    }
    let id: Option<u32> = parameters.number("id")?;
    let id = id.ok_or_else(|| Refusal::new("A representative, an issue or a session key is required."))?;
    let name = parameters.required("name")?;
    let mut users = state.options.representatives.iter();
    let user = users.find(|user| user.id == id && user.display_name == name && user.logged_in);
    match user {
        Some(user) => Ok((From::Queue(Queue::Representative(user.id)), String::new())),
        None => Err(Refusal::new("The representative is not available.")),
    }
}

fn find_issue(options: &Options, parameters: &Parameters) -> Result<(From, String), Refusal> {
    let code_name = parameters.get("codeName");
    let id: Option<u32> = parameters.number("id")?;
    if code_name.is_some() == id.is_some() || parameters.get("name").is_some() {
        return Err(Refusal::new("Give codeName or id of an issue, never both."));
    }
    let mut issues = options.teams.iter().flat_map(|team| &team.issues);
    let issue = issues.find(|issue| Some(issue.id) == id || Some(issue.code_name.as_str()) == code_name);
    match issue {
        Some(issue) => {
            let queue = Queue::Issue(issue.code_name.clone());
            Ok((From::Queue(queue), issue.title.clone()))
        }
        None => Err(Refusal::new("The issue could not be found.")),
    }
}
