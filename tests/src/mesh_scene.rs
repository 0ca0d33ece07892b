//! A real MeshCentral with a real machine, a simulated Zendesk, and a real server between them.
//!
//! What happens at MeshCentral is nobody's double: the same program that its users run.

use anyhow::Result;
use deskbridge_shared::api::JumpLaunch;
use deskbridge_shared::routes;
use serde_json::{Value, json};
use toml::Table;

use crate::meshcentral::{Display, RealAgent, RealMeshCentral};
use crate::scene::{self, Sidebar, merge};
use crate::server::{self, Deskbridge};
use crate::zendesk::{self, DemoData, SimulatedZendesk};

/// The connection's name.
pub const CONNECTION: &str = "Zendesk with MeshCentral";

/// How the parts shall be.
#[derive(Debug, Default)]
pub struct MeshPlan {
    /// What is different in MeshCentral's `config.json`.
    pub mesh: Option<fn(&mut Value)>,
    /// The server.
    pub server: server::Builder,
    /// Keys of the `[[connection]]` to set or to replace, by section.
    pub connection: Table,
    /// The machine has a screen.
    pub has_screen: bool,
}

/// Everything running.
pub struct MeshScene {
    /// MeshCentral.
    pub mesh: RealMeshCentral,
    /// A machine of it, on line.
    pub agent: RealAgent,
    /// The machine's screen.
    pub display: Option<Display>,
    /// The help desk.
    pub zendesk: SimulatedZendesk,
    /// Its people and tickets.
    pub people: DemoData,
    /// The server.
    pub server: Deskbridge,
}

/// The server's `[meshcentral]` for this MeshCentral and its service account.
pub fn section(mesh: &RealMeshCentral) -> String {
    format!(
        "[meshcentral]\nurl = \"{url}\"\nuser = \"{user}\"\npassword = \"{password}\"\nca_file = \"{ca_file}\"\n",
        url = mesh.url(),
        user = mesh.token().user,
        password = mesh.token().password,
        ca_file = mesh.ca_file().display(),
    )
}

/// A `[[connection]]` of that name between this MeshCentral and this Zendesk account.
pub fn connection(mesh: &RealMeshCentral, zendesk: &SimulatedZendesk, name: &str) -> Table {
    let options = zendesk.options();
    let client = options.oauth_client.unwrap_or_default();
    let text = format!(
        r#"
        name = "{name}"
        {meshcentral}
        [panel]
        target_field = "{target_field}"
        [zendesk]
        url = "{url}"
        client_id = "{client_id}"
        client_secret = "{client_secret}"
        app_id = {app_id}
        installation_id = {installation_id}
        "#,
        meshcentral = section(mesh),
        target_field = zendesk::TARGET_FIELD,
        url = zendesk.url(),
        client_id = client.id,
        client_secret = client.secret,
        app_id = options.app_id,
        installation_id = options.installation_id,
    );
    toml::from_str(&text).unwrap_or_else(|error| panic!("the connection is not TOML: {error}\n{text}"))
}

impl MeshScene {
    /// Starts everything and waits until the server listens to MeshCentral.
    pub async fn start(plan: MeshPlan) -> Result<Self> {
        let mut scene = Self::prepare(plan).await?;
        scene.server.start().await?;
        scene.server.wait_for_log("this server hears the account").await?;
        Ok(scene)
    }

    /// Everything but the server, which is only prepared.
    pub async fn prepare(plan: MeshPlan) -> Result<Self> {
        let mesh = RealMeshCentral::start_with(plan.mesh.unwrap_or(|_| ())).await?;
        let display = if plan.has_screen { Some(Display::start().await?) } else { None };
        let agent = RealAgent::start(&mesh, "Reception", display.as_ref()).await?;
        let zendesk = SimulatedZendesk::start(zendesk::Options::default()).await?;
        let people = zendesk.fill_demo_data();
        let mut connection = connection(&mesh, &zendesk, CONNECTION);
        merge(&mut connection, plan.connection);
        let server = plan.server.connection(connection).prepare().await?;
        zendesk.set_app_url(&format!("{}{}", server.public_url(), routes::ZENDESK_SIDEBAR));
        Ok(Self { mesh, agent, display, zendesk, people, server })
    }

    /// The sidebar of the English agent.
    pub async fn sidebar(&self) -> Result<Sidebar> {
        scene::open_sidebar(&self.server, &self.zendesk, self.people.agent).await
    }

    /// A link to the machine for that ticket; `method`: `desktop`, `terminal` or `files`.
    pub async fn link(&self, sidebar: &Sidebar, ticket: u64, method: &str) -> Result<JumpLaunch> {
        scene::read(sidebar.post(routes::JUMP, ticket, json!({"method": method, "target": self.agent.id()}))).await
    }

    /// The ticket's sessions, as the panel is told.
    pub async fn sessions(&self, sidebar: &Sidebar, ticket: u64) -> Result<Vec<Value>> {
        let answer: Value = scene::read(sidebar.get(routes::SESSIONS, ticket)).await?;
        Ok(answer["sessions"].as_array().cloned().unwrap_or_default())
    }

    /// The notes of session reports on a ticket, as text.
    pub fn reports(&self, ticket: u64) -> Vec<String> {
        let comments = self.zendesk.comments(ticket).into_iter().map(|comment| comment.plain_body);
        comments.filter(|text| text.contains("deskbridge/")).collect()
    }
}
