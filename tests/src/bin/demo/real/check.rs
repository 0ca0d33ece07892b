//! Without a person: a browser goes a person's way by the extension, Request Tracker's page, the panel and MeshCentral's page; the notes are
//! found on the ticket.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::extension::ExtendedBrowser;
use deskbridge_tests::meshcentral::Technician;
use thirtyfour::prelude::*;

use super::desk::{Desk, TECHNICIAN};
use super::scene::{MACHINE, Parts};

/// From a session's end until its note stands; MeshCentral tells of the recording five seconds after the end.
const NOTE: Duration = Duration::from_mins(1);
/// From a request for help until its ticket is there.
const TICKET: Duration = Duration::from_secs(30);
/// How often is looked: notes are told to a tenth of a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A new tab of a pressed button.
const TAB: Duration = Duration::from_secs(20);
/// Its size; an emulated one counts for its own tab alone.
const TAB_SIZE: (u32, u32) = (1200, 800);
/// The colour of the customer's screen behind its windows (`customer.html`): red, green, blue.
const WALLPAPER: [u8; 3] = [0x1f, 0x6f, 0x78];

/// What the technician types, and a line that comes of it.
const COMMAND: &str = "echo 'The mail profile is built anew.'; sleep 3; echo $((40 + 2)) messages are back\n";
const LINE: &str = "42 messages are back";
/// What the customer asks.
const QUESTION: &str = "My mail does not open";

/// Plays the whole story once.
pub async fn play(parts: &mut Parts) -> Result<()> {
    let Desk::RequestTracker { rt, ticket, .. } = &parts.desk else {
        bail!("the check needs a real Request Tracker: cargo xtask setup, as root");
    };
    let (ticket, page) = (ticket.clone(), parts.desk.page(ticket));
    let rt = rt.clone();
    let settings = Settings { height: 900, flags: parts.browser_flags()?, ..Settings::default() };
    let browser = ExtendedBrowser::start_with(settings, &parts.extension).await?;
    browser.open_options().await?;
    browser.browser.element("[data-state='paired']").await?;
    browser.browser.open(&page).await?;
    browser.browser.type_into("[name='user']", TECHNICIAN.user).await?;
    browser.browser.type_into("[name='pass']", TECHNICIAN.password).await?;
    browser.browser.click("#login-box [type='submit']").await?;
    open_panel(&browser).await?;
    println!("Ticket {ticket}: the panel stands on Request Tracker's page, with the machine");

    let mut technician = press(browser, "terminal").await?;
    technician.tab.connect_terminal().await?;
    technician.tab.type_into_terminal(COMMAND).await?;
    technician.tab.see_in_terminal(LINE).await?;
    println!("Ticket {ticket}: the technician types into the machine's real terminal");
    technician.tab.disconnect().await?;
    wait_for_notes(parts, &ticket, 1).await?;
    let browser = technician.back().await?;
    browser.enter_panel().await?;
    browser.browser.element("li[data-state='recorded']").await?;
    picture(&browser.browser, "real-ticket.png").await?;

    let mut technician = press(browser, "desktop").await?;
    technician.tab.connect_desktop_showing(WALLPAPER, 0.2).await?;
    println!("Ticket {ticket}: the technician sees the machine's real desktop");
    picture(technician.tab.browser(), "real-desktop.png").await?;
    technician.tab.disconnect().await?;
    wait_for_notes(parts, &ticket, 2).await?;
    let browser = technician.back().await?;

    browser.browser.open(&page).await?;
    let note = browser.browser.element_with_text(".transaction .content, .transaction", LINE).await?;
    note.scroll_into_view().await?;
    picture(&browser.browser, "real-note.png").await?;
    let mut notes = rt.notes(&ticket).await?;
    notes.retain(|note| note.subject.contains("/report/"));
    ensure!(notes.len() == 2, "{} reports stand on the ticket", notes.len());
    browser.browser.close().await?;

    parts.request_help(QUESTION).await?;
    wait_for(TICKET, "the request for help is a ticket", parts, async |parts| Ok(parts.timeline.helped().next().is_some())).await?;
    let made = parts.timeline.helped().next().context("it was there")?;
    println!("Ticket {}: made of the customer's request for help ({})", made.number, made.subject);
    Ok(())
}

