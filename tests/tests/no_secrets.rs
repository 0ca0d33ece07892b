//! No secret stands in a log line, in clear in the database, or in what a command or an operator's page shows.
//!
//! A whole story is run with every library at its most talkative; then everything the server left behind is searched for
//! every secret of the story, in the spellings in which it travels.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{self, Authentication, Fault, FaultRule, SessionScript};
use deskbridge_tests::outcomes::{CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY, SESSION_END};
use deskbridge_tests::scene::{EVENT_TOKEN, Plan, Scene, by_api_token, page_data};
use deskbridge_tests::server::{self, loopback_client};
use deskbridge_tests::zendesk::{self, TicketField};
use regex::Regex;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

/// Every secret by a name for people, in all its spellings.
#[derive(Default)]
struct Secrets(BTreeMap<String, Vec<Vec<u8>>>);

impl Secrets {
    fn add(&mut self, name: &str, secret: &str) {
        assert!(secret.len() >= 12, "{name} is too short to be searched for");
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let spellings =
            [secret.to_owned(), encoded, STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret), format!("{:?}", secret.as_bytes())];
        self.0.entry(name.to_owned()).or_default().extend(spellings.map(String::into_bytes));
    }

    /// A user with a secret, as HTTP Basic sends them.
    fn add_login(&mut self, name: &str, user: &str, secret: &str) {
        self.add(name, secret);
        self.add(name, &STANDARD.encode(format!("{user}:{secret}")));
    }

    /// A session id: its text, its bytes, and the number it is.
    fn add_session_id(&mut self, name: &str, id: &str) -> Result<()> {
        let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(id)?.try_into().map_err(|_| anyhow::anyhow!("a session id of another length"))?;
        self.add(name, id);
        self.add(name, &i128::from_le_bytes(bytes).to_string());
        self.0.entry(name.to_owned()).or_default().push(bytes.to_vec());
        Ok(())
    }

    /// Which of them stand in `content`, each with the first line that shows it.
    fn found_in(&self, place: &str, content: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (name, spellings) in &self.0 {
            let at = spellings.iter().find_map(|spelling| content.windows(spelling.len()).position(|window| window == spelling));
            if let Some(at) = at {
                let start = content[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |start| start + 1);
                let line: String = String::from_utf8_lossy(&content[start.max(at.saturating_sub(300))..]).chars().take(400).collect();
                found.push(format!("{place}: {name} in {}", line.lines().next().unwrap_or_default()));
            }
        }
        found
    }
}

fn talkative() -> server::Builder {
    server::Deskbridge::builder().env("RUST_LOG", "trace")
}

/// Searches everything the server left behind and everything it shows to operators.
async fn search(scene: &Scene, secrets: &Secrets) -> Result<()> {
    let logs = scene.server.logs().text();
    let mut found = secrets.found_in("log", logs.as_bytes());
    for (name, content) in files(scene.server.directory())? {
        found.extend(secrets.found_in(&name, &content));
    }
    for arguments in [&["events", "list"][..], &["config", "export"], &["config", "apply"], &["check"]] {
        let output = scene.server.command(arguments).await?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        found.extend(secrets.found_in(&arguments.join(" "), &[output.stdout, output.stderr].concat()));
    }
    for page in ["/", "/metrics"] {
        let answer = loopback_client()?.get(format!("{}{page}", scene.server.admin_url())).send().await?;
        found.extend(secrets.found_in(page, &answer.bytes().await?));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));

    // None of this may have been searched in vain.
    let talk = |level: &str| logs.lines().filter(|line| line.contains(level)).count();
    assert!(talk(" DEBUG ") > 100 && talk(" TRACE ") > 20, "the log is not talkative");
    assert!(secrets.0.len() >= 4);
    Ok(())
}

/// The database's files, and whatever else lies there; not the settings, which are the administrator's own.
fn files(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "deskbridge.toml" {
            files.push((name, std::fs::read(entry.path())?));
        }
    }
    for needed in ["deskbridge.db", "deskbridge.db-wal"] {
        ensure!(files.iter().any(|(name, content)| name == needed && !content.is_empty()), "{needed} is not there");
    }
    Ok(files)
}

