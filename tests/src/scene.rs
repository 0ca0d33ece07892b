//! The whole scene: a simulated appliance, a simulated Zendesk and a real server between them, wired together as an
//! administrator would.
//!
//! Used by the demo and by every test that needs all three. Changes what it is told to by [`Plan`], and nothing else.

use anyhow::{Context, Result, ensure};
use deskbridge_shared::api::SessionKey;
use deskbridge_shared::routes;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use toml::Table;

use crate::appliance::{self, Recipient, SimulatedAppliance};
use crate::server::{self, Deskbridge, loopback_client};
use crate::zendesk::{self, DemoData, SimulatedZendesk, Ticket};

/// What the appliance appends to its event URL as `token=`.
pub const EVENT_TOKEN: &str = "simulated-event-token";

/// The connection's name.
pub const CONNECTION: &str = "Simulated Zendesk";

/// How the parts shall be; the default is a sound installation in which everything is allowed.
#[derive(Debug, Default)]
pub struct Plan {
    /// The appliance.
    pub appliance: appliance::Options,
    /// The Zendesk account.
    pub zendesk: zendesk::Options,
    /// The server.
    pub server: server::Builder,
    /// Keys of the `[[connection]]` to set or to replace, by section. An empty text takes the key out.
    pub connection: Table,
}

/// Everything running.
pub struct Scene {
    /// The simulated appliance.
    pub appliance: SimulatedAppliance,
    /// The simulated Zendesk account.
    pub zendesk: SimulatedZendesk,
    /// Its people and tickets.
    pub people: DemoData,
    /// The server.
    pub server: Deskbridge,
}

impl Scene {
    /// Starts everything and waits until the server is ready.
    pub async fn start(plan: Plan) -> Result<Self> {
        Self::prepare(plan).await?.started().await
    }

    /// A prepared scene, once its server is started.
    pub async fn started(mut self) -> Result<Self> {
        self.server.start().await?;
        Ok(self)
    }

    /// The same with the server still to be started.
    pub async fn prepare(plan: Plan) -> Result<Self> {
        let appliance = SimulatedAppliance::start(plan.appliance).await?;
        let zendesk = zendesk_for(&appliance, plan.zendesk).await?;
        let people = zendesk.fill_demo_data();
        let mut connection = to_zendesk(&appliance, &zendesk, CONNECTION, "default");
        merge(&mut connection, plan.connection);
        let server = plan.server.connection(connection).prepare().await?;
        zendesk.set_app_url(&format!("{}{}", server.public_url(), routes::ZENDESK_SIDEBAR));
        let scene = Self { appliance, zendesk, people, server };
        scene.appliance.set_recipient(scene.recipient());
        Ok(scene)
    }

    /// The server as the appliance's recipient of all events, to be changed and set again.
    pub fn recipient(&self) -> Recipient {
        recipient(&self.server, "default")
    }

    /// Another open ticket of a customer who has one already; answers its number.
    pub fn add_ticket(&self, subject: &str) -> u64 {
        let requester_id = self.zendesk.ticket(self.people.vpn_ticket).map_or(0, |ticket| ticket.requester_id);
        let description = format!("{subject}, since this morning.");
        self.zendesk.add_ticket(Ticket { subject: subject.to_owned(), description, requester_id, ..Ticket::default() })
    }

    /// Opens the sidebar as Zendesk would, without a browser.
    pub async fn open_sidebar(&self, agent: u64) -> Result<Sidebar> {
        open_sidebar(&self.server, &self.zendesk, agent).await
    }
}

/// A Zendesk account whose app was installed for this appliance.
pub async fn zendesk_for(appliance: &SimulatedAppliance, mut options: zendesk::Options) -> Result<SimulatedZendesk> {
    if let Some(settings) = options.installation_settings.as_object_mut() {
        settings.insert("hostname".to_owned(), json!(appliance.host()));
    }
    SimulatedZendesk::start(options).await
}

/// The server as an appliance's recipient of all events, for the connections of that `?appliance=id`.
pub fn recipient(server: &Deskbridge, id: &str) -> Recipient {
    Recipient::new(format!("{}{}?appliance={id}&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS))
}

/// Opens the sidebar as this account would, without a browser.
pub async fn open_sidebar(server: &Deskbridge, zendesk: &SimulatedZendesk, agent: u64) -> Result<Sidebar> {
    let launch = zendesk.launch(agent)?;
    let http = loopback_client()?;
    let answer = http
        .post(format!("{}{}?{}", server.public_url(), routes::ZENDESK_SIDEBAR, launch.query))
        .form(&[("token", launch.token)])
        .send()
        .await
        .context("the server does not answer")?;
    let status = answer.status();
    let page = answer.text().await?;
    ensure!(status.is_success(), "the sidebar was refused with {status}: {page}");
    let data = page_data(&page)?;
    let text = |name: &str| data[name].as_str().map(str::to_owned).with_context(|| format!("the page has no {name}"));
    Ok(Sidebar { bearer: text("bearer")?, connection: text("connection")?, base: server.public_url().to_owned(), http })
}

/// An agent's opened sidebar: a signed-in caller of the panel API.
#[derive(Debug)]
pub struct Sidebar {
    http: Client,
    base: String,
    bearer: String,
    connection: String,
}

impl Sidebar {
    /// A GET about a ticket.
    pub fn get(&self, path: &str, ticket: u64) -> RequestBuilder {
        self.http
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.bearer)
            .query(&[("connection", &self.connection), ("ticket", &ticket.to_string())])
    }

    /// A POST about a ticket; `body` is an object to which the ticket reference is added.
    pub fn post(&self, path: &str, ticket: u64, mut body: Value) -> RequestBuilder {
        body["connection"] = json!(self.connection);
        body["ticket"] = json!(ticket.to_string());
        self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.bearer).json(&body)
    }

    /// Makes a session key for a ticket.
    pub async fn session_key(&self, ticket: u64) -> Result<SessionKey> {
        read(self.post(routes::SESSION_KEY, ticket, json!({}))).await
    }

    /// What [`Self::post`] needs for a request of one's own.
    pub fn bearer(&self) -> &str {
        &self.bearer
    }

    /// The connection as the panel knows it.
    pub fn connection(&self) -> &str {
        &self.connection
    }
}

