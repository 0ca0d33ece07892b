//! The demo keeps its promise without a person: `demo --check` makes keys, plays their sessions, finds the reports; and a browser with the
//! extension as the demo sets it up goes a person's way.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_tests::appliance::SessionScript;
use deskbridge_tests::browser::Settings;
use deskbridge_tests::extension::ExtendedBrowser;
use deskbridge_tests::help_desks::{Desk, Desks};
use deskbridge_tests::processes::program_beside_us;
use deskbridge_tests::server::Deskbridge;
use thirtyfour::By;
use tokio::process::Command;

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
