//! All parts, started one after the other, and ended in order.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use deskbridge_tests::device::pairing_code;
use deskbridge_tests::extension::set_up_by_policy;
use deskbridge_tests::meshcentral::{self, Assistant, Control, CustomersBrowser, Display, RealAgent, RealMeshCentral};
use deskbridge_tests::request_tracker;
use deskbridge_tests::server::Deskbridge;
use serde_json::json;

use super::desk::{CONNECTION, Desk, TECHNICIAN};
use super::page::Page;
use super::timeline::Timeline;
use crate::{DIRECTORY, EXTENSION};

/// The customer's machine.
pub const MACHINE: &str = "Reception";
/// Who sits at it.
pub const CUSTOMER: &str = "jane";
/// In [`DIRECTORY`]: the profile of the browser that a person opens.
pub const PROFILE: &str = "browser";
/// The machine's screen.
const SCREEN: (u32, u32) = (1024, 640);

/// What stands between a ticket and a machine, and what is known of it.
pub struct Parts {
    /// The server.
    pub server: Deskbridge,
    /// The ticket system.
    pub desk: Desk,
    /// The machine.
    pub agent: RealAgent,
    /// The remote-support system.
    pub mesh: RealMeshCentral,
    /// What was seen.
    pub timeline: Timeline,
    /// The extension, set up.
    pub extension: PathBuf,
    assistant: Option<Assistant>,
    /// MeshCentral's administrator, who hears of everything.
    admin: Control,
}

/// Everything running.
pub struct Scene {
    /// Its parts.
    pub parts: Parts,
    /// The demo's own page.
    pub page: Page,
    _customer: Option<CustomersBrowser>,
    _display: Display,
}

impl Scene {
    /// Starts everything. `simulated_tickets`: though Request Tracker is there.
    pub async fn start(simulated_tickets: bool) -> Result<Self> {
        meshcentral::obtainable()?;
        Display::obtainable()?;
        let missing = request_tracker::missing();
        println!("MeshCentral starts.");
        let mesh = RealMeshCentral::start().await?;
        let display = Display::start_of(SCREEN.0, SCREEN.1).await?;
        println!("Its agent starts, as the machine \"{MACHINE}\".");
        let agent = RealAgent::start(&mesh, MACHINE, Some(&display)).await?;
        let mut desk = if let Some(why) = missing.filter(|_| !simulated_tickets) {
            println!("{why}. So the tickets are the simulated Zendesk's; all else is real.");
            Desk::zendesk().await?
        } else if simulated_tickets {
            Desk::zendesk().await?
        } else {
            println!("Request Tracker starts.");
            Desk::request_tracker().await?
        };
        println!("Deskbridge starts.");
        let server = Deskbridge::builder().directory(DIRECTORY).public_host("localhost").connection(desk.connection(&mesh)?);
        let mut server = server.prepare().await?;
        desk.tell(&server);
        server.start().await?;
        server.wait_for_log("this server hears the account").await?;
        let extension = Path::new(DIRECTORY).join(EXTENSION);
        if let Desk::RequestTracker { rt, .. } = &desk {
            let agent = ["--agent", TECHNICIAN.name, "--email", TECHNICIAN.email, "--uses", "20", "--days", "30"];
            let code = pairing_code(&server, CONNECTION, &agent).await?;
            let sites = json!([{ "kind": "request_tracker", "url": rt.own_url() }]);
            set_up_by_policy(&extension, &json!({ "serverUrl": server.public_url(), "enrolmentToken": code, "sites": sites }))?;
            desk.pair(&server, &code).await?;
        }
        let admin = mesh.admin().await?;
        let page = Page::serve(&desk, &mesh.url()).await?;
        let customer = CustomersBrowser::start(&display, SCREEN, &page.customers_url()).await?;
        let parts = Parts { server, desk, agent, mesh, timeline: Timeline::default(), extension, assistant: None, admin };
        Ok(Self { parts, page, _customer: customer, _display: display })
    }

    /// What a person reads in the terminal.
    pub fn instructions(&self) -> Result<String> {
        let url = &self.page.url;
        let by_hand = if self.parts.extension.is_dir() {
            format!("load the extension by chrome://extensions, Developer mode, Load unpacked, {DIRECTORY}/{EXTENSION} , and open {url}")
        } else {
            format!("open {url}")
        };
        Ok(format!(
            "\nDeskbridge is running between a real MeshCentral and {desk}. Open its page in a browser that is set up for it, by this line:\n\n    \
             {line}\n\nIn another Chrome or Edge {by_hand} .\n\
             (It will warn of MeshCentral's certificate, which nobody has signed.)\n\n\
             The server's settings, database and log are in {DIRECTORY}/ while it runs. Ctrl-C ends everything.\n",
            desk = self.parts.desk.name(),
            line = self.parts.browser_line(url)?,
        ))
    }

    /// Ends everything in order; each part's own directory goes with it.
    pub async fn end(mut self) -> Result<()> {
        let ended = self.parts.server.terminate().await?;
        self.page.end();
        ensure!(ended.success(), "the server ended with {ended}");
        Ok(())
    }
}

impl Parts {
    /// What makes a browser ready: the extension is loaded, and MeshCentral's certificate is taken.
    pub fn browser_flags(&self) -> Result<Vec<String>> {
        Ok(vec![format!("--ignore-certificate-errors-spki-list={}", self.mesh.key_hash()?)])
    }

    fn browser_line(&self, url: &str) -> Result<String> {
        let here = Path::new(DIRECTORY).canonicalize().with_context(|| format!("no {DIRECTORY}"))?;
        let mut parts =
            vec!["chromium".to_owned(), format!("--user-data-dir={}", here.join(PROFILE).display()), "--no-first-run".to_owned()];
        if self.extension.is_dir() {
            parts.push(format!("--load-extension={}", here.join(EXTENSION).display()));
        }
        if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            // As root, Chromium runs without a sandbox or not at all.
            parts.push("--no-sandbox".to_owned());
        }
        parts.extend(self.browser_flags()?);
        parts.push(url.to_owned());
        Ok(parts.join(" "))
    }

    /// Looks at what has happened.
    pub async fn look(&mut self) -> Result<()> {
        self.timeline.look(&self.desk, &self.server, &self.admin).await
    }

    /// The customer asks for help by the agent's own pipe, as MeshCentral Assistant does; what they asked before is taken back.
    pub async fn request_help(&mut self, text: &str) -> Result<()> {
        let admin = &self.admin;
        let told = async |mark, what: &str, help: Option<&str>| {
            let is_it = |event: &serde_json::Value| {
                event["action"] == "devicesessions"
                    && event["nodeid"] == *self.agent.id()
                    && event["sessions"]["help"][CUSTOMER].as_str() == help
            };
            admin.event_after(mark, what, is_it).await
        };
        let mut assistant = match self.assistant.take() {
            Some(mut assistant) => {
                let mark = admin.mark();
                assistant.cancel_help().await?;
                // The agent reads its pipe by what is there: two messages at once would be one.
                told(mark, "the request for help is taken back", None).await?;
                assistant
            }
            None => Assistant::start(&self.agent, CUSTOMER).await?,
        };
        let mark = admin.mark();
        assistant.request_help(text).await?;
        told(mark, "the request for help", Some(text)).await?;
        self.assistant = Some(assistant);
        Ok(())
    }
}
