//! The command line as an administrator uses it: what it says, what it does, and how it ends (0 done, 1 failed, 2 wrong
//! settings or wrong use).

use std::process::Output;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{self, CommandPermission, EventKind, Recipient, SessionScript, SimulatedAppliance};
use deskbridge_tests::osticket::{self, SimulatedOsTicket};
use deskbridge_tests::outcomes::SESSION_END;
use deskbridge_tests::scene::{self, CONNECTION, EVENT_TOKEN, Plan, Scene, by_api_token, merge};
use deskbridge_tests::server::{Database, Deskbridge, deskbridge_cli, loopback_client};
use deskbridge_tests::zendesk::{self, Fault, KeyAnswer, KeyEndpoint, Matching, package_faults};
use regex::Regex;
use reqwest::Method;
use serde_json::Value;
use sqlx::Connection as _;
use toml::{Table, toml};

/// What a command printed, and how it ended.
struct Said {
    code: i32,
    out: String,
    errors: String,
}

impl Said {
    fn of(output: &Output) -> Result<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).context("not UTF-8");
        Ok(Self { code: output.status.code().context("ended by a signal")?, out: text(&output.stdout)?, errors: text(&output.stderr)? })
    }

    #[track_caller]
    fn check(&self, code: i32, parts: &[&str]) -> &Self {
        let all = format!("{}{}", self.out, self.errors);
        assert_eq!(self.code, code, "{all}");
        for part in parts {
            assert!(all.contains(part), "{part:?} is not said:\n{all}");
        }
        self
    }
}

async fn run(server: &Deskbridge, arguments: &[&str]) -> Result<Said> {
    Said::of(&server.command(arguments).await?)
}

/// Replaces a text in the settings file that must be there.
fn edit(server: &Deskbridge, from: &str, to: &str) -> Result<()> {
    let settings = std::fs::read_to_string(server.settings_path())?;
    ensure!(settings.contains(from), "{from} is not in the settings:\n{settings}");
    Ok(std::fs::write(server.settings_path(), settings.replace(from, to))?)
}

// check

#[tokio::test]
async fn check_is_content_with_a_sound_installation() -> Result<()> {
    let scene = Scene::prepare(Plan::default()).await?;
    let said = run(&scene.server, &["check"]).await?;
    said.check(0, &[]);
    let expected = [
        "appliance login",
        "clock",
        "permission for session keys",
        "permission for session reports",
        // From check_health: the version of the API does not change with the product's.
        "product version",
        "Zendesk login",
        "sidebar key",
        "panel",
    ];
    let lines: Vec<&str> = said.out.lines().collect();
    for what in expected {
        let line = format!("ok   {CONNECTION}: {what}: ");
        assert_eq!(lines.iter().filter(|said| said.starts_with(&line)).count(), 1, "{what}\n{}", said.out);
    }
    assert_eq!(lines.len(), expected.len(), "{}", said.out);
    for secret in secrets(&scene) {
        assert!(!said.out.contains(&secret), "{}", said.out);
    }
    run(&scene.server, &["check", CONNECTION]).await?.check(0, &["sidebar key"]);
    // Everything done in Zendesk bears the name of the user who owns the OAuth client.
    assert!(said.out.contains("api@example.com (admin); notes bear the name “"), "{}", said.out);
    run(&scene.server, &["check", "Nobody"]).await?.check(1, &["there is no connection “Nobody”"]);
    edit(&scene.server, "name = \"Sim", "disabled = true\nname = \"Sim")?;
    run(&scene.server, &["check"]).await?.check(0, &["note", "disabled"]);
    Ok(())
}

/// Deskbridge works with such an appliance, so that it is told, and nothing that waits for the check is held up.
#[tokio::test]
async fn check_tells_of_an_appliance_with_a_known_hole_and_does_not_fail() -> Result<()> {
    let scene = Scene::prepare(Plan::default()).await?;
    scene.appliance.change_options(|options| options.product_version = "24.1.4 (58213)".into());
    let line = format!("note {CONNECTION}: product version: 24.1.4 (58213) has a known hole");
    run(&scene.server, &["check"]).await?.check(0, &[&line, "CVE-2026-1731", "Install 25.3.2 or later", "API 1.24.1 of example"]);
    Ok(())
}

