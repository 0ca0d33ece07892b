//! Autotask and osTicket beside the scene's Zendesk, each with an appliance of its own, and the extension set up for both: for the demo, and for
//! the test that goes its way with a browser.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use deskbridge_shared::device::PairingLink;
use deskbridge_shared::routes;
use serde_json::json;
use toml::Table;

use crate::appliance::{self, Recipient, SimulatedAppliance};
use crate::autotask::{self, Entity, SimulatedAutotask};
use crate::device::pairing_code;
use crate::extension::built_extension;
use crate::osticket::{self, SimulatedOsTicket};
use crate::scene::EVENT_TOKEN;
use crate::server::Deskbridge;

/// The connection to Autotask.
pub const AUTOTASK: &str = "Simulated Autotask";
/// The connection to osTicket.
pub const OSTICKET: &str = "Simulated osTicket";

/// As the extension asks for what a policy has set (`extension/assets/bridge.js`).
const POLICY_ASKED: &str = "export const managed = () => api.storage.managed.get(null).catch(() => ({}));";

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
        let options = self.appliance.options();
        let text = format!(
            r#"
            name = "{name}"
            [appliance]
            id = "{id}"
            host = "{host}"
            client_id = "{client_id}"
            client_secret = "{client_secret}"
            allow_invalid_certificates = true
            event_token = "{EVENT_TOKEN}"
            [panel]
            issues = ["general_tech=General Technical Issues"]
            jumpoints = ["HQ-Net"]
            allow_jump_client = true
            allow_rdp = true
            {section}
            "#,
            id = self.id,
            host = self.appliance.host(),
            client_id = options.client_id,
            client_secret = options.client_secret,
        );
        text.parse().unwrap_or_else(|error| panic!("the connection is not TOML: {error}\n{text}"))
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
        let user = self.autotask.system.options().api_user;
        let autotask = format!(
            r#"
            [autotask]
            username = "{}"
            secret = "{}"
            integration_code = "{}"
            services_url = "{}"
            update_time_entry = true
            time_entry_default_data = '{{"defaultDomain": "msp.example", "roleName": "Technician", "summaryNotes": "Remote support session"}}'
            "#,
            user.user_name,
            user.secret,
            user.integration_code,
            self.autotask.system.url(),
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
        copy(&built_extension()?, directory)?;
        let policy = json!({
            "serverUrl": server.public_url(),
            "enrolmentToken": code,
            "sites": [
                { "kind": "autotask", "url": self.autotask.system.web_url() },
                { "kind": "osticket", "url": self.osticket.system.url() },
            ],
        });
        let path = directory.join("bridge.js");
        let script = std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        ensure!(script.contains(POLICY_ASKED), "the extension asks for its policy in another way");
        std::fs::write(&path, script.replace(POLICY_ASKED, &format!("export const managed = async () => ({policy});")))?;
        directory.canonicalize().with_context(|| format!("no {}", directory.display()))
    }

    /// What pairs a browser by hand.
    pub fn pairing_link(&self, server: &Deskbridge, code: &str) -> String {
        PairingLink::text(server.public_url(), code)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
