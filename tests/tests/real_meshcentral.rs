//! The real MeshCentral of the tests plays: links, sessions, events, recordings, requests for help, deaths and returns.
//!
//! Nothing of Deskbridge runs here. What these tests find is what the engine's own tests stand on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_tests::meshcentral::{
    self, ADMIN, Control, Display, OWN_ACCOUNT, RealAgent, RealMeshCentral, SERVICE, Technician, request_help,
};
use deskbridge_tests::processes::Signal;
use serde_json::{Value, json};

/// MeshCentral's numbers of the events that begin and end a session (reference, "c").
const TERMINAL_BEGAN: u64 = 14;
const TERMINAL_ENDED: u64 = 10;
const DESKTOP_BEGAN: u64 = 15;
const DESKTOP_ENDED: u64 = 11;
const FILES_BEGAN: u64 = 16;
const FILES_ENDED: u64 = 12;
const HELP_REQUESTED: u64 = 98;

/// The bits of a link's kinds.
const TERMINAL: u8 = 1;
const DESKTOP: u8 = 2;
const FILES: u8 = 4;

const HOUR: u32 = 60;

#[tokio::test]
async fn a_link_leads_to_a_terminal_whose_keys_end_event_and_recording_are_there() -> Result<()> {
    if !meshcentral::is_obtainable_for("a_link_leads_to_a_terminal_whose_keys_end_event_and_recording_are_there")? {
        return Ok(());
    }
    let mesh = RealMeshCentral::start().await?;
    let agent = RealAgent::start(&mesh, "Reception", None).await?;
    let service = mesh.service().await?;
    let link = service.share(agent.id(), "Jane, ticket 88121", TERMINAL, HOUR).await?;
    let mut technician = Technician::open(&link.url).await?;
    technician.connect_terminal().await?;
    let session = technician.session_id().await?;
    let began = relay(&service, TERMINAL_BEGAN, &session).await?;
    ensure!(began["guestname"] == "Jane, ticket 88121" && began["nodeid"] == *agent.id(), "{began}");

    technician.type_into_terminal("echo Grüße $((40 + 2))\n").await?;
    technician.see_terminal_line("Grüße 42").await?;
    technician.disconnect().await?;
    let ended = relay(&service, TERMINAL_ENDED, &session).await?;
    ensure!(ended["guestname"] == "Jane, ticket 88121" && ended["bytesin"].as_u64() > Some(0), "{ended}");

    let recording = mesh.recording_of(&session).await?;
    let text = String::from_utf8_lossy(&recording);
    ensure!(text.contains("MeshCentralRelaySession") && text.contains(&session), "the head");
    ensure!(text.contains("Grüße 42"), "what the shell said");
    service.event("the recording", |event| event["action"] == "recording" && is_of(&event["filename"], &session)).await?;
    let listed = service.recordings().await?;
    ensure!(listed.iter().any(|recording| is_of(&recording["filename"], &session)), "{listed:?}");
    let stored = service.stored_events("relaylog").await?;
    ensure!(stored.iter().filter(|event| event["msgArgs"][0] == *session).count() == 2, "{stored:?}");
    technician.close().await
}

#[tokio::test]
async fn a_link_leads_to_a_desktop_that_is_drawn() -> Result<()> {
    if !meshcentral::is_obtainable_for("a_link_leads_to_a_desktop_that_is_drawn")? {
        return Ok(());
    }
    let mesh = RealMeshCentral::start().await?;
    let display = Display::start().await?;
    let agent = RealAgent::start(&mesh, "Reception", Some(&display)).await?;
    let service = mesh.service().await?;
    let link = service.share(agent.id(), "Ticket 1", DESKTOP, HOUR).await?;
    let mut technician = Technician::open(&link.url).await?;
    technician.connect_desktop().await?;
    let session = technician.session_id().await?;
    relay(&service, DESKTOP_BEGAN, &session).await?;
    service.event("the machine is in use", |event| event["action"] == "devicesessions" && event["sessions"]["kvm"].is_object()).await?;
    // The browser closed: nobody pressed Disconnect.
    technician.close().await?;
    relay(&service, DESKTOP_ENDED, &session).await?;
    Ok(())
}

