//! How calls to Zendesk are signed: by the tokens of an OAuth client, by an API token of former times, and as an integration of the
//! marketplace.

use anyhow::{Context, Result};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::SessionScript;
use deskbridge_tests::outcomes::SESSION_END;
use deskbridge_tests::scene::{Plan, Scene, by_api_token};
use deskbridge_tests::server::until;
use deskbridge_tests::zendesk::{self, Fault, Matching, OAuthClient};
use reqwest::Method;
use toml::toml;

const LIMIT: std::time::Duration = std::time::Duration::from_mins(1);
const MARKETPLACE: [(&str, &str); 3] = [
    ("x-zendesk-marketplace-name", "Deskbridge"),
    ("x-zendesk-marketplace-organization-id", "4711"),
    ("x-zendesk-marketplace-app-id", "1001"),
];

fn tokens_asked_for(scene: &Scene) -> usize {
    scene.zendesk.count(&Method::POST, "/oauth/tokens")
}

#[tokio::test]
async fn one_token_serves_all_calls_and_a_dead_one_is_replaced_within_the_same_attempt() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let ticket = scene.people.vpn_ticket;
    let sidebar = scene.open_sidebar(scene.people.agent).await?;
    let panel = || async { anyhow::Ok(sidebar.get(routes::PANEL, ticket).send().await?.error_for_status()?) };
    futures_util::future::try_join_all((0..20).map(|_| panel())).await?;
    assert_eq!(tokens_asked_for(&scene), 1, "of twenty callers one asks");

    scene.zendesk.revoke_tokens();
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    scene.only_report(ticket, &lsid)?;
    assert_eq!(tokens_asked_for(&scene), 2);
    let retried = scene.server.logs().lines_matching("event will be tried again")?;
    assert!(retried.is_empty(), "{retried:?}");

    // What the token does is done as the user who owns the client.
    let author = scene.zendesk.comments(ticket).last().context("a note")?.author_id;
    assert_eq!(author, scene.zendesk.api_user());
    Ok(())
}

#[tokio::test]
async fn a_token_that_dies_before_the_write_leaves_one_note() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let ticket = scene.people.vpn_ticket;
    let refused = Fault::Status { code: 401, body: r#"{"error":"invalid_token"}"#.into(), retry_after: None };
    scene.zendesk.fail_next(1, Matching::new(Method::PUT, "/api/v2/tickets/"), refused);
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    scene.only_report(ticket, &lsid)?;
    assert_eq!((tokens_asked_for(&scene), scene.zendesk.count(&Method::PUT, "/api/v2/tickets/")), (2, 2));
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_refused_holds_the_connection_until_it_is_accepted() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let ticket = scene.people.vpn_ticket;
    let unknown =
        Fault::Status { code: 401, body: r#"{"error":"invalid_client","error_description":"unknown client"}"#.into(), retry_after: None };
    scene.zendesk.fail_always(Matching::new(Method::POST, "/oauth/tokens"), unknown);
    let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    let held = scene.server.wait_for_log("Zendesk does not accept the OAuth client").await?;
    assert!(held.contains("check client_id") && !held.contains(&OAuthClient::default().secret), "{held}");
    scene.zendesk.clear_faults();
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.only_report(ticket, &lsid)?;
    Ok(())
}

#[tokio::test]
async fn a_fault_of_the_token_endpoint_passes() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let ticket = scene.people.vpn_ticket;
    for fault in [Fault::Status { code: 503, body: "<h1>down</h1>".into(), retry_after: Some(1) }, Fault::CloseConnection] {
        scene.zendesk.revoke_tokens();
        scene.zendesk.fail_next(1, Matching::new(Method::POST, "/oauth/tokens"), fault);
        scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_api_token_of_former_times_still_works_and_check_says_when_it_ends() -> Result<()> {
    let scene = Scene::start(Plan { connection: by_api_token(&zendesk::Options::default()), ..Plan::default() }).await?;
    let ticket = scene.people.vpn_ticket;
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    scene.only_report(ticket, &lsid)?;
    assert_eq!(tokens_asked_for(&scene), 0);
    let output = scene.server.command(&["check"]).await?;
    let said = String::from_utf8(output.stdout)?;
    let line = said.lines().find(|line| line.contains("API token: ")).context("a line about the API token")?;
    assert!(line.starts_with("note ") && line.contains("30 April 2027") && line.contains("30 days"), "{line}");
    Ok(())
}

/// Zendesk switches a token off that was not used for 30 days.
#[tokio::test]
async fn an_idle_server_uses_its_api_token() -> Result<()> {
    let scene = Scene::start(Plan { connection: by_api_token(&zendesk::Options::default()), ..Plan::default() }).await?;
    let used = || scene.zendesk.requests().iter().any(|request| request.path == "/api/v2/users/me" && request.status == Some(200));
    until("the token is used", LIMIT, async || Ok(used())).await
}

#[tokio::test]
async fn calls_of_a_marketplace_integration_say_so_and_others_do_not() -> Result<()> {
    let named = toml! { zendesk = { marketplace_name = "Deskbridge", marketplace_organization_id = "4711", marketplace_app_id = "1001" } };
    for (connection, expected) in [(named, true), (toml::Table::new(), false)] {
        let scene = Scene::start(Plan { connection, ..Plan::default() }).await?;
        scene.play_until_done(SessionScript::short(scene.people.vpn_ticket.to_string())).await?;
        let written = || scene.zendesk.count(&Method::PUT, "/api/v2/tickets/") == 1;
        until("the note is written", LIMIT, async || Ok(written())).await?;
        let requests = scene.zendesk.requests();
        assert!(!requests.is_empty());
        for request in requests {
            for (name, value) in MARKETPLACE {
                let given = request.headers.get(name).and_then(|value| value.to_str().ok());
                assert_eq!(given, expected.then_some(value), "{} {}: {name}", request.method, request.path);
            }
        }
    }
    Ok(())
}