/// A page opened by a signed token, as its script would use it.
struct Page {
    http: Client,
    base: String,
    bearer: String,
    connection: String,
    ticket: u64,
}

impl Page {
    fn get(&self, path: &str) -> RequestBuilder {
        let query = [("connection", self.connection.clone()), ("ticket", self.ticket.to_string())];
        self.http.get(format!("{}{path}", self.base)).query(&query)
    }

    async fn post(&self, path: &str, mut body: Value) -> Result<Value> {
        body["connection"] = json!(self.connection);
        body["ticket"] = json!(self.ticket.to_string());
        let answer = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.bearer).json(&body).send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.text().await?);
        Ok(answer.json().await?)
    }
}

/// Opens the sidebar by a signed token; then tries that token in every way it must not be used.
async fn open_sidebar(scene: &Scene, secrets: &mut Secrets) -> Result<Page> {
    let launch = scene.zendesk.launch(scene.people.agent)?;
    secrets.add("sidebar token", &launch.token);
    let (_, signature) = launch.token.rsplit_once('.').context("a token has a signature")?;
    secrets.add("sidebar token's signature", signature);
    let http = loopback_client()?;
    let url = format!("{}{}?{}", scene.server.public_url(), routes::ZENDESK_SIDEBAR, launch.query);
    let open = |token: &str| http.post(&url).form(&[("token", token)]).send();
    let answer = open(&launch.token).await?;
    ensure!(answer.status().is_success());
    let data = page_data(&answer.text().await?)?;
    let text = |name: &str| data[name].as_str().map(str::to_owned).context("the page's data");
    let page = Page {
        bearer: text("bearer")?,
        connection: text("connection")?,
        base: scene.server.public_url().to_owned(),
        ticket: scene.people.vpn_ticket,
        http: http.clone(),
    };
    secrets.add_session_id("session id", &page.bearer)?;

    assert_eq!(open(&launch.token).await?.status(), StatusCode::FORBIDDEN, "a token opens once");
    let another = scene.zendesk.launch(scene.people.agent)?.token;
    secrets.add("unused sidebar token", &another);
    let in_query = http.get(format!("{url}&token={another}")).send().await?;
    assert_eq!(in_query.status(), StatusCode::METHOD_NOT_ALLOWED);
    let both = http.post(format!("{url}&token={another}")).form(&[("token", &another), ("token", &another)]).send().await?;
    assert_eq!(both.status(), StatusCode::FORBIDDEN);
    Ok(page)
}

/// Everything an agent can do in the panel.
async fn use_panel(page: &Page, secrets: &mut Secrets) -> Result<String> {
    for path in [routes::PANEL, routes::SESSIONS] {
        assert_eq!(page.get(path).bearer_auth(&page.bearer).send().await?.status(), StatusCode::OK, "{path}");
    }
    let cookie = format!("__Host-deskbridge={}", page.bearer);
    assert_eq!(page.get(routes::SESSIONS).header("cookie", cookie).send().await?.status(), StatusCode::OK, "by cookie");
    let in_query = page.get(routes::SESSIONS).query(&[("bearer", &page.bearer)]).send().await?;
    assert_eq!(in_query.status(), StatusCode::UNAUTHORIZED, "a session id in the query opens nothing");
    let key = page.post(routes::SESSION_KEY, json!({})).await?;
    let key_url = Url::parse(key["key_url"].as_str().context("a key's address")?)?;
    let (_, long_key) = key_url.query_pairs().find(|(name, _)| name == "ak").context("the long key")?;
    secrets.add("session key", &long_key);
    page.post(routes::JUMP, json!({ "method": "jump_client", "target": "LAPTOP-0042" })).await?;
    let link = page.post(routes::SESSION_CHAT_LINK, json!({ "issue": "general_tech" })).await?;
    let link = link["url"].as_str().context("a chat link")?.to_owned();
    secrets.add("chat link", link.rsplit('/').next().context("its token")?);
    let opened = page.http.get(&link).send().await?;
    ensure!(opened.status().is_success(), "{}", opened.status());
    let pressed = page.http.post(&link).form(&[("issue", "general_tech")]).send().await?;
    ensure!(pressed.status().is_redirection(), "{}", pressed.status());
    assert_eq!(page.http.get(format!("{link}x")).send().await?.status(), StatusCode::NOT_FOUND);
    key["short_key"].as_str().map(str::to_owned).context("a short key")
}