#[tokio::test]
async fn an_offset_for_the_whole_year_still_works_and_is_named_everywhere() -> Result<()> {
    let mut scene = Scene::prepare(with(toml! { reports = { utc_offset_minutes = 60 } })).await?;
    let advice = "reports.utc_offset_minutes = 60 is the same in summer and in winter";
    let said = run(&scene.server, &["check"]).await?;
    said.check(0, &[&format!("note {CONNECTION}: time zone: {advice}"), "timezone = \"Europe/Berlin\""]);
    run(&scene.server, &["config", "apply"]).await?.check(0, &["added", &format!("{CONNECTION}: {advice}")]);
    scene.server.start().await?;
    scene.server.logs().wait_for(&format!("WARN .*{advice}")).await?;
    let lsid = scene.play_until_done(SessionScript::short(scene.people.vpn_ticket.to_string())).await?;
    ensure!(scene.only_report(scene.people.vpn_ticket, &lsid)?.plain_body.contains(" +01:00"));

    edit(&scene.server, "utc_offset_minutes = 60", "utc_offset_minutes = 60\ntimezone = \"Europe/Berlin\"")?;
    run(&scene.server, &["check"]).await?.check(2, &["reports.utc_offset_minutes = “60”: expected only timezone"]);
    edit(&scene.server, "utc_offset_minutes = 60\n", "")?;
    let said = run(&scene.server, &["check"]).await?;
    said.check(0, &[]);
    ensure!(!said.out.contains("time zone"), "{}", said.out);
    edit(&scene.server, "Europe/Berlin", "Europe/Berln")?;
    run(&scene.server, &["check"]).await?.check(2, &["reports.timezone", "did you mean Europe/Berlin?"]);
    Ok(())
}

fn secrets(scene: &Scene) -> [String; 4] {
    let account = scene.zendesk.options();
    let client = account.oauth_client.unwrap_or_default();
    [scene.appliance.options().client_secret, client.secret, account.api_token, EVENT_TOKEN.to_owned()]
}

/// Runs `check` on an installation with one fault: it fails, in one line that names the fault and says what to do.
/// The sign-in page is looked for where the settings say osTicket is.
#[tokio::test]
async fn check_looks_for_osticket() -> Result<()> {
    let osticket = SimulatedOsTicket::start(osticket::Options::default()).await?;
    let appliance = SimulatedAppliance::start(appliance::Options::default()).await?;
    let check = async |url: &str| -> Result<Said> {
        let section = format!("[osticket]\nurl = \"{url}\"\n");
        let server = Deskbridge::builder().connection(scene::connection(&appliance, "Desk", "default", &section)).prepare().await?;
        run(&server, &["check"]).await
    };
    let what = "Desk: osTicket's staff pages: ";
    check(osticket.url()).await?.check(0, &[&format!("ok   {what}{}", osticket.url())]);
    let elsewhere = osticket.url().replace("/support/", "/");
    check(&elsewhere).await?.check(1, &[&format!("FAIL {what}{elsewhere}scp/login.php answers HTTP 404"), "without scp/"]);
    osticket.fail_always(
        Matching::new(Method::GET, osticket.staff_path("login.php")),
        Fault::Status { code: 200, body: "<h1>It works!</h1>".into(), retry_after: None },
    );
    check(osticket.url()).await?.check(1, &["answers HTTP 200 without osTicket's sign-in form"]);
    osticket.stop().await;
    check(osticket.url()).await?.check(0, &[&format!("note {what}{}", osticket.url()), "cannot be reached from here (no connection"]);
    Ok(())
}

async fn check_fails(plan: Plan, spoil: impl FnOnce(&Scene), what: &str, to_do: &str) -> Result<()> {
    let scene = Scene::prepare(plan).await?;
    spoil(&scene);
    let said = run(&scene.server, &["check"]).await?;
    said.check(1, &[]);
    let failures: Vec<&str> = said.out.lines().filter(|line| line.starts_with("FAIL ")).collect();
    let [line] = failures.as_slice() else { panic!("{what}: not one failure:\n{}", said.out) };
    assert!(line.contains(&format!("{CONNECTION}: {what}: ")) && line.contains(to_do), "{what}, {to_do}: {line}");
    for secret in secrets(&scene) {
        assert!(!said.out.contains(&secret), "{}", said.out);
    }
    Ok(())
}

fn with(connection: Table) -> Plan {
    Plan { connection, ..Plan::default() }
}

#[tokio::test]
async fn check_finds_wrong_credentials_of_the_appliance() -> Result<()> {
    let wrong = with(toml! { appliance = { client_secret = "wrong-secret" } });
    check_fails(wrong, |_| {}, "appliance login", "API account under Management > API Configuration").await
}

#[tokio::test]
async fn check_finds_missing_permissions() -> Result<()> {
    let command = |scene: &Scene| scene.appliance.change_options(|options| options.permissions.command = CommandPermission::ReadOnly);
    check_fails(Plan::default(), command, "permission for session keys", "give the API account Full Access").await?;
    let reports = |scene: &Scene| scene.appliance.change_options(|options| options.permissions.reporting_support = false);
    check_fails(Plan::default(), reports, "permission for session reports", "Support Session Reports and Recordings").await
}