async fn open_panel(browser: &ExtendedBrowser) -> Result<()> {
    let card = browser.browser.element("[data-deskbridge]:not([data-deskbridge-panel])").await?;
    let place = card.find(By::Css(".titlebox-content > .card-body > div")).await?;
    browser.browser.in_shadow_of(&place, "button").await?.click().await?;
    browser.enter_panel().await?;
    browser.browser.element_with_text("[data-section='machines'] li", MACHINE).await.map(drop)
}

/// A technician in the tab that a button of the panel opened; the ticket stands in the tab before it.
struct AtWork {
    tab: Technician,
    origin: String,
    ticket: WindowHandle,
}

/// In the open panel: presses a button of the ticket's machine, and goes into the tab that comes of it.
async fn press(browser: ExtendedBrowser, action: &str) -> Result<AtWork> {
    let page = &browser.browser;
    let before = page.driver().windows().await?;
    let ticket = page.driver().window().await?;
    page.click(&format!("[data-section='machines'] button[data-action='{action}']")).await?;
    let opened = async {
        loop {
            let windows = page.driver().windows().await?;
            if let Some(new) = windows.into_iter().find(|window| !before.contains(window)) {
                return anyhow::Ok(new);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let opened = tokio::time::timeout(TAB, opened).await.with_context(|| format!("{action} opens no tab"))??;
    page.driver().switch_to_window(opened).await?;
    browser.browser.set_size(TAB_SIZE.0, TAB_SIZE.1).await?;
    Ok(AtWork { tab: Technician::with(browser.browser), origin: browser.origin, ticket })
}

impl AtWork {
    /// Closes the tab and goes back to the ticket.
    async fn back(self) -> Result<ExtendedBrowser> {
        let browser = self.tab.into_browser();
        browser.driver().close_window().await?;
        browser.driver().switch_to_window(self.ticket).await?;
        Ok(ExtendedBrowser { browser, origin: self.origin })
    }
}

/// Waits until each of so many sessions has left one note, and says how long the last one took.
async fn wait_for_notes(parts: &mut Parts, ticket: &str, count: usize) -> Result<()> {
    wait_for(NOTE, "the note stands on the ticket", parts, async |parts| {
        let sessions = parts.timeline.sessions(ticket);
        Ok(sessions.len() == count && sessions.iter().all(|session| parts.timeline.notes(session) > 0))
    })
    .await?;
    let sessions = parts.timeline.sessions(ticket);
    ensure!(sessions.iter().all(|session| parts.timeline.notes(session) == 1), "a note stands twice on ticket {ticket}");
    let newest = sessions.iter().max_by_key(|session| session.started_at.clone()).context("a session")?;
    let after = parts.timeline.note_after(newest).context("it has ended")?;
    let kind = newest.kind.as_deref().unwrap_or("session");
    println!("Ticket {ticket}: the note of the {kind} session stands there, {:.1} s after its end", after.as_secs_f64());
    Ok(())
}

async fn wait_for(limit: Duration, what: &str, parts: &mut Parts, reached: impl AsyncFn(&Parts) -> Result<bool>) -> Result<()> {
    let waited = async {
        loop {
            parts.look().await?;
            if reached(parts).await? {
                return anyhow::Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let waited = tokio::time::timeout(limit, waited).await;
    waited.with_context(|| format!("waited {limit:?} in vain until {what}\n{}", parts.server.logs().tail()))?
}

async fn picture(browser: &Browser, name: &str) -> Result<()> {
    if let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") {
        browser.screenshot(&PathBuf::from(folder).join(name)).await?;
    }
    Ok(())
}
