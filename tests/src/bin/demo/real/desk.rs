//! Where the tickets are: a real Request Tracker, or the simulated Zendesk where that is not installed.

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::device::Browser;
use deskbridge_tests::mesh_scene;
use deskbridge_tests::meshcentral::RealMeshCentral;
use deskbridge_tests::request_tracker::{QUEUE, RealRequestTracker};
use deskbridge_tests::scene::{self, merge};
use deskbridge_tests::server::Deskbridge;
use deskbridge_tests::zendesk::{self, DemoData, SimulatedZendesk, TARGET_FIELD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use toml::{Table, toml};

use super::scene::MACHINE;

/// The connection's name.
pub const CONNECTION: &str = "Real MeshCentral";
/// A technician in Request Tracker.
pub const TECHNICIAN: Technician = Technician { user: "avery", password: "avery-pw", name: "Avery Agent", email: "avery@msp.example" };
/// The ticket that is opened.
const SUBJECT: &str = "The reception's computer opens no mail";
/// A note's subject or text has it, with the session's id before it.
const REPORT: &str = "/report/";

/// Who works on the tickets.
pub struct Technician {
    /// As typed when signing in.
    pub user: &'static str,
    /// In clear.
    pub password: &'static str,
    /// Their name.
    pub name: &'static str,
    /// Their e-mail address.
    pub email: &'static str,
}

/// A ticket, as a person reads of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its number.
    pub number: String,
    /// Its subject.
    pub subject: String,
}

/// What the panel is told of a session, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    /// Its id.
    pub lsid: String,
    /// Who.
    pub representative: Option<String>,
    /// What kind.
    pub kind: Option<String>,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// RFC 3339.
    pub ended_at: Option<String>,
}

/// A ticket system, the ticket in it, and how it is asked about.
pub enum Desk {
    /// From Debian, as it is.
    RequestTracker {
        /// The system.
        rt: RealRequestTracker,
        /// A browser paired for [`TECHNICIAN`], once the server runs.
        browser: Option<Browser>,
        /// The number of the ticket.
        ticket: String,
    },
    /// In place of it.
    Zendesk {
        /// The system.
        zendesk: SimulatedZendesk,
        /// Its people and tickets.
        people: DemoData,
        /// How many tickets there were before.
        before: Vec<u64>,
    },
}

impl Desk {
    pub async fn request_tracker() -> Result<Self> {
        let rt = RealRequestTracker::start().await?;
        let ticket = rt.add_ticket(QUEUE, SUBJECT).await?;
        rt.change_ticket(&ticket, json!({ "CustomFields": { "Machine": MACHINE } }), "added").await?;
        Ok(Self::RequestTracker { rt, browser: None, ticket })
    }

    pub async fn zendesk() -> Result<Self> {
        let zendesk = SimulatedZendesk::start(zendesk::Options::default()).await?;
        let people = zendesk.fill_demo_data();
        let before = zendesk.tickets();
        zendesk.alter_ticket(people.vpn_ticket, |ticket| {
            ticket.custom_fields.insert(TARGET_FIELD, json!(MACHINE));
        });
        Ok(Self::Zendesk { zendesk, people, before })
    }

    /// The `[[connection]]` between it and MeshCentral.
    pub fn connection(&self, mesh: &RealMeshCentral) -> Result<Table> {
        match self {
            Self::RequestTracker { rt, .. } => {
                // Its pages are at its own address, by which the extension knows the connection.
                let text = format!(
                    "name = \"{CONNECTION}\"\n{meshcentral}[panel]\ntarget_field = \"machine\"\n[request_tracker]\nurl = \"{url}\"\n\
                     token = \"{token}\"\nqueue = \"{QUEUE}\"\nupdate_time_worked = true\nenable_automatic_ticket_creation = true\n",
                    meshcentral = mesh_scene::section(mesh),
                    url = rt.own_url(),
                    token = rt.token(),
                );
                text.parse().context("the connection is not TOML")
            }
            Self::Zendesk { zendesk, .. } => {
                let mut connection = mesh_scene::connection(mesh, zendesk, CONNECTION);
                merge(&mut connection, toml! { [zendesk] enable_automatic_ticket_creation = true });
                Ok(connection)
            }
        }
    }

