//! The customer's button without a browser: what works, how often, and what happens when one of the outside systems does not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{self, CustomField, Endpoint, FaultRule, Representative, SimulatedAppliance};
use deskbridge_tests::button::{Answer, Desk, ISSUE, KEYS, OTHER_ISSUES, Request, help_center_section, plan, send, with_section};
use deskbridge_tests::outcomes::SESSION_END;
use deskbridge_tests::scene::{CONNECTION, Scene, merge, open_sidebar, recipient, to_zendesk, zendesk_for};
use deskbridge_tests::server::{Builder, Database, Deskbridge, until};
use deskbridge_tests::zendesk::{Fault, Matching, Options, SimulatedZendesk, Ticket};
use futures_util::future::{join_all, try_join};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::toml;
use url::Url;

/// The second custom session field, which holds the connection.
const FIELD: &str = "deskbridge";
/// Longest wait for what needs no patience.
const LIMIT: Duration = Duration::from_secs(30);
/// A refused ticket is answered after a whole number of such spans.
const PACE: Duration = Duration::from_millis(1_500);
/// No answer takes longer (the contract's item 7).
const LONGEST: Duration = Duration::from_secs(14);

fn parameters(location: &str) -> Result<BTreeMap<String, String>> {
    Ok(Url::parse(location)?.query_pairs().into_owned().collect())
}

/// Presses, and opens what the answer names: where it leads.
async fn chat(desk: &Desk, press: &Request) -> Result<String> {
    let url = desk.ask(press).await?.chat_url()?;
    let opened = desk.open(Method::GET, &url).await?;
    ensure!(opened.status == 303, "{}: {}", opened.status, opened.body);
    Ok(opened.header("location").to_owned())
}

async fn connection_id(server: &Deskbridge, name: &str) -> Result<String> {
    let mut database = sqlx::SqliteConnection::connect(server.database_url()).await?;
    Ok(sqlx::query_scalar("SELECT id FROM connection WHERE name = $1").bind(name).fetch_one(&mut database).await?)
}

/// An hour passes for the limits that the database counts.
async fn an_hour_passes(desk: &Desk) -> Result<()> {
    let mut database = sqlx::SqliteConnection::connect(desk.scene.server.database_url()).await?;
    let changed = sqlx::query("UPDATE use_count SET ends_at = 1").execute(&mut database).await?;
    ensure!(changed.rows_affected() > 0, "nothing was counted");
    Ok(())
}

fn too_many(answer: &Answer, what: &str) {
    assert_eq!(answer.refusal(), (429, "too-many-chats".to_owned()), "{what}: {}", answer.body);
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=3_600).contains(&seconds), "{what}: {seconds}");
    assert!(answer.header("access-control-expose-headers").eq_ignore_ascii_case("retry-after"), "{what}: {:?}", answer.headers);
}

// From the press to the note

