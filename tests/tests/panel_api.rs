//! `/api/v1` from outside: what the panel may do, for whom, and what it is told when something is wrong.
//!
//! Each test has its own scene; within it, rows of data.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deskbridge_shared::problem::{Kind, Reader, TYPE_PREFIX};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{
    self, AuthorizationKind, Customer, Endpoint, EventKind, Fault as ApplianceFault, FaultRule, NewSession, Queue, Recipient,
    RecordedRequest, Representative, SimulatedAppliance, read_script,
};
use deskbridge_tests::button::sign;
use deskbridge_tests::scene::{CONNECTION, EVENT_TOKEN, Plan, Scene, Sidebar};
use deskbridge_tests::server::{loopback_client, until};
use deskbridge_tests::zendesk::{
    self, Fault, Matching, Role, SimulatedZendesk, TARGET_FIELD, Ticket, TicketAccess, TicketRestriction, User,
};
use futures_util::future::{join_all, try_join_all};
use reqwest::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, ORIGIN, REFERRER_POLICY, RETRY_AFTER,
};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Table;
use url::Url;

/// Paths of the panel API, with the method each takes and a body that would do.
const CALLS: [(&str, &str); 5] = [
    (routes::PANEL, ""),
    (routes::SESSIONS, ""),
    (routes::SESSION_KEY, "{}"),
    (routes::JUMP, r#"{"method": "jump_client", "target": "LAPTOP-0042"}"#),
    (routes::SESSION_CHAT_LINK, "{}"),
];

/// An answer, read to its end.
struct Told {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Told {
    async fn by(request: RequestBuilder) -> Result<Self> {
        let answer = request.send().await.context("the server does not answer")?;
        Ok(Self { status: answer.status().as_u16(), headers: answer.headers().clone(), text: answer.text().await? })
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    #[track_caller]
    fn ok(&self, what: &str) -> Value {
        assert_eq!(self.status, 200, "{what}: {}", self.text);
        assert_eq!(self.headers[CONTENT_TYPE], "application/json", "{what}");
        assert_eq!(self.headers[CACHE_CONTROL], "no-store", "{what}");
        self.json()
    }

    /// Well answered, or forbidden for this reason.
    #[track_caller]
    fn ok_or_forbidden(&self, what: &str, allowed: bool, kind: &str) {
        if allowed {
            self.ok(what);
        } else {
            self.problem(what, 403, kind);
        }
    }

    /// A problem document (RFC 9457) of this status and type, complete, and without a secret; its detail.
    #[track_caller]
    fn problem(&self, what: &str, status: u16, kind: &str) -> String {
        assert_eq!(self.status, status, "{what}: {}", self.text);
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json", "{what}: {}", self.text);
        assert_eq!(self.headers[CACHE_CONTROL], "no-store", "{what}");
        let problem = self.json();
        assert_eq!(problem["type"], json!(format!("urn:deskbridge:problem:{kind}")), "{what}: {problem}");
        assert_eq!(problem["status"], json!(status), "{what}: {problem}");
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        assert!(!text("title").is_empty() && !text("detail").is_empty(), "{what}: {problem}");
        // One that the panel has words for, with everything they name.
        let reason = if problem["reason"].is_null() { kind.to_owned() } else { text("reason") };
        let known = Kind::ALL.iter().find(|known| known.name() == reason).unwrap_or_else(|| panic!("{what}: nobody knows {reason}"));
        assert!(known.base().name() == kind && known.is_read_by(Reader::Panel), "{what}: {problem}");
        assert!(known.members().iter().all(|name| !problem[name].is_null()), "{what}: {:?} in {problem}", known.members());
        let (zendesk, appliance) = (zendesk::Options::default(), appliance::Options::default());
        for secret in [&zendesk.api_token, &appliance.client_secret, EVENT_TOKEN, &zendesk.api_email, "Bearer", "panicked", ".rs:"] {
            assert!(!self.text.contains(secret), "{what}: the problem tells {secret}: {problem}");
        }
        text("detail")
    }
}

/// A call about a ticket; `body` is empty for a GET.
fn call(sidebar: &Sidebar, path: &str, body: &str, ticket: u64) -> RequestBuilder {
    match body {
        "" => sidebar.get(path, ticket),
        body => sidebar.post(path, ticket, serde_json::from_str(body).unwrap()),
    }
}

/// The same with a ticket reference that may be anything.
fn raw_call(scene: &Scene, bearer: &str, path: &str, body: &str, ticket: &str) -> RequestBuilder {
    let http = loopback_client().unwrap();
    let url = format!("{}{path}", scene.server.public_url());
    if body.is_empty() {
        return http.get(url).bearer_auth(bearer).query(&[("connection", CONNECTION), ("ticket", ticket)]);
    }
    let mut body: Value = serde_json::from_str(body).unwrap();
    body["connection"] = json!(CONNECTION);
    body["ticket"] = json!(ticket);
    http.post(url).bearer_auth(bearer).json(&body)
}

fn keys_made(appliance: &SimulatedAppliance) -> usize {
    appliance.count(|request| request.is("generate_session_key"))
}

fn table(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A ticket of Tom's, open, without group, organisation or assignee unless `change` says so.
fn new_ticket(scene: &Scene, change: impl FnOnce(&mut Ticket)) -> u64 {
    let requester_id = scene.zendesk.ticket(scene.people.vpn_ticket).unwrap().requester_id;
    let mut ticket = Ticket { subject: "Row".into(), description: "Row".into(), requester_id, ..Ticket::default() };
    change(&mut ticket);
    scene.zendesk.add_ticket(ticket)
}

// What is offered

struct Offered {
    name: &'static str,
    /// The whole `[connection.panel]`.
    panel: &'static str,
    installation: Value,
    methods: &'static [&'static str],
    jumpoints: &'static [&'static str],
    issues: &'static [(&'static str, &'static str)],
}

const ALL: &str =
    "allow_jump_client = true\nallow_local_push = true\nallow_remote_push = true\nallow_rdp = true\nallow_shell_jump = true\n";
const ALL_METHODS: &[&str] = &["jump_client", "local_push", "remote_push", "rdp", "shell_jump"];

impl Offered {
    async fn model(&self) -> Result<(Scene, Told)> {
        let plan = Plan {
            zendesk: zendesk::Options { installation_settings: self.installation.clone(), ..zendesk::Options::default() },
            ..Plan::default()
        };
        let mut scene = Scene::prepare(plan).await?;
        let mut settings: Table = std::fs::read_to_string(scene.server.settings_path())?.parse()?;
        settings["connection"][0]["panel"] = toml::Value::Table(table(self.panel));
        std::fs::write(scene.server.settings_path(), settings.to_string())?;
        scene.server.start().await?;
        let told = Told::by(scene.open_sidebar(scene.people.agent).await?.get(routes::PANEL, scene.people.vpn_ticket)).await?;
        Ok((scene, told))
    }
}

#[tokio::test]
async fn what_is_offered_is_what_both_settings_allow() -> Result<()> {
    let all = zendesk::Options::default().installation_settings;
    let with = |changes: &[(&str, Value)]| {
        let mut settings = all.clone();
        for (name, value) in changes {
            settings[*name] = value.clone();
        }
        settings
    };
    let three = &[("general_tech", "General Technical Issues"), ("network", "Network and VPN"), ("printing", "Printing")];
    let rows = [
        Offered { name: "nothing is set", panel: "", installation: json!({}), methods: &["jump_client"], jumpoints: &[], issues: &[] },
        Offered {
            name: "all is allowed",
            panel: ALL,
            installation: all.clone(),
            methods: ALL_METHODS,
            jumpoints: &["HQ-Net", "Warehouse"],
            issues: three,
        },
        Offered {
            name: "each forbids something",
            panel: "allow_rdp = false",
            installation: with(&[
                ("allow_local_push", json!("false")),
                ("allow_shell_jump", json!(false)),
                ("allow_jump_client", json!("0")),
            ]),
            methods: &["remote_push"],
            jumpoints: &["HQ-Net", "Warehouse"],
            issues: three,
        },
        Offered {
            name: "no Jumpoint anywhere",
            panel: ALL,
            installation: with(&[("jumpoints", json!("")), ("issues", Value::Null)]),
            methods: &["jump_client", "local_push"],
            jumpoints: &[],
            issues: &[],
        },
        Offered {
            name: "lists of the settings file where the form is empty",
            panel: "allow_jump_client = false\nallow_rdp = true\njumpoints = [\"Own\"]\nissues = [\"vpn=VPN & <more>\"]",
            installation: json!({"issues": "  \n", "jumpoints": null}),
            methods: &["rdp"],
            jumpoints: &["Own"],
            issues: &[("vpn", "VPN & <more>")],
        },
    ];
    let models = try_join_all(rows.iter().map(Offered::model)).await?;
    for (row, (scene, told)) in rows.iter().zip(&models) {
        let mut model = told.ok(row.name);
        let texts = model.as_object_mut().context("an object")?.remove("texts").context("texts")?;
        assert_eq!(texts["retry"], json!("Try again"), "{}", row.name);
        let issues: Vec<Value> = row.issues.iter().map(|(code, title)| json!({"code_name": code, "title": title})).collect();
        let expected = json!({
            "connection": CONNECTION, "ticket": scene.people.vpn_ticket.to_string(), "methods": row.methods,
            "jumpoints": row.jumpoints, "issues": issues, "target": null, "locale": "en",
            "session_keys": true, "machines": false,
        });
        assert_eq!(model, expected, "{}", row.name);
    }

    // Settings that cannot be read now offer nothing; settings that may not be read leave the word to the settings file.
    let (mut scene, _) =
        Offered { name: "", panel: ALL, installation: all.clone(), methods: &[], jumpoints: &[], issues: &[] }.model().await?;
    let model = async |scene: &Scene| {
        let sidebar = scene.open_sidebar(scene.people.agent).await?;
        Told::by(sidebar.get(routes::PANEL, scene.people.vpn_ticket)).await
    };
    scene.server.restart().await?;
    let failure = Fault::Status { code: 500, body: "<h1>stack at app.rb:42</h1>".into(), retry_after: None };
    scene.zendesk.fail_always(Matching::new(Method::GET, "/api/v2/apps/installations"), failure);
    let detail = model(&scene).await?.problem("settings that cannot be read", 502, "ticket-system-unavailable");
    assert!(!detail.contains("app.rb"), "{detail}");
    scene.zendesk.clear_faults();
    scene.zendesk.alter_user(scene.zendesk.api_user(), |user| user.role = Role::Agent);
    let told = model(&scene).await?.ok("settings that may not be read");
    assert_eq!((&told["methods"], &told["jumpoints"]), (&json!(["jump_client", "local_push"]), &json!([])));
    Ok(())
}

#[tokio::test]
async fn the_model_speaks_the_agents_language_and_knows_the_tickets_machine() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let people = &scene.people;
    let long = "x".repeat(400);
    let with_target = |value: Value| new_ticket(&scene, |ticket| ticket.custom_fields = BTreeMap::from([(TARGET_FIELD, value)]));
    for (ticket, expected) in [
        (people.vpn_ticket, json!("HBR-LT-0147")),
        (people.printer_ticket, Value::Null),
        (with_target(json!("  LAPTOP & <1> ")), json!("LAPTOP & <1>")),
        (with_target(json!(" ")), Value::Null),
        (with_target(json!(4711)), json!("4711")),
        (with_target(json!(["a"])), Value::Null),
        (with_target(json!(long)), json!(long[..255])),
    ] {
        let model = Told::by(scene.open_sidebar(people.agent).await?.get(routes::PANEL, ticket)).await?.ok("model");
        assert_eq!(model["target"], expected);
    }
    for (agent, locale, expected, retry) in [
        (people.agent, None, "en", "Try again"),
        (people.german_agent, None, "de", "Erneut versuchen"),
        (people.agent, Some("de-AT"), "de", "Erneut versuchen"),
        (people.german_agent, Some("en-GB"), "en", "Try again"),
        (people.german_agent, Some("xx"), "en", "Try again"),
        (people.agent, Some("../../etc/passwd"), "en", "Try again"),
    ] {
        let request = scene.open_sidebar(agent).await?.get(routes::PANEL, people.vpn_ticket);
        let model = Told::by(request.query(&locale.map(|locale| [("locale", locale)]))).await?.ok("model");
        assert_eq!((&model["locale"], &model["texts"]["retry"]), (&json!(expected), &json!(retry)), "{agent} {locale:?}");
        let texts = model["texts"].as_object().context("texts")?;
        assert!(texts.len() > 40 && texts.values().all(Value::is_string));
    }
    Ok(())
}

// Who may do it

/// A row: what the agent is, how the ticket is tied to him, whether he may.
type Access<'a> = (&'static str, User, &'a dyn Fn(&mut Ticket, u64), bool);

#[tokio::test]
async fn an_agent_works_on_the_tickets_the_account_lets_him_see() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    scene.zendesk.set_rate_limits(None);
    let [group, other_group] = ["A", "B"].map(|name| scene.zendesk.add_group(name));
    let private = scene.zendesk.add_private_group("Secret");
    let [organization, other_organization] = ["A", "B"].map(|name| scene.zendesk.add_organization(name));
    let many: Vec<u64> = (0..120).map(|number| scene.zendesk.add_group(&number.to_string())).chain([group]).collect();
    let agent = User { role: Role::Agent, email: "agent@example.com".into(), ..User::default() };
    let restricted = |restriction| User { ticket_restriction: Some(restriction), ..agent.clone() };
    let groups = |group_ids: &[u64]| User { group_ids: group_ids.to_vec(), ..restricted(TicketRestriction::Groups) };
    let organizations = |ids: &[u64]| User { organization_ids: ids.to_vec(), ..restricted(TicketRestriction::Organization) };
    let with_role = |access| User { custom_role_id: Some(scene.zendesk.add_custom_role(access)), ..agent.clone() };
    let of_groups = |user: User, group_ids: &[u64]| User { group_ids: group_ids.to_vec(), ..user };
    let public_groups = with_role(TicketAccess::GroupsAndPublicGroups);
    let unknown_role = User { custom_role_id: Some(999_999_999), ..agent.clone() };
    let as_it_is = |_: &mut Ticket, _: u64| {};
    let followed = |ticket: &mut Ticket, agent: u64| drop(ticket.other.insert("follower_ids".into(), json!([7, agent])));
    let in_copy = |ticket: &mut Ticket, agent: u64| ticket.collaborator_ids.push(agent);
    let is_private = move |ticket: &mut Ticket, _: u64| ticket.group_id = Some(private);
    let is_private_and_followed = move |ticket: &mut Ticket, agent: u64| {
        ticket.group_id = Some(private);
        ticket.collaborator_ids.push(agent);
    };
    let nowhere = |ticket: &mut Ticket, _: u64| (ticket.group_id, ticket.organization_id) = (None, None);
    let assigned = |ticket: &mut Ticket, agent: u64| ticket.assignee_id = Some(agent);
    let requested = |ticket: &mut Ticket, agent: u64| ticket.requester_id = agent;
    let rows: [Access<'_>; 36] = [
        ("an agent", agent.clone(), &as_it_is, true),
        ("an administrator", User { role: Role::Admin, ..agent.clone() }, &as_it_is, true),
        ("a ticket of his group", groups(&[other_group, group]), &as_it_is, true),
        ("a ticket of the last of his 121 groups", groups(&many), &as_it_is, true),
        ("a ticket of another group", groups(&[other_group]), &as_it_is, false),
        ("a ticket without group", groups(&[group]), &nowhere, false),
        ("in no group", groups(&[]), &as_it_is, false),
        ("a ticket of his organisation", organizations(&[organization]), &as_it_is, true),
        ("a ticket of his second organisation", organizations(&[other_organization, organization]), &as_it_is, true),
        ("a ticket of another organisation", organizations(&[other_organization]), &as_it_is, false),
        ("a ticket without organisation", organizations(&[organization]), &nowhere, false),
        ("in no organisation", organizations(&[]), &nowhere, false),
        ("assigned to him", restricted(TicketRestriction::Assigned), &assigned, true),
        ("assigned to another", restricted(TicketRestriction::Assigned), &as_it_is, false),
        ("requested, but not assigned", restricted(TicketRestriction::Assigned), &requested, false),
        ("requested by him", restricted(TicketRestriction::Requested), &requested, true),
        ("requested by another", restricted(TicketRestriction::Requested), &as_it_is, false),
        ("assigned, but not requested", restricted(TicketRestriction::Requested), &assigned, false),
        ("suspended", User { suspended: true, ..agent.clone() }, &assigned, false),
        ("an end user with his own ticket", User { role: Role::EndUser, ..agent.clone() }, &requested, false),
        ("a suspended administrator", User { role: Role::Admin, suspended: true, ..agent.clone() }, &as_it_is, false),
        ("of another group, requested by them", groups(&[other_group]), &requested, true),
        ("of another group, assigned to them", groups(&[other_group]), &assigned, true),
        ("of another group, followed by them", groups(&[other_group]), &followed, true),
        ("of another group, in copy", groups(&[other_group]), &in_copy, true),
        ("of another organisation, in copy", organizations(&[other_organization]), &in_copy, true),
        ("an end user in copy", User { role: Role::EndUser, ..agent.clone() }, &in_copy, false),
        ("a role for all tickets, a private group", with_role(TicketAccess::All), &is_private, true),
        ("a role for public groups, a public group", public_groups.clone(), &as_it_is, true),
        ("a role for public groups, no group", public_groups.clone(), &nowhere, true),
        ("a role for public groups, a private group", public_groups.clone(), &is_private, false),
        ("a role for public groups, in the private group", of_groups(public_groups.clone(), &[private]), &is_private, true),
        ("a role for public groups, in copy of a private group's ticket", public_groups, &is_private_and_followed, true),
        ("a role for their groups", of_groups(with_role(TicketAccess::Groups), &[group]), &as_it_is, true),
        ("a role for their groups, another group", with_role(TicketAccess::Groups), &as_it_is, false),
        ("a role for assigned tickets", with_role(TicketAccess::Assigned), &as_it_is, false),
    ];
    let colleague = scene.open_sidebar(scene.people.agent).await?;
    for (name, user, tie, expected) in rows {
        let agent = scene.zendesk.add_user(user);
        let ticket = new_ticket(&scene, |ticket| {
            (ticket.group_id, ticket.organization_id) = (Some(group), Some(organization));
            tie(ticket, agent);
        });
        assert_eq!(scene.zendesk.agent_may_see(agent, ticket), expected, "{name}: the row itself is wrong");
        // What was found out about a colleague a moment ago says nothing about him.
        Told::by(colleague.get(routes::PANEL, ticket)).await?.ok("a colleague");
        let before = keys_made(&scene.appliance);
        let sidebar = scene.open_sidebar(agent).await?;
        for (path, body) in CALLS {
            let told = Told::by(call(&sidebar, path, body, ticket)).await?;
            let what = format!("{name}: {path}");
            told.ok_or_forbidden(&what, expected, "ticket-not-allowed");
        }
        assert_eq!(keys_made(&scene.appliance) - before, usize::from(expected), "{name}: keys made at the appliance");
    }
    // A role that cannot be read might be one that reaches little.
    for (group_ids, ties, expected) in [(vec![], false, false), (vec![group], false, true), (vec![], true, true)] {
        let agent = scene.zendesk.add_user(User { group_ids, ..unknown_role.clone() });
        let ticket = new_ticket(&scene, |ticket| {
            ticket.group_id = Some(group);
            ticket.collaborator_ids.extend(ties.then_some(agent));
        });
        let told = Told::by(scene.open_sidebar(agent).await?.get(routes::PANEL, ticket)).await?;
        told.ok_or_forbidden("a role that cannot be read", expected, "ticket-not-allowed");
    }
    let nobody = scene.open_sidebar(999_999_999).await?;
    for (path, body) in CALLS {
        Told::by(call(&nobody, path, body, scene.people.vpn_ticket)).await?.problem(path, 403, "ticket-not-allowed");
    }

    let deleted = new_ticket(&scene, |ticket| ticket.status = "deleted".into());
    for (path, body) in CALLS {
        let detail = Told::by(call(&colleague, path, body, deleted)).await?.problem(path, 404, "ticket-not-found");
        assert!(detail.contains("was deleted"), "{detail}");
    }

    // A closed ticket can be looked at, and takes no session.
    let closed = new_ticket(&scene, |ticket| ticket.status = "closed".into());
    let before = keys_made(&scene.appliance);
    for (path, body) in CALLS {
        let told = Told::by(call(&colleague, path, body, closed)).await?;
        if body.is_empty() {
            told.ok(path);
        } else {
            let detail = told.problem(path, 403, "ticket-not-allowed");
            assert!(detail.contains("closed") && detail.contains("follow-up"), "{detail}");
        }
    }
    assert_eq!(keys_made(&scene.appliance), before);
    Ok(())
}

