//! The report of a session as an internal note in the agent's own osTicket session, from the click to the thread: a real browser with the
//! extension, the simulated osTicket, the real server, the simulated appliance.
//!
//! The extension is the one built for tests (`cargo xtask build extension`). Pictures are written only where `DESKBRIDGE_SCREENSHOTS` says so.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use deskbridge_shared::device::PairingLink;
use deskbridge_shared::routes;
use deskbridge_tests::appliance::{self, Party, Recipient, SessionScript, SimulatedAppliance, Step};
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::device::pairing_code;
use deskbridge_tests::extension::ExtendedBrowser;
use deskbridge_tests::osticket::{Agent, CRASH, Entry, Fault, LOCK_LIFE, Matching, Options, SampleData, SimulatedOsTicket};
use deskbridge_tests::scene::{self, EVENT_TOKEN};
use deskbridge_tests::server::Deskbridge;
use reqwest::Method;
use serde_json::{Value, json};
use thirtyfour::By;
use toml::Table;

const CONNECTION: &str = "Desk";
/// The server's word joiner: it has no width.
const WORD_JOINER: char = '\u{2060}';
/// What the extension put onto a page, less the panel over it.
const BUTTON: &str = "[data-deskbridge]:not([data-deskbridge-panel])";
const RECORD: &str = "li[data-state='ended'] [data-action='record']";
const RECORDED: &str = "li[data-state='recorded']";
/// What strangers write: HTML, entities, what osTicket removes wherever it stands, and what its database does not keep.
const HOSTILE: [&str; 10] = [
    "</div>",
    "</body></li></ul>",
    "<!-- see below",
    "<h2 style=\"color:red\">Your session has expired</h2><a href=\"https://evil.example\">Sign in again</a>",
    "ping <server> && echo ok",
    "Content-Disposition: attachment",
    "&#60/div> &#x3ch2>Big my position&#58 clerk, if a < b",
    "&lt;b&gt;bold&lt;/b&gt; &amp;lt;i&amp;gt; &#60;u&#62;",
    "VPN 🟢 ok, 𠮷田 «ja»",
    "Error in <Main Window> at 5",
];
/// Stands in the report of every played session.
const WORDS: &str = "Rebuilt the mail profile.";

/// A help desk with an agent signed in, an appliance, a server for both, and a paired browser with the extension.
struct Stage {
    osticket: SimulatedOsTicket,
    data: SampleData,
    appliance: SimulatedAppliance,
    server: Deskbridge,
    browser: ExtendedBrowser,
}