#[tokio::test]
async fn check_finds_an_account_without_any_permission() -> Result<()> {
    let none = |scene: &Scene| scene.appliance.change_options(|options| options.permissions.command = CommandPermission::Deny);
    check_fails(Plan::default(), none, "appliance login", "API Configuration").await
}

#[tokio::test]
async fn check_finds_a_clock_that_is_wrong() -> Result<()> {
    for (offset, said) in [(600, "behind"), (-600, "ahead of")] {
        check_fails(Plan::default(), |scene| scene.appliance.clock().set_offset_seconds(offset), "clock", said).await?;
    }
    check_fails(Plan::default(), |scene| scene.appliance.clock().set_offset_seconds(3600), "clock", "NTP").await
}

#[tokio::test]
async fn check_finds_an_appliance_that_is_not_there_or_not_trusted() -> Result<()> {
    let elsewhere = with(toml! { appliance = { host = "127.0.0.1:1" } });
    check_fails(elsewhere, |_| {}, "appliance", "Check its host name").await?;
    let strict = with(toml! { appliance = { allow_invalid_certificates = false } });
    check_fails(strict, |_| {}, "appliance", "certificate").await
}

#[tokio::test]
async fn check_finds_what_is_wrong_with_zendesk() -> Result<()> {
    let wrong = with(toml! { zendesk = { client_secret = "wrong-secret" } });
    check_fails(wrong, |_| {}, "Zendesk login", "check client_id (its Identifier) and client_secret").await?;
    let too_much = with(toml! { zendesk = { scopes = "read write" } });
    check_fails(too_much, |_| {}, "Zendesk login", "allow them at the client, or name others in zendesk.scopes").await?;
    let mut wrong_token = by_api_token(&zendesk::Options::default());
    merge(&mut wrong_token, toml! { zendesk = { token = "wrong-token" } });
    check_fails(with(wrong_token), |_| {}, "Zendesk login", "check username and token").await?;
    let customer = |scene: &Scene| {
        scene.zendesk.alter_user(scene.zendesk.api_user(), |user| user.role = zendesk::Role::EndUser);
    };
    check_fails(Plan::default(), customer, "Zendesk login", "give").await?;
    let no_key = KeyEndpoint { with_extension: KeyAnswer::NotFound, without_extension: KeyAnswer::NotFound, needs_credentials: false };
    check_fails(Plan::default(), |scene| scene.zendesk.set_key_endpoint(no_key), "sidebar key", "public_key_file").await?;
    let elsewhere = with(toml! { zendesk = { installation_id = 1 } });
    check_fails(elsewhere, |_| {}, "installation", "check installation_id").await?;
    let away = |scene: &Scene| scene.zendesk.fail_always(Matching::any_api_call(), Fault::CloseConnection);
    check_fails(Plan::default(), away, "Zendesk login", "Zendesk").await
}

// Settings

#[tokio::test]
async fn wrong_settings_are_told_all_at_once_and_without_secrets() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("wrong.toml");
    let settings = r#"
        [server]
        public_url = "remote.example.com"
        listen = "everywhere"
        database = "mysql://deskbridge:secret-1@db/deskbridge"
        colour = "blue"
        [[connection]]
        name = "One"
        [connection.appliance]
        id = "a/b"
        host = "https://api:secret-2@support.example.com"
        client_id = "id"
        client_secret = 12345678
        event_sources = ["203.0.113.0/99"]
        [connection.panel]
        allow_rdp = "yes"
        session_key_queue = "nowhere"
        issues = ["no equals sign"]
        [connection.zendesk]
        url = "https://secret-3@example.zendesk.com"
        username = "api@example.com/token:secret-4"
        token = "env:DESKBRIDGE_TEST_NOT_SET"
        app_id = "many"
        installation_id = 360001234567
        [[connection]]
        name = "One"
        [connection.appliance]
        host = "support.example.com"
        username = "u"
        client_id = "id"
        client_secret = "secret-5"
    "#;
    std::fs::write(&file, settings)?;
    let path = file.to_str().context("a plain path")?;
    for command in [&["serve"][..], &["check"], &["config", "apply"], &["config", "export"], &["migrate"], &["events", "list"]] {
        let arguments: Vec<&str> = command.iter().copied().chain(["--config", path]).collect();
        let said = Said::of(&deskbridge_cli(&arguments, &[]).await?)?;
        said.check(
            2,
            &[
                "server.public_url = “remote.example.com”",
                "server.listen = “everywhere”",
                "server.database",
                "server.colour",
                "connection[0] “One”.appliance.id = “a/b”",
                "appliance.host",
                "appliance.client_secret = (hidden)",
                "“203.0.113.0/99”",
                "panel.allow_rdp = “yes”: expected true or false",
                "panel.session_key_queue = “nowhere”: expected",
                "“no equals sign”",
                "zendesk.url",
                "zendesk.username",
                "zendesk.app_id = “many”: expected a whole number",
                "DESKBRIDGE_TEST_NOT_SET is not set",
                "connection[1] “One”.name = “One”: expected a name no other connection has",
                "connection[1] “One”.appliance.password",
                "connection[1] “One” = “no ticket system”",
            ],
        );
        let all = format!("{}{}", said.out, said.errors);
        for secret in ["secret-", "12345678"] {
            assert!(!all.contains(secret), "{secret} in\n{all}");
        }
        assert!(all.lines().all(|line| line.contains("wrong.toml: ")), "one line each:\n{all}");
    }
    Ok(())
}