    /// Tells the system of a server that is about to start.
    pub fn tell(&self, server: &Deskbridge) {
        if let Self::Zendesk { zendesk, .. } = self {
            zendesk.set_app_url(&format!("{}{}", server.public_url(), routes::ZENDESK_SIDEBAR));
        }
    }

    /// Pairs the browser that asks for us.
    pub async fn pair(&mut self, server: &Deskbridge, code: &str) -> Result<()> {
        if let Self::RequestTracker { browser, .. } = self {
            browser.insert(Browser::new(server)?).pair(code).await?;
        }
        Ok(())
    }

    /// What it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RequestTracker { .. } => "Request Tracker",
            Self::Zendesk { .. } => "the simulated Zendesk",
        }
    }

    /// The ticket that is opened first.
    pub fn ticket(&self) -> String {
        match self {
            Self::RequestTracker { ticket, .. } => ticket.clone(),
            Self::Zendesk { people, .. } => people.vpn_ticket.to_string(),
        }
    }

    /// A ticket's page.
    pub fn page(&self, ticket: &str) -> String {
        match self {
            Self::RequestTracker { rt, .. } => format!("{}Ticket/Display.html?id={ticket}", rt.own_url()),
            Self::Zendesk { zendesk, people, .. } => zendesk.ticket_page(ticket.parse().unwrap_or_default(), people.agent),
        }
    }

    /// The first ticket, and those of requests for help.
    pub async fn tickets(&self) -> Result<Vec<Ticket>> {
        let first = self.ticket();
        let mut tickets: Vec<Ticket> = match self {
            Self::RequestTracker { rt, .. } => {
                rt.tickets().await?.into_iter().map(|(number, subject)| Ticket { number, subject }).collect()
            }
            Self::Zendesk { zendesk, before, .. } => {
                let of_ours = |number: &u64| number.to_string() == first || !before.contains(number);
                let subject = |number: u64| zendesk.ticket(number).map(|ticket| ticket.subject).unwrap_or_default();
                zendesk
                    .tickets()
                    .into_iter()
                    .filter(of_ours)
                    .map(|number| Ticket { number: number.to_string(), subject: subject(number) })
                    .collect()
            }
        };
        tickets.sort_by_key(|ticket| (ticket.number != first, ticket.number.parse::<u64>().unwrap_or(u64::MAX)));
        Ok(tickets)
    }

    /// A ticket's sessions, as its panel is told.
    pub async fn sessions(&self, server: &Deskbridge, ticket: &str) -> Result<Vec<Seen>> {
        let mut answer: Value = match self {
            Self::RequestTracker { browser, .. } => {
                let browser = browser.as_ref().context("no paired browser")?;
                let query = query_text(&[("connection", CONNECTION), ("ticket", ticket)]);
                let answer = browser.ask(Method::GET, &format!("{}?{query}", routes::SESSIONS), "").await?;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.text);
                answer.json()
            }
            Self::Zendesk { zendesk, people, .. } => {
                let sidebar = scene::open_sidebar(server, zendesk, people.agent).await?;
                scene::read(sidebar.get(routes::SESSIONS, ticket.parse()?)).await?
            }
        };
        serde_json::from_value(answer["sessions"].take()).context("sessions of another shape")
    }

    /// The sessions whose reports stand on a ticket, by the marks of its notes; once for each note.
    pub async fn reports(&self, ticket: &str) -> Result<Vec<String>> {
        let texts: Vec<String> = match self {
            Self::RequestTracker { rt, .. } => rt.notes(ticket).await?.into_iter().map(|note| note.subject).collect(),
            Self::Zendesk { zendesk, .. } => zendesk.comments(ticket.parse()?).into_iter().map(|comment| comment.plain_body).collect(),
        };
        let lsid = |text: &String| {
            let (before, _) = text.split_once(REPORT)?;
            before.rsplit('/').next().map(str::to_owned)
        };
        Ok(texts.iter().filter_map(lsid).collect())
    }
}

fn query_text(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