impl Stage {
    async fn start() -> Result<Self> {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Result<Self> {
        let osticket = SimulatedOsTicket::start(options).await?;
        let data = osticket.fill_sample_data();
        let appliance = SimulatedAppliance::start(appliance::Options::default()).await?;
        let server = Deskbridge::builder().connection(connection(&appliance, &osticket)).start().await?;
        let events = format!("{}{}?appliance=default&token={EVENT_TOKEN}", server.url(), routes::APPLIANCE_EVENTS);
        appliance.set_recipient(Recipient::new(events));
        let browser = ExtendedBrowser::start(Settings { height: 1000, ..Settings::default() }).await?;
        browser.set(json!({ "sites": [{ "kind": "osticket", "url": osticket.url(), "connection": "" }] })).await?;
        let code = pairing_code(&server, CONNECTION, &["--agent", "Avery Agent"]).await?;
        browser.pair(&PairingLink::text(server.public_url(), &code)).await?;
        let stage = Self { osticket, data, appliance, server, browser };
        stage.open(stage.data.vpn).await?;
        stage.sign_in().await?;
        Ok(stage)
    }

    fn browser(&self) -> &Browser {
        &self.browser.browser
    }

    /// Plays a session of the ticket to its end, and waits until the server knows; answers its lsid.
    async fn play(&self, number: &str) -> Result<String> {
        let lsid = self.appliance.play(SessionScript::example(number))?;
        self.server.wait_for_log(&format!("kind=\"session_end\" lsid=\"{lsid}\".*: event done")).await?;
        Ok(lsid)
    }

    async fn open(&self, ticket: u32) -> Result<()> {
        self.browser().open(&self.osticket.ticket_page(ticket)).await
    }

    /// On the login page, which stands before the page that was wanted.
    async fn sign_in(&self) -> Result<()> {
        let agent = Agent::default();
        self.browser().type_into("[name='userid']", &agent.user).await?;
        self.browser().type_into("[name='passwd']", &agent.password).await?;
        self.browser().click("#login [type='submit']").await?;
        self.browser().element(BUTTON).await.map(drop)
    }

    /// Opens the panel with its button, and goes into it.
    async fn open_panel(&self) -> Result<()> {
        self.browser().click(BUTTON).await?;
        self.browser.enter_panel().await
    }

    /// Opens a ticket anew, and the panel on it.
    async fn open_with_panel(&self, ticket: u32) -> Result<()> {
        self.browser().leave_frames().await?;
        self.open(ticket).await?;
        self.open_panel().await
    }

    /// Asks for the report; answers what the panel says of it.
    async fn record_in_vain(&self, words: &str) -> Result<()> {
        self.browser().click(RECORD).await?;
        self.browser().element_with_text("li[data-state='ended'] .notice-fault", words).await.map(drop)
    }

    async fn record(&self) -> Result<()> {
        self.browser().click(RECORD).await?;
        self.browser().element(RECORDED).await.map(drop)
    }

    async fn count(&self, css: &str) -> Result<usize> {
        Ok(self.browser().driver().find_all(By::Css(css)).await?.len())
    }

    /// The one note of a ticket; it is of this session and this agent.
    fn only_note(&self, ticket: u32, lsid: &str) -> Result<Entry> {
        let notes = self.osticket.notes(ticket);
        let [note] = &notes[..] else { anyhow::bail!("{} notes: {notes:?}", notes.len()) };
        ensure!(note.author == "Avery Agent", "{note:?}");
        ensure!(note.html.contains(WORDS) && note.html.contains(&format!("deskbridge/{lsid}/report/0")), "{note:?}");
        Ok(note.clone())
    }

    /// The next post of a note goes wrong.
    fn fail_note(&self, fault: Fault) {
        self.osticket.fail_next(1, Matching::new(Method::POST, self.osticket.staff_path("tickets.php")), fault);
    }

    fn posts(&self) -> usize {
        self.osticket.count(&Method::POST, &self.osticket.staff_path("tickets.php"))
    }

    async fn picture(&self, name: &str) -> Result<()> {
        if let Some(folder) = std::env::var_os("DESKBRIDGE_SCREENSHOTS") {
            self.browser().screenshot(&PathBuf::from(folder).join(name)).await?;
        }
        Ok(())
    }
}

fn connection(appliance: &SimulatedAppliance, osticket: &SimulatedOsTicket) -> Table {
    let sections = format!(
        r#"
        [panel]
        allow_jump_client = true
        allow_rdp = true
        jumpoints = ["HQ-Net"]
        [osticket]
        url = "{url}"
        "#,
        url = osticket.url(),
    );
    scene::connection(appliance, CONNECTION, "default", &sections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_stands_once_by_the_agent() -> Result<()> {
    let stage = Stage::start().await?;
    let ticket = stage.data.vpn;
    stage.open_panel().await?;
    stage.browser().click("[data-action='make-key']").await?;
    let key = stage.browser().text("[data-part='key']").await?;
    let lsid = stage.appliance.begin_session_with_key(&key)?;
    for (_, step) in SessionScript::example("515631").steps {
        stage.appliance.step(&lsid, step)?;
    }
    stage.browser().element(RECORD).await?;
    stage.browser().leave_frames().await?;
    stage.picture("osticket-ticket.png").await?;
    stage.browser.enter_panel().await?;
    stage.record().await?;
    stage.browser().element_with_text(RECORDED, "On the ticket").await?;
    ensure!(stage.count(RECORD).await? == 0, "it is not offered again");
    let note = stage.only_note(ticket, &lsid)?;
    ensure!(note.title.starts_with("Remote support with Jürgen Groß, ") && note.title.ends_with(&format!(" [{}]", &lsid[..8])), "{note:?}");
    ensure!(stage.osticket.lock_holder(ticket).is_none(), "nobody else is kept from writing");

    stage.open_with_panel(ticket).await?;
    stage.browser().element(RECORDED).await?;
    ensure!(stage.count(RECORD).await? == 0, "not after a reload either");
    stage.browser().leave_frames().await?;
    stage.browser().element_with_text(".thread-entry.note", WORDS).await?;
    ensure!(stage.count(".thread-entry.note").await? == 1);
    stage.picture("osticket-note.png").await?;
    stage.only_note(ticket, &lsid)?;
    ensure!(stage.posts() == 1, "{} posts", stage.posts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_write_stays_text_and_takes_nothing_with_it() -> Result<()> {
    let stage = Stage::start().await?;
    let ticket = stage.data.vpn;
    let mut script = SessionScript::example("515631");
    let end = script.steps.iter().position(|(_, step)| matches!(step, Step::Ends)).context("no end")?;
    for text in HOSTILE {
        let chat = SessionScript::new("515631").chat(Party::CUSTOMER, text).steps;
        script.steps.splice(end..end, chat);
    }
    let lsid = stage.appliance.play(script)?;
    stage.server.wait_for_log(&format!("kind=\"session_end\" lsid=\"{lsid}\".*: event done")).await?;
    stage.open_panel().await?;
    stage.record().await?;
    let note = stage.only_note(ticket, &lsid)?;
    ensure!(!note.html.contains("<h2") && !note.html.contains("<b>bold"), "{}", note.html);

    stage.browser().leave_frames().await?;
    stage.browser().driver().refresh().await?;
    let shown = stage.browser().element_with_text(".thread-entry.note", WORDS).await?.text().await?.replace(WORD_JOINER, "");
    for text in HOSTILE {
        let text = text.replace("🟢", "[green circle]").replace('𠮷', "\u{fffd}").replace('«', "\"").replace('<', "‹");
        ensure!(shown.contains(&text), "'{text}' is not in: {shown}");
    }
    stage.picture("osticket-hostile.png").await?;
    Ok(())
}

/// Both look before either has written: one of them must wait for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_at_once_write_one_note() -> Result<()> {
    let stage = Stage::start().await?;
    let ticket = stage.data.vpn;
    let lsid = stage.play("515631").await?;
    let driver = stage.browser().driver();
    let first = driver.window().await?;
    stage.open_panel().await?;
    let second = driver.new_tab().await?;
    driver.switch_to_window(second.clone()).await?;
    stage.open(ticket).await?;
    stage.open_panel().await?;
    stage.browser().element(RECORD).await?;
    stage.osticket.alter(|options| options.latency = Duration::from_secs(2));
    stage.browser().click(RECORD).await?;
    driver.switch_to_window(first).await?;
    stage.browser.enter_panel().await?;
    stage.record().await?;
    driver.switch_to_window(second).await?;
    stage.browser.enter_panel().await?;
    stage.browser().element(RECORDED).await?;
    stage.only_note(ticket, &lsid)?;
    // The panel may hear of the note from the server before its own attempt ends. By itself the lock would last three minutes.
    let free = stage.osticket.wait_until(|desk| desk.lock_holder(ticket).is_none().then_some(())).await;
    free.context("the lock that was not needed is given back")?;
    stage.only_note(ticket, &lsid).map(drop)
}

/// The agent took a lock elsewhere a moment ago, when osTicket crashes at being asked for it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_the_same_second_is_asked_for_again() -> Result<()> {
    let stage = Stage::start().await?;
    let lsid = stage.play("515631").await?;
    stage.open_panel().await?;
    let lock = Matching::new(Method::POST, stage.osticket.staff_path("ajax.php/lock/"));
    stage.osticket.fail_next(1, lock, Fault::Status { code: 500, body: String::new(), retry_after: None });
    stage.record().await?;
    stage.only_note(stage.data.vpn, &lsid).map(drop)
}

/// Its page has no form for notes, though osTicket would take one, and nobody would see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_ticket_says_into_which() -> Result<()> {
    let stage = Stage::start().await?;
    let SampleData { vpn, screen } = stage.data;
    stage.play("515631").await?;
    stage.osticket.merge(vpn, screen);
    stage.open_with_panel(vpn).await?;
    stage.record_in_vain(&format!("This ticket was merged into Ticket #{screen} and takes no notes any more.")).await?;
    stage.picture("osticket-merged.png").await?;
    ensure!(stage.osticket.notes(vpn).is_empty() && stage.posts() == 0);
    Ok(())
}

/// *Copy report*, pasted into a note that was not sent, is no note on the ticket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_no_note() -> Result<()> {
    let stage = Stage::start().await?;
    let lsid = stage.play("515631").await?;
    stage.osticket.draft_note(stage.data.vpn, &format!("<p>{WORDS}</p><p>deskbridge/{lsid}/report/0</p>"));
    stage.open_with_panel(stage.data.vpn).await?;
    stage.record().await?;
    stage.only_note(stage.data.vpn, &lsid).map(drop)
}

/// The agents' "Rich text" is off: HTML would stand there as source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rich_text_the_report_is_plain_text() -> Result<()> {
    let stage = Stage::with(Options { rich_text: false, ..Options::default() }).await?;
    let lsid = stage.play("515631").await?;
    stage.open_panel().await?;
    stage.record().await?;
    let note = stage.only_note(stage.data.vpn, &lsid)?;
    ensure!(!note.html.contains("&lt;p") && !note.html.contains("&lt;h3"), "{}", note.html);
    ensure!(note.html.contains("Customer: Jürgen Groß\n"), "{}", note.html);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_and_nothing_is_doubled() -> Result<()> {
    let stage = Stage::start().await?;
    let ticket = stage.data.vpn;
    stage.osticket.add_agent(Agent::named("blake", "Blake", "Busy"));
    let lsid = stage.play("515631").await?;
    stage.open_panel().await?;

    stage.osticket.begin_writing(ticket, "blake")?;
    stage.record_in_vain("Another agent is writing on this ticket (Blake Busy).").await?;
    stage.picture("osticket-locked.png").await?;
    stage.osticket.advance_clock(LOCK_LIFE);
    ensure!(stage.posts() == 0, "without a lock nothing was sent");

    stage.fail_note(Fault::Status { code: 200, body: CRASH.to_owned(), retry_after: None });
    stage.record_in_vain("could not be reached, or failed").await?;
    ensure!(stage.osticket.notes(ticket).is_empty());

    // It arrives, and neither its answer nor the look at the ticket comes back.
    let page = Matching::new(Method::GET, stage.osticket.staff_path("tickets.php"));
    stage.osticket.fail_next(1, page.clone(), Fault::Status { code: 503, body: String::new(), retry_after: None });
    stage.record_in_vain("could not be reached, or failed").await?;
    ensure!(stage.osticket.notes(ticket).is_empty(), "without a look nothing is sent");
    stage.fail_note(Fault::ApplyThenClose);
    stage.record().await?;
    stage.only_note(ticket, &lsid)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_made_up_for_by_a_look() -> Result<()> {
    let stage = Stage::start().await?;
    let ticket = stage.data.vpn;
    // Without locks nothing but the marker keeps the second note away.
    stage.osticket.alter(|options| options.locking = false);
    let lsid = stage.play("515631").await?;
    stage.open_panel().await?;
    stage.fail_note(Fault::ApplyThenStatus(502));
    stage.record().await?;
    stage.only_note(ticket, &lsid)?;

    // A second session; osTicket is away from the moment it has written the note.
    let second = stage.play("515631").await?;
    stage.fail_note(Fault::ApplyThenStatus(502));
    let posts = stage.posts();
    let away = stage.osticket.clone();
    let watching = tokio::spawn(async move {
        let tickets = away.staff_path("tickets.php");
        away.wait_until(|desk| (desk.count(&Method::POST, &tickets) > posts).then_some(())).await?;
        away.fail_always(Matching::new(Method::GET, tickets), Fault::Status { code: 503, body: String::new(), retry_after: None });
        anyhow::Ok(())
    });
    stage.record_in_vain("It is not certain that the report arrived.").await?;
    watching.await??;
    ensure!(stage.osticket.notes(ticket).len() == 2);
    stage.osticket.clear_faults();
    stage.browser().click(RECORD).await?;
    stage.browser().wait_until_gone(RECORD).await?;
    ensure!(stage.count(RECORDED).await? == 2);
    let notes = stage.osticket.notes(ticket);
    ensure!(notes.len() == 2 && notes[1].title.contains(&second[..8]), "found by its marker: {notes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ended_is_told() -> Result<()> {
    let stage = Stage::start().await?;
    let ticket = stage.data.vpn;
    let lsid = stage.play("515631").await?;
    stage.open_panel().await?;
    stage.osticket.end_sessions();
    stage.record_in_vain("You are signed out of the help desk.").await?;
    stage.picture("osticket-signed-out.png").await?;
    ensure!(stage.posts() == 0);

    // Signed in again in another tab: this page's token is of the former session.
    let page = stage.browser().driver().window().await?;
    let tab = stage.browser().driver().new_tab().await?;
    stage.browser().driver().switch_to_window(tab).await?;
    stage.open(ticket).await?;
    stage.sign_in().await?;
    stage.browser().driver().switch_to_window(page).await?;
    stage.browser.enter_panel().await?;
    stage.record_in_vain("The ticket page is too old.").await?;
    ensure!(stage.osticket.notes(ticket).is_empty());
    stage.open_with_panel(ticket).await?;
    stage.record().await?;
    stage.only_note(ticket, &lsid).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_locks_and_while_the_agent_writes() -> Result<()> {
    let stage = Stage::start().await?;
    let SampleData { vpn, screen } = stage.data;
    // The agent writes a reply: the page holds the lock, and asking for it again would crash osTicket.
    let lsid = stage.play("515631").await?;
    stage.browser().type_into("#response", "Hello Priya,").await?;
    stage.osticket.wait_until(|desk| desk.lock_holder(vpn)).await?;
    let held = "const until = Date.now() + 15000;
        return new Promise((resolve) => {
          const look = () => document.querySelector('#reply').lockCode.value ? resolve(true) : Date.now() > until ? resolve(false) : setTimeout(look, 20);
          look();
        });";
    ensure!(stage.browser().execute(held, vec![]).await? == Value::Bool(true));
    stage.open_panel().await?;
    stage.record().await?;
    stage.only_note(vpn, &lsid)?;
    stage.browser().leave_frames().await?;
    let reply = stage.browser().execute("return document.querySelector('#response').value", vec![]).await?;
    ensure!(reply == json!("Hello Priya,"), "{reply}");
    // The lock went with the note; the reply has another, or osTicket would refuse it.
    let code = stage.browser().execute("return document.querySelector('#reply').lockCode.value", vec![]).await?;
    ensure!(stage.osticket.lock_code(vpn).is_some_and(|lock| code == json!(lock)), "{code}");

    stage.osticket.alter(|options| options.locking = false);
    let lsid = stage.play("HD.43-4182").await?;
    stage.open_with_panel(screen).await?;
    stage.record().await?;
    stage.only_note(screen, &lsid).context("where locking is switched off").map(drop)
}