#[tokio::test]
async fn wrong_use_and_unreadable_files_end_with_2() -> Result<()> {
    for (arguments, said) in [
        (&["serve", "--config", "/nonexistent/deskbridge.toml"][..], "/nonexistent/deskbridge.toml"),
        (&["serve", "--nonsense"], "--nonsense"),
        (&["events", "show", "not-an-id"], "not-an-id"),
        (&["events", "list", "--state", "lost"], "lost"),
        (&["config"], "Usage"),
        (&[], "Usage"),
    ] {
        Said::of(&deskbridge_cli(arguments, &[]).await?)?.check(2, &[said]);
    }
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("broken.toml");
    std::fs::write(&file, "[server]\nlisten = \"x\"\n[connection\ntoken = \"secret-6\"")?;
    let path = file.to_str().context("a plain path")?;
    let said = Said::of(&deskbridge_cli(&["check", "--config", path], &[]).await?)?;
    assert!(!said.check(2, &["broken.toml: line 3"]).errors.contains("secret-6"));
    Ok(())
}

#[tokio::test]
async fn the_schema_describes_every_section() -> Result<()> {
    let said = Said::of(&deskbridge_cli(&["config", "schema"], &[]).await?)?;
    let schema: Value = serde_json::from_str(&said.check(0, &[]).out)?;
    for (section, key) in [
        ("ServerSection", "public_url"),
        ("ConnectionSettings", "disabled"),
        ("ApplianceSection", "event_token"),
        ("PanelSection", "allow_shell_jump"),
        ("ZendeskSection", "note_visibility"),
    ] {
        let described = &schema["$defs"][section]["properties"][key];
        assert!(described.is_object(), "{section}.{key} is not in the schema");
    }
    Ok(())
}

#[tokio::test]
async fn an_export_holds_no_secret_and_can_be_applied_again() -> Result<()> {
    let plan = with(toml! { zendesk = { client_secret = "env:SCENE_SECRET" } });
    let secret = zendesk::OAuthClient::default().secret;
    let server = Deskbridge::builder().env("SCENE_SECRET", &secret);
    let scene = Scene::prepare(Plan { server, ..plan }).await?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &[&format!("{CONNECTION}: added")]);
    run(&scene.server, &["config", "apply"]).await?.check(0, &[&format!("{CONNECTION}: unchanged")]);
    let exported = run(&scene.server, &["config", "export"]).await?;
    exported.check(0, &["client_secret = \"(stored)\"", "event_token = \"(stored)\"", "client_secret = \"env:SCENE_SECRET\""]);
    for secret in secrets(&scene) {
        assert!(!exported.out.contains(&secret), "{}", exported.out);
    }
    // What was exported stands for what is stored, also with changes beside it.
    std::fs::write(scene.server.settings_path(), &exported.out)?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &[&format!("{CONNECTION}: unchanged")]);
    edit(&scene.server, "allow_rdp = true", "allow_rdp = false")?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &[&format!("{CONNECTION}: changed")]);
    run(&scene.server, &["config", "export"]).await?.check(0, &["allow_rdp = false"]);
    let mut scene = scene;
    scene.server.start().await?;
    let lsid = scene.play_until_done(SessionScript::short(scene.people.vpn_ticket.to_string())).await?;
    scene.only_report(scene.people.vpn_ticket, &lsid)?;

    // Without a stored secret there is nothing it could stand for.
    let fresh = Deskbridge::builder().prepare().await?;
    let server_part = std::fs::read_to_string(fresh.settings_path())?;
    let (_, connections) = exported.out.split_once("[[connection]]").context("a connection")?;
    std::fs::write(fresh.settings_path(), format!("{server_part}\n[[connection]]{connections}").replace("env:SCENE_SECRET", &secret))?;
    run(&fresh, &["config", "apply"]).await?.check(1, &["nothing is stored", "appliance.client_secret"]);
    Ok(())
}

