//! The main job with a real MeshCentral: a ticket, a link, a technician with a real browser and a real machine, the session's record on the
//! ticket; whatever dies in between.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::mesh_scene::{self, CONNECTION, MeshPlan, MeshScene};
use deskbridge_tests::meshcentral::{Control, RealAgent, SERVICE, Technician, is_obtainable_for, request_help};
use deskbridge_tests::scene::{self, Sidebar};
use deskbridge_tests::server::{loopback_client, until};
use reqwest::StatusCode;
use serde_json::{Value, json};
use toml::toml;

/// What people are told takes no longer.
const LIVE: Duration = Duration::from_secs(5);
/// A session's note: MeshCentral tells of the recording five seconds after the end.
const NOTE: Duration = Duration::from_mins(1);
/// The bit of a link to a terminal.
const TERMINAL: u8 = 1;

async fn see_reports(scene: &MeshScene, ticket: u64, count: usize) -> Result<Vec<String>> {
    until("the reports stand on the ticket", NOTE, async || Ok(scene.reports(ticket).len() >= count)).await?;
    Ok(scene.reports(ticket))
}

async fn see_state(scene: &MeshScene, sidebar: &Sidebar, ticket: u64, state: &str) -> Result<Value> {
    let find =
        async || Ok::<_, anyhow::Error>(scene.sessions(sidebar, ticket).await?.into_iter().find(|session| session["state"] == state));
    until(&format!("the session is {state}"), LIVE, async || Ok(find().await?.is_some())).await?;
    find().await?.context("it was there")
}

/// Nothing more is written, though every event has been worked at.
async fn nothing_waits(scene: &MeshScene) -> Result<()> {
    until("no event waits", NOTE, async || {
        let listed = scene.server.command(&["events", "list", "--state", "ready"]).await?;
        let leased = scene.server.command(&["events", "list", "--state", "leased"]).await?;
        Ok([listed, leased].iter().all(|output| !String::from_utf8_lossy(&output.stdout).contains("session_end")))
    })
    .await
}

async fn play_terminal(url: &str, command: &str, line: &str) -> Result<Technician> {
    let mut technician = Technician::open(url).await?;
    technician.connect_terminal().await?;
    technician.type_into_terminal(command).await?;
    technician.see_terminal_line(line).await?;
    Ok(technician)
}