/// Sends a request and reads its successful answer.
pub async fn read<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    let answer = request.send().await.context("the server does not answer")?;
    let status = answer.status();
    let body = answer.text().await?;
    ensure!(status.is_success(), "{status}: {body}");
    serde_json::from_str(&body).with_context(|| format!("an answer of another shape: {body}"))
}

/// What the sidebar page holds for its panel, in `<script type="application/json" id="deskbridge">`.
pub fn page_data(page: &str) -> Result<Value> {
    let (_, rest) = page.split_once("id=\"deskbridge\">").context("the page has no data for the panel")?;
    let (data, _) = rest.split_once("</script>").context("the page's data does not end")?;
    serde_json::from_str(data).context("the page's data is not JSON")
}

/// A `[[connection]]` of that name to this appliance, known by the events' `?appliance=id`; `sections`: the others, as text.
pub fn connection(appliance: &SimulatedAppliance, name: &str, id: &str, sections: &str) -> Table {
    let options = appliance.options();
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
        {sections}
        "#,
        host = appliance.host(),
        client_id = options.client_id,
        client_secret = options.client_secret,
    );
    toml::from_str(&text).unwrap_or_else(|error| panic!("the connection is not TOML: {error}\n{text}"))
}

/// A `[[connection]]` of that name between this appliance and this Zendesk account, in which everything is allowed.
pub fn to_zendesk(appliance: &SimulatedAppliance, zendesk: &SimulatedZendesk, name: &str, id: &str) -> Table {
    let options = zendesk.options();
    let client = options.oauth_client.unwrap_or_default();
    let sections = format!(
        r#"
        [panel]
        issues = ["general_tech=General Technical Issues"]
        jumpoints = ["HQ-Net"]
        allow_jump_client = true
        allow_local_push = true
        allow_remote_push = true
        allow_rdp = true
        allow_shell_jump = true
        target_field = "{target_field}"
        [zendesk]
        url = "{url}"
        client_id = "{client_id}"
        client_secret = "{client_secret}"
        app_id = {app_id}
        installation_id = {installation_id}
        "#,
        target_field = zendesk::TARGET_FIELD,
        url = zendesk.url(),
        client_id = client.id,
        client_secret = client.secret,
        app_id = options.app_id,
        installation_id = options.installation_id,
    );
    connection(appliance, name, id, &sections)
}

/// Changes of a connection to Zendesk that signs in by the account's API token, the way of the time before OAuth clients.
pub fn by_api_token(options: &zendesk::Options) -> Table {
    let Ok(table) = toml::from_str(&format!(
        "[zendesk]\nclient_id = \"\"\nclient_secret = \"\"\nusername = \"{}\"\ntoken = \"{}\"\n",
        options.api_email, options.api_token
    )) else {
        panic!("the API user's name or token is no TOML text");
    };
    table
}

/// Puts `changes` over `base`, section by section.
pub fn merge(base: &mut Table, changes: Table) {
    for (key, change) in changes {
        match (base.get_mut(&key), change) {
            (Some(toml::Value::Table(section)), toml::Value::Table(change)) => {
                merge(section, change);
            }
            (_, toml::Value::String(text)) if text.is_empty() => {
                base.remove(&key);
            }
            (_, change) => {
                base.insert(key, change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_replace_only_what_they_name() {
        let mut base: Table = "name = \"a\"\n[panel]\nallow_rdp = true\nallow_shell_jump = true".parse().unwrap();
        merge(&mut base, "[panel]\nallow_rdp = false\n[zendesk]\nurl = \"u\"".parse().unwrap());
        let expected: Table = "name = \"a\"\n[panel]\nallow_rdp = false\nallow_shell_jump = true\n[zendesk]\nurl = \"u\"".parse().unwrap();
        assert_eq!(base, expected);
    }

    #[test]
    fn the_pages_data_is_found() {
        let page = r#"<script type="application/json" id="deskbridge">{"bearer":"b"}</script><p>{}</p>"#;
        assert_eq!(page_data(page).unwrap(), json!({"bearer": "b"}));
        assert!(page_data("<p>nothing</p>").is_err());
    }
}