#[tokio::test]
async fn an_export_leaves_the_databases_password_out() -> Result<()> {
    let server = Deskbridge::builder().database(Database::Postgres).prepare().await?;
    let url = url::Url::parse(server.database_url())?;
    let password = url.password().context("the database has a password")?;
    let exported = run(&server, &["config", "export"]).await?;
    let parted = format!("{}@", url.username());
    assert!(!exported.check(0, &["database = \"postgres", &parted]).out.contains(&format!(":{password}@")), "{}", exported.out);
    Ok(())
}

#[tokio::test]
async fn what_the_file_does_not_name_stays_unless_pruned() -> Result<()> {
    let scene = Scene::prepare(Plan::default()).await?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &["added"]);
    edit(&scene.server, CONNECTION, "Renamed")?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &["Renamed: added", &format!("{CONNECTION}: stored, but not in the file")]);
    run(&scene.server, &["config", "apply", "--prune"]).await?.check(0, &["Renamed: unchanged", &format!("{CONNECTION}: removed")]);
    let exported = run(&scene.server, &["config", "export"]).await?;
    assert!(!exported.check(0, &["name = \"Renamed\""]).out.contains(CONNECTION));
    Ok(())
}

/// Waits until the event door of a running server answers so for this appliance id.
async fn door_answers(scene: &Scene, appliance: &str, wanted: u16) -> Result<()> {
    let url = format!("{}{}?appliance={appliance}&token={EVENT_TOKEN}", scene.server.url(), routes::APPLIANCE_EVENTS);
    let client = loopback_client()?;
    let answers = async {
        // Saved changes are looked for every two seconds; there is no sign of it but the changed behaviour.
        loop {
            let status = client.post(&url).form(&[("event", "probe")]).send().await?.status().as_u16();
            if status == wanted {
                return anyhow::Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), answers).await.with_context(|| format!("{appliance}: never {wanted}"))?
}

#[tokio::test]
async fn a_saved_change_acts_on_a_running_server() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let process = scene.server.process_id();
    let ticket = scene.people.vpn_ticket;
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    assert!(!scene.only_report(ticket, &lsid)?.public);

    edit(&scene.server, "id = \"default\"", "id = \"second\"")?;
    edit(&scene.server, "[connection.zendesk]", "[connection.zendesk]\nnote_visibility = \"public\"")?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &["changed"]);
    door_answers(&scene, "second", 200).await?;
    door_answers(&scene, "default", 404).await?;
    let url = scene.recipient().url.replace("appliance=default", "appliance=second");
    scene.appliance.set_recipient(Recipient { url, ..scene.recipient() });
    let lsid = scene.play_until_done(SessionScript::short(ticket.to_string())).await?;
    assert!(scene.only_report(ticket, &lsid)?.public, "the new visibility acts");

    // A disabled connection takes no events and writes nothing; enabled again, it goes on.
    edit(&scene.server, "name = \"Sim", "disabled = true\nname = \"Sim")?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &["changed"]);
    door_answers(&scene, "second", 404).await?;
    let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.appliance.wait_for_recipient(|status| status.status == "HTTP status 404").await?;
    assert!(scene.notes(ticket, &lsid).is_empty());
    edit(&scene.server, "disabled = true\n", "")?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &["changed"]);
    scene.outcome(&lsid, SESSION_END).await?.done()?;
    scene.only_report(ticket, &lsid)?;
    assert_eq!(scene.server.process_id(), process, "all without a restart");
    Ok(())
}

// tokens

/// What stands behind a word at the beginning of a line.
fn value_of(said: &Said, word: &str) -> Result<String> {
    let line = said.out.lines().find_map(|line| line.strip_prefix(word)).with_context(|| format!("no {word} in\n{}", said.out))?;
    Ok(line.trim().to_owned())
}