/// What a customer shows to start a chat, as it is meant and otherwise.
async fn press_as_customer(scene: &Scene, page: &Page, secrets: &mut Secrets) -> Result<()> {
    let customer = scene.zendesk.ticket(page.ticket).context("the ticket")?.requester_id;
    let filled = scene.zendesk.wait_until(|zendesk| {
        let value = zendesk.ticket(page.ticket)?.custom_fields.get(&TICKET_FIELD)?.as_str()?.to_owned();
        (!value.is_empty()).then_some(value)
    });
    let value = filled.await.context("the panel's look fills the field")?;
    let token = scene.zendesk.help_center_token(customer)?.encode()?;
    secrets.add("ticket field's value", &value);
    secrets.add("Help Center token", &token);
    secrets.add("Help Center token's signature", token.rsplit_once('.').context("a signature")?.1);
    let press = async |kind: &str, value: &str| {
        let body = json!({"connection": page.connection, "ticket": page.ticket.to_string(), "issue": "general_tech",
                          "proof": {"kind": kind, "value": value}});
        let chats = page.http.post(format!("{}{}", page.base, routes::HELP_CENTER_CHATS));
        anyhow::Ok(chats.header("origin", scene.zendesk.help_center_origin()).json(&body).send().await?.status())
    };
    assert_eq!(press("help_center_token", &token).await?, StatusCode::CREATED);
    assert_eq!(press("ticket_field", &value).await?, StatusCode::CREATED);
    // Refused, and so perhaps told of.
    assert_eq!(press("ticket_field", &token).await?, StatusCode::FORBIDDEN);
    assert_eq!(press("help_center_token", &value).await?, StatusCode::FORBIDDEN);
    assert_eq!(press(&token, &value).await?, StatusCode::BAD_REQUEST);
    Ok(())
}

/// The ticket field that holds the customer's proof.
const TICKET_FIELD: u64 = 360_001;

#[tokio::test]
async fn a_whole_story_leaves_no_secret_behind() -> Result<()> {
    let proofs = "[\"help_center_token\", \"ticket_field\", \"chat_link\"]";
    let help_center = toml::from_str(&format!("[help_center]\ncustomer_proof = {proofs}\nticket_field = {TICKET_FIELD}"))?;
    let mut scene = Scene::prepare(Plan { server: talkative(), connection: help_center, ..Plan::default() }).await?;
    scene.zendesk.add_ticket_field(TicketField { id: TICKET_FIELD, ..TicketField::shown_to_customers("Support reference") });
    scene.server.start().await?;
    let ticket = scene.people.vpn_ticket;
    let (of_appliance, of_zendesk) = (scene.appliance.options(), scene.zendesk.options());
    let mut secrets = Secrets::default();
    secrets.add_login("client secret", &of_appliance.client_id, &of_appliance.client_secret);
    let client = of_zendesk.oauth_client.context("an OAuth client")?;
    secrets.add_login("Zendesk client secret", &client.id, &client.secret);
    secrets.add("event token", EVENT_TOKEN);
    // No secret of the administrator's, but the customers'.
    secrets.add("chat", "Danke! Seit heute früh öffnet sich Outlook nicht");

    let page = open_sidebar(&scene, &mut secrets).await?;
    let short_key = use_panel(&page, &mut secrets).await?;
    press_as_customer(&scene, &page, &mut secrets).await?;
    let lsid = scene.appliance.begin_session_with_key(&short_key)?;
    let mut script = SessionScript::example(ticket.to_string());
    for (_, step) in script.steps.drain(..) {
        scene.appliance.step(&lsid, step)?;
    }
    for kind in [SESSION_END, CUSTOMER_SURVEY, REPRESENTATIVE_SURVEY] {
        scene.outcome(&lsid, kind).await?.done()?;
    }
    let report = scene.only_report(ticket, &lsid)?;
    let signed = Regex::new(r"h%3D([0-9a-f]{40})")?;
    let signed = signed.captures(&report.html_body).context("the note links to the chat")?;
    secrets.add("signature of a download link", &signed[1]);

    // Refusals, faults and a restart talk the most.
    let events = format!("{}{}?appliance=nobody&token={EVENT_TOKEN}", scene.server.url(), routes::APPLIANCE_EVENTS);
    assert_eq!(page.http.post(events).form(&[("event", "x")]).send().await?.status(), StatusCode::NOT_FOUND);
    for token in scene.appliance.tokens() {
        secrets.add("access token", &token);
    }
    for token in scene.zendesk.oauth_tokens() {
        secrets.add("Zendesk access token", &token);
    }
    scene.zendesk.revoke_tokens();
    scene.appliance.revoke_tokens();
    scene.appliance.add_fault(FaultRule::next(1, Fault::Garbage));
    scene.server.restart().await?;
    let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    assert_eq!(page.get(routes::SESSIONS).bearer_auth(&page.bearer).send().await?.status(), StatusCode::OK, "sessions outlive the server");
    let tokens = scene.appliance.tokens();
    ensure!(!tokens.is_empty());
    for token in tokens {
        secrets.add("access token", &token);
    }
    for token in scene.zendesk.oauth_tokens() {
        secrets.add("Zendesk access token", &token);
    }
    search(&scene, &secrets).await?;

    // Of the session there is a hash, so what was searched is where it would stand.
    let hash = Sha256::digest(page.bearer.as_bytes());
    let stored = files(scene.server.directory())?;
    assert!(
        stored.iter().any(|(_, content)| content.windows(hash.len()).any(|window| window == hash.as_slice())),
        "no hash of the session id"
    );
    Ok(())
}

