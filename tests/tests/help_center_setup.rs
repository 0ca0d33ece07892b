//! What the administrator sets up for the customer's button: the ticket fields that Deskbridge fills, `deskbridge check`, and faults in the
//! settings.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{Customer, Representative, SessionScript};
use deskbridge_tests::button::{Desk, KEYS, Request, plan};
use deskbridge_tests::scene::{CONNECTION, Scene, Sidebar, merge};
use deskbridge_tests::server::{Deskbridge, until};
use deskbridge_tests::zendesk::{Fault, Matching, SimulatedZendesk, Ticket, TicketField};
use reqwest::Method;
use serde_json::{Value, json};
use toml::toml;

/// The field that holds the proof, and the one that holds the chat link.
const PROOF: u64 = 27_900;
const LINK: u64 = 27_901;
/// Settings with both.
const FIELDS: &str =
    "customer_proof = [\"help_center_token\", \"ticket_field\", \"chat_link\"]\nticket_field = 27900\nlink_field = 27901\n";
/// Longest wait for what is done in the background.
const LIMIT: Duration = Duration::from_secs(30);
const HOUR: i64 = 3_600;

fn field(id: u64, title: &str) -> TicketField {
    TicketField { id, ..TicketField::shown_to_customers(title) }
}

/// A desk whose account has both fields.
async fn desk(keys: &str) -> Result<Desk> {
    let desk = Desk::start(plan(keys)).await?;
    for (id, title) in [(PROOF, "Proof"), (LINK, "Chat")] {
        desk.zendesk().add_ticket_field(field(id, title));
    }
    Ok(desk)
}

fn value(zendesk: &SimulatedZendesk, ticket: u64, field: u64) -> Option<String> {
    zendesk.ticket(ticket)?.custom_fields.get(&field)?.as_str().map(str::to_owned)
}

async fn look(sidebar: &Sidebar, ticket: u64) -> Result<()> {
    sidebar.get(routes::PANEL, ticket).send().await?.error_for_status()?;
    Ok(())
}

/// Opens the panel, and waits until both fields are filled.
async fn filled(desk: &Desk, sidebar: &Sidebar, ticket: u64) -> Result<(String, String)> {
    look(sidebar, ticket).await?;
    desk.zendesk().wait_until(|zendesk| Some((value(zendesk, ticket, PROOF)?, value(zendesk, ticket, LINK)?))).await
}

fn writes(desk: &Desk, ticket: u64) -> usize {
    let requests = desk.zendesk().requests();
    let path = format!("/api/v2/tickets/{ticket}");
    requests.iter().filter(|request| request.method == Method::PUT && request.path.trim_end_matches(".json") == path).count()
}

/// Opens the panel of a ticket of which nothing is to be written, and waits until that was decided: what Deskbridge does afterwards for
/// another ticket has happened.
async fn look_in_vain(desk: &Desk, sidebar: &Sidebar, ticket: u64) -> Result<()> {
    let path = format!("/api/v2/tickets/{ticket}");
    let reads = || desk.zendesk().count(&Method::GET, &path);
    let before = reads();
    look(sidebar, ticket).await?;
    // One for the panel, one for the fields.
    until("the ticket was read for its fields", LIMIT, async || Ok(reads() >= before + 2)).await?;
    let marker = desk.add_ticket(desk.customer, "Afterwards");
    filled(desk, sidebar, marker).await.map(drop)
}

/// A ticket without what Deskbridge may change.
fn rest(mut ticket: Ticket) -> String {
    ticket.custom_fields.retain(|id, _| ![PROOF, LINK].contains(id));
    ticket.updated_at = ticket.created_at;
    format!("{ticket:#?}")
}

// Ticket fields