#[tokio::test]
async fn what_is_no_call_is_refused_in_words() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ticket = scene.people.vpn_ticket.to_string();
    let http = loopback_client()?;
    let url = |path: &str| format!("{}{path}", scene.server.public_url());

    let refused: [(&str, u16, &str); 12] = [
        ("999999999", 404, "ticket-not-found"),
        ("new", 404, "ticket-not-found"),
        ("0", 404, "ticket-not-found"),
        ("007", 404, "ticket-not-found"),
        ("-1", 404, "ticket-not-found"),
        ("1.5", 404, "ticket-not-found"),
        ("../users/me", 404, "ticket-not-found"),
        ("1?include=users", 404, "ticket-not-found"),
        ("99999999999999999999", 404, "ticket-not-found"),
        ("１２", 404, "ticket-not-found"),
        ("", 400, "bad-request"),
        (&"1".repeat(65), 400, "bad-request"),
    ];
    for (reference, status, kind) in refused {
        for (path, body) in CALLS {
            let told = Told::by(raw_call(&scene, sidebar.bearer(), path, body, reference)).await?;
            told.problem(&format!("ticket {reference}: {path}"), status, kind);
        }
    }

    for (query, status, kind) in [
        (String::new(), 400, "bad-request"),
        (format!("ticket={ticket}"), 400, "bad-request"),
        (format!("connection={CONNECTION}"), 400, "bad-request"),
        (format!("connection={CONNECTION}&ticket={ticket}&ticket={ticket}"), 400, "bad-request"),
        (format!("connection={CONNECTION}&connection={CONNECTION}&ticket={ticket}"), 400, "bad-request"),
        (format!("connection={}&ticket={ticket}", CONNECTION.to_lowercase()), 403, "foreign-connection"),
        (format!("connection=&ticket={ticket}"), 403, "foreign-connection"),
    ] {
        for path in [routes::PANEL, routes::SESSIONS] {
            let told = Told::by(http.get(url(&format!("{path}?{query}"))).bearer_auth(sidebar.bearer())).await?;
            told.problem(&format!("{path}?{query}"), status, kind);
        }
    }

    let reference = format!(r#""connection": "{CONNECTION}", "ticket": "{ticket}""#);
    let jump = r#""method": "jump_client", "target": "x""#;
    let json_type = Some("application/json");
    for (what, content_type, body, status, kind) in [
        ("no body", json_type, String::new(), 400, "bad-request"),
        ("no JSON", json_type, "{".into(), 400, "bad-request"),
        ("a list", json_type, "[]".into(), 400, "bad-request"),
        ("deep nesting", json_type, "[".repeat(60_000), 400, "bad-request"),
        ("not UTF-8 in spirit", json_type, format!(r#"{{{reference}, {jump}, "x": "\ud800"}}"#), 400, "bad-request"),
        ("no content type", None, format!("{{{reference}, {jump}}}"), 400, "bad-request"),
        (
            "a form, as any site can post it",
            Some("application/x-www-form-urlencoded"),
            format!("connection={CONNECTION}&ticket={ticket}"),
            400,
            "bad-request",
        ),
        ("JSON as text, as any site can post it", Some("text/plain"), format!("{{{reference}, {jump}}}"), 400, "bad-request"),
        ("no connection", json_type, format!(r#"{{"ticket": "{ticket}", {jump}}}"#), 400, "bad-request"),
        ("no ticket", json_type, format!(r#"{{"connection": "{CONNECTION}", {jump}}}"#), 400, "bad-request"),
        (
            "a ticket that is a number",
            json_type,
            format!(r#"{{"connection": "{CONNECTION}", "ticket": {ticket}, {jump}}}"#),
            400,
            "bad-request",
        ),
        ("an unknown field", json_type, format!(r#"{{{reference}, {jump}, "external_key": "1"}}"#), 400, "bad-request"),
        ("more than 64 KiB", json_type, format!("{{{reference}, {jump}{}}}", " ".repeat(66 * 1024)), 413, "too-large"),
    ] {
        for path in [routes::SESSION_KEY, routes::JUMP, routes::SESSION_CHAT_LINK] {
            // The fields of a jump are unknown to the others.
            let body = if path == routes::JUMP { body.clone() } else { body.replace(&format!(", {jump}"), "") };
            let mut request = http.post(url(path)).bearer_auth(sidebar.bearer()).body(body);
            if let Some(content_type) = content_type {
                request = request.header(CONTENT_TYPE, content_type);
            }
            Told::by(request).await?.problem(&format!("{what}: {path}"), status, kind);
        }
    }

    for (path, body) in CALLS {
        let ticket = scene.people.vpn_ticket;
        let wrong_method = if body.is_empty() { http.post(url(path)) } else { http.get(url(path)) };
        Told::by(wrong_method.bearer_auth(sidebar.bearer())).await?.problem(path, 405, "method-not-allowed");
        for (what, bearer) in [("no session", ""), ("a made-up session", "AAAAAAAAAAAAAAAAAAAAAA"), ("no id", "null")] {
            Told::by(raw_call(&scene, bearer, path, body, &ticket.to_string())).await?.problem(
                &format!("{what}: {path}"),
                401,
                "no-session",
            );
        }
    }
    Told::by(http.get(url("/api/v1/nothing")).bearer_auth(sidebar.bearer())).await?.problem("no route", 404, "not-found");
    assert_eq!(keys_made(&scene.appliance), 0);

    // A cookie goes along with whatever site the browser is on; only our own page may act with it.
    let own = scene.server.public_url().to_owned();
    for (site, origin, allowed) in [
        (Some("cross-site"), Some("https://evil.example"), false),
        (Some("cross-site"), None, false),
        (Some("same-site"), None, false),
        (None, Some("https://evil.example"), false),
        (None, Some("null"), false),
        (Some("same-origin"), Some(own.as_str()), true),
        (Some("none"), None, true),
        (None, Some(own.as_str()), true),
    ] {
        let before = keys_made(&scene.appliance);
        let cookie = format!("__Host-deskbridge={}", sidebar.bearer());
        let mut request =
            http.post(url(routes::SESSION_KEY)).header(COOKIE, cookie).json(&json!({"connection": CONNECTION, "ticket": ticket}));
        request = site.into_iter().fold(request, |request, site| request.header("sec-fetch-site", site));
        request = origin.into_iter().fold(request, |request, origin| request.header(ORIGIN, origin));
        let told = Told::by(request).await?;
        let what = format!("{site:?} {origin:?}");
        told.ok_or_forbidden(&what, allowed, "cross-site");
        assert_eq!(keys_made(&scene.appliance) - before, usize::from(allowed), "{what}");
        assert!(told.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{what}: {:?}", told.headers);
    }
    Ok(())
}

// Session keys

#[tokio::test]
async fn a_session_key_belongs_to_the_ticket_and_to_the_queue_asked_for() -> Result<()> {
    let anna = Representative { id: 160, username: "anna.lindqvist".into(), ..Representative::example() };
    let appliance = appliance::Options { representatives: vec![Representative::example(), anna], ..appliance::Options::default() };
    let connection = table("[panel]\nsession_key_queue = \"team:4\"\nsession_key_ttl_seconds = 900");
    let scene = Scene::start(Plan { appliance, connection, ..Plan::default() }).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ticket = scene.people.vpn_ticket;

    for (body, queue_id, ttl, queue) in [
        (json!({}), "team:4", 900, Queue::Team(4)),
        (json!({"queue": "general", "ttl_seconds": 60}), "general", 60, Queue::General),
        (json!({"queue": null, "ttl_seconds": null}), "team:4", 900, Queue::Team(4)),
        (json!({"queue": "team:3", "ttl_seconds": 604_800}), "team:3", 604_800, Queue::Team(3)),
        (json!({"queue": "issue:vpn"}), "issue:vpn", 900, Queue::Issue("vpn".into())),
        (json!({"queue": "agent"}), "rep_username:anna.lindqvist", 900, Queue::Representative(160)),
    ] {
        scene.appliance.forget_requests();
        let before = scene.appliance.clock().now();
        let key = Told::by(sidebar.post(routes::SESSION_KEY, ticket, body.clone())).await?.ok("a key");
        let text = |name: &str| key[name].as_str().unwrap_or_default();
        assert_eq!(key.as_object().map(serde_json::Map::len), Some(5), "{key}");
        assert!(text("short_key").len() == 7 && text("short_key").bytes().all(|byte| byte.is_ascii_digit()), "{key}");
        assert!(text("key_url").starts_with(&format!("{}/?ak=", scene.appliance.base_url())), "{key}");
        assert!(!text("mail_subject").is_empty() && text("mail_body").contains(text("key_url")), "{key}");
        let expires = text("expires_at");
        let late = OffsetDateTime::parse(expires, &Rfc3339)?.unix_timestamp() - before - ttl;
        assert!(expires.ends_with('Z') && (0..30).contains(&late), "{expires} is {late} s late");

        let requests = scene.appliance.requests();
        let asked = requests.iter().find(|request| request.is("generate_session_key")).context("the appliance was not asked")?;
        let mut parameters = asked.parameters.clone();
        parameters.sort();
        let expected = [
            ("action", "generate_session_key"),
            ("queue_id", queue_id),
            ("session.custom.external_key", &ticket.to_string()),
            ("ttl", &ttl.to_string()),
            ("type", "support"),
        ];
        assert_eq!(parameters, expected.map(|(name, value)| (name.to_owned(), value.to_owned())), "{body}");
        assert_eq!((asked.method.as_str(), asked.authorization, asked.connection_close), ("POST", AuthorizationKind::Bearer, true));

        let lsid = scene.appliance.begin_session_with_key(text("short_key"))?;
        let session = scene.appliance.session(&lsid).context("a session")?;
        assert_eq!((session.external_key, session.queue), (ticket.to_string(), queue), "{body}");
    }

    let made = keys_made(&scene.appliance);
    for (field, value, status) in [
        ("ttl_seconds", json!(59), 422),
        ("ttl_seconds", json!(604_801), 422),
        ("ttl_seconds", json!(0), 422),
        ("ttl_seconds", json!(-1), 400),
        ("ttl_seconds", json!(1.5), 400),
        ("ttl_seconds", json!("600"), 400),
        ("queue", json!(""), 422),
        ("queue", json!("rep:151"), 422),
        ("queue", json!("rep_username:jdoe"), 422),
        ("queue", json!("team:"), 422),
        ("queue", json!("team:3&ttl=1"), 422),
        ("queue", json!("agent:jdoe"), 422),
        ("queue", json!("general\n"), 422),
        ("queue", json!(3), 400),
    ] {
        let told = Told::by(sidebar.post(routes::SESSION_KEY, ticket, json!({field: value}))).await?;
        let what = format!("{field} {value}");
        let detail = told.problem(&what, status, if status == 422 { "invalid-value" } else { "bad-request" });
        assert!(status == 400 || detail.starts_with(field), "{what}: {detail}");
    }
    assert_eq!(keys_made(&scene.appliance), made, "a refused value went to the appliance");

    // Faults of the appliance: told in kinds, without what it must not tell; the next call works again.
    let secret = scene.appliance.options().client_secret;
    let page = |status: u16| ApplianceFault::Status(status, format!("<h1>{secret} 4831907</h1>"));
    let words = ApplianceFault::ErrorDocument(format!("No licence is free. Key 4831907, secret {secret}."));
    for (what, fault, status, kind) in [
        ("500", page(500), 502, "appliance-unavailable"),
        ("404", page(404), 502, "appliance-unavailable"),
        ("403", page(403), 502, "appliance-denied"),
        ("closed", ApplianceFault::CloseConnection, 502, "appliance-unavailable"),
        ("garbage", ApplianceFault::Garbage, 502, "appliance-unavailable"),
        ("error document", words, 502, "appliance-refused"),
        ("login failed", ApplianceFault::ErrorDocument("Login failed".into()), 502, "appliance-denied"),
    ] {
        scene.appliance.add_fault(FaultRule::next(1, fault).on("generate_session_key"));
        let told = Told::by(sidebar.post(routes::SESSION_KEY, ticket, json!({}))).await?;
        let detail = told.problem(what, status, kind);
        assert!(!detail.contains("4831907") && !detail.contains("<h1>"), "{what}: {detail}");
        assert_eq!(detail.contains("No licence is free."), what == "error document", "{detail}");
        sidebar.session_key(ticket).await.with_context(|| format!("after {what}"))?;
    }
    let told = Told::by(sidebar.post(routes::SESSION_KEY, ticket, json!({"queue": "team:99"}))).await?;
    let detail = told.problem("a queue the appliance does not know", 502, "appliance-refused");
    assert!(detail.contains("queue could not be found"), "{detail}");
    scene.appliance.rotate_secret();
    Told::by(sidebar.post(routes::SESSION_KEY, ticket, json!({}))).await?.problem("denied", 502, "appliance-denied");
    scene.appliance.change_options(|options| options.client_secret.clone_from(&secret));
    sidebar.session_key(ticket).await?;
    scene.appliance.add_fault(FaultRule::next(1, page(429)).on("generate_session_key"));
    let told = Told::by(sidebar.post(routes::SESSION_KEY, ticket, json!({}))).await?;
    told.problem("429", 503, "appliance-busy");
    assert!(told.headers[RETRY_AFTER].to_str()?.parse::<u64>()? >= 1);

    // Faults of the account: nothing is made for a ticket nobody could check.
    let made = keys_made(&scene.appliance);
    let status = |code, retry_after| Fault::Status { code, body: "<h1>simulated-api-token</h1>".into(), retry_after };
    for (what, fault, kind) in [
        ("500", status(500, None), "ticket-system-unavailable"),
        ("429", status(429, Some(7)), "ticket-system-unavailable"),
        ("closed", Fault::CloseConnection, "ticket-system-unavailable"),
        ("401", status(401, None), "ticket-system-refused"),
        ("403", Fault::Status { code: 403, body: r#"{"error":{"title":"Forbidden"}}"#.into(), retry_after: None }, "ticket-system-refused"),
        ("no JSON", status(200, None), "ticket-system-unavailable"),
    ] {
        // A ticket not asked about before: what is known is believed for half a minute.
        let ticket = new_ticket(&scene, |_| {});
        // After one 401 another token is asked for.
        let times = if what == "401" { 2 } else { 1 };
        scene.zendesk.fail_next(times, Matching::new(Method::GET, "/api/v2/tickets/"), fault);
        let told = Told::by(sidebar.post(routes::SESSION_KEY, ticket, json!({}))).await?;
        told.problem(what, 502, kind);
        assert!(what != "429" || told.headers[RETRY_AFTER] == "7", "{:?}", told.headers);
    }
    assert_eq!(keys_made(&scene.appliance), made);
    Ok(())
}

#[tokio::test]
async fn a_ticket_closed_a_moment_ago_takes_no_session() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ticket = scene.people.vpn_ticket;
    sidebar.session_key(ticket).await?;
    scene.zendesk.alter_ticket(ticket, |ticket| ticket.status = "closed".into()).context("a ticket")?;
    let told = Told::by(sidebar.post(routes::SESSION_KEY, ticket, json!({}))).await?;
    let detail = told.problem("closed", 403, "ticket-not-allowed");
    assert!(detail.contains("closed"), "{detail}");
    Ok(())
}

/// Where one `type` covers several situations, `reason` says which it is, and the members hold what its words name.
#[tokio::test]
async fn a_problem_says_which_situation_it_is() -> Result<()> {
    let scene = Scene::start(Plan { connection: table("[panel]\nallow_rdp = false"), ..Plan::default() }).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ticket = scene.people.vpn_ticket;
    let closed = new_ticket(&scene, |ticket| ticket.status = "closed".into());
    let deskless = scene.zendesk.add_user(User { role: Role::EndUser, ..User::default() });
    let customer = scene.open_sidebar(deskless).await?;
    let garbage = || FaultRule::next(1, ApplianceFault::Garbage).on("generate_session_key");
    let words = || FaultRule::next(1, ApplianceFault::ErrorDocument("No licence is free.".into())).on("generate_session_key");
    let busy = || FaultRule::next(1, ApplianceFault::Status(429, String::new())).on("generate_session_key");
    let jump = |method: &str, field: &str, value: Value| {
        let mut body = json!({"method": method, "target": "h"});
        body[field] = value;
        (routes::JUMP, body)
    };
    for (sidebar, ticket, fault, (path, body), expected) in [
        (&sidebar, closed, None, (routes::SESSION_KEY, json!({})), json!({"reason": "ticket-closed"})),
        (&customer, ticket, None, (routes::SESSION_KEY, json!({})), json!({"reason": "not-an-agent"})),
        (&sidebar, ticket, None, jump("rdp", "target", json!("h")), json!({"reason": "method-not-offered", "method": "rdp"})),
        (&sidebar, ticket, None, jump("local_push", "target", json!(" ")), json!({"reason": "value-missing", "field": "target"})),
        (
            &sidebar,
            ticket,
            None,
            jump("local_push", "target", json!("x".repeat(256))),
            json!({"reason": "value-too-long", "field": "target", "limit": 255}),
        ),
        (
            &sidebar,
            ticket,
            None,
            jump("local_push", "port", json!(22)),
            json!({"reason": "value-not-taken", "field": "port", "method": "local_push"}),
        ),
        (&sidebar, ticket, None, jump("shell_jump", "port", json!(0)), json!({"field": "port"})),
        (
            &sidebar,
            ticket,
            None,
            jump("remote_push", "jumpoint", json!("Former")),
            json!({"reason": "jumpoint-unknown", "field": "jumpoint"}),
        ),
        (
            &sidebar,
            ticket,
            None,
            (routes::SESSION_CHAT_LINK, json!({"issue": "former"})),
            json!({"reason": "issue-unknown", "field": "issue"}),
        ),
        (&sidebar, ticket, Some(words()), (routes::SESSION_KEY, json!({})), json!({"said": "No licence is free."})),
        (&sidebar, ticket, Some(garbage()), (routes::SESSION_KEY, json!({})), json!({"reason": "appliance-not-understood"})),
        (&sidebar, ticket, Some(busy()), (routes::SESSION_KEY, json!({})), json!({})),
    ] {
        if let Some(fault) = fault {
            scene.appliance.add_fault(fault);
        }
        let told = Told::by(sidebar.post(path, ticket, body.clone())).await?;
        let problem = told.json();
        let kind = problem["type"].as_str().and_then(|kind| kind.strip_prefix(TYPE_PREFIX)).context("a kind")?;
        told.problem(&body.to_string(), told.status, kind);
        let mut members = problem.as_object().context("an object")?.clone();
        let wait = members.remove("retry_after");
        assert_eq!(
            wait.map(|wait| wait.to_string()).as_deref(),
            told.headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()),
            "{body}"
        );
        members.retain(|name, _| !["type", "title", "status", "detail"].contains(&name.as_str()));
        assert_eq!(Value::Object(members), expected, "{path} {body}: {problem}");
    }
    Ok(())
}

/// A firewall in front of Zendesk that dislikes one text says nothing about the API user's rights.
#[tokio::test]
async fn one_403_that_is_not_zendesks_own_holds_nothing() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ask = async |fault: Fault, everywhere: bool| {
        let ticket = new_ticket(&scene, |_| {});
        let matching = if everywhere { Matching::any_api_call() } else { Matching::new(Method::GET, "/api/v2/tickets/") };
        scene.zendesk.fail_always(matching, fault);
        let told = Told::by(sidebar.post(routes::SESSION_KEY, ticket, json!({}))).await;
        scene.zendesk.clear_faults();
        told
    };
    let of_firewall = || Fault::Status { code: 403, body: "<h1>Request blocked</h1>".into(), retry_after: None };
    let own = Fault::Status { code: 403, body: r#"{"error":{"title":"Forbidden","message":"No."}}"#.into(), retry_after: None };
    ask(of_firewall(), false).await?.problem("a firewall, one call", 502, "ticket-system-unavailable");
    ask(of_firewall(), true).await?.problem("a firewall, all calls", 502, "ticket-system-refused");
    ask(own, false).await?.problem("Zendesk's own words", 502, "ticket-system-refused");
    Ok(())
}

#[tokio::test]
async fn an_appliance_that_hangs_is_told_and_holds_up_nobody_else() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    scene.appliance.add_fault(FaultRule::always(ApplianceFault::Hang).at(Endpoint::Command));
    let patient = Duration::from_mins(1);
    let hung = Told::by(sidebar.post(routes::SESSION_KEY, scene.people.vpn_ticket, json!({})).timeout(patient));
    let others = async {
        scene.appliance.wait_for_request(|request| request.is("generate_session_key")).await?;
        let calls = CALLS.into_iter().filter(|(path, _)| *path != routes::SESSION_KEY);
        let told = join_all(calls.map(|(path, body)| Told::by(call(&sidebar, path, body, scene.people.printer_ticket)))).await;
        for told in told {
            told?.ok("beside a hung appliance");
        }
        let unanswered = scene.appliance.requests().iter().any(|request| request.is("generate_session_key") && request.status.is_none());
        assert!(unanswered, "the others were answered while the appliance hung");
        anyhow::Ok(())
    };
    let (hung, others) = tokio::join!(hung, others);
    others?;
    hung?.problem("a hung appliance", 502, "appliance-unavailable");
    Ok(())
}

// Jumps

#[tokio::test]
async fn a_jump_is_the_client_script_url_of_the_reference_and_the_appliance_takes_it() -> Result<()> {
    let pinned_client = table("[appliance]\njump_action = \"pinned_client\"");
    let scenes = [Scene::start(Plan::default()).await?, Scene::start(Plan { connection: pinned_client, ..Plan::default() }).await?];
    for (scene, jump_client) in scenes.iter().zip(["start_jump_item_session&jump.method=pinned", "start_pinned_client_session"]) {
        let sidebar = scene.open_sidebar(scene.people.agent).await?;
        let ticket = scene.people.vpn_ticket;
        let jump_client = format!("{jump_client}&search_string=LAPTOP+0042+%26+S%C3%B6hne%25");
        // Names, values and their order are those of beyondtrust.md A.2 and A.3.
        for (body, expected) in [
            (json!({"method": "jump_client", "target": "LAPTOP 0042 & Söhne%"}), jump_client.as_str()),
            (json!({"method": "local_push", "target": "LAPTOP-0042"}), "push_and_start_local&hostname=LAPTOP-0042"),
            (
                json!({"method": "remote_push", "target": "LAPTOP-0042", "jumpoint": "HQ-Net"}),
                "push_and_start_remote&target=LAPTOP-0042&jumpoint=HQ-Net",
            ),
            (json!({"method": "remote_push", "target": "2001:db8::17"}), "push_and_start_remote&target=2001%3Adb8%3A%3A17"),
            (
                json!({"method": "rdp", "target": "10.20.0.15", "jumpoint": "HQ-Net", "username": "helpdesk"}),
                "start_rdp_session&target=10.20.0.15&jumpoint=HQ-Net&username=helpdesk",
            ),
            (
                json!({"method": "rdp", "target": "h", "jumpoint": "Warehouse", "username": "EXAMPLE\\a&b=c", "display_size": "1920x1080", "quality": "performance_quality", "console": true}),
                "start_rdp_session&target=h&jumpoint=Warehouse&username=EXAMPLE%5Ca%26b%3Dc&display_size=1920x1080&quality=performance_quality&console=yes",
            ),
            (json!({"method": "rdp", "target": "h", "console": false}), "start_rdp_session&target=h&console=no"),
            (
                json!({"method": "shell_jump", "target": "core-sw-1", "jumpoint": "HQ-Net", "protocol": "ssh", "port": 22}),
                "start_shell_jump_session&target=core-sw-1&jumpoint=HQ-Net&protocol=ssh&port=22",
            ),
            (
                json!({"method": "shell_jump", "target": "sw", "username": "root", "protocol": "telnet", "port": 65535, "terminal": "vt100"}),
                "start_shell_jump_session&target=sw&username=root&protocol=telnet&port=65535&terminal=vt100",
            ),
        ] {
            let launch = Told::by(sidebar.post(routes::JUMP, ticket, body.clone())).await?.ok("a jump");
            assert_eq!(
                (launch.as_object().map(serde_json::Map::len), &launch["link"], &launch["expires_at"]),
                (Some(3), &Value::Null, &Value::Null)
            );
            let url = launch["launch_url"].as_str().context("launch_url")?;
            let whole = format!(
                "{}/api/client_script?type=rep&operation=generate&action={expected}&session.custom.external_key={ticket}",
                scene.appliance.base_url()
            );
            assert_eq!(pairs(url)?, pairs(&whole)?, "{body}");
            assert!(url.starts_with(whole.split_once('?').context("a query")?.0) && !url.contains(' ') && !url.contains('#'), "{url}");

            let answer = at_appliance(&scene.appliance, url).await?;
            assert_eq!(answer.status().as_u16(), 200, "{body}");
            let text = answer.text().await?;
            assert!(text.starts_with("BRCS1.0\naction=login\n"), "{text}");
            let [command] = &read_script(&text)?[..] else { panic!("one command: {text}") };
            let told: Vec<(String, String)> =
                std::iter::once(("action".to_owned(), command.action.clone())).chain(command.parameters.clone()).collect();
            assert_eq!(told, pairs(&whole)?[2..], "{body}");
        }
    }

    let scene = &scenes[0];
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ok = |method: &str| json!({"method": method, "target": "h"});
    let with = |method: &str, field: &str, value: Value| {
        let mut body = ok(method);
        body[field] = value;
        body
    };
    for (field, body, status) in [
        ("target", with("jump_client", "target", json!("")), 422),
        ("target", with("local_push", "target", json!(" \t")), 422),
        ("target", with("rdp", "target", json!("x".repeat(256))), 422),
        ("target", with("rdp", "target", json!(["h"])), 400),
        ("jumpoint", with("rdp", "jumpoint", json!("Another-Net")), 422),
        ("jumpoint", with("rdp", "jumpoint", json!("hq-net")), 422),
        ("jumpoint", with("rdp", "jumpoint", json!("")), 422),
        ("jumpoint", with("jump_client", "jumpoint", json!("HQ-Net")), 422),
        ("username", with("remote_push", "username", json!("root")), 422),
        ("username", with("rdp", "username", json!("x".repeat(256))), 422),
        ("port", with("shell_jump", "port", json!(0)), 422),
        ("port", with("shell_jump", "port", json!(65_536)), 400),
        ("port", with("shell_jump", "port", json!("22")), 400),
        ("port", with("rdp", "port", json!(22)), 422),
        ("protocol", with("shell_jump", "protocol", json!("rlogin")), 422),
        ("terminal", with("shell_jump", "terminal", json!("ansi&x=y")), 422),
        ("quality", with("rdp", "quality", json!("best")), 422),
        ("display_size", with("rdp", "display_size", json!("0x0")), 422),
        ("display_size", with("rdp", "display_size", json!("1920x1080&x")), 422),
        ("console", with("rdp", "console", json!("yes")), 400),
        ("console", with("shell_jump", "console", json!(true)), 422),
        ("method", json!({"target": "h"}), 400),
        ("method", ok("vnc"), 400),
        ("method", ok("RDP"), 400),
        ("target", json!({"method": "rdp"}), 400),
    ] {
        let told = Told::by(sidebar.post(routes::JUMP, scene.people.vpn_ticket, body.clone())).await?;
        let detail = told.problem(&body.to_string(), status, if status == 422 { "invalid-value" } else { "bad-request" });
        assert!(status == 400 || detail.starts_with(field), "{body}: {detail}");
    }
    Ok(())
}

#[tokio::test]
async fn a_jump_that_is_not_allowed_is_not_made() -> Result<()> {
    let mut installation_settings = zendesk::Options::default().installation_settings;
    installation_settings["allow_shell_jump"] = json!(false);
    let zendesk = zendesk::Options { installation_settings, ..zendesk::Options::default() };
    let scene = Scene::start(Plan { zendesk, connection: table("[panel]\nallow_rdp = false"), ..Plan::default() }).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    for (method, allowed) in [("jump_client", true), ("local_push", true), ("remote_push", true), ("rdp", false), ("shell_jump", false)] {
        let told = Told::by(sidebar.post(routes::JUMP, scene.people.vpn_ticket, json!({"method": method, "target": "h"}))).await?;
        if allowed {
            told.ok(method);
        } else {
            let detail = told.problem(method, 403, "not-offered");
            assert!(detail.contains(method) && !told.text.contains("http"), "{detail}");
        }
    }
    Ok(())
}

fn pairs(url: &str) -> Result<Vec<(String, String)>> {
    Ok(Url::parse(url)?.query_pairs().into_owned().collect())
}

/// Opens an address as a browser that trusts the appliance would.
async fn at_appliance(appliance: &SimulatedAppliance, url: &str) -> Result<Response> {
    let certificate = reqwest::Certificate::from_pem(appliance.certificate_pem().context("TLS")?.as_bytes())?;
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]).timeout(Duration::from_secs(30)).build()?;
    http.get(url).send().await.context("the appliance does not answer")
}

// Chat links

/// A chat link of our own making, signed by the server's master key: the only way to an old one.
fn sign_invitation(master_key: &str, invitation: &Value) -> Result<String> {
    sign(master_key, "chat link", invitation)
}

/// What a customer's browser gets for a link, or a part of one.
async fn customer(scene: &Scene, link: &str) -> Result<Told> {
    customers_page(scene, link, loopback_client()?.get(link)).await
}

/// What a customer's browser gets when they press a button on the page of a link. They may have opened that chat before.
async fn pressed(scene: &Scene, link: &str, issue: &str) -> Result<Told> {
    customers_page(scene, link, loopback_client()?.post(link).form(&[("issue", issue), ("again", "true")])).await
}

async fn customers_page(scene: &Scene, link: &str, request: RequestBuilder) -> Result<Told> {
    let told = Told::by(request).await?;
    assert_eq!(told.headers[CACHE_CONTROL], "no-store", "{link}");
    assert_eq!(told.headers[REFERRER_POLICY], "no-referrer", "{link}: the address is the secret");
    assert!(told.headers[CONTENT_SECURITY_POLICY].to_str()?.contains("frame-ancestors 'none'"), "{link}");
    for secret in [CONNECTION, scene.zendesk.issuer(), EVENT_TOKEN] {
        assert!(!told.text.contains(secret), "{link} tells {secret}: {}", told.text);
    }
    Ok(told)
}

#[track_caller]
fn redirects_to_issue(told: &Told, what: &str, scene: &Scene, code_name: &str, ticket: u64) -> String {
    assert_eq!(told.status, 303, "{what}: {}", told.text);
    let location = told.headers[LOCATION].to_str().unwrap();
    let start = format!("{}/api/start_session", scene.appliance.base_url());
    assert_eq!(location.split('?').next(), Some(start.as_str()), "{what}");
    let ticket = ticket.to_string();
    let expected = [("issue_menu", "1"), ("codeName", code_name), ("session.custom.external_key", &ticket), ("c2cjs", "1")];
    assert_eq!(pairs(location).unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())), "{what}");
    location.to_owned()
}

#[track_caller]
fn offers(told: &Told, what: &str, code_names: &[&str]) {
    assert_eq!(told.status, 200, "{what}: {}", told.text);
    assert!(told.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"), "{what}");
    let found: Vec<&str> = told.text.split("name=\"issue\" value=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(found, code_names, "{what}: {}", told.text);
}

#[tokio::test]
async fn a_chat_link_leads_its_customer_to_the_tickets_chat_and_nowhere_else() -> Result<()> {
    let mut scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ticket = scene.people.vpn_ticket;
    let make = async |sidebar: &Sidebar, body: Value| Told::by(sidebar.post(routes::SESSION_CHAT_LINK, ticket, body)).await;
    let link = async |sidebar: &Sidebar, body: Value| {
        anyhow::Ok(make(sidebar, body).await?.ok("a chat link")["url"].as_str().context("url")?.to_owned())
    };

    let now = scene.appliance.clock().now();
    let made = make(&sidebar, json!({"issue": "general_tech"})).await?.ok("a chat link");
    assert_eq!(made.as_object().map(serde_json::Map::len), Some(2), "{made}");
    let expires = made["expires_at"].as_str().context("expires_at")?;
    let hours = (OffsetDateTime::parse(expires, &Rfc3339)?.unix_timestamp() - now) / 3600;
    assert!(expires.ends_with('Z') && hours == 72, "{expires}");
    let fixed = made["url"].as_str().context("url")?.to_owned();
    assert!(fixed.starts_with(&format!("{}{}/", scene.server.public_url(), routes::CHAT_LINK)), "{fixed}");

    // Mail programs and scanners open links, too.
    offers(&customer(&scene, &fixed).await?, "a link with an issue", &["general_tech"]);
    assert!(scene.appliance.sessions().is_empty());
    let told = pressed(&scene, &fixed, "general_tech").await?;
    let location = redirects_to_issue(&told, "a link with an issue", &scene, "general_tech", ticket);
    assert_eq!(at_appliance(&scene.appliance, &location).await?.status().as_u16(), 200);
    let session = scene.appliance.wait_for_session(|session| session.external_key == ticket.to_string()).await?;
    assert_eq!(session.queue, Queue::Issue("general_tech".into()));
    redirects_to_issue(&pressed(&scene, &fixed, "network").await?, "the issue is fixed", &scene, "general_tech", ticket);

    let open = link(&sidebar, json!({})).await?;
    let all = ["general_tech", "network", "printing"];
    offers(&customer(&scene, &open).await?, "no issue", &all);
    for code_name in all {
        redirects_to_issue(&pressed(&scene, &open, code_name).await?, "a choice", &scene, code_name, ticket);
    }
    for odd in ["issue=", "issue=evil", "issue=general_tech%26x%3D1", "issue=network&issue=printing", "issue=%ff", "other=1", ""] {
        let post = loopback_client()?.post(&open).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(odd);
        offers(&customers_page(&scene, &open, post).await?, odd, &all);
        offers(&customer(&scene, &format!("{open}?{odd}")).await?, odd, &all);
    }
    offers(&customers_page(&scene, &open, loopback_client()?.post(&open).json(&json!({"issue": "network"}))).await?, "no form", &all);
    make(&sidebar, json!({"issue": "evil"})).await?.problem("an unknown issue", 422, "invalid-value");
    make(&sidebar, json!({"issue": ["network"]})).await?.problem("no text", 400, "bad-request");

    // Tokens: ours alone, unchanged, and not for ever.
    let base = format!("{}{}/", scene.server.public_url(), routes::CHAT_LINK);
    let token = fixed.strip_prefix(&base).context("a token")?;
    let (payload, tag) = token.split_once('.').context("two parts")?;
    let (_, other_tag) = open.rsplit_once('.').context("two parts")?;
    let master_key = std::fs::read_to_string(scene.server.directory().join("deskbridge.key"))?;
    let invitation = |connection: &str, expires: i64| json!({"c": connection, "t": ticket.to_string(), "i": "network", "e": expires});
    let signed = |connection: &str, expires: i64| sign_invitation(&master_key, &invitation(connection, expires));
    let other_server = STANDARD.encode([7_u8; 32]);
    let changed = URL_SAFE_NO_PAD.encode(String::from_utf8(URL_SAFE_NO_PAD.decode(payload)?)?.replace(&ticket.to_string(), "1"));
    redirects_to_issue(
        &pressed(&scene, &format!("{base}{}", signed(CONNECTION, now + 60)?), "").await?,
        "our own signature",
        &scene,
        "network",
        ticket,
    );
    for (what, token, status) in [
        ("expired", signed(CONNECTION, now - 1)?, 410),
        ("of a connection that is gone", signed("Gone", now + 60)?, 410),
        ("of another server", sign_invitation(&other_server, &invitation(CONNECTION, now + 60))?, 404),
        ("for another ticket", format!("{changed}.{tag}"), 404),
        ("under another link's signature", format!("{payload}.{other_tag}"), 404),
        ("without signature", format!("{payload}."), 404),
        ("without a dot", payload.to_owned(), 404),
        ("with half a signature", format!("{payload}.{}", &tag[..tag.len() / 2]), 404),
        ("with an empty payload", format!(".{tag}"), 404),
        ("with a changed signature", format!("{payload}.{}{}", if tag.starts_with('A') { 'B' } else { 'A' }, &tag[1..]), 404),
        ("with more behind", format!("{token}.{tag}"), 404),
        ("that is no text", "%ff%fe".to_owned(), 404),
        ("of a length", "a".repeat(4_000), 404),
    ] {
        let link = format!("{base}{token}");
        for request in [loopback_client()?.get(&link), loopback_client()?.post(&link).form(&[("issue", "network")])] {
            let told = Told::by(request).await?;
            assert_eq!(told.status, status, "a token {what}: {}", told.text);
            assert!(!told.text.contains(CONNECTION) && !told.text.contains("Gone"), "a token {what}: {}", told.text);
        }
    }

    // The administrator changes the issues: a link never leads to one that is gone, and never into a circle.
    let printing = link(&sidebar, json!({"issue": "printing"})).await?;
    for (issues, what, expected) in [
        ("general_tech=G\nnetwork=<N>", "one of several is gone", Some(&["general_tech", "network"][..])),
        ("network=N", "one is left", Some(&[])),
        ("", "those of the settings file are left", Some(&[])),
    ] {
        let mut settings = scene.zendesk.options().installation_settings;
        settings["issues"] = json!(issues);
        scene.zendesk.set_installation_settings(settings);
        scene.server.restart().await?;
        let only = if issues.is_empty() { "general_tech" } else { "network" };
        for link in [&printing, &open] {
            let told = customer(&scene, link).await?;
            match expected {
                Some([]) | None => {
                    offers(&told, what, &[only]);
                    redirects_to_issue(&pressed(&scene, link, only).await?, what, &scene, only, ticket);
                }
                Some(code_names) => {
                    offers(&told, what, code_names);
                    assert!(told.text.contains("&lt;N&gt;"), "{}", told.text);
                    redirects_to_issue(&pressed(&scene, link, "network").await?, what, &scene, "network", ticket);
                }
            }
        }
    }
    scene.server.restart().await?;
    scene.zendesk.fail_always(Matching::any_api_call(), Fault::CloseConnection);
    let told = customer(&scene, &open).await?;
    assert!(told.status == 503 && told.text.contains("try again"), "{}: {}", told.status, told.text);
    Ok(())
}

/// Customers' pages, and whatever else a person meets that is no panel.
#[tokio::test]
async fn pages_speak_the_browsers_language() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let made = Told::by(sidebar.post(routes::SESSION_CHAT_LINK, scene.people.vpn_ticket, json!({}))).await?.ok("a chat link");
    let choice = made["url"].as_str().context("url")?.to_owned();
    let master_key = std::fs::read_to_string(scene.server.directory().join("deskbridge.key"))?;
    let ended = json!({"c": CONNECTION, "t": "1", "i": "network", "e": scene.appliance.clock().now() - 1});
    let url = |path: &str| format!("{}{path}", scene.server.public_url());
    let expired = url(&format!("{}/{}", routes::CHAT_LINK, sign_invitation(&master_key, &ended)?));
    let invalid = url(&format!("{}/x", routes::CHAT_LINK));
    let http = loopback_client()?;
    let sidebar_page = || http.post(url(routes::ZENDESK_SIDEBAR)).form(&[("token", "x")]);
    let nowhere = || http.get(url(&format!("{}/", routes::CHAT_LINK))).header("accept", "text/html,*/*;q=0.8");
    for (what, request, status, english, german) in [
        ("a choice", http.get(&choice), 200, ["Start a support chat", "What is it about?"], ["Support-Chat starten", "Worum geht es?"]),
        ("an expired link", http.get(&expired), 410, ["has expired", "for a new link"], ["ist abgelaufen", "um einen neuen Link"]),
        ("no link", http.get(&invalid), 404, ["is not valid", "the whole link"], ["ist ungültig", "den ganzen Link"]),
        (
            "an address that is nothing",
            nowhere(),
            404,
            ["no such page", "Check the address"],
            ["gibt es hier nicht", "Prüfen Sie die Adresse"],
        ),
        (
            "pairing",
            http.get(url(routes::PAIR)),
            200,
            ["Pair this browser", "whole address"],
            ["Browser mit Deskbridge koppeln", "ganze Adresse"],
        ),
        ("no sidebar", sidebar_page(), 403, ["inside a ticket", "Reload the ticket"], ["in einem Ticket", "Laden Sie die Seite"]),
    ] {
        for (accepted, locale, parts) in [
            (None, "en", english),
            (Some("en-GB,de;q=0.5"), "en", english),
            (Some("de-AT,de;q=0.9,en;q=0.8"), "de", german),
            (Some("fr-CH, fr;q=0.9, de;q=0.5"), "de", german),
            (Some("tlh"), "en", english),
        ] {
            let mut request = request.try_clone().context("a request without a stream")?;
            if let Some(accepted) = accepted {
                request = request.header("accept-language", accepted);
            }
            let told = Told::by(request).await?;
            assert_eq!(
                (told.status, &told.headers[CACHE_CONTROL], &told.headers["vary"]),
                (status, &"no-store".parse()?, &"Accept-Language".parse()?),
                "{what}"
            );
            assert!(told.text.contains(&format!("<html lang=\"{locale}\"")), "{what} in {accepted:?}: {}", told.text);
            for part in parts {
                assert!(told.text.contains(part), "{what} in {accepted:?}: {}", told.text);
            }
            // The style is ours, and the policy lets it through; nothing stands in the page itself.
            let policy = told.headers[CONTENT_SECURITY_POLICY].to_str()?;
            assert!(
                policy.contains("style-src 'self'") && !told.text.contains("style=") && !told.text.contains("<style"),
                "{what}: {policy}"
            );
            for sheet in told.text.split("rel=\"stylesheet\" href=\"").skip(1) {
                let sheet = url(sheet.split('"').next().unwrap_or_default());
                let answer = http.get(&sheet).send().await?;
                assert!(answer.status().is_success() && answer.headers()[CONTENT_TYPE].to_str()?.starts_with("text/css"), "{sheet}");
            }
        }
    }
    // A program that asks for no page is told as before.
    Told::by(http.get(url(&format!("{}/", routes::CHAT_LINK)))).await?.problem("no page wanted", 404, "not-found");
    Ok(())
}

#[tokio::test]
async fn without_issues_there_are_no_chat_links() -> Result<()> {
    let zendesk = zendesk::Options { installation_settings: json!({}), ..zendesk::Options::default() };
    let scene = Scene::start(Plan { zendesk, connection: table("[panel]\nissues = []"), ..Plan::default() }).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let told = Told::by(sidebar.post(routes::SESSION_CHAT_LINK, scene.people.vpn_ticket, json!({}))).await?;
    let detail = told.problem("no issues", 403, "not-offered");
    assert!(detail.contains("issues"), "{detail}");
    Ok(())
}

/// Anybody could fill the log.
#[tokio::test]
async fn what_is_no_session_writes_no_line() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let (http, url) = (loopback_client()?, format!("{}{}", scene.server.url(), routes::PANEL));
    let unknown = "A".repeat(22);
    let before = scene.server.logs().lines_matching("")?.len();
    for (name, value) in [
        ("cookie", "__Host-deskbridge=garbage".to_owned()),
        ("cookie", format!("__Host-deskbridge={unknown}")),
        ("cookie", "=;;\u{e9}".to_owned()),
        ("authorization", "Bearer garbage".to_owned()),
        ("authorization", format!("Bearer {unknown}")),
        ("authorization", "Basic x".to_owned()),
    ] {
        for _ in 0..3 {
            let answer = http.get(&url).header(name, value.as_str()).query(&[("connection", "a"), ("ticket", "1")]).send().await?;
            assert_eq!(answer.status().as_u16(), 401, "{name}: {value}");
        }
    }
    let lines = scene.server.logs().lines_matching("")?;
    assert_eq!(lines.len(), before, "{lines:?}");
    Ok(())
}

// Live state

/// Server-sent events, read one by one.
struct Events {
    answer: Response,
    text: String,
}

impl Events {
    async fn open(sidebar: &Sidebar, ticket: u64) -> Result<Self> {
        let answer = sidebar.get(routes::SESSIONS, ticket).header("accept", "text/event-stream").send().await?;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        Ok(Self { answer, text: String::new() })
    }

    /// The sessions told by the next event.
    async fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                match event.strip_prefix("event: sessions\ndata: ") {
                    Some(data) => return Ok(serde_json::from_str::<Value>(data)?["sessions"].clone()),
                    // A comment that keeps the connection alive.
                    None => continue,
                }
            }
            let piece = tokio::time::timeout(Duration::from_secs(20), self.answer.chunk()).await.context("no event within 20 s")??;
            self.text.push_str(std::str::from_utf8(&piece.context("the stream ended")?)?);
        }
    }

    /// The first list in which the session has that state; states told on the way are added to `seen`.
    async fn until(&mut self, lsid: &str, state: &str, seen: &mut Vec<String>) -> Result<Value> {
        loop {
            let sessions = self.next().await.with_context(|| format!("waiting for {state}, after {seen:?}"))?;
            let told = sessions.as_array().into_iter().flatten().find(|session| session["lsid"] == json!(lsid));
            if let Some(told) = told.and_then(|session| session["state"].as_str()) {
                if seen.last().is_none_or(|last| last != told) {
                    seen.push(told.to_owned());
                }
                if told == state {
                    return Ok(sessions);
                }
            }
        }
    }
}

#[tokio::test]
async fn the_tickets_sessions_are_shown_as_they_go() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let (ticket, other) = (scene.people.vpn_ticket, scene.people.printer_ticket);
    let list = async |ticket: u64| anyhow::Ok(Told::by(sidebar.get(routes::SESSIONS, ticket)).await?.ok("sessions")["sessions"].clone());
    assert_eq!(list(ticket).await?, json!([]));
    let mut events = Events::open(&sidebar, ticket).await?;
    assert_eq!(events.next().await?, json!([]), "the state now comes at once");
    let mut seen = Vec::new();

    let key = sidebar.session_key(ticket).await?;
    let lsid = scene.appliance.begin_session_with_key(&key.short_key)?;
    scene.appliance.customer_joins(&lsid, Customer::named("Tom <Okafor>"))?;
    let waiting = events.until(&lsid, "waiting", &mut seen).await?;
    assert_eq!(waiting, list(ticket).await?);
    assert_eq!((&waiting[0]["representative"], &waiting[0]["ended_at"]), (&Value::Null, &Value::Null), "{waiting}");
    let started = waiting[0]["started_at"].as_str().context("started_at")?;
    let age = scene.appliance.clock().now() - OffsetDateTime::parse(started, &Rfc3339)?.unix_timestamp();
    assert!(started.ends_with('Z') && (0..60).contains(&age), "{started}");

    scene.appliance.representative_joins(&lsid, Representative::example())?;
    let active = events.until(&lsid, "active", &mut seen).await?;
    assert_eq!((&active[0]["representative"], &active[0]["customer"]), (&json!("Jane D."), &json!("Tom <Okafor>")), "{active}");

    // Between its end and its record, the account does not take the note.
    scene
        .zendesk
        .fail_always(Matching::new(Method::PUT, "/api/v2/tickets/"), Fault::Status { code: 503, body: "later".into(), retry_after: None });
    scene.appliance.end_session(&lsid)?;
    let ended = events.until(&lsid, "ended", &mut seen).await?;
    assert_eq!(ended, list(ticket).await?);
    assert!(ended[0]["ended_at"].as_str().is_some_and(|at| at >= started && at.ends_with('Z')), "{ended}");
    scene.zendesk.clear_faults();
    let recorded = events.until(&lsid, "recorded", &mut seen).await.inspect_err(|_| eprintln!("{}", scene.server.logs().tail()))?;
    assert_eq!(recorded, list(ticket).await?);
    assert_eq!(seen, ["waiting", "active", "ended", "recorded"]);
    let mut fields: Vec<&String> = recorded[0].as_object().context("an object")?.keys().collect();
    fields.sort();
    assert_eq!(fields, ["customer", "ended_at", "kind", "lsid", "machine", "recording", "representative", "started_at", "state"]);
    assert_eq!((&recorded[0]["machine"], &recorded[0]["kind"], &recorded[0]["recording"]), (&Value::Null, &Value::Null, &json!(false)));
    assert_eq!(notes(&scene.zendesk, ticket, &lsid), 1, "a session shown as recorded stands on the ticket, once");
    assert_eq!(list(other).await?, json!([]), "another ticket's sessions are not shown");

    // The representative moves a second session to another ticket: it is recorded and shown there, and only there.
    let key = sidebar.session_key(ticket).await?;
    let second = scene.appliance.begin_session_with_key(&key.short_key)?;
    scene.appliance.customer_joins(&second, Customer::named("Tom"))?;
    let both = events.until(&second, "waiting", &mut Vec::new()).await?;
    let order: Vec<&Value> = both.as_array().into_iter().flatten().map(|session| &session["lsid"]).collect();
    assert_eq!(order.len(), 2, "{both}");
    let mut others = Events::open(&sidebar, other).await?;
    scene.appliance.set_external_key(&second, &other.to_string())?;
    scene.appliance.end_session(&second)?;
    let moved = others.until(&second, "recorded", &mut Vec::new()).await?;
    assert_eq!(moved.as_array().map(Vec::len), Some(1), "{moved}");
    assert_eq!(list(ticket).await?, recorded);
    assert_eq!((notes(&scene.zendesk, ticket, &second), notes(&scene.zendesk, other, &second)), (0, 1));

    // Nothing that opens something is in the log.
    let log = scene.server.logs().text();
    for secret in [
        key.short_key.as_str(),
        key.key_url.split_once("ak=").context("a key")?.1,
        sidebar.bearer(),
        EVENT_TOKEN,
        "simulated-secret",
        "simulated-api-token",
    ] {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
    Ok(())
}

#[tokio::test]
async fn a_session_that_never_ended_does_not_hide_todays() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ticket = scene.people.vpn_ticket;
    // Known since yesterday; its end was never told.
    let longer_ago_than_a_session_takes = -13 * 3600;
    scene.appliance.clock().set_offset_seconds(longer_ago_than_a_session_takes);
    let stale = scene.appliance.begin_session(NewSession::with_external_key(ticket.to_string()));
    scene.appliance.customer_joins(&stale, Customer::named("Yesterday"))?;
    let mut events = Events::open(&sidebar, ticket).await?;
    events.until(&stale, "waiting", &mut Vec::new()).await?;
    scene.appliance.outbound_idle().await?;

    // From now on no event tells of a session's beginning: the appliance must be asked.
    scene.appliance.clock().set_offset_seconds(0);
    scene.appliance.set_recipient(Recipient { events: vec![EventKind::End], ..scene.recipient() });
    let key = sidebar.session_key(ticket).await?;
    let today = scene.appliance.begin_session_with_key(&key.short_key)?;
    scene.appliance.customer_joins(&today, Customer::named("Today"))?;
    let both = events.until(&today, "waiting", &mut Vec::new()).await?;
    assert_eq!(both.as_array().map(Vec::len), Some(2), "{both}");
    Ok(())
}

/// No event tells of the session's beginning here: the appliance is asked. Whoever looks waits for their turn and for the answer.
#[tokio::test]
async fn a_chat_that_was_just_opened_is_shown_by_the_next_look() -> Result<()> {
    const INTERVAL: Duration = Duration::from_secs(2);
    const PATIENCE: Duration = Duration::from_secs(2);
    let scene = Scene::start(Plan::default()).await?;
    scene.appliance.set_recipient(Recipient { events: vec![EventKind::End], ..scene.recipient() });
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let ticket = scene.people.vpn_ticket;
    let look = async || anyhow::Ok(Told::by(sidebar.get(routes::SESSIONS, ticket)).await?.ok("sessions")["sessions"].clone());
    // Not the sweep's, which asks for what has ended.
    let is_question = |request: &RecordedRequest| request.is("SupportSession") && request.parameter("end_time").is_none();
    let questions = || scene.appliance.count(is_question);
    let made = sidebar.post(routes::SESSION_CHAT_LINK, ticket, json!({"issue": "general_tech"}));
    let link = Told::by(made).await?.ok("a chat link")["url"].as_str().context("url")?.to_owned();

    // A key makes the account be asked already; a link that nobody has pressed does not.
    sidebar.session_key(ticket).await?;
    let first_look = Instant::now();
    assert_eq!(look().await?, json!([]));
    scene.appliance.wait_for_request(is_question).await?;
    // Right after the account was asked: the longest wait for the next question.
    let told = pressed(&scene, &link, "general_tech").await?;
    let location = redirects_to_issue(&told, "the link", &scene, "general_tech", ticket);
    assert_eq!(at_appliance(&scene.appliance, &location).await?.status().as_u16(), 200);
    scene.appliance.wait_for_session(|session| session.external_key == ticket.to_string()).await?;
    let next_look = Instant::now();
    let mut shown = look().await?;
    if shown == json!([]) {
        assert!(next_look.elapsed() >= PATIENCE, "the look did not wait for the appliance");
        until("the session is shown", Duration::from_mins(1), async || Ok(look().await? != json!([]))).await?;
        shown = look().await?;
    }
    assert_eq!(shown[0]["state"], json!("waiting"), "{shown}");

    for looked in join_all((0..20).map(|_| look())).await {
        assert_eq!(looked?, shown);
    }
    let most = first_look.elapsed().as_secs() / INTERVAL.as_secs() + 1;
    assert!(questions() as u64 <= most, "one question in {INTERVAL:?}, whoever looks: {} of {most}", questions());
    Ok(())
}

/// How many notes of the session stand on the ticket.
fn notes(zendesk: &SimulatedZendesk, ticket: u64, lsid: &str) -> usize {
    zendesk.comments(ticket).iter().filter(|comment| comment.plain_body.contains(lsid)).count()
}
