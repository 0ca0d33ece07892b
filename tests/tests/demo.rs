//! The demo keeps its promise without a person: `demo --check` makes keys, plays their sessions, finds the reports; and a browser with the
//! extension as the demo sets it up goes a person's way. So does `demo --real --check`, between real systems; and Ctrl-C leaves nothing of them.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_tests::appliance::SessionScript;
use deskbridge_tests::browser::Settings;
use deskbridge_tests::extension::ExtendedBrowser;
use deskbridge_tests::help_desks::{Desk, Desks};
use deskbridge_tests::meshcentral::is_obtainable_for;
use deskbridge_tests::processes::{Signal, program_beside_us, send_to_group};
use deskbridge_tests::request_tracker;
use deskbridge_tests::server::{Deskbridge, loopback_client, skip, until};
use serde_json::Value;
use tempfile::TempDir;
use thirtyfour::By;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const BUTTON: &str = "[data-deskbridge]:not([data-deskbridge-panel])";
/// Stands in the report of every played session.
const WORDS: &str = "Rebuilt the mail profile.";

#[tokio::test]
async fn the_demo_plays_its_story() {
    let directory = tempfile::tempdir().unwrap();
    let demo = Command::new(program_beside_us("demo").unwrap())
        .arg("--check")
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(2), demo).await.expect("the demo ends in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    for promise in ["the report is there (", "the report is there, and", "the report is ready for the agent's page"] {
        assert!(said.contains(promise), "{promise}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_extension_needs_no_setting_up() -> Result<()> {
    let desks = Desks::start().await?;
    let [autotask, osticket] = desks.connections();
    let server = Deskbridge::builder().public_host("localhost").connection(autotask).connection(osticket).start().await?;
    desks.tell(&server);
    let directory = tempfile::tempdir()?;
    let code = desks.pairing_code(&server).await?;
    let extension = desks.set_up_extension(&server, &code, &directory.path().join("extension"))?;
    let stage = Stage { browser: ExtendedBrowser::start_with(Settings { height: 1000, ..Settings::default() }, &extension).await? };
    let page = &stage.browser.browser;
    stage.browser.open_options().await?;
    page.element("[data-state='paired']").await?;

    // Autotask: a card in the column of insights.
    let ticket = desks.autotask_data.ticket;
    page.open(&desks.autotask.system.ticket_page(ticket)).await?;
    stage.open_card().await?;
    stage.support(&desks.autotask, &ticket.to_string()).await?;
    page.element("li[data-state='recorded']").await?;
    page.leave_frames().await?;
    desks.autotask.system.wait_for_time_entry(ticket, |_| true).await?;
    page.open(&desks.autotask.system.ticket_page(ticket)).await?;
    page.element_with_text(".ConversationItem .Message", WORDS).await?;
    page.element(".ConversationItem.TimeEntry").await?;
    stage.open_card().await?;
    page.element("li[data-state='recorded']").await?;
    page.leave_frames().await?;
    stage.picture("autotask-panel.png").await?;

    // osTicket: a button in the toolbar, after signing in.
    page.open(&desks.osticket.system.ticket_page(desks.osticket_data.vpn)).await?;
    let agent = desks.osticket.system.options().agent;
    page.type_into("[name='userid']", &agent.user).await?;
    page.type_into("[name='passwd']", &agent.password).await?;
    page.click("#login [type='submit']").await?;
    page.click(BUTTON).await?;
    stage.browser.enter_panel().await?;
    stage.support(&desks.osticket, "515631").await?;
    page.click("[data-action='record']").await?;
    page.element("li[data-state='recorded']").await?;
    let notes = desks.osticket.system.notes(desks.osticket_data.vpn);
    ensure!(notes.len() == 1 && notes[0].html.contains(WORDS), "{notes:?}");
    Ok(())
}

struct Stage {
    browser: ExtendedBrowser,
}

impl Stage {
    /// Opens Autotask's panel, and goes into it.
    async fn open_card(&self) -> Result<()> {
        let card = self.browser.browser.element(BUTTON).await?;
        let place = card.find(By::Css(".ContentContainer > .Content > div")).await?;
        self.browser.browser.in_shadow_of(&place, "button").await?.click().await?;
        self.browser.enter_panel().await
    }

    /// In the open panel: makes a key, and plays its session.
    async fn support<T>(&self, desk: &Desk<T>, ticket: &str) -> Result<()> {
        self.browser.browser.click("[data-action='make-key']").await?;
        let key = self.browser.browser.text("[data-part='key']").await?;
        let lsid = desk.appliance.begin_session_with_key(&key).context("the panel's key")?;
        for (_, step) in SessionScript::example(ticket).steps {
            desk.appliance.step(&lsid, step)?;
        }
        Ok(())
    }

    async fn picture(&self, name: &str) -> Result<()> {
        if let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") {
            self.browser.browser.screenshot(&PathBuf::from(folder).join(name)).await?;
        }
        Ok(())
    }
}

/// Starting six programs and playing two sessions, on a busy machine.
const REAL_DEMO: Duration = Duration::from_mins(4);
/// What the real demo says when everything runs.
const RUNS: &str = "Ctrl-C ends everything.";

/// True where the real demo can be run as it is meant.
fn is_real_demo_obtainable(test: &str) -> Result<bool> {
    if let Some(why) = request_tracker::missing() {
        skip(test, &why)?;
        return Ok(false);
    }
    is_obtainable_for(test)
}

/// The real demo in a directory of its own, which all of its processes have, too. What is left of it is killed when dropped.
struct RealDemo {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    said: String,
    directory: TempDir,
}

impl RealDemo {
    fn start(arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("deskbridge-demo-").tempdir()?;
        // The agent and Request Tracker run as another account when we are root.
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))?;
        let mut command = Command::new(program_beside_us("demo")?);
        command.arg("--real").args(arguments).current_dir(directory.path()).env("TMPDIR", directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut process = command.spawn()?;
        let output = BufReader::new(process.stdout.take().context("its output")?).lines();
        Ok(Self { process, output, said: String::new(), directory })
    }

    /// Reads what it prints up to a line, or to its end.
    async fn read_until(&mut self, line: Option<&str>) -> Result<()> {
        let reading = async {
            while let Some(printed) = self.output.next_line().await? {
                self.said.push_str(&printed);
                self.said.push('\n');
                if line.is_some_and(|line| printed.contains(line)) {
                    return anyhow::Ok(true);
                }
            }
            Ok(line.is_none())
        };
        let is_read = tokio::time::timeout(REAL_DEMO, reading).await.with_context(|| format!("not in time:\n{}", self.said))??;
        let errors = if is_read { String::new() } else { self.errors().await? };
        ensure!(is_read, "it has ended:\n{}{errors}", self.said);
        Ok(())
    }

    async fn errors(&mut self) -> Result<String> {
        let mut errors = String::new();
        if let Some(mut stream) = self.process.stderr.take() {
            stream.read_to_string(&mut errors).await?;
        }
        Ok(errors)
    }

    /// Reads the rest, and waits for an end without a fault.
    async fn ended_well(&mut self) -> Result<()> {
        self.read_until(None).await?;
        let errors = self.errors().await?;
        let status = tokio::time::timeout(REAL_DEMO, self.process.wait()).await.context("it does not end")??;
        ensure!(status.success(), "{status}\n{}{errors}", self.said);
        Ok(())
    }

    /// Command lines of the processes that belong to it, by the directory: they work in it, or were told of it.
    fn processes(&self) -> Result<Vec<String>> {
        let own = self.directory.path().to_str().context("a plain path")?;
        let mut found = Vec::new();
        for process in std::fs::read_dir("/proc")?.flatten().map(|entry| entry.path()).filter(|path| path.join("cmdline").is_file()) {
            // One that ends meanwhile has nothing to read.
            let text = |name: &str| String::from_utf8_lossy(&std::fs::read(process.join(name)).unwrap_or_default()).replace('\0', " ");
            let place = std::fs::read_link(process.join("cwd")).unwrap_or_default();
            let (line, environment) = (text("cmdline"), text("environ"));
            if place.starts_with(own) || line.contains(own) || environment.contains(own) {
                found.push(format!("{} {line}", process.display()));
            }
        }
        Ok(found)
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        Ok(std::fs::read_dir(self.directory.path())?.flatten().map(|entry| entry.path()).collect())
    }

    fn nothing_is_left(&self) -> Result<()> {
        let (processes, files) = (self.processes()?, self.files()?);
        ensure!(processes.is_empty() && files.is_empty(), "left behind: {processes:?}, {files:?}");
        Ok(())
    }
}