#[tokio::test]
async fn ending_a_link_ends_its_session_and_nothing_opens_by_it_any_more() -> Result<()> {
    if !meshcentral::is_obtainable_for("ending_a_link_ends_its_session_and_nothing_opens_by_it_any_more")? {
        return Ok(());
    }
    let mesh = RealMeshCentral::start().await?;
    let agent = RealAgent::start(&mesh, "Reception", None).await?;
    let service = mesh.service().await?;
    let link = service.share(agent.id(), "Ticket 2", FILES, HOUR).await?;
    let mut technician = Technician::open(&link.url).await?;
    technician.connect_files().await?;
    let session = technician.session_id().await?;
    relay(&service, FILES_BEGAN, &session).await?;
    ensure!(service.shares(agent.id()).await?.len() == 1);
    mesh.admin().await?.end_share(&link).await?;
    relay(&service, FILES_ENDED, &session).await?;
    technician.wait_until_disconnected().await?;
    ensure!(service.shares(agent.id()).await?.is_empty());
    technician.browser().open(&link.url).await?;
    let shown = technician.page_text().await?;
    ensure!(shown.contains("Not Found"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_customer_asks_for_help_and_takes_it_back() -> Result<()> {
    if !meshcentral::is_obtainable_for("a_customer_asks_for_help_and_takes_it_back")? {
        return Ok(());
    }
    let mesh = RealMeshCentral::start().await?;
    let agent = RealAgent::start(&mesh, "Reception", None).await?;
    let service = mesh.service().await?;
    let mut assistant = request_help(&mesh, &agent, "My printer burns").await?;
    let event = service.event("the request", |event| event["action"] == "agentlog" && event["msgid"] == HELP_REQUESTED).await?;
    ensure!(event["msgArgs"] == json!(["anna", "My printer burns"]) && event["nodeid"] == *agent.id(), "{event}");
    ensure!(service.machine(agent.id()).await?["sessions"]["help"] == json!({"anna": "My printer burns"}));
    ensure!(service.stored_events("agentlog").await?.iter().any(|stored| stored["msgArgs"] == event["msgArgs"]));

    let mark = service.mark();
    assistant.cancel_help().await?;
    service
        .event_after(mark, "it is taken back", |event| event["action"] == "devicesessions" && event["sessions"]["help"].is_null())
        .await?;
    ensure!(service.machine(agent.id()).await?["sessions"]["help"].is_null());
    Ok(())
}

#[tokio::test]
async fn an_agent_dies_and_comes_back_as_the_same_machine() -> Result<()> {
    if !meshcentral::is_obtainable_for("an_agent_dies_and_comes_back_as_the_same_machine")? {
        return Ok(());
    }
    let mesh = RealMeshCentral::start().await?;
    let mut agent = RealAgent::start(&mesh, "Reception", None).await?;
    let other = RealAgent::start(&mesh, "Workshop", None).await?;
    let service = mesh.service().await?;
    ensure!(service.machines().await?.len() == 2);
    let id = agent.id().to_owned();
    let mark = service.mark();
    agent.kill_hard()?;
    service.event_after(mark, "the machine goes off line", |event| event["action"] == "nodeconnect" && event["conn"] == 0).await?;
    ensure!(service.machine(&id).await?["conn"].is_null(), "still there, and off line");
    agent.restart(&mesh).await?;
    ensure!(agent.id() == id && other.id() != id);

    agent.report_hardware(&mesh, &json!({"identifiers": {"product_name": "ThinkPad X1", "bios_serial": "PF-1"}})).await?;
    let told = service.ask(json!({"action": "getsysinfo", "nodeid": id})).await?;
    ensure!(told["hardware"]["identifiers"]["product_name"] == "ThinkPad X1", "{told}");
    Ok(())
}

#[tokio::test]
async fn a_killed_meshcentral_comes_back_with_its_data_and_never_tells_a_sessions_end() -> Result<()> {
    if !meshcentral::is_obtainable_for("a_killed_meshcentral_comes_back_with_its_data_and_never_tells_a_sessions_end")? {
        return Ok(());
    }
    let mut mesh = RealMeshCentral::start().await?;
    let agent = RealAgent::start(&mesh, "Reception", None).await?;
    let service = mesh.service().await?;
    let link = service.share(agent.id(), "Ticket 3", TERMINAL, HOUR).await?;
    let mut technician = Technician::open(&link.url).await?;
    technician.connect_terminal().await?;
    let session = technician.session_id().await?;
    relay(&service, TERMINAL_BEGAN, &session).await?;
    mesh.kill_hard()?;
    service.closed().await?;
    technician.wait_until_disconnected().await?;
    ensure!(mesh.http()?.get(mesh.url()).send().await.is_err(), "its port refuses");

    mesh.restart().await?;
    agent.wait_until_on_line(&mesh).await?;
    let service = mesh.service().await?;
    let stored = service.stored_events("relaylog").await?;
    let own: Vec<&Value> = stored.iter().filter(|event| event["msgArgs"][0] == *session).collect();
    ensure!(own.len() == 1 && own[0]["msgid"] == TERMINAL_BEGAN, "{own:?}");
    ensure!(service.shares(agent.id()).await?.len() == 1, "the link is still good");
    Ok(())
}

#[tokio::test]
async fn a_frozen_meshcentral_answers_nobody_until_it_goes_on() -> Result<()> {
    if !meshcentral::is_obtainable_for("a_frozen_meshcentral_answers_nobody_until_it_goes_on")? {
        return Ok(());
    }
    let mesh = RealMeshCentral::start().await?;
    let health = mesh.http()?.get(format!("{}/health.ashx", mesh.url()));
    let ask = async || health.try_clone().context("a request without a body")?.send().await?.text().await.context("no answer");
    ensure!(ask().await? == "ok");
    mesh.signal(Signal::Stop)?;
    ensure!(tokio::time::timeout(Duration::from_secs(2), ask()).await.is_err(), "it still answers");
    mesh.signal(Signal::Continue)?;
    ensure!(ask().await? == "ok");
    Ok(())
}

#[tokio::test]
async fn accounts_see_what_their_rights_allow() -> Result<()> {
    if !meshcentral::is_obtainable_for("accounts_see_what_their_rights_allow")? {
        return Ok(());
    }
    let mesh = RealMeshCentral::start().await?;
    let agent = RealAgent::start(&mesh, "Reception", None).await?;
    let admin = mesh.admin().await?;
    let service = mesh.service().await?;
    // A person with an account of their own opens a session on MeshCentral's own page.
    let mut technician = Technician::sign_in(&mesh, OWN_ACCOUNT, &agent).await?;
    technician.connect_terminal().await?;
    let session = technician.session_id().await?;
    let began = relay(&admin, TERMINAL_BEGAN, &session).await?;
    ensure!(began["userid"] == format!("user//{}", OWN_ACCOUNT.user) && began["guestname"].is_null(), "{began}");
    technician.disconnect().await?;
    relay(&service, TERMINAL_ENDED, &session).await?;
    let heard = service.events_so_far();
    ensure!(!heard.iter().any(|event| event["msgid"] == TERMINAL_BEGAN), "others' beginnings are not pushed to it: {heard:?}");

    admin.set_group_rights(mesh.group_id(), SERVICE, 8).await?;
    let refused = service.share(agent.id(), "Ticket 4", TERMINAL, HOUR).await.unwrap_err().to_string();
    ensure!(refused.contains("Access denied"), "{refused}");

    let refused = Control::connect(&mesh, ADMIN.user, "wrong").await.unwrap_err().to_string();
    ensure!(refused.contains("noauth"), "{refused}");
    Ok(())
}

/// The pushed event of this number about a session.
async fn relay(control: &Control, number: u64, session: &str) -> Result<Value> {
    let what = format!("event {number} of session {session}");
    control.event(&what, |event| event["action"] == "relaylog" && event["msgid"] == number && event["msgArgs"][0] == *session).await
}

fn is_of(filename: &Value, session: &str) -> bool {
    filename.as_str().is_some_and(|name| name.ends_with(&format!("-{session}.mcrec")))
}
