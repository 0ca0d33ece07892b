//! Autotask and osTicket beside the scene's Zendesk, each with an appliance of its own, and the extension set up for both: for the demo, and for
//! the test that goes its way with a browser.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use deskbridge_shared::device::PairingLink;
use deskbridge_shared::routes;
use serde_json::json;
use toml::Table;

use crate::appliance::{self, Recipient, SimulatedAppliance};
use crate::autotask::{self, Entity, SimulatedAutotask};
use crate::device::pairing_code;
use crate::extension::set_up_by_policy;
use crate::osticket::{self, SimulatedOsTicket};
use crate::scene::{self, EVENT_TOKEN};
use crate::server::Deskbridge;

/// The connection to Autotask.
pub const AUTOTASK: &str = "Simulated Autotask";
/// The connection to osTicket.
pub const OSTICKET: &str = "Simulated osTicket";

/// A ticket system without a sidebar of ours, and its appliance.
pub struct Desk<T> {
    /// The ticket system.
    pub system: T,
    /// The appliance.
    pub appliance: SimulatedAppliance,
    id: &'static str,
}

/// Both, running.
pub struct Desks {
    /// Autotask.
    pub autotask: Desk<SimulatedAutotask>,
    /// Its records.
    pub autotask_data: autotask::SampleData,
    /// osTicket.
    pub osticket: Desk<SimulatedOsTicket>,
    /// Its tickets.
    pub osticket_data: osticket::SampleData,
}

impl<T> Desk<T> {
    async fn new(system: T, id: &'static str) -> Result<Self> {
        Ok(Self { system, appliance: SimulatedAppliance::start(appliance::Options::default()).await?, id })
    }

    fn connection(&self, name: &str, section: &str) -> Table {
        let panel = r#"
            [panel]
            issues = ["general_tech=General Technical Issues"]
            jumpoints = ["HQ-Net"]
            allow_jump_client = true
            allow_rdp = true
        "#;
        scene::connection(&self.appliance, name, self.id, &format!("{panel}{section}"))
    }

    fn tell(&self, server: &Deskbridge) {
        let events = format!("{}{}?appliance={}&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS, self.id);
        self.appliance.set_recipient(Recipient::new(events));
    }
}

impl Desks {
    /// Starts both with their appliances.
    pub async fn start() -> Result<Self> {
        let mut options = autotask::Options::default();
        // Else a session around midnight would be another story.
        options.settings.time_over_midnight = true;
        let autotask = SimulatedAutotask::start(options).await?;
        let autotask_data = autotask.fill_sample_data()?;
        // The representative of the played sessions is somebody there.
        autotask.alter_record(Entity::Resources, autotask_data.technician, json!({ "email": "jdoe@msp.example" }))?;
        let osticket = SimulatedOsTicket::start(osticket::Options::default()).await?;
        let osticket_data = osticket.fill_sample_data();
        Ok(Self {
            autotask: Desk::new(autotask, "autotask").await?,
            autotask_data,
            osticket: Desk::new(osticket, "osticket").await?,
            osticket_data,
        })
    }

    /// The server's `[[connection]]` to each.
    pub fn connections(&self) -> [Table; 2] {
        let autotask = format!(
            r#"
            {}
            update_time_entry = true
            time_entry_default_data = '{{"defaultDomain": "msp.example", "roleName": "Technician", "summaryNotes": "Remote support session"}}'
            "#,
            self.autotask.system.section(),
        );
        let osticket = format!("[osticket]\nurl = \"{}\"", self.osticket.system.url());
        [self.autotask.connection(AUTOTASK, &autotask), self.osticket.connection(OSTICKET, &osticket)]
    }

    /// Makes the server the recipient of the appliances' events.
    pub fn tell(&self, server: &Deskbridge) {
        self.autotask.tell(server);
        self.osticket.tell(server);
    }

    /// A code that pairs some browsers, for both.
    pub async fn pairing_code(&self, server: &Deskbridge) -> Result<String> {
        let agent = self.osticket.system.options().agent.name();
        let more = ["--connection", OSTICKET, "--agent", &agent, "--email", "avery@msp.example", "--uses", "20", "--days", "30"];
        pairing_code(server, AUTOTASK, &more).await
    }

    /// Puts the extension into a directory, with server, sites and enrolment as a policy would set them; answers where it is.
    pub fn set_up_extension(&self, server: &Deskbridge, code: &str, directory: &Path) -> Result<PathBuf> {
        let policy = json!({
            "serverUrl": server.public_url(),
            "enrolmentToken": code,
            "sites": [
                { "kind": "autotask", "url": self.autotask.system.web_url() },
                { "kind": "osticket", "url": self.osticket.system.url() },
            ],
        });
        set_up_by_policy(directory, &policy)?;
        directory.canonicalize().with_context(|| format!("no {}", directory.display()))
    }

    /// What pairs a browser by hand.
    pub fn pairing_link(&self, server: &Deskbridge, code: &str) -> String {
        PairingLink::text(server.public_url(), code)
    }
}