#[tokio::test]
async fn a_password_of_an_older_appliance_stays_secret_too() -> Result<()> {
    let appliance = appliance::Options { authentication: Authentication::UserAndPassword, ..appliance::Options::default() };
    let connection = by_api_token(&zendesk::Options::default());
    let scene = Scene::prepare(Plan { appliance, server: talkative(), connection, ..Plan::default() }).await?;
    let of_appliance = scene.appliance.options();
    let settings = std::fs::read_to_string(scene.server.settings_path())?;
    let settings = settings.replace(&format!("client_id = \"{}\"", of_appliance.client_id), "username = \"integration\"");
    let settings = settings
        .replace(&format!("client_secret = \"{}\"", of_appliance.client_secret), &format!("password = \"{}\"", of_appliance.password));
    std::fs::write(scene.server.settings_path(), settings)?;
    let mut scene = scene;
    scene.server.start().await?;
    let mut secrets = Secrets::default();
    secrets.add_login("password", &of_appliance.username, &of_appliance.password);
    secrets.add_login("Zendesk token", &format!("{}/token", scene.zendesk.options().api_email), &scene.zendesk.options().api_token);
    secrets.add("event token", EVENT_TOKEN);

    let page = open_sidebar(&scene, &mut secrets).await?;
    use_panel(&page, &mut secrets).await?;
    // An appliance that repeats what it was sent.
    let repeated = format!("The password '{}' was not understood.", of_appliance.password);
    scene.appliance.add_fault(FaultRule::next(1, Fault::ErrorDocument(repeated)).on("SupportSession"));
    let lsid = scene.appliance.play(SessionScript::example(scene.people.vpn_ticket.to_string()))?;
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    search(&scene, &secrets).await
}

#[test]
fn the_search_finds_what_it_is_there_to_find() -> Result<()> {
    let mut secrets = Secrets::default();
    secrets.add_login("login", "user", "a secret/with+signs");
    secrets.add_session_id("session id", &URL_SAFE_NO_PAD.encode(5_i128.pow(50).to_le_bytes()))?;
    for line in [
        "token=a secret/with+signs",
        "token=a+secret%2Fwith%2Bsigns&x",
        "authorization: Basic dXNlcjphIHNlY3JldC93aXRoK3NpZ25z",
        "YSBzZWNyZXQvd2l0aCtzaWducw==",
        "body: [97, 32, 115, 101, 99, 114, 101, 116, 47, 119, 105, 116, 104, 43, 115, 105, 103, 110, 115]",
        "session: Id(88817841970012523233890533447265625)",
    ] {
        assert_eq!(secrets.found_in("log", format!("first\n{line}\nlast").as_bytes()).len(), 1, "{line}");
    }
    assert_eq!(secrets.found_in("log", b"a secret"), Vec::<String>::new());
    Ok(())
}