#[tokio::test]
async fn an_api_token_is_shown_once_listed_and_revoked() -> Result<()> {
    let scene = Scene::prepare(Plan::default()).await?;
    let create = ["tokens", "create", "--connection", CONNECTION, "--name", "Helpdesk Buttons"];
    let with = |more: &[&'static str]| [&create[..], more].concat();
    run(&scene.server, &with(&["--for", "incidents"])).await?.check(1, &["there is no connection"]);
    run(&scene.server, &["config", "apply"]).await?.check(0, &["added"]);
    run(&scene.server, &with(&[])).await?.check(2, &["--for"]);
    run(&scene.server, &with(&["--for", "tickets"])).await?.check(2, &["expected incidents or presses"]);
    let first = run(&scene.server, &with(&["--for", "incidents"])).await?;
    let second = run(&scene.server, &with(&["--for", "presses,incidents", "--for", "presses"])).await?;
    first.check(0, &[CONNECTION, "not shown again"]);
    assert_eq!(value_of(second.check(0, &[]), "for")?, "incidents, presses");
    let (secret, id) = (value_of(&first, "token")?, value_of(&first, "id")?);
    assert!(secret.len() > 40 && secret != value_of(&second, "token")?, "{secret}");

    let listed = run(&scene.server, &["tokens", "list"]).await?;
    let line = format!(" made .*, not used yet: Helpdesk Buttons, for incidents, {CONNECTION}\n");
    assert!(Regex::new(&format!("(?m)^{id}{line}"))?.is_match(&listed.check(0, &[]).out), "{}", listed.out);
    assert_eq!(listed.out.lines().count(), 2, "{}", listed.out);
    assert_eq!(run(&scene.server, &["tokens", "list", "--limit", "1"]).await?.out.lines().count(), 1);
    for entry in std::fs::read_dir(scene.server.directory())? {
        let path = entry?.path();
        let bytes = if path.is_file() { std::fs::read(&path)? } else { Vec::new() };
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{} holds the token", path.display());
    }

    run(&scene.server, &["tokens", "revoke", &id]).await?.check(0, &["revoked"]);
    run(&scene.server, &["tokens", "revoke", &id]).await?.check(0, &["it was revoked before"]);
    run(&scene.server, &["tokens", "revoke", "0197a000-0000-7000-8000-000000000000"])
        .await?
        .check(1, &["there is no token", "tokens list"]);
    let listed = run(&scene.server, &["tokens", "list"]).await?;
    assert!(Regex::new(&format!("(?m)^{id} made .*, revoked .*, not used yet: "))?.is_match(&listed.out), "{}", listed.out);
    Ok(())
}

#[tokio::test]
async fn an_api_token_of_the_settings_is_checked_listed_and_not_exported() -> Result<()> {
    let token = |name: &str, secret: &str, purpose: &str| with(toml! { api_token = [{ name = name, secret = secret, for = [purpose] }] });
    for (name, secret, purpose, parts) in [
        ("", "a-secret-of-24-characters", "incidents", ["api_token[0]", "name = “”: expected one line of 1 to 100 characters"]),
        ("argus", "a-secret-of-23-characte", "incidents", ["api_token[0] “argus”.secret = (hidden)", "at least 24 characters"]),
        ("argus", "env:DESKBRIDGE_TEST_NOT_SET", "incidents", ["api_token[0] “argus”.secret", "DESKBRIDGE_TEST_NOT_SET is not set"]),
        (
            "argus",
            "a-secret-of-24-characters",
            "tickets",
            ["api_token[0] “argus”.for[0] = “tickets”", "expected \"incidents\", or \"presses\""],
        ),
    ] {
        let mut scene = Scene::prepare(token(name, secret, purpose)).await?;
        let said = run(&scene.server, &["config", "apply"]).await?;
        assert!(!said.check(2, &parts).errors.contains("a-secret-of"), "{}", said.errors);
        assert!(scene.server.start().await.is_err(), "{name} {secret} {purpose}");
    }
    let secret = "a-secret-of-24-characters";
    let scene = Scene::prepare(token("argus", secret, "incidents")).await?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &["added"]);
    let line = format!("in the settings, not used yet: argus, for incidents, {CONNECTION}");
    run(&scene.server, &["tokens", "list"]).await?.check(0, &[&line]);
    let exported = run(&scene.server, &["config", "export"]).await?;
    assert!(!exported.check(0, &["[[connection.api_token]]", "name = \"argus\"", "for = [\"incidents\"]"]).out.contains(secret));
    assert!(exported.out.contains("secret = \"(stored)\""), "{}", exported.out);
    std::fs::write(scene.server.settings_path(), &exported.out)?;
    run(&scene.server, &["config", "apply"]).await?.check(0, &["unchanged"]);
    edit(&scene.server, "name = \"argus\"", "name = \"other\"")?;
    run(&scene.server, &["config", "apply"]).await?.check(1, &["api_token.other.secret is to be kept as stored, but nothing is stored"]);
    Ok(())
}

// events