#[tokio::test]
async fn an_agents_look_fills_the_fields_and_changes_nothing_else() -> Result<()> {
    let mut desk = desk(FIELDS).await?;
    desk.zendesk().alter_ticket(desk.ticket, |ticket| ticket.custom_fields.insert(PROOF, json!("a customer's own text")));
    let before = desk.zendesk().ticket(desk.ticket).context("the ticket")?;
    let (comments, audits) = (desk.zendesk().comments(desk.ticket).len(), desk.zendesk().audits(desk.ticket).len());
    let sidebar = desk.scene.open_sidebar(desk.scene.people.agent).await?;
    look(&sidebar, desk.ticket).await?;
    let (proof, link) = desk
        .zendesk()
        .wait_until(|zendesk| {
            let (proof, link) = (value(zendesk, desk.ticket, PROOF)?, value(zendesk, desk.ticket, LINK)?);
            proof.starts_with("deskbridge-").then_some((proof, link))
        })
        .await?;
    assert!(proof.len() >= 22 && proof.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter)), "{proof}");
    assert_eq!(rest(desk.zendesk().ticket(desk.ticket).context("the ticket")?), rest(before));
    assert_eq!(desk.zendesk().comments(desk.ticket).len(), comments, "no comment, so nobody is notified");
    assert_eq!(desk.zendesk().audits(desk.ticket).len(), audits + 1, "one update");

    // Another ticket has another value; the customer reads theirs, and it lets them in.
    let (other, _) = filled(&desk, &sidebar, desk.foreign_ticket).await?;
    assert_ne!(other, proof);
    let asked = Request::new(Method::GET, format!("/api/v2/requests/{}.json", desk.ticket))
        .and("cookie", desk.zendesk().help_center_cookie(desk.customer));
    let request = deskbridge_tests::button::send(&desk.http, desk.origin(), &asked).await?.json(200)?;
    let shown = |id: u64| {
        request["request"]["custom_fields"].as_array().into_iter().flatten().find(|row| row["id"] == id).map(|row| row["value"].clone())
    };
    assert_eq!((shown(PROOF), shown(LINK)), (Some(json!(proof)), Some(json!(link))));
    desk.ask(&desk.press_by(("ticket_field", &proof), desk.ticket)).await?.chat_url()?;

    // The link is this ticket's, and starts nothing by itself.
    let link = link.strip_prefix(desk.scene.server.public_url()).context("a link of ours")?.to_owned();
    assert!(link.starts_with(&format!("{}/", routes::CHAT_LINK)), "{link}");
    assert_eq!(desk.ask(&Request::new(Method::GET, link.clone())).await?.status, 200);
    desk.nothing_began()?;
    let pressed = desk.submit(&format!("{}{link}", desk.scene.server.public_url()), "issue=network").await?;
    assert_eq!(pressed.status, 303, "{}", pressed.body);
    let location = pressed.header("location");
    assert!(location.contains(&format!("external_key={}", desk.ticket)) && location.contains("codeName=network"), "{location}");

    // Not written again: neither soon, nor by a server that knows nothing of it.
    let writes_before = writes(&desk, desk.ticket);
    assert_eq!(writes_before, 1);
    look(&sidebar, desk.ticket).await?;
    desk.scene.server.restart().await?;
    let sidebar = desk.scene.open_sidebar(desk.scene.people.agent).await?;
    look_in_vain(&desk, &sidebar, desk.ticket).await?;
    assert_eq!(writes(&desk, desk.ticket), writes_before);

    // After a rotation each ticket gets a new value at its next look.
    ensure!(desk.scene.server.command(&["help-center", "rotate", CONNECTION]).await?.status.success());
    look(&sidebar, desk.ticket).await?;
    let renewed = desk.zendesk().wait_until(|zendesk| value(zendesk, desk.ticket, PROOF).filter(|value| *value != proof)).await?;
    assert_eq!(desk.ask(&desk.press_by(("ticket_field", &proof), desk.ticket)).await?.refusal(), (403, "proof-refused".to_owned()));
    desk.ask(&desk.press_by(("ticket_field", &renewed), desk.ticket)).await?.chat_url()?;
    let unknown = desk.scene.server.command(&["help-center", "rotate", "Nobody's"]).await?;
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("Nobody's"), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn a_closed_ticket_is_left_alone() -> Result<()> {
    let desk = desk(FIELDS).await?;
    desk.zendesk().alter_ticket(desk.ticket, |ticket| "closed".clone_into(&mut ticket.status));
    let before = format!("{:?}", desk.zendesk().ticket(desk.ticket));
    let sidebar = desk.scene.open_sidebar(desk.scene.people.agent).await?;
    look_in_vain(&desk, &sidebar, desk.ticket).await?;
    assert_eq!(writes(&desk, desk.ticket), 0);
    assert_eq!(format!("{:?}", desk.zendesk().ticket(desk.ticket)), before);
    Ok(())
}