/// The recording is handed out to who may see the ticket, by a link that the panel asks for, and to nobody else.
async fn is_guarded(scene: &MeshScene, sidebar: &Sidebar, ticket: u64, lsid: &str) -> Result<()> {
    let made: Value = scene::read(sidebar.post(routes::SESSION_RECORDING, ticket, json!({"lsid": lsid}))).await?;
    let url = made["url"].as_str().context("a link")?;
    let http = loopback_client()?;
    let whole = http.get(url).send().await?;
    ensure!(whole.status() == StatusCode::OK && whole.headers()["cache-control"] == "no-store", "{whole:?}");
    let whole = whole.bytes().await?;
    ensure!(whole.windows(23).any(|window| window == b"MeshCentralRelaySession"));
    let part = http.get(url).header("range", "bytes=16-31").send().await?;
    ensure!(part.status() == StatusCode::PARTIAL_CONTENT, "{part:?}");
    ensure!(part.bytes().await? == whole.slice(16..32));
    let beyond = http.get(url).header("range", format!("bytes={}-", whole.len() + 5)).send().await?;
    ensure!(beyond.status() == StatusCode::RANGE_NOT_SATISFIABLE, "{beyond:?}");

    let (bare, token) = url.split_once('?').context("a token")?;
    let page = http.get(bare).send().await?;
    let (status, said) = (page.status(), page.text().await?);
    ensure!(status == StatusCode::FORBIDDEN && said.contains("panel"), "{status}: {said}");
    let changed = http.get(format!("{bare}?{}", token.replace("token=e", "token=f"))).send().await?;
    ensure!(changed.status() == StatusCode::NOT_FOUND, "{changed:?}");
    let others = sidebar.post(routes::SESSION_RECORDING, scene.people.printer_ticket, json!({"lsid": lsid})).send().await?;
    ensure!(others.status().is_client_error(), "{others:?}");
    let light = scene::open_sidebar(&scene.server, &scene.zendesk, scene.people.light_agent).await?;
    let refused = light.post(routes::SESSION_RECORDING, ticket, json!({"lsid": lsid})).send().await?;
    ensure!(refused.status() == StatusCode::FORBIDDEN, "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_terminal_session_stands_on_its_ticket_with_what_was_typed_and_no_password() -> Result<()> {
    if !is_obtainable_for("a_terminal_session_stands_on_its_ticket_with_what_was_typed_and_no_password")? {
        return Ok(());
    }
    let scene = MeshScene::start(MeshPlan::default()).await?;
    let (sidebar, ticket) = (scene.sidebar().await?, scene.people.vpn_ticket);
    let launch = scene.link(&sidebar, ticket, "terminal").await?;
    let mut technician = play_terminal(&launch.launch_url, "echo Grüße $((40 + 2))\n", "Grüße 42").await?;
    let live = see_state(&scene, &sidebar, ticket, "active").await?;
    ensure!(live["representative"] == "Anna Lindqvist", "{live}");
    technician.type_into_terminal("read -s -p 'Password: ' secret; echo; echo length ${#secret}\n").await?;
    technician.see_in_terminal("Password:").await?;
    technician.type_into_terminal("hunter22\n").await?;
    technician.see_terminal_line("length 8").await?;
    technician.disconnect().await?;
    see_state(&scene, &sidebar, ticket, "ended").await?;

    let reports = see_reports(&scene, ticket, 1).await?;
    let [report] = reports.as_slice() else { anyhow::bail!("{reports:?}") };
    for part in ["Anna Lindqvist", "Reception", "Terminal", "Grüße 42", "length 8", "Recording", "Debian"] {
        ensure!(report.contains(part), "{part} is not in\n{report}");
    }
    ensure!(!report.contains("hunter22"), "{report}");
    let recorded = see_state(&scene, &sidebar, ticket, "recorded").await?;
    ensure!(recorded["machine"] == "Reception" && recorded["kind"] == "terminal" && recorded["recording"] == true, "{recorded}");
    is_guarded(&scene, &sidebar, ticket, recorded["lsid"].as_str().context("its id")?).await?;
    technician.close().await?;
    nothing_waits(&scene).await?;
    ensure!(scene.reports(ticket).len() == 1, "{:?}", scene.reports(ticket));
    Ok(())
}

/// Whoever has an account at MeshCentral can read a link's text, and write it into one of their own.
#[tokio::test]
async fn a_foreign_link_with_the_same_guest_name_is_not_believed() -> Result<()> {
    if !is_obtainable_for("a_foreign_link_with_the_same_guest_name_is_not_believed")? {
        return Ok(());
    }
    let scene = MeshScene::start(MeshPlan::default()).await?;
    let (sidebar, ticket) = (scene.sidebar().await?, scene.people.vpn_ticket);
    scene.link(&sidebar, ticket, "terminal").await?;
    let (admin, service) = (scene.mesh.admin().await?, scene.mesh.service().await?);
    let shares = service.shares(scene.agent.id()).await?;
    let guest_name = shares[0]["guestName"].as_str().context("our link")?.to_owned();
    ensure!(guest_name.contains(&ticket.to_string()), "{guest_name}");

    let foreign = admin.share(scene.agent.id(), &guest_name, TERMINAL, 60).await?;
    let mut technician = play_terminal(&foreign.url, "echo $((1 + 1))\n", "2").await?;
    technician.disconnect().await?;
    // Nor one that says a ticket's number and no more, made by our own account.
    let plain = service.share(scene.agent.id(), &format!("Anna, ticket {ticket}"), TERMINAL, 60).await?;
    let mut other = play_terminal(&plain.url, "echo $((2 + 2))\n", "4").await?;
    other.disconnect().await?;

    // A session of ours that comes after them is recorded: the others were heard before.
    let own = scene.link(&sidebar, ticket, "terminal").await?;
    let mut third = play_terminal(&own.launch_url, "echo $((3 + 3))\n", "6").await?;
    third.disconnect().await?;
    let reports = see_reports(&scene, ticket, 1).await?;
    nothing_waits(&scene).await?;
    ensure!(scene.reports(ticket).len() == 1 && reports[0].contains("echo $((3 + 3))"), "{:?}", scene.reports(ticket));
    ensure!(scene.sessions(&sidebar, ticket).await?.len() == 1);
    Ok(())
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_when_deskbridge_is_killed() -> Result<()> {
    if !is_obtainable_for("nothing_is_lost_or_doubled_when_deskbridge_is_killed")? {
        return Ok(());
    }
    let mut scene = MeshScene::start(MeshPlan::default()).await?;
    let (sidebar, ticket) = (scene.sidebar().await?, scene.people.vpn_ticket);
    let launch = scene.link(&sidebar, ticket, "terminal").await?;
    let mut first = play_terminal(&launch.launch_url, "echo $((1 + 1))\n", "2").await?;
    see_state(&scene, &sidebar, ticket, "active").await?;
    scene.server.kill().await?;
    // Both a session that ends and one that comes and goes while nobody listens.
    first.disconnect().await?;
    let mut second = play_terminal(&launch.launch_url, "echo $((2 + 2))\n", "4").await?;
    second.disconnect().await?;
    scene.server.start().await?;
    see_reports(&scene, ticket, 2).await?;
    // And once more, when all of it is heard of again.
    scene.server.restart().await?;
    scene.server.wait_for_log("this server hears the account").await?;
    nothing_waits(&scene).await?;
    ensure!(scene.reports(ticket).len() == 2, "{:?}", scene.reports(ticket));
    Ok(())
}

#[tokio::test]
async fn a_session_that_died_with_meshcentral_is_recorded_once_and_says_so() -> Result<()> {
    if !is_obtainable_for("a_session_that_died_with_meshcentral_is_recorded_once_and_says_so")? {
        return Ok(());
    }
    let mut scene = MeshScene::start(MeshPlan::default()).await?;
    let (sidebar, ticket) = (scene.sidebar().await?, scene.people.vpn_ticket);
    let launch = scene.link(&sidebar, ticket, "terminal").await?;
    let technician = play_terminal(&launch.launch_url, "echo $((1 + 1))\n", "2").await?;
    see_state(&scene, &sidebar, ticket, "active").await?;
    scene.mesh.kill_hard()?;
    scene.mesh.restart().await?;
    let reports = see_reports(&scene, ticket, 1).await?;
    ensure!(reports[0].contains("not known exactly"), "{reports:?}");
    technician.close().await?;
    // The next one is as if nothing had been.
    let again = scene.link(&sidebar, ticket, "terminal").await?;
    let mut later = play_terminal(&again.launch_url, "echo $((4 + 4))\n", "8").await?;
    later.disconnect().await?;
    let reports = see_reports(&scene, ticket, 2).await?;
    ensure!(reports.iter().filter(|report| report.contains("not known exactly")).count() == 1, "{reports:?}");
    nothing_waits(&scene).await?;
    ensure!(scene.reports(ticket).len() == 2);
    Ok(())
}

#[tokio::test]
async fn a_request_for_help_becomes_one_ticket() -> Result<()> {
    if !is_obtainable_for("a_request_for_help_becomes_one_ticket")? {
        return Ok(());
    }
    let plan = MeshPlan { connection: toml! { [zendesk] enable_automatic_ticket_creation = true }, ..MeshPlan::default() };
    let mut scene = MeshScene::start(plan).await?;
    let before = scene.zendesk.tickets();
    let mut assistant = request_help(&scene.mesh, &scene.agent, "My printer <b>burns</b> ä").await?;
    let made =
        async || Ok::<_, anyhow::Error>(scene.zendesk.tickets().into_iter().filter(|ticket| !before.contains(ticket)).collect::<Vec<_>>());
    until("a ticket is made", NOTE, async || Ok(!made().await?.is_empty())).await?;
    let ticket = scene.zendesk.ticket(made().await?[0]).context("the ticket")?;
    ensure!(ticket.subject.contains("Help request") && ticket.subject.contains("Reception"), "{}", ticket.subject);
    ensure!(scene.zendesk.comments(made().await?[0])[0].plain_body.contains("My printer <b>burns</b> ä"));
    // Whoever opens the ticket finds the machine at once.
    let first = made().await?[0];
    let machines: Value = scene::read(scene.sidebar().await?.get(routes::MACHINES, first)).await?;
    ensure!(machines["machines"][0]["name"] == "Reception" && machines["machines"][0]["suggested"] == true, "{machines}");
    // Withdrawn and made again: another request, which is added to the ticket, for agents alone.
    let service = scene.mesh.service().await?;
    let mark = service.mark();
    assistant.cancel_help().await?;
    // The machine's agent reads its pipe by what is there: two messages at once would be one.
    service
        .event_after(mark, "it is withdrawn", |event| event["action"] == "devicesessions" && event["sessions"]["help"].is_null())
        .await?;
    assistant.request_help("It still burns").await?;
    let note = scene.zendesk.wait_for_comment(first, |comment| comment.plain_body.contains("> It still burns")).await?;
    ensure!(!note.public && note.plain_body.contains("Reception") && made().await?.len() == 1, "{note:?}");
    // An agent has solved it, and nobody would see a note there.
    scene.zendesk.alter_ticket(first, |ticket| "solved".clone_into(&mut ticket.status));
    let mark = service.mark();
    assistant.cancel_help().await?;
    service
        .event_after(mark, "it is withdrawn again", |event| event["action"] == "devicesessions" && event["sessions"]["help"].is_null())
        .await?;
    assistant.request_help("Now it is ash").await?;
    until("a second ticket is made", NOTE, async || Ok(made().await?.len() == 2)).await?;
    scene.server.restart().await?;
    scene.server.wait_for_log("this server hears the account").await?;
    nothing_waits(&scene).await?;
    ensure!(scene.zendesk.tickets().len() == before.len() + 2);
    let is_note = |comment: &&deskbridge_tests::zendesk::Comment| comment.plain_body.contains("It still burns");
    ensure!(scene.zendesk.comments(first).iter().filter(is_note).count() == 1);
    Ok(())
}

/// Requests of the time between are read by the new token.
#[tokio::test]
async fn a_new_login_token_loses_no_request_for_help() -> Result<()> {
    if !is_obtainable_for("a_new_login_token_loses_no_request_for_help")? {
        return Ok(());
    }
    let plan = MeshPlan { connection: toml! { [zendesk] enable_automatic_ticket_creation = true }, ..MeshPlan::default() };
    let mut scene = MeshScene::start(plan).await?;
    let before = scene.zendesk.tickets();
    scene.server.kill().await?;
    let _assistant = request_help(&scene.mesh, &scene.agent, "Nobody listens").await?;
    let owner = Control::connect(&scene.mesh, SERVICE.user, SERVICE.password).await?;
    let made = owner.ask(json!({"action": "createLoginToken", "name": "Second", "expire": 0})).await?;
    let (user, password) = (made["tokenUser"].as_str().context("a token")?, made["tokenPass"].as_str().context("its password")?);
    let (path, old) = (scene.server.settings_path().to_owned(), scene.mesh.token());
    let settings = std::fs::read_to_string(&path)?;
    ensure!(settings.contains(&old.user) && settings.contains(&old.password));
    std::fs::write(&path, settings.replace(&old.user, user).replace(&old.password, password))?;
    scene.server.start().await?;
    let made = async || Ok::<_, anyhow::Error>(scene.zendesk.tickets().into_iter().filter(|ticket| !before.contains(ticket)).count());
    until("the ticket is made", NOTE, async || Ok(made().await? == 1)).await?;
    nothing_waits(&scene).await?;
    ensure!(made().await? == 1);
    Ok(())
}

#[tokio::test]
async fn two_connections_of_one_server_keep_their_tickets_apart() -> Result<()> {
    if !is_obtainable_for("two_connections_of_one_server_keep_their_tickets_apart")? {
        return Ok(());
    }
    let mut scene = MeshScene::prepare(MeshPlan::default()).await?;
    let other = deskbridge_tests::zendesk::SimulatedZendesk::start(deskbridge_tests::zendesk::Options::default()).await?;
    let others = other.fill_demo_data();
    let mut connections = vec![mesh_scene::connection(&scene.mesh, &scene.zendesk, CONNECTION)];
    connections.push(mesh_scene::connection(&scene.mesh, &other, "Other"));
    let mut builder = deskbridge_tests::server::Builder::default();
    for connection in connections {
        builder = builder.connection(connection);
    }
    scene.server = builder.start().await?;
    scene.server.wait_for_log("this server hears the account").await?;
    let ticket = scene.people.vpn_ticket;
    ensure!(ticket == others.vpn_ticket, "both have it");
    let sidebar = scene::open_sidebar(&scene.server, &other, others.agent).await?;
    let launch = scene.link(&sidebar, ticket, "files").await?;
    let mut technician = Technician::open(&launch.launch_url).await?;
    technician.connect_files().await?;
    technician.disconnect().await?;
    let is_report = |comment: &deskbridge_tests::zendesk::Comment| comment.plain_body.contains("deskbridge/");
    other.wait_for_comment(ticket, is_report).await?;
    nothing_waits(&scene).await?;
    ensure!(scene.reports(ticket).is_empty(), "{:?}", scene.reports(ticket));
    // One socket for both: MeshCentral counts its users' connections.
    let admin = scene.mesh.admin().await?;
    let counted = admin.ask(json!({"action": "wssessioncount"})).await?;
    ensure!(
        counted["wssessions"].as_object().is_some_and(|users| users.values().filter(|count| **count == 1).count() == users.len()),
        "{counted}"
    );
    Ok(())
}

#[tokio::test]
async fn a_link_that_is_ended_ends_its_session() -> Result<()> {
    if !is_obtainable_for("a_link_that_is_ended_ends_its_session")? {
        return Ok(());
    }
    let scene = MeshScene::start(MeshPlan::default()).await?;
    let (sidebar, ticket) = (scene.sidebar().await?, scene.people.vpn_ticket);
    let launch: Value = scene::read(sidebar.post(routes::JUMP, ticket, json!({"method": "terminal", "target": scene.agent.id()}))).await?;
    let mut technician = play_terminal(launch["launch_url"].as_str().context("a URL")?, "echo $((1 + 1))\n", "2").await?;
    let link = launch["link"].as_str().context("a link")?;
    let _: Value = scene::read(sidebar.post(routes::LINK_END, ticket, json!({"link": link}))).await?;
    technician.wait_until_disconnected().await?;
    see_reports(&scene, ticket, 1).await?;
    let machines: Value = scene::read(sidebar.get(routes::MACHINES, ticket)).await?;
    ensure!(machines["links"].as_array().is_some_and(Vec::is_empty), "{machines}");
    ensure!(machines["machines"][0]["name"] == "Reception" && machines["machines"][0]["suggested"] == true, "{machines}");
    Ok(())
}

/// With `maxDeviceView` MeshCentral gives out its machines by pages, and pushes nothing of those that are not on the page that was asked for.
#[tokio::test]
async fn machines_are_listed_and_heard_whatever_page_they_are_on() -> Result<()> {
    if !is_obtainable_for("machines_are_listed_and_heard_whatever_page_they_are_on")? {
        return Ok(());
    }
    let plan = MeshPlan { mesh: Some(|config| config["domains"][""]["maxDeviceView"] = json!(1)), ..MeshPlan::default() };
    let mut scene = MeshScene::prepare(plan).await?;
    let mut others = Vec::new();
    for name in ["Workshop", "Attic"] {
        others.push(RealAgent::start(&scene.mesh, name, None).await?);
    }
    scene.server.start().await?;
    scene.server.wait_for_log("this server hears the account").await?;
    let (sidebar, ticket) = (scene.sidebar().await?, scene.people.vpn_ticket);
    let machines = async || {
        let answer: Value = scene::read(sidebar.get(routes::MACHINES, ticket)).await?;
        let listed = answer["machines"].as_array().context("no list")?.iter();
        let mut states: Vec<String> = listed.map(|machine| format!("{} {}", machine["name"], machine["state"])).collect();
        states.sort();
        Ok::<_, anyhow::Error>(states.join(", ").replace('"', ""))
    };
    ensure!(machines().await? == "Attic online, Reception online, Workshop online", "{}", machines().await?);
    // Each of them goes off line: by what is pushed, since the list is read again after a minute only.
    let mut expected = ["Attic online", "Reception online", "Workshop online"].map(str::to_owned);
    for (index, agent) in others.iter_mut().chain([&mut scene.agent]).enumerate() {
        expected[[2, 0, 1][index]] = format!("{} offline", agent.name());
        agent.kill_hard()?;
        let expected = expected.join(", ");
        until(&format!("{expected} are listed"), LIVE, async || Ok(machines().await? == expected)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn check_says_what_is_missing_and_what_to_do() -> Result<()> {
    if !is_obtainable_for("check_says_what_is_missing_and_what_to_do")? {
        return Ok(());
    }
    let scene = MeshScene::start(MeshPlan::default()).await?;
    let said = async |scene: &MeshScene| {
        let output = scene.server.command(&["check"]).await?;
        Ok::<_, anyhow::Error>((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let (is_well, text) = said(&scene).await?;
    ensure!(is_well, "{text}");
    for part in ["signed in as user//service", "1 machine", "permission for recordings: given", "permission for links: given"] {
        ensure!(text.contains(part), "{part} is not in\n{text}");
    }
    let admin = scene.mesh.admin().await?;
    let check = async |rights: u64, site: u64, parts: &[&str], is_well: bool| {
        admin.set_group_rights(scene.mesh.group_id(), deskbridge_tests::meshcentral::SERVICE, rights).await?;
        admin.set_site_rights(deskbridge_tests::meshcentral::SERVICE, site).await?;
        let (found, text) = said(&scene).await?;
        ensure!(found == is_well, "{text}");
        for part in parts {
            ensure!(text.contains(part), "{part} is not in\n{text}");
        }
        Ok(())
    };
    check(8, 512, &["FAIL", "Guest Sharing"], false).await?;
    check(524_288, 512, &["FAIL", "Remote Control"], false).await?;
    check(8 + 524_288 + 4_096, 512, &["FAIL", "Limited Input"], false).await?;
    check(8 + 524_288, 0, &["Device Details", "site right “Recordings”"], true).await?;
    check(8 + 524_288 + 512 + 1_024 + 65_536 + 256, 512, &["No Terminal", "No Files", "No Desktop", "Remote View Only"], true).await?;
    Ok(())
}