#[tokio::test]
async fn a_press_leads_to_the_chat_and_its_record_to_the_ticket() -> Result<()> {
    let mut plan = plan("");
    plan.appliance.custom_fields.push(CustomField::new(FIELD, "Deskbridge"));
    merge(&mut plan.connection, toml::from_str(&format!("[appliance]\nconnection_field = \"{FIELD}\""))?);
    let desk = Desk::start(plan).await?;
    // Cut where a character ends: 33 of 40 of three bytes each, 50 of 60 of two.
    let company = desk.zendesk().add_organization(&"Ä".repeat(60));
    desk.zendesk().alter_user(desk.customer, |user| user.name = "€".repeat(40));
    desk.zendesk().alter_ticket(desk.ticket, |ticket| ticket.organization_id = Some(company));

    // The token as the page's script gets it, by its user's cookie.
    let asked =
        Request::new(Method::GET, "/api/v2/help_center/integration/token").and("cookie", desk.zendesk().help_center_cookie(desk.customer));
    let token = send(&desk.http, desk.origin(), &asked).await?.json(200)?["token"].as_str().context("no token")?.to_owned();
    let before = desk.scene.appliance.clock().now();
    let answer = desk.ask(&desk.press_by(("help_center_token", &token), desk.ticket)).await?;
    let started = answer.json(201)?;
    assert_eq!(started.as_object().map(serde_json::Map::len), Some(2), "{started}");
    let expires = OffsetDateTime::parse(started["expires_at"].as_str().context("expires_at")?, &Rfc3339)?;
    let life = expires.unix_timestamp() - before;
    assert!((590..=660).contains(&life), "{life} s");
    assert!(answer.header("cache-control").contains("no-store") && !answer.headers.contains_key("set-cookie"));
    desk.nothing_began()?;

    let url = answer.chat_url()?;
    let location = desk.open(Method::GET, &url).await?;
    assert_eq!(location.status, 303, "{}", location.body);
    let location = location.header("location").to_owned();
    assert_eq!(location.split('?').next(), Some(format!("{}/api/start_session", desk.scene.appliance.base_url()).as_str()));
    let expected = [
        ("issue_menu", "1"),
        ("codeName", ISSUE),
        ("customer.name", &"€".repeat(33)),
        ("customer.company", &"Ä".repeat(50)),
        ("session.custom.external_key", &desk.ticket.to_string()),
        (&format!("session.custom.{FIELD}"), &connection_id(&desk.scene.server, CONNECTION).await?),
        ("c2cjs", "1"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(parameters(&location)?, BTreeMap::from(expected), "{location}");

    // Opened again it asks first, and opens then.
    let again = desk.open(Method::GET, &url).await?;
    assert_eq!((again.status, again.header("content-type").starts_with("text/html")), (200, true), "{}", again.body);
    let once_more = desk.submit(&url, "again=true").await?;
    assert_eq!((once_more.status, once_more.header("location")), (303, location.as_str()));

    // The customer's chat, as the agent sees it, until the note.
    assert_eq!(desk.scene.appliance.browse(&location).await?.status().as_u16(), 200);
    let number = desk.ticket.to_string();
    let session = desk.scene.appliance.wait_for_session(|session| session.external_key == number).await?;
    let sidebar = desk.scene.open_sidebar(desk.scene.people.agent).await?;
    let shows = async |state: &str| {
        until(&format!("the panel shows {state}"), LIMIT, async || {
            let sessions = sidebar.get(routes::SESSIONS, desk.ticket).send().await?.json::<Value>().await?["sessions"].clone();
            let found = sessions.as_array().into_iter().flatten().find(|found| found["lsid"] == session.lsid.as_str());
            Ok(found.is_some_and(|found| found["state"] == state && found["customer"].as_str().is_some_and(|name| name.starts_with('€'))))
        })
        .await
    };
    shows("waiting").await?;
    desk.scene.appliance.representative_joins(&session.lsid, Representative::example())?;
    shows("active").await?;
    desk.scene.appliance.end_session(&session.lsid)?;
    desk.scene.outcome(&session.lsid, SESSION_END).await?.done()?;
    shows("recorded").await?;
    desk.scene.only_report(desk.ticket, &session.lsid)?;
    assert_eq!(desk.scene.appliance.sessions().len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_same_press_gets_the_same_chat_until_it_is_over() -> Result<()> {
    let desk = Desk::start(plan("who = \"participants\"\nchats_per_customer = 1000\nchats_per_ticket = 1000")).await?;
    let press = desk.press(desk.customer, desk.ticket)?;
    let url = async |request: &Request| desk.ask(request).await?.chat_url();
    let first = url(&press).await?;
    // With the same token, which holds until it expires, and with another.
    assert_eq!(url(&press).await?, first);
    assert_eq!(url(&desk.press(desk.customer, desk.ticket)?).await?, first);
    for repeated in join_all((0..10).map(|_| url(&press))).await {
        assert_eq!(repeated?, first);
    }
    let mut all = vec![first.clone()];
    for (what, request) in [
        ("another issue", press.clone().member("/issue", OTHER_ISSUES[0])),
        ("another customer", desk.press(desk.in_copy, desk.ticket)?),
        ("another ticket", desk.press(desk.customer, desk.add_ticket(desk.customer, "Another one"))?),
    ] {
        let other = url(&request).await?;
        assert!(!all.contains(&other), "{what}");
        all.push(other);
    }

    // `again` has no meaning before it was opened.
    let mut body: Value = serde_json::from_slice(&press.body)?;
    body["again"] = json!("true");
    let again = press.clone().saying(body.to_string());
    assert_eq!(url(&again).await?, first);
    let location = desk.open(Method::GET, &first).await?.header("location").to_owned();
    assert_eq!(url(&press).await?, first, "opened, and not over");

    desk.scene.appliance.browse(&location).await?.error_for_status()?;
    let number = desk.ticket.to_string();
    let session = desk.scene.appliance.wait_for_session(|session| session.external_key == number).await?;
    desk.scene.appliance.representative_joins(&session.lsid, Representative::example())?;
    assert_eq!(url(&press).await?, first, "it runs");
    desk.scene.appliance.end_session(&session.lsid)?;
    desk.scene.outcome(&session.lsid, SESSION_END).await?.done()?;
    let second = url(&press).await?;
    assert!(!all.contains(&second), "the session is over, and so is its chat");
    assert_eq!(desk.open(Method::GET, &second).await?.status, 303);
    assert_eq!(url(&press).await?, second);

    // The customer has closed the chat themself.
    let third = url(&again).await?;
    assert!(third != second && !all.contains(&third));
    assert_eq!(desk.open(Method::GET, &third).await?.status, 303);
    Ok(())
}

#[tokio::test]
async fn two_servers_give_one_press_one_chat() -> Result<()> {
    for database in Database::obtainable() {
        let mut plan = plan("chats_per_customer = 1000\nchats_per_ticket = 1000");
        plan.server = plan.server.database(database);
        let desk = Desk::start(plan).await?;
        let mut second = desk.scene.server.sibling().await?;
        if database == Database::Postgres {
            second.start().await?;
        }
        let beside = if database == Database::Postgres { &second } else { &desk.scene.server };
        for round in 0..5 {
            let ticket = desk.add_ticket(desk.customer, &format!("Round {round}"));
            let press = desk.press(desk.customer, ticket)?;
            let (one, other) = try_join(desk.ask(&press), desk.ask_at(beside, &press)).await?;
            let url = one.chat_url()?;
            assert_eq!(url, other.chat_url()?, "{database:?}");
            // Opened at one, it is opened at the other, too.
            let path = url.strip_prefix(desk.scene.server.public_url()).context("an address of ours")?.to_owned();
            let open = Request::new(Method::GET, path);
            let (one, other) = try_join(desk.ask(&open), desk.ask_at(beside, &open)).await?;
            let mut statuses = [one.status, other.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 303], "{database:?}: opened once");
        }
    }
    Ok(())
}

// Limits

/// A server behind a proxy that it trusts, or not.
fn behind_a_proxy(builder: Builder, is_trusted: bool) -> Builder {
    let proxies: Vec<toml::Value> = if is_trusted { vec!["127.0.0.1/32".into()] } else { Vec::new() };
    builder.server_setting("trusted_proxies", proxies)
}

#[tokio::test]
async fn a_customers_chats_are_limited_wherever_they_press() -> Result<()> {
    let mut plan = plan("chats_per_customer = 2\nchats_per_ticket = 3\nwho = \"participants\"");
    plan.server = behind_a_proxy(plan.server, true);
    let desk = Desk::start(plan).await?;
    let press = |user: u64, ticket: u64, issue: &str, from: &str| {
        anyhow::Ok(desk.press(user, ticket)?.member("/issue", issue).and("x-forwarded-for", from))
    };
    let ask = async |request: Result<Request>| desk.ask(&request?).await;
    let first = ask(press(desk.customer, desk.ticket, ISSUE, "203.0.113.1")).await?.chat_url()?;
    ask(press(desk.customer, desk.ticket, OTHER_ISSUES[0], "203.0.113.2")).await?.chat_url()?;
    let second_ticket = desk.add_ticket(desk.customer, "Another one");
    for (what, ticket, issue, from) in [
        ("a third issue", desk.ticket, OTHER_ISSUES[1], "203.0.113.1"),
        ("another address", desk.ticket, OTHER_ISSUES[1], "203.0.113.9"),
        ("another ticket", second_ticket, ISSUE, "203.0.113.7"),
    ] {
        too_many(&ask(press(desk.customer, ticket, issue, from)).await?, what);
    }
    // What they have they keep, and others are unharmed, at the same address too.
    assert_eq!(ask(press(desk.customer, desk.ticket, ISSUE, "203.0.113.3")).await?.chat_url()?, first);
    ask(press(desk.stranger, desk.foreign_ticket, ISSUE, "203.0.113.1")).await?.chat_url().context("somebody else")?;
    // The third on this ticket, by another customer; the fourth is one too many for the ticket.
    ask(press(desk.in_copy, desk.ticket, ISSUE, "203.0.113.1")).await?.chat_url().context("in copy")?;
    too_many(&ask(press(desk.in_copy, desk.ticket, OTHER_ISSUES[0], "203.0.113.1")).await?, "the ticket's limit");

    an_hour_passes(&desk).await?;
    ask(press(desk.customer, second_ticket, ISSUE, "203.0.113.1")).await?.chat_url().context("after an hour")?;
    ask(press(desk.in_copy, desk.ticket, OTHER_ISSUES[0], "203.0.113.1")).await?.chat_url().context("after an hour")?;
    Ok(())
}

/// Each press makes the account be asked, also one that gets the same chat again: its API limit is everybody's.
#[tokio::test]
async fn presses_that_get_the_same_chat_are_limited_too() -> Result<()> {
    let desk = Desk::start(plan("chats_per_customer = 1")).await?;
    let asked = || desk.scene.zendesk.count(&Method::GET, &format!("/api/v2/tickets/{}", desk.ticket));
    let before = asked();
    let press = async || desk.ask(&desk.press(desk.customer, desk.ticket)?).await;
    let first = press().await?.chat_url()?;
    for _ in 1..6 {
        assert_eq!(press().await?.chat_url()?, first);
    }
    too_many(&press().await?, "a seventh press");
    assert_eq!(asked() - before, 6);
    desk.ask(&desk.press(desk.stranger, desk.foreign_ticket)?).await?.chat_url().context("somebody else")?;
    Ok(())
}

#[tokio::test]
async fn refused_proofs_are_limited_by_address_and_the_right_one_still_passes() -> Result<()> {
    for is_trusted in [true, false] {
        let mut plan = plan("refusals = 3");
        plan.server = behind_a_proxy(plan.server, is_trusted);
        let desk = Desk::start(plan).await?;
        let wrong = desk.press_by(("help_center_token", "x"), desk.ticket);
        let from = |request: &Request, address: &str| request.clone().with("x-forwarded-for", &[address]);
        for _ in 0..3 {
            assert_eq!(desk.ask(&from(&wrong, "203.0.113.1")).await?.refusal(), (403, "proof-refused".to_owned()));
        }
        too_many(&desk.ask(&from(&wrong, "203.0.113.1")).await?, "the fourth");
        too_many(&desk.ask(&from(&wrong, "198.51.100.7, 203.0.113.1")).await?, "the address that the proxy saw");
        let elsewhere = desk.ask(&from(&wrong, "203.0.113.2")).await?;
        if is_trusted {
            assert_eq!(elsewhere.refusal(), (403, "proof-refused".to_owned()), "another address");
        } else {
            too_many(&elsewhere, "a word that nobody trusts");
        }
        // Customers behind one address are not shut out by a bot beside them.
        desk.ask(&from(&desk.press(desk.customer, desk.ticket)?, "203.0.113.1")).await?.chat_url().context("the right proof")?;
    }
    Ok(())
}

#[tokio::test]
async fn whoever_tries_one_ticket_after_the_other_is_told_to_wait() -> Result<()> {
    let mut plan = plan("refusals = 3");
    plan.server = behind_a_proxy(plan.server, true);
    let desk = Desk::start(plan).await?;
    let try_ticket = async |user: u64, ticket: u64, from: &str| desk.ask(&desk.press(user, ticket)?.and("x-forwarded-for", from)).await;
    for ticket in [desk.foreign_ticket, 999_999_998, desk.scene.people.scanner_ticket] {
        assert_eq!(try_ticket(desk.customer, ticket, "203.0.113.1").await?.refusal(), (403, "not-your-ticket".to_owned()));
    }
    for ticket in [desk.foreign_ticket, 999_999_999] {
        too_many(&try_ticket(desk.customer, ticket, "203.0.113.8").await?, "from another address, too");
    }
    try_ticket(desk.stranger, desk.foreign_ticket, "203.0.113.1").await?.chat_url().context("somebody else")?;
    an_hour_passes(&desk).await?;
    try_ticket(desk.customer, desk.ticket, "203.0.113.1").await?.chat_url().context("after an hour")?;
    Ok(())
}

// Keys

#[tokio::test]
async fn keys_are_fetched_when_they_are_needed_and_rarely() -> Result<()> {
    let desk = Desk::start(plan("refusals = 10000\nchats_per_customer = 1000\nchats_per_ticket = 1000")).await?;
    assert_eq!(desk.key_fetches(), 0, "nobody has pressed");
    let old = desk.press(desk.customer, desk.ticket)?;
    for answer in join_all((0..10).map(|_| desk.ask(&old))).await {
        answer?.chat_url()?;
    }
    assert_eq!(desk.key_fetches(), 1, "once for all who wait");

    // A new key: its first customer is let in at once.
    let kid = desk.zendesk().help_center_key_ids()?.pop().context("a key")?;
    desk.zendesk().rotate_help_center_key().await?;
    let new = desk.press(desk.customer, desk.ticket)?;
    desk.ask(&new).await?.chat_url().context("the new key")?;
    assert_eq!(desk.key_fetches(), 2);
    desk.ask(&old).await?.chat_url().context("the old key is published still")?;

    // Withdrawn: until the keys are fetched again it is known, afterwards it is not.
    assert!(desk.zendesk().withdraw_help_center_key(&kid)?);
    desk.zendesk().rotate_help_center_key().await?;
    desk.ask(&desk.press(desk.customer, desk.ticket)?).await?.chat_url().context("the third key")?;
    assert_eq!(desk.key_fetches(), 3);
    assert_eq!(desk.ask(&old).await?.refusal(), (403, "proof-refused".to_owned()), "the withdrawn key");
    desk.ask(&new).await?.chat_url().context("the second key")?;

    let genuine = desk.zendesk().help_center_token(desk.customer)?;
    for number in 0..50 {
        let token = genuine.clone().with_header("kid", json!(format!("unknown {number}"))).encode()?;
        let answer = desk.ask(&desk.press_by(("help_center_token", &token), desk.ticket)).await?;
        assert_eq!(answer.refusal(), (403, "proof-refused".to_owned()));
    }
    assert!(desk.key_fetches() <= 6, "{} fetches", desk.key_fetches());
    desk.ask(&desk.press(desk.customer, desk.ticket)?).await?.chat_url().context("a good one afterwards")?;
    Ok(())
}

#[tokio::test]
async fn fifty_unknown_keys_at_once_cost_a_few_fetches() -> Result<()> {
    let desk = Desk::start(plan("refusals = 10000")).await?;
    let genuine = desk.zendesk().help_center_token(desk.customer)?;
    let mut presses = Vec::new();
    for number in 0..50 {
        let token = genuine.clone().with_header("kid", json!(format!("unknown {number}"))).encode()?;
        presses.push(desk.press_by(("help_center_token", &token), desk.ticket));
    }
    for answer in join_all(presses.iter().map(|press| desk.ask(press))).await {
        assert_eq!(answer?.refusal(), (403, "proof-refused".to_owned()));
    }
    assert!(desk.key_fetches() <= 4, "{} fetches", desk.key_fetches());
    Ok(())
}

#[tokio::test]
async fn two_keys_of_one_id_are_both_tried_and_others_are_passed_over() -> Result<()> {
    let desk = Desk::start(plan("")).await?;
    let first = desk.press(desk.customer, desk.ticket)?;
    desk.zendesk().rotate_help_center_key().await?;
    let keys = send(&desk.http, desk.origin(), &Request::new(Method::GET, KEYS)).await?.json(200)?;
    let [mut old, mut new] = [keys["keys"][0].clone(), keys["keys"][1].clone()];
    let kid = new["kid"].clone();
    old["kid"] = kid.clone();
    new["use"] = json!("sig");
    let not_ours =
        [json!({"kty": "EC", "kid": kid, "crv": "P-256", "x": "AA", "y": "AA"}), json!({"kty": "oct", "kid": kid, "k": "AAAA"}), json!(7)];
    let published = json!({"keys": [not_ours[0], not_ours[1], not_ours[2], old, new], "more": true});
    let answer = Fault::Status { code: 200, body: published.to_string(), retry_after: None };
    desk.zendesk().fail_always(Matching::new(Method::GET, KEYS), answer);
    desk.ask(&desk.press(desk.customer, desk.ticket)?).await?.chat_url().context("the second of two keys")?;
    assert_eq!(desk.ask(&first).await?.refusal(), (403, "proof-refused".to_owned()), "a key of another id");
    Ok(())
}

// Outside systems that do not do their part

#[tokio::test]
async fn a_sick_account_is_told_within_fourteen_seconds() -> Result<()> {
    let status = |code: u16| Fault::Status { code, body: "{}".to_owned(), retry_after: None };
    let keys = || Matching::new(Method::GET, KEYS);
    let ticket = || Matching::new(Method::GET, "/api/v2/tickets/");
    let faults = [
        ("keys: 404", keys(), status(404)),
        ("keys: 500", keys(), status(500)),
        ("keys: no JSON", keys(), Fault::Status { code: 200, body: "<html>".into(), retry_after: None }),
        ("keys: an empty object", keys(), status(200)),
        ("keys: hangs", keys(), Fault::Hang),
        ("keys: closed", keys(), Fault::CloseConnection),
        ("ticket: 500", ticket(), status(500)),
        ("ticket: 429", ticket(), status(429)),
        ("ticket: hangs", ticket(), Fault::Hang),
        ("ticket: no ticket", ticket(), status(200)),
        ("everything: 401", Matching::any_api_call(), status(401)),
    ];
    let asked = faults.map(async |(what, matching, fault)| {
        let desk = Desk::start(plan("")).await?;
        desk.zendesk().fail_always(matching, fault);
        let begun = Instant::now();
        let answer = desk.ask(&desk.press(desk.customer, desk.ticket)?).await?;
        ensure!(begun.elapsed() < LONGEST, "{what}: {:?}", begun.elapsed());
        ensure!(matches!(answer.status, 502..=504), "{what}: {} {}", answer.status, answer.body);
        ensure!(answer.header("access-control-allow-origin") == desk.origin(), "{what}: {:?}", answer.headers);
        ensure!(answer.problem().starts_with("ticket-system-"), "{what}: {}", answer.body);
        desk.nothing_began()?;
        anyhow::Ok(())
    });
    for result in join_all(asked).await {
        result?;
    }
    Ok(())
}

/// What the customer's name is good for is no reason to keep them waiting outside.
#[tokio::test]
async fn a_chat_starts_without_the_name_that_cannot_be_read() -> Result<()> {
    let desk = Desk::start(plan("")).await?;
    desk.zendesk().fail_always(Matching::new(Method::GET, "/api/v2/users/"), Fault::CloseConnection);
    desk.zendesk().fail_always(Matching::new(Method::GET, "/api/v2/organizations/"), Fault::CloseConnection);
    let found = parameters(&chat(&desk, &desk.press(desk.customer, desk.ticket)?).await?)?;
    assert!(!found.contains_key("customer.name") && !found.contains_key("customer.company"), "{found:?}");
    assert_eq!(found["session.custom.external_key"], desk.ticket.to_string());
    Ok(())
}

/// How long the account thinks about a ticket must not tell whether it is there.
#[tokio::test]
async fn refused_tickets_are_answered_at_one_of_few_moments() -> Result<()> {
    let desk = Desk::start(plan("")).await?;
    let missing = 999_999_999;
    let took = async |ticket: u64| {
        let press = desk.press(desk.customer, ticket)?;
        let begun = Instant::now();
        let answer = desk.ask(&press).await?;
        ensure!(answer.refusal() == (403, "not-your-ticket".to_owned()), "{}", answer.body);
        anyhow::Ok(begun.elapsed())
    };
    // The keys are there already.
    desk.ask(&desk.press(desk.customer, desk.ticket)?).await?.chat_url()?;
    for (slow, spans) in [(0, 1), (700, 1), (1_700, 2)] {
        for slow_one in [desk.foreign_ticket, missing] {
            desk.zendesk().clear_faults();
            let path = format!("/api/v2/tickets/{slow_one}");
            desk.zendesk().fail_always(Matching::new(Method::GET, path), Fault::Delay(Duration::from_millis(slow)));
            let (foreign, absent) = try_join(took(desk.foreign_ticket), took(missing)).await?;
            for (ticket, time) in [(desk.foreign_ticket, foreign), (missing, absent)] {
                let least = if ticket == slow_one { PACE * spans } else { PACE };
                assert!(time >= least, "{ticket}, {slow} ms: {time:?}");
            }
        }
    }
    Ok(())
}

// Two accounts

#[tokio::test]
async fn two_accounts_on_one_appliance_keep_their_tickets_apart() -> Result<()> {
    const TICKET: u64 = 100_001;
    let keys = "customer_proof = [\"help_center_token\", \"ticket_field\"]\nticket_field = 27900";
    let options = appliance::Options {
        rate_limits: None,
        custom_fields: vec![CustomField::new(FIELD, "Deskbridge")],
        ..appliance::Options::default()
    };
    let appliance = SimulatedAppliance::start(options).await?;
    let mut accounts = Vec::new();
    let mut builder = Builder::default();
    for (name, id) in [(CONNECTION, "default"), ("Account B", "b")] {
        let zendesk = zendesk_for(&appliance, Options { rate_limits: None, ..Options::default() }).await?;
        let people = zendesk.fill_demo_data();
        let mut field = deskbridge_tests::zendesk::TicketField::shown_to_customers("Proof");
        field.id = 27_900;
        zendesk.add_ticket_field(field);
        let requester_id = zendesk.ticket(people.vpn_ticket).context("a ticket")?.requester_id;
        let subject = format!("Ticket of {name}");
        zendesk.add_ticket(Ticket { id: TICKET, description: subject.clone(), subject, requester_id, ..Ticket::default() });
        let connection = with_section(to_zendesk(&appliance, &zendesk, name, id), help_center_section(keys));
        builder = builder.connection(with_section(connection, toml! { appliance = { connection_field = "deskbridge" } }));
        accounts.push((name, id, zendesk, people, requester_id));
    }
    let server = builder.start().await?;
    let b = accounts.pop().context("two accounts")?;
    let a = accounts.pop().context("two accounts")?;
    // Real accounts share no keys; these do at first.
    let shared = b.2.help_center_key_ids()?;
    b.2.rotate_help_center_key().await?;
    for kid in shared {
        b.2.withdraw_help_center_key(&kid)?;
    }
    for (name, id) in [(a.0, a.1), (b.0, b.1)] {
        appliance.set_recipient(deskbridge_tests::appliance::Recipient { name: name.into(), ..recipient(&server, id) });
    }
    let value_of = async |zendesk: &SimulatedZendesk, agent: u64| {
        open_sidebar(&server, zendesk, agent).await?.get(routes::PANEL, TICKET).send().await?.error_for_status()?;
        let value = |zendesk: &SimulatedZendesk| zendesk.ticket(TICKET)?.custom_fields.get(&27_900)?.as_str().map(str::to_owned);
        zendesk.wait_until(value).await
    };
    let (value_a, value_b) = (value_of(&a.2, a.3.agent).await?, value_of(&b.2, b.3.agent).await?);
    assert_ne!(value_a, value_b, "one value for one number of two accounts");

    let desk = Desk::of(Scene { appliance, zendesk: a.2.clone(), people: a.3.clone(), server })?;
    let press_a = desk.press(a.4, TICKET)?;
    let press_b = press_a.clone().with("origin", &[b.2.url()]).member("/connection", b.0);
    let token_b = b.2.help_center_token(b.4)?.encode()?;
    // What proves something to one account proves nothing to the other.
    for (what, request) in
        [("a token", press_b.clone()), ("a value", press_b.clone().member("/proof", json!({"kind": "ticket_field", "value": value_a})))]
    {
        assert_eq!(desk.ask(&request).await?.refusal(), (403, "proof-refused".to_owned()), "{what} of account A");
    }
    let press_b = press_b.member("/proof/value", token_b);
    let by_value = press_b.clone().member("/proof", json!({"kind": "ticket_field", "value": value_b}));
    desk.ask(&by_value).await?.chat_url().context("account B's own value")?;

    let mut lsids = Vec::new();
    for press in [&press_a, &press_b] {
        let location = chat(&desk, press).await?;
        desk.scene.appliance.browse(&location).await?.error_for_status()?;
        let known = lsids.clone();
        let session = desk.scene.appliance.wait_for_session(|session| !known.contains(&session.lsid)).await?;
        lsids.push(session.lsid);
    }
    for lsid in &lsids {
        desk.scene.appliance.representative_joins(lsid, Representative::example())?;
        desk.scene.appliance.end_session(lsid)?;
    }
    for (zendesk, lsid, other) in [(&a.2, &lsids[0], &lsids[1]), (&b.2, &lsids[1], &lsids[0])] {
        let marker = format!("deskbridge/{lsid}/report/");
        zendesk.wait_for_comment(TICKET, |comment| comment.plain_body.contains(&marker)).await?;
        assert!(!zendesk.comments(TICKET).iter().any(|comment| comment.plain_body.contains(&format!("deskbridge/{other}/"))));
        let notes = zendesk.comments(TICKET).iter().filter(|comment| comment.plain_body.contains(&marker)).count();
        assert_eq!(notes, 1);
    }
    Ok(())
}

// The offer

#[tokio::test]
async fn the_offer_names_what_the_page_needs() -> Result<()> {
    let keys = "customer_proof = [\"ticket_field\", \"help_center_token\", \"chat_link\"]\nticket_field = 27900\nlink_field = 27901";
    let desk = Desk::start(plan(keys)).await?;
    let offer = async |locale: &str| desk.ask(&desk.offer(&format!("connection=Simulated%20Zendesk&locale={locale}"))).await?.json(200);
    let english = offer("en-us").await?;
    let issues = json!([
        {"code": "general_tech", "name": "General Technical Issues"},
        {"code": "network", "name": "Network and VPN"},
        {"code": "printing", "name": "Printing"},
    ]);
    assert_eq!(english["issues"], issues);
    assert_eq!(english["proofs"], json!(["ticket_field", "help_center_token", "chat_link"]), "in the order of the settings");
    assert_eq!((&english["ticket_field"], &english["link_field"]), (&json!("27900"), &json!("27901")));
    assert_eq!((&english["locale"], &english["dir"], &english["available"]), (&json!("en"), &json!("ltr"), &json!(true)));
    let german = offer("de").await?;
    assert_eq!((&german["locale"], &german["dir"]), (&json!("de"), &json!("ltr")));
    let names = |offer: &Value| offer["texts"].as_object().map(|texts| texts.keys().cloned().collect::<Vec<_>>());
    assert_eq!(names(&english), names(&german));
    for offer in [&english, &german] {
        let texts = offer["texts"].as_object().context("texts")?;
        assert!(texts.values().all(|text| text.as_str().is_some_and(|text| !text.trim().is_empty())), "{texts:?}");
        assert!(texts.keys().all(|name| !name.starts_with("button_") && !name.starts_with("chat_")), "{texts:?}");
    }
    for locale in ["", "xx", "de-at", "%00", "en-us%2F..", &"x".repeat(3_000)] {
        let offered = offer(locale).await?;
        assert!(offered["locale"].is_string(), "{locale}");
    }
    // By its id, too.
    let id = connection_id(&desk.scene.server, CONNECTION).await?;
    assert_eq!(desk.ask(&desk.offer(&format!("connection={id}&locale=en"))).await?.json(200)?, english);
    desk.ask(&desk.press(desk.customer, desk.ticket)?.member("/connection", id)).await?.chat_url()?;
    desk.nothing_began()?;

    let plain = Desk::start(plan("")).await?;
    let offered = plain.ask(&plain.own_offer()).await?.json(200)?;
    assert_eq!(offered["proofs"], json!(["help_center_token", "chat_link"]));
    assert!(offered.get("ticket_field").is_none() && offered.get("link_field").is_none(), "{offered}");
    Ok(())
}

#[tokio::test]
async fn only_an_appliance_that_says_so_has_nobody_logged_in() -> Result<()> {
    let nobody = |options: &mut appliance::Options| options.representatives.iter_mut().for_each(|one| one.logged_in = false);
    let fault = |fault: appliance::Fault| Some(FaultRule::always(fault));
    let cases = [
        ("somebody is there", false, None, true),
        ("nobody is there", true, None, false),
        ("it fails", true, fault(appliance::Fault::Status(500, "no".into())), true),
        ("it hangs", true, fault(appliance::Fault::Hang), true),
        ("it says something else", true, fault(appliance::Fault::Garbage), true),
        ("it refuses", true, fault(appliance::Fault::ErrorDocument("Permission denied.".into())), true),
    ];
    let asked = cases.map(async |(what, is_empty, rule, expected)| {
        let desk = Desk::prepare(plan("")).await?;
        if is_empty {
            desk.scene.appliance.change_options(nobody);
        }
        if let Some(rule) = rule {
            desk.scene.appliance.add_fault(rule.at(Endpoint::Command));
        }
        let mut desk = desk;
        desk.scene.server.start().await?;
        let begun = Instant::now();
        let offered = desk.ask(&desk.own_offer()).await?.json(200).context(what)?;
        ensure!(offered["available"] == expected, "{what}: {offered}");
        ensure!(begun.elapsed() < LONGEST, "{what}: {:?}", begun.elapsed());
        // Whether somebody is there is a hint for the page, no condition.
        desk.ask(&desk.press(desk.customer, desk.ticket)?).await?.chat_url().context(what)?;
        anyhow::Ok(())
    });
    for result in join_all(asked).await {
        result?;
    }
    Ok(())
}

#[tokio::test]
async fn the_script_is_small_and_any_page_may_load_it() -> Result<()> {
    let desk = Desk::start(plan("")).await?;
    let script = desk.ask(&Request::new(Method::GET, routes::HELP_CENTER_BUTTON)).await?;
    assert_eq!(script.status, 200);
    assert!(script.body.len() < 10_000, "{} bytes", script.body.len());
    assert!(script.header("content-type").starts_with("text/javascript"), "{:?}", script.headers);
    assert!(["", "cross-origin"].contains(&script.header("cross-origin-resource-policy")), "{:?}", script.headers);
    assert!(!script.headers.contains_key("set-cookie"));
    let tag = script.header("etag").to_owned();
    assert!(!tag.is_empty());
    let known = Request::new(Method::GET, routes::HELP_CENTER_BUTTON).and("if-none-match", &tag);
    let again = desk.ask(&known).await?;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    Ok(())
}