#[tokio::test]
async fn a_dead_letter_is_listed_shown_and_tried_again() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let only_ends = Recipient { events: vec![EventKind::End], ..scene.recipient() };
    scene.appliance.set_recipient(only_ends);
    // After the first sweep nothing but the appliance tells of sessions.
    scene.appliance.wait_for_request(|request| request.is("SupportRepExitSurvey")).await?;
    let ticket = scene.add_ticket("Closed too early");
    scene.zendesk.alter_ticket(ticket, |ticket| "closed".clone_into(&mut ticket.status));
    let well = scene.play_until_done(SessionScript::short(scene.people.vpn_ticket.to_string())).await?;
    let lsid = scene.appliance.play(SessionScript::short(ticket.to_string()))?;
    scene.outcome(&lsid, SESSION_END).await?.dead()?;

    let all = run(&scene.server, &["events", "list"]).await?;
    let line = |lsid: &str| all.out.lines().find(|line| line.contains(lsid)).with_context(|| all.out.clone());
    assert!(line(&well)?.contains(" done ") && line(&lsid)?.contains(" dead "), "{}", all.out);
    let dead = run(&scene.server, &["events", "list", "--state", "dead"]).await?;
    assert!(dead.check(0, &[&lsid, CONNECTION, "closed"]).out.lines().count() == 1, "{}", dead.out);
    assert_eq!(run(&scene.server, &["events", "list", "--limit", "1"]).await?.check(0, &[&lsid]).out.lines().count(), 1);

    let id = dead.out.split_whitespace().next().context("an id")?.to_owned();
    let shown = run(&scene.server, &["events", "show", &id]).await?;
    shown.check(0, &[&id, CONNECTION, "session_end (outbound)", &lsid, "dead after 1 attempts", "closed"]);
    assert!(Regex::new(r"received +\d{4}-\d{2}-\d{2}T")?.is_match(&shown.out), "{}", shown.out);
    assert!(Regex::new(r"attempt +\d{4}-\d{2}-\d{2}T\S+ dead after \d+ ms: .*closed")?.is_match(&shown.out), "{}", shown.out);

    let nobodys = "0197a000-0000-7000-8000-000000000000";
    for command in ["show", "retry"] {
        run(&scene.server, &["events", command, nobodys]).await?.check(1, &["there is no event", "events list"]);
    }
    scene.zendesk.alter_ticket(ticket, |ticket| "open".clone_into(&mut ticket.status));
    let mark = scene.server.logs().mark();
    run(&scene.server, &["events", "retry", &id]).await?.check(0, &["due again"]);
    scene.outcome_after(mark, &lsid, SESSION_END).await?.done()?;
    scene.only_report(ticket, &lsid)?;
    // Once more, though nothing is wrong: it stands already.
    let mark = scene.server.logs().mark();
    run(&scene.server, &["events", "retry", &id]).await?.check(0, &["due again"]);
    let said = scene.outcome_after(mark, &lsid, SESSION_END).await?.done()?;
    assert!(said.contains("already"), "{said}");
    scene.only_report(ticket, &lsid)?;
    Ok(())
}

// migrate

#[tokio::test]
async fn migrations_are_applied_once_and_a_newer_database_is_left_alone() -> Result<()> {
    let server = Deskbridge::builder().prepare().await?;
    for _ in 0..2 {
        run(&server, &["migrate"]).await?.check(0, &["up to date"]);
    }
    let mut database = sqlx::SqliteConnection::connect(server.database_url()).await?;
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'newer', TRUE, X'00', 0)";
    sqlx::query(newer).execute(&mut database).await?;
    database.close().await?;
    run(&server, &["migrate"]).await?.check(1, &["newer Deskbridge", "9999"]);
    run(&server, &["serve"]).await?.check(1, &["newer Deskbridge"]);

    let nowhere = Deskbridge::builder().database_url("sqlite:///nonexistent/directory/deskbridge.db").prepare().await?;
    run(&nowhere, &["migrate"]).await?.check(1, &["database"]);
    Ok(())
}

// package

#[tokio::test]
async fn the_zendesk_package_is_one_the_account_takes() -> Result<()> {
    let server = Deskbridge::builder().server_setting("public_url", "https://remote.example.com").prepare().await?;
    let build = async |name: &str| -> Result<Vec<u8>> {
        let out = server.directory().join(name);
        run(&server, &["package", "zendesk", "--out", out.to_str().context("a plain path")?]).await?.check(0, &["Upload", name]);
        Ok(std::fs::read(out)?)
    };
    let package = build("first.zip").await?;
    assert_eq!(package_faults(&package), Vec::<String>::new());
    assert!(package == build("second.zip").await?, "the same input gives other bytes");

    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&package))?;
    // Whatever order this build's JSON objects have: a release build gives the same bytes.
    for number in 0..archive.len() {
        let mut file = archive.by_index(number)?;
        let name = file.name()?.into_owned();
        if !name.starts_with("assets/") {
            let text = std::io::read_to_string(&mut file)?;
            let mut sorted: Value = serde_json::from_str(&text)?;
            sorted.sort_all_objects();
            assert_eq!(text, format!("{}\n", serde_json::to_string_pretty(&sorted)?), "{name}");
        }
    }
    let manifest: Value = serde_json::from_reader(archive.by_name("manifest.json")?)?;
    assert_eq!((&manifest["signedUrls"], &manifest["private"]), (&Value::Bool(true), &Value::Bool(true)));
    for place in ["ticket_sidebar", "new_ticket_sidebar"] {
        assert_eq!(manifest["location"]["support"][place]["url"], "https://remote.example.com/zendesk/sidebar", "{place}");
    }
    // The form the seed guide's administrator fills in.
    let names: Vec<_> = manifest["parameters"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    let expected =
        ["hostname", "issues", "jumpoints", "allow_jump_client", "allow_local_push", "allow_remote_push", "allow_rdp", "allow_shell_jump"];
    assert_eq!(names, expected);
    Ok(())
}