#[tokio::test]
async fn a_link_is_renewed_when_less_than_half_of_its_life_is_left() -> Result<()> {
    let mut desk = desk(&format!("{FIELDS}chat_minutes = 5")).await?;
    let number = desk.ticket.to_string();
    let server = desk.scene.server.public_url().to_owned();
    let ours = |ticket: &str, left: i64| anyhow::Ok(format!("{server}{}", desk.chat_link(ticket, None, left)?));
    let other_ticket = desk.foreign_ticket.to_string();
    // Links live for 72 hours here.
    let cases = [
        ("37 hours left", ours(&number, 37 * HOUR)?, true),
        ("35 hours left", ours(&number, 35 * HOUR)?, false),
        ("expired", ours(&number, -1)?, false),
        ("another ticket's", ours(&other_ticket, 70 * HOUR)?, false),
        ("another server's", ours(&number, 70 * HOUR)?.replace(&server, "https://remote.example.com"), false),
        ("a text", "please call me".to_owned(), false),
        ("nothing", String::new(), false),
    ];
    for (what, stands, is_kept) in cases {
        desk.zendesk().alter_ticket(desk.ticket, |ticket| ticket.custom_fields.insert(LINK, json!(stands)));
        desk.scene.server.restart().await?;
        let sidebar = desk.scene.open_sidebar(desk.scene.people.agent).await?;
        if is_kept {
            look(&sidebar, desk.ticket).await?;
            // The proof is written in any case, and with it what else is due.
            desk.zendesk().wait_until(|zendesk| value(zendesk, desk.ticket, PROOF)).await?;
            assert_eq!(value(desk.zendesk(), desk.ticket, LINK).as_ref(), Some(&stands), "{what}");
        } else {
            look(&sidebar, desk.ticket).await?;
            let changed = |zendesk: &SimulatedZendesk| value(zendesk, desk.ticket, LINK).filter(|link| *link != stands);
            let link = desk.zendesk().wait_until(changed).await.context(what)?;
            assert!(link.starts_with(&format!("{server}{}/", routes::CHAT_LINK)), "{what}: {link}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_ticket_that_deskbridge_makes_gets_its_fields() -> Result<()> {
    let mut plan = plan(FIELDS);
    merge(
        &mut plan.connection,
        toml! {
            [zendesk]
            enable_automatic_ticket_creation = true
            external_key_may_set = ["email"]
        },
    );
    let desk = Desk::start(plan).await?;
    for (id, title) in [(PROOF, "Proof"), (LINK, "Chat")] {
        desk.zendesk().add_ticket_field(field(id, title));
    }
    let before = desk.zendesk().tickets();
    let asked = r#"{"title": "VPN", "name": "Jane Roe", "email": "jane.roe@customer.example"}"#;
    let script = SessionScript::new(asked).customer(Customer::named("John Smith")).representative(Representative::example());
    desk.scene.appliance.play(script)?;
    let made = desk.zendesk().wait_until(|zendesk| zendesk.tickets().into_iter().find(|ticket| !before.contains(ticket))).await?;
    let (proof, link) = desk.zendesk().wait_until(|zendesk| Some((value(zendesk, made, PROOF)?, value(zendesk, made, LINK)?))).await?;
    desk.ask(&desk.press_by(("ticket_field", &proof), made)).await?.chat_url()?;
    assert!(link.starts_with(desk.scene.server.public_url()), "{link}");
    Ok(())
}

/// The panel works all the same, and the log says what an administrator can do.
#[tokio::test]
async fn fields_that_cannot_be_written_keep_no_agent_waiting() -> Result<()> {
    let put = || Matching::new(Method::PUT, "/api/v2/tickets/");
    let status = |code: u16| Fault::Status { code, body: json!({"error": "RecordInvalid"}).to_string(), retry_after: None };
    for (what, has_fields, fault) in [
        ("fields that do not exist", false, None),
        ("an account that fails", true, Some(status(503))),
        ("an account that refuses", true, Some(status(422))),
        ("a user who may not write", true, Some(status(403))),
    ] {
        let desk = Desk::start(plan(FIELDS)).await?;
        if has_fields {
            for (id, title) in [(PROOF, "Proof"), (LINK, "Chat")] {
                desk.zendesk().add_ticket_field(field(id, title));
            }
        }
        if let Some(fault) = fault {
            desk.zendesk().fail_always(put(), fault);
        }
        let sidebar = desk.scene.open_sidebar(desk.scene.people.agent).await?;
        look(&sidebar, desk.ticket).await.context(what)?;
        let line = desk.scene.server.wait_for_log("WARN .*fields cannot be filled").await.context(what)?;
        assert!(line.contains("deskbridge check") && line.contains(&desk.ticket.to_string()), "{what}: {line}");
        look(&sidebar, desk.ticket).await.context(what)?;
        assert!(!desk.scene.server.logs().text().contains("fields for its customer are filled"), "{what}");
        // Other ways in are open.
        desk.ask(&desk.press(desk.customer, desk.ticket)?).await?.chat_url().context(what)?;
    }
    Ok(())
}

/// Without these settings nothing is written, even where the account has such fields.
#[tokio::test]
async fn without_the_settings_nothing_is_written() -> Result<()> {
    // The number is there, the proof is not.
    let desk = desk("ticket_field = 27900").await?;
    let sidebar = desk.scene.open_sidebar(desk.scene.people.agent).await?;
    for _ in 0..2 {
        look(&sidebar, desk.ticket).await?;
    }
    desk.ask(&desk.press(desk.customer, desk.ticket)?).await?.chat_url()?;
    assert_eq!(writes(&desk, desk.ticket), 0);
    assert_eq!(value(desk.zendesk(), desk.ticket, PROOF), None);
    Ok(())
}

// deskbridge check

/// Spoils a field.
type Change = fn(&mut TicketField);

struct Checked {
    code: i32,
    lines: Vec<String>,
}

async fn check(server: &Deskbridge) -> Result<Checked> {
    let output = server.command(&["check"]).await?;
    let said = format!("{}{}", String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok(Checked { code: output.status.code().context("a signal")?, lines: said.lines().map(str::to_owned).collect() })
}

impl Checked {
    /// The lines about one thing, with their mark.
    #[track_caller]
    fn says(&self, mark: &str, what: &str, part: &str) {
        let beginning = format!("{mark:<4} {CONNECTION}: {what}: ");
        assert!(
            self.lines.iter().any(|line| line.starts_with(&beginning) && line.contains(part)),
            "no “{beginning}…{part}”:\n{}",
            self.lines.join("\n")
        );
    }
}

#[tokio::test]
async fn check_tells_how_the_help_center_is_set_up() -> Result<()> {
    let scene = Scene::prepare(plan(FIELDS)).await?;
    for (id, title) in [(PROOF, "Proof"), (LINK, "Chat")] {
        scene.zendesk.add_ticket_field(field(id, title));
    }
    let good = check(&scene.server).await?;
    assert_eq!(good.code, 0, "{}", good.lines.join("\n"));
    good.says("ok", "Help Center", "answers");
    good.says("ok", "Help Center tokens", "1 ");
    good.says("ok", "ticket_field", "“Proof” (27900)");
    good.says("ok", "link_field", "“Chat” (27901)");
    for secret in [scene.zendesk.options().api_token, scene.appliance.options().client_secret] {
        assert!(!good.lines.iter().any(|line| line.contains(&secret)));
    }

    // Not on this plan, with other proofs beside it: to know, no failure.
    scene.zendesk.set_integration_token(false);
    let other = check(&scene.server).await?;
    assert_eq!(other.code, 0, "{}", other.lines.join("\n"));
    other.says("note", "Help Center tokens", "404");
    scene.zendesk.set_integration_token(true);
    for (what, fault) in [
        ("a failure", Fault::Status { code: 500, body: "{}".into(), retry_after: None }),
        ("no keys at all", Fault::Status { code: 200, body: json!({"keys": []}).to_string(), retry_after: None }),
        ("no answer", Fault::CloseConnection),
    ] {
        scene.zendesk.fail_always(Matching::new(Method::GET, KEYS), fault);
        let said = check(&scene.server).await?;
        assert_eq!(said.code, 1, "{what}: {}", said.lines.join("\n"));
        said.says("FAIL", "Help Center tokens", "");
        scene.zendesk.clear_faults();
    }

    let spoil: [(&str, Change, &str); 5] = [
        ("not a text", |field| "checkbox".clone_into(&mut field.kind), "text field"),
        ("editable by customers", |field| field.editable_in_portal = true, "can edit it"),
        ("hidden from customers", |field| field.visible_in_portal = false, "do not see it"),
        ("inactive", |field| field.active = false, "activate"),
        ("all of it", |field| (field.active, field.visible_in_portal) = (false, false), "activate"),
    ];
    for (what, change, part) in spoil {
        for (id, name, title) in [(PROOF, "ticket_field", "Proof"), (LINK, "link_field", "Chat")] {
            scene.zendesk.alter_ticket_field(id, change);
            let said = check(&scene.server).await?;
            assert_eq!(said.code, 1, "{what}: {}", said.lines.join("\n"));
            said.says("FAIL", name, part);
            scene.zendesk.alter_ticket_field(id, |known| *known = field(id, title));
        }
    }
    assert_eq!(check(&scene.server).await?.code, 0, "mended");

    // No field of that number.
    let scene = Scene::prepare(plan(FIELDS)).await?;
    let said = check(&scene.server).await?;
    assert_eq!(said.code, 1);
    said.says("FAIL", "ticket_field", "no ticket field 27900");
    said.says("FAIL", "link_field", "no ticket field 27901");
    Ok(())
}

#[tokio::test]
async fn check_fails_where_no_customer_could_start_a_chat() -> Result<()> {
    let scene = Scene::prepare(plan("customer_proof = [\"help_center_token\"]")).await?;
    check(&scene.server).await?.says("ok", "Help Center tokens", "");
    scene.zendesk.set_integration_token(false);
    let said = check(&scene.server).await?;
    assert_eq!(said.code, 1, "{}", said.lines.join("\n"));
    said.says("FAIL", "Help Center tokens", "no customer can start a chat");
    Ok(())
}

#[tokio::test]
async fn check_names_an_origin_that_does_not_answer() -> Result<()> {
    let scene = Scene::prepare(plan("origins = [\"http://127.0.0.1:9\"]")).await?;
    let said = check(&scene.server).await?;
    said.says("ok", "Help Center", scene.zendesk.url());
    // An administrator's network may not reach what customers do.
    said.says("note", "Help Center", "http://127.0.0.1:9");
    Ok(())
}

// Settings

#[tokio::test]
async fn faults_in_the_settings_are_named_before_anything_starts() -> Result<()> {
    let cases: [(&str, &[&str]); 22] = [
        ("origins = [\"http://help.example.com\"]", &["help_center.origins", "http://help.example.com"]),
        ("origins = [\"https://help.example.com/hc\"]", &["help_center.origins"]),
        ("origins = [\"https://help.example.com?x\"]", &["help_center.origins"]),
        ("origins = [\"https://user@help.example.com\"]", &["help_center.origins"]),
        ("origins = [\"*\"]", &["help_center.origins"]),
        ("origins = [\"https://*.example.com\"]", &["help_center.origins"]),
        ("origins = [\"null\"]", &["help_center.origins"]),
        ("origins = [\"\"]", &["help_center.origins"]),
        ("origins = [\"ftp://help.example.com\"]", &["help_center.origins"]),
        ("origins = \"https://help.example.com\"", &["origins"]),
        ("customer_proof = []", &["help_center.customer_proof"]),
        ("customer_proof = [\"chat_link\", \"chat_link\"]", &["help_center.customer_proof", "chat_link"]),
        ("customer_proof = [\"email\"]", &["customer_proof"]),
        ("customer_proof = [\"ticket_field\"]", &["help_center.ticket_field"]),
        (
            "customer_proof = [\"ticket_field\", \"chat_link\"]\nticket_field = 7\nlink_field = 7",
            &["help_center.link_field", "another field"],
        ),
        ("customer_proof = [\"help_center_token\"]\nlink_field = 7", &["help_center.link_field", "chat_link"]),
        ("ticket_field = 0", &["ticket_field"]),
        ("ticket_field = -1", &["ticket_field"]),
        ("chat_minutes = 61", &["chat_minutes"]),
        ("chat_minutes = 0", &["chat_minutes"]),
        ("chats_per_customer = 0", &["chats_per_customer"]),
        ("who = \"everybody\"", &["who"]),
    ];
    for (keys, parts) in cases {
        let scene = Scene::prepare(plan(keys)).await?;
        for command in ["check", "serve"] {
            let output = scene.server.command(&[command]).await?;
            let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(2), "{command}, {keys}: {said}");
            for part in parts {
                assert!(said.contains(part), "{command}, {keys} does not name {part}: {said}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_help_center_stands_beside_zendesk_only() -> Result<()> {
    let connection = r#"
        name = "Autotask"
        [appliance]
        id = "default"
        host = "support.example.com"
        client_id = "id"
        client_secret = "appliance-secret"
        event_token = "event-secret"
        [autotask]
        username = "user"
        secret = "secret"
        integration_code = "code"
        [help_center]
        origins = ["https://help.example.com"]
    "#;
    let server = Deskbridge::builder().connection_text(connection).prepare().await?;
    let output = server.command(&["check"]).await?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("help_center") && said.contains("zendesk"), "{said}");
    Ok(())
}

/// Loopback addresses may do without TLS, for trials on one machine.
#[tokio::test]
async fn loopback_origins_may_do_without_tls() -> Result<()> {
    let origins = ["http://127.0.0.1:4711", "http://localhost:4712", "http://[::1]:4713"];
    let desk = Desk::start(plan(&format!("origins = {origins:?}"))).await?;
    for origin in origins {
        let offer = desk.ask(&desk.own_offer().with("origin", &[origin])).await?;
        assert_eq!((offer.status, offer.header("access-control-allow-origin")), (200, origin), "{}", offer.body);
    }
    let told: Value = desk.ask(&desk.own_offer().with("origin", &["http://127.0.0.1:4714"])).await?.json(403)?;
    assert_eq!(told["status"], 403);
    Ok(())
}