impl Drop for RealDemo {
    fn drop(&mut self) {
        if let Some(id) = self.process.id() {
            send_to_group(id, Signal::Kill).ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_demo_plays_its_story() -> Result<()> {
    if !is_real_demo_obtainable("the_real_demo_plays_its_story")? {
        return Ok(());
    }
    let mut demo = RealDemo::start(&["--check"])?;
    demo.ended_well().await?;
    let promises = [
        "the panel stands on Request Tracker's page, with the machine",
        "the note of the terminal session stands there, ",
        "the note of the desktop session stands there, ",
        "made of the customer's request for help (Help request from Reception)",
    ];
    for promise in promises {
        ensure!(demo.said.contains(promise), "{promise} is not in\n{}", demo.said);
    }
    demo.nothing_is_left()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_leaves_nothing_of_the_real_demo() -> Result<()> {
    if !is_real_demo_obtainable("ctrl_c_leaves_nothing_of_the_real_demo")? {
        return Ok(());
    }
    let mut demo = RealDemo::start(&[])?;
    demo.read_until(Some(RUNS)).await?;
    // What the page is for: the ticket, and a request for help that becomes one.
    let page = demo.said.split_whitespace().rfind(|word| word.starts_with("http://127.0.0.1:")).context("the page's address")?.to_owned();
    let http = loopback_client()?;
    let html = http.get(&page).send().await?.text().await?;
    ensure!(html.contains("Ticket/Display.html?id=1") && html.contains("avery-pw") && !html.contains("{{"), "{html}");
    http.post(format!("{page}help")).form(&[("text", "The <b>printer</b> burns")]).send().await?;
    let state = async || Ok::<Value, anyhow::Error>(http.get(format!("{page}state")).send().await?.json().await?);
    until("the request for help is a ticket", Duration::from_mins(1), async || {
        Ok(state().await?["tickets"][1]["subject"] == "Help request from Reception")
    })
    .await?;
    // MeshCentral, its agent, the screen, Request Tracker, Deskbridge; else nothing would be looked for below.
    let running = demo.processes()?;
    for program in ["meshcentral", "meshagent", "Xvfb", "rt-server", "deskbridge serve"] {
        ensure!(running.iter().any(|line| line.contains(program)), "{program} does not run: {running:?}");
    }
    send_to_group(demo.process.id().context("it runs")?, Signal::Interrupt)?;
    demo.ended_well().await?;
    demo.nothing_is_left()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_in_the_midst_of_its_start_leaves_nothing_either() -> Result<()> {
    if !is_real_demo_obtainable("ctrl_c_in_the_midst_of_its_start_leaves_nothing_either")? {
        return Ok(());
    }
    let mut demo = RealDemo::start(&[])?;
    demo.read_until(Some("Request Tracker starts.")).await?;
    ensure!(!demo.processes()?.is_empty());
    send_to_group(demo.process.id().context("it runs")?, Signal::Interrupt)?;
    demo.ended_well().await?;
    demo.nothing_is_left()
}