#[tokio::test]
async fn the_extension_comes_with_policies_that_know_this_server() -> Result<()> {
    let builder = Deskbridge::builder().server_setting("public_url", "https://remote.example.com").connection_text(
        "name = \"Help desk\"\n[appliance]\nhost = \"support.example.com\"\nclient_id = \"c\"\nclient_secret = \"s\"\n\
         [osticket]\nurl = \"https://help.example.com/support\"\n",
    );
    let server = builder.prepare().await?;
    let out = server.directory().join("extension");
    run(&server, &["package", "extension", "--out", out.to_str().context("a plain path")?])
        .await?
        .check(0, &["devices pair", "EXTENSION_ID"]);
    for (browser, background) in [("chromium", "service_worker"), ("firefox", "scripts")] {
        let mut archive = zip::ZipArchive::new(std::fs::File::open(out.join(format!("deskbridge-extension-{browser}.zip")))?)?;
        let manifest: serde_json::Value = serde_json::from_reader(archive.by_name("manifest.json")?)?;
        let keys: Vec<&String> = manifest["background"].as_object().context("a background")?.keys().filter(|key| *key != "type").collect();
        assert_eq!(keys, [background], "{browser}");
        assert!(archive.by_name("core_bg.wasm").is_ok());
    }
    let policy = |name: &str| -> Result<serde_json::Value> { Ok(serde_json::from_reader(std::fs::File::open(out.join(name))?)?) };
    let told = serde_json::json!({
        "serverUrl": "https://remote.example.com", "enrolmentToken": "ENROLMENT_TOKEN",
        "sites": [{ "kind": "osticket", "url": "https://help.example.com/support/", "connection": "Help desk" }],
    });
    assert_eq!(policy("policy-chromium.json")?["3rdparty"]["extensions"]["EXTENSION_ID"], told);
    assert_eq!(policy("policy-firefox.json")?["policies"]["3rdparty"]["Extensions"]["extension@deskbridge"], told);
    Ok(())
}

#[tokio::test]
async fn a_package_the_account_would_refuse_is_not_built() -> Result<()> {
    let server = Deskbridge::builder().prepare().await?;
    let out = server.directory().join("app.zip");
    let out_text = out.to_str().context("a plain path")?;
    run(&server, &["package", "zendesk", "--out", out_text]).await?.check(1, &["https", "public_url"]);
    assert!(!out.exists());
    let local = Deskbridge::builder().server_setting("public_url", "http://localhost:8180").prepare().await?;
    run(&local, &["package", "zendesk", "--out", out_text]).await?.check(0, &[]);
    assert_eq!(package_faults(&std::fs::read(&out)?), Vec::<String>::new());
    // A name with letters of its own is written as browsers write it.
    let umlaut = Deskbridge::builder().server_setting("public_url", "https://München.example.com/").prepare().await?;
    run(&umlaut, &["package", "zendesk", "--out", out_text]).await?.check(0, &[]);
    let package = std::fs::read(&out)?;
    assert_eq!(package_faults(&package), Vec::<String>::new());
    let manifest = std::io::read_to_string(zip::ZipArchive::new(std::io::Cursor::new(&package))?.by_name("manifest.json")?)?;
    assert!(manifest.contains("\"https://xn--mnchen-3ya.example.com/zendesk/sidebar\""), "{manifest}");
    run(&local, &["package", "zendesk", "--out", "/nonexistent/app.zip"]).await?.check(1, &["/nonexistent/app.zip"]);
    Ok(())
}

// The simulated systems must not make `check` content by themselves.

#[tokio::test]
async fn check_reads_the_older_appliances_too() -> Result<()> {
    let appliance = appliance::Options {
        authentication: appliance::Authentication::UserAndPassword,
        api_info_style: appliance::ApiInfoStyle::LEGACY,
        namespaces: appliance::NamespaceSpelling::Bomgar,
        ..appliance::Options::default()
    };
    let scene = Scene::prepare(Plan { appliance, ..Plan::default() }).await?;
    edit(&scene.server, "client_id = \"simulated-client\"", "username = \"integration\"")?;
    edit(&scene.server, "client_secret = \"simulated-secret\"", "password = \"simulated-password\"")?;
    run(&scene.server, &["check"]).await?.check(0, &["ok", "appliance login", "permission for session keys: given"]);
    edit(&scene.server, "simulated-password", "wrong-password")?;
    let said = run(&scene.server, &["check"]).await?;
    assert!(!said.check(1, &["FAIL", "appliance login"]).out.contains("wrong-password"));
    Ok(())
}
