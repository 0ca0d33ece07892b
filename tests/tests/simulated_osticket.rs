//! The simulated osTicket keeps the real one's rules (osticket.md 2.5, 2.14, 3.3, 3.4), seen over real HTTP as an agent's browser would.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use deskbridge_tests::extension::STAFF_POLICY;
use deskbridge_tests::osticket::{
    Agent, CRASH, EntryKind, Fault, LOCK_LIFE, Matching, Options, SESSION_LIFE, SampleData, SimulatedOsTicket, Ticket,
};
use deskbridge_tests::server::loopback_client;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// An installation with two tickets, and a browser.
struct Desk {
    osticket: SimulatedOsTicket,
    data: SampleData,
    http: Client,
}

/// An agent who is signed in.
struct Session {
    cookie: String,
    csrf_token: String,
}

impl Desk {
    async fn start() -> Result<Self> {
        let osticket = SimulatedOsTicket::start(Options::default()).await?;
        let data = osticket.fill_sample_data();
        Ok(Self { osticket, data, http: loopback_client()? })
    }

    fn address(&self, page: &str) -> String {
        format!("{}scp/{page}", self.osticket.url())
    }

    fn anonymous(&self, method: Method, page: &str) -> RequestBuilder {
        self.http.request(method, self.address(page))
    }

    fn call(&self, session: &Session, method: Method, page: &str) -> RequestBuilder {
        self.anonymous(method, page).header("cookie", &session.cookie)
    }

    async fn sign_in(&self, agent: &Agent) -> Result<(Session, Response)> {
        let page = self.anonymous(Method::GET, "login.php").send().await?;
        let cookie = cookie(&page)?;
        let csrf_token = hidden(&page.text().await?, "__CSRFToken__")?;
        let answer = self.log_in(&cookie, &csrf_token, &agent.user, &agent.password).await?;
        let signed_in = cookie_of(&answer)?;
        let page = self.anonymous(Method::GET, "tickets.php").header("cookie", &signed_in).send().await?.text().await?;
        let csrf_token = page.split_once("name=\"csrf_token\" content=\"").and_then(|(_, rest)| rest.split_once('"'));
        let csrf_token = csrf_token.context("no token")?.0.to_owned();
        Ok((Session { cookie: signed_in, csrf_token }, answer))
    }

    async fn log_in(&self, cookie: &str, csrf_token: &str, user: &str, password: &str) -> Result<Response> {
        let form = [("__CSRFToken__", csrf_token), ("do", "scplogin"), ("userid", user), ("passwd", password)];
        Ok(self.anonymous(Method::POST, "login.php").header("cookie", cookie).form(&form).send().await?)
    }

    async fn avery(&self) -> Result<Session> {
        Ok(self.sign_in(&Agent::default()).await?.0)
    }

    async fn lock(&self, session: &Session, ticket: u32) -> Result<(u16, Value)> {
        let request = self.call(session, Method::POST, &format!("ajax.php/lock/ticket/{ticket}"));
        let answer = request.header("X-CSRFToken", &session.csrf_token).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn note(&self, session: &Session, ticket: u32, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut form =
            vec![("__CSRFToken__", session.csrf_token.as_str()), ("a", "postnote"), ("title", "Remote session"), ("note_status_id", "")];
        form.retain(|(name, _)| !fields.iter().any(|(other, _)| other == name));
        form.extend(fields);
        self.call(session, Method::POST, &format!("tickets.php?id={ticket}")).form(&form)
    }
}

fn cookie(answer: &Response) -> Result<String> {
    let header = answer.headers().get("set-cookie").context("no cookie")?.to_str()?;
    ensure!(header.starts_with("OSTSESSID=") && header.contains("; path=/support/;") && header.ends_with("; HttpOnly"), "{header}");
    Ok(header.split(';').next().unwrap_or_default().to_owned())
}

fn cookie_of(answer: &Response) -> Result<String> {
    ensure!(answer.status() == 302, "{}", answer.status());
    cookie(answer)
}

fn hidden(page: &str, name: &str) -> Result<String> {
    let value = page.split_once(&format!("name=\"{name}\" value=\"")).and_then(|(_, rest)| rest.split_once('"'));
    Ok(value.with_context(|| format!("no {name} in {page}"))?.0.to_owned())
}

fn location(answer: &Response) -> &str {
    answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default()
}

/// Status and text.
async fn read(request: RequestBuilder) -> Result<(u16, String)> {
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

#[tokio::test]
async fn nobody_gets_in_without_signing_in() -> Result<()> {
    let desk = Desk::start().await?;
    let answer = desk.anonymous(Method::GET, "tickets.php?id=116").send().await?;
    assert_eq!((answer.status().as_u16(), location(&answer)), (302, "/support/scp/login.php"));
    let before = cookie(&answer)?;
    for page in ["ajax.php/tickets/lookup?q=5", "ajax.php/tickets/116/preview"] {
        assert_eq!(read(desk.anonymous(Method::GET, page)).await?, (403, "Must login: Authentication Required".to_owned()));
    }
    let login = read(desk.anonymous(Method::GET, "login.php").header("cookie", &before)).await?.1;
    let token = hidden(&login, "__CSRFToken__")?;
    assert_eq!(desk.log_in(&before, "0", "avery", "simulated-password").await?.status(), 400);
    let wrong = desk.log_in(&before, &token, "avery", "wrong").await?;
    assert_eq!(wrong.status(), 200);
    ensure!(wrong.text().await?.contains("Access denied"));

    let answer = desk.log_in(&before, &token, "avery", "simulated-password").await?;
    assert_eq!((answer.status().as_u16(), location(&answer)), (302, "/support/scp/tickets.php?id=116"), "where he wanted to go");
    let after = cookie(&answer)?;
    assert_ne!(before, after);
    let request = |cookie: &str| desk.anonymous(Method::GET, "tickets.php?id=116").header("cookie", cookie.to_owned()).send();
    assert_eq!(request(&before).await?.status(), 302, "the session from before is worth nothing");
    assert_eq!(request(&after).await?.status(), 200);
    desk.osticket.advance_clock(SESSION_LIFE);
    assert_eq!(request(&after).await?.status(), 302, "idle for too long");
    let (session, answer) = desk.sign_in(&Agent::default()).await?;
    assert_eq!(location(&answer), "/support/scp/index.php");
    desk.osticket.end_sessions();
    assert_eq!(request(&session.cookie).await?.status(), 302);
    assert_eq!(read(desk.anonymous(Method::GET, "../tickets.php")).await?.0, 404, "the client's side is not here");
    Ok(())
}

#[tokio::test]
async fn pages_look_as_the_saved_ones() -> Result<()> {
    let desk = Desk::start().await?;
    let session = desk.avery().await?;
    let answer = desk.call(&session, Method::GET, "tickets.php?id=116").send().await?;
    assert_eq!(answer.headers()["content-security-policy"], STAFF_POLICY);
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    let by_id = answer.text().await?;
    for part in [
        "<title>Ticket #515631</title>",
        &format!("<meta name=\"csrf_token\" content=\"{}\">", session.csrf_token),
        "data-lock-object-id=\"ticket/116\" data-lock-id=\"\"",
        "<span id=\"field_39\">PRIYA-LT-07</span>",
        "<div class=\"thread-entry message avatar\"><div class=\"header\"><b>Priya Patel</b>",
        "Welcome, <strong>Avery</strong>",
    ] {
        ensure!(by_id.contains(part), "{part} is not in {by_id}");
    }
    ensure!(!by_id.contains("OTHER-PC"), "what stood in the saved page's thread is gone");
    assert_eq!(read(desk.call(&session, Method::GET, "tickets.php?number=515631")).await?, (200, by_id));
    let other = read(desk.call(&session, Method::GET, "tickets.php?number=HD.43-4182")).await?.1;
    ensure!(other.contains("data-lock-object-id=\"ticket/117\"") && !other.contains("field_39"), "{other}");

    let hidden_ticket = desk.osticket.add_ticket(Ticket { number: "9".to_owned(), department: "Sales".to_owned(), ..Ticket::default() });
    for (page, error) in [
        ("tickets.php".to_owned(), false),
        ("index.php".to_owned(), false),
        (format!("tickets.php?id={hidden_ticket}"), true),
        ("tickets.php?id=1".to_owned(), true),
        ("tickets.php?number=9".to_owned(), true),
    ] {
        let (status, queue) = read(desk.call(&session, Method::GET, &page)).await?;
        assert_eq!((status, queue.contains("Unknown or invalid ID")), (200, error), "{page}");
        ensure!(
            queue.contains("href=\"/support/scp/tickets.php?id=117\">HD.43-4182</a>") && !queue.contains("ticket_tabs"),
            "{page}: {queue}"
        );
        ensure!(!queue.contains(&format!("id={hidden_ticket}\"")), "{queue}");
    }
    Ok(())
}

#[tokio::test]
async fn it_may_have_a_host_of_its_own() -> Result<()> {
    let osticket = SimulatedOsTicket::start(Options { path: "/".to_owned(), ..Options::default() }).await?;
    let login = loopback_client()?.get(format!("{}scp/login.php", osticket.url())).send().await?;
    let cookie = login.headers().get("set-cookie").context("no cookie")?.to_str()?.to_owned();
    ensure!(cookie.contains("; path=/;") && login.text().await?.contains("scplogin"), "{cookie}");
    ensure!(SimulatedOsTicket::start(Options { path: "support".to_owned(), ..Options::default() }).await.is_err());
    osticket.stop().await;
    Ok(())
}

#[tokio::test]
async fn tickets_are_looked_up() -> Result<()> {
    let desk = Desk::start().await?;
    let session = desk.avery().await?;
    let row = json!({
        "id": "515631", "value": "515631", "ticket_id": 116, "info": "515631 \u{2014} priya@customer.example",
        "subject": "Laptop will not connect to VPN", "user": "Priya Patel", "tasks": 0, "thread_id": 116, "collaborators": 0, "entries": 1,
        "mergeType": "visual", "children": false, "matches": "515631",
    });
    let person = json!({ "email": "priya@customer.example", "value": "priya@customer.example", "info": "priya@customer.example (1)", "matches": "515631" });
    for page in ["lookup", "number-lookup"] {
        let (status, text) = read(desk.call(&session, Method::GET, &format!("ajax.php/tickets/{page}?q=515631"))).await?;
        assert_eq!((status, serde_json::from_str::<Value>(&text)?), (200, json!([row, person])));
    }
    assert_eq!(read(desk.call(&session, Method::GET, "ajax.php/tickets/lookup?q=nothing")).await?, (200, "[]".to_owned()));
    ensure!(read(desk.call(&session, Method::GET, "ajax.php/tickets/116/preview")).await?.1.contains("515631"));
    Ok(())
}

#[tokio::test]
async fn a_lock_is_given_once() -> Result<()> {
    let desk = Desk::start().await?;
    let (ticket, session) = (desk.data.vpn, desk.avery().await?);
    let bare = desk.call(&session, Method::POST, &format!("ajax.php/lock/ticket/{ticket}"));
    assert_eq!(read(bare).await?, (400, "Valid CSRF Token Required".to_owned()));

    desk.osticket.stop_clock();
    let (status, lock) = desk.lock(&session, ticket).await?;
    ensure!(status == 200 && lock["time"] == 180 && lock["code"].as_str().is_some_and(|code| code.len() == 10), "{lock}");
    assert_eq!(desk.osticket.lock_holder(ticket).as_deref(), Some("avery"));
    assert_eq!(desk.lock(&session, ticket).await?, (500, json!(CRASH)), "asked for twice in a second it crashes");
    desk.osticket.advance_clock(Duration::from_secs(1));
    let (status, again) = desk.lock(&session, ticket).await?;
    ensure!(status == 200 && again["code"] == lock["code"], "afterwards it is renewed: {again}");

    let blake = Agent::named("blake", "Blake", "Busy");
    desk.osticket.add_agent(blake.clone());
    let other = desk.sign_in(&blake).await?.0;
    let (status, refused) = desk.lock(&other, ticket).await?;
    ensure!(status == 200 && refused["id"] == 0 && refused["msg"].as_str().is_some_and(|msg| msg.contains("Avery Agent")), "{refused}");
    desk.osticket.advance_clock(LOCK_LIFE);
    assert_eq!(desk.osticket.lock_holder(ticket), None);
    assert_eq!(desk.lock(&other, ticket).await?.0, 200);

    desk.osticket.alter(|options| options.locking = false);
    assert_eq!(desk.lock(&session, desk.data.screen).await?.0, 418);
    assert_eq!(desk.osticket.options().agent.name(), "Avery Agent");
    Ok(())
}

#[tokio::test]
async fn a_note_needs_token_and_lock() -> Result<()> {
    let desk = Desk::start().await?;
    let (ticket, session) = (desk.data.vpn, desk.avery().await?);
    let refused = async |fields: &[(&str, &str)], words: &str| -> Result<()> {
        let (status, page) = read(desk.note(&session, ticket, fields)).await?;
        ensure!(status == 200 && page.contains(words) && page.contains("id=\"ticket_tabs\""), "{status} {page} without {words}");
        ensure!(desk.osticket.notes(ticket).is_empty(), "{words}");
        Ok(())
    };
    let text = ("note", "<p>m&amp;m</p>");
    assert_eq!(read(desk.note(&session, ticket, &[text, ("__CSRFToken__", "0")])).await?, (400, "Valid CSRF Token Required".to_owned()));
    refused(&[text], "This action requires a lock. Please try again!").await?;
    refused(&[text], ">&lt;p&gt;m&amp;amp;m&lt;/p&gt;</textarea>").await?;
    desk.osticket.add_agent(Agent::named("blake", "Blake", "Busy"));
    desk.osticket.begin_writing(ticket, "blake")?;
    refused(&[text], "Ticket is locked by someone else!").await?;
    desk.osticket.advance_clock(LOCK_LIFE);
    let lock = desk.lock(&session, ticket).await?.1;
    let code = lock["code"].as_str().context("a code")?;
    refused(&[text, ("lockCode", "0")], "Your lock has expired").await?;
    refused(&[("note", " "), ("lockCode", code)], "Note details required").await?;
    refused(&[text, ("lockCode", code), ("a", "dance")], "You must select action").await?;

    let answer = desk.note(&session, ticket, &[("note", "<p onclick=\"x()\">Läuft 👍</p><!-- m -->"), ("lockCode", code)]).send().await?;
    assert_eq!((answer.status().as_u16(), location(&answer)), (302, "tickets.php?id=116"));
    let [note] = &desk.osticket.notes(ticket)[..] else { anyhow::bail!("not one note") };
    assert_eq!(
        (note.kind, note.author.as_str(), note.title.as_str(), note.html.as_str()),
        (EntryKind::Note, "Avery Agent", "Remote session", "<p>Läuft </p>")
    );
    assert_eq!(desk.osticket.lock_holder(ticket), None, "the lock went with the note");
    let page = read(desk.call(&session, Method::GET, "tickets.php?id=116")).await?.1;
    ensure!(
        page.contains("<div class=\"thread-entry note avatar\">") && page.contains("<p>Läuft </p>") && page.contains("Ticket Thread (2)"),
        "{page}"
    );

    desk.osticket.alter(|options| options.locking = false);
    assert_eq!(desk.note(&session, ticket, &[text]).send().await?.status(), 302, "where there are no locks none is asked for");
    assert_eq!(desk.osticket.notes(ticket).len(), 2);
    Ok(())
}

#[tokio::test]
async fn what_is_ordered_goes_wrong() -> Result<()> {
    let desk = Desk::start().await?;
    let session = desk.avery().await?;
    desk.osticket.alter(|options| options.locking = false);
    let tickets = desk.osticket.staff_path("tickets.php");
    assert_eq!(tickets, "/support/scp/tickets.php");
    let post = |number: &'static str| desk.note(&session, desk.data.vpn, &[("note", number)]).send();
    let order = |fault: Fault| desk.osticket.fail_next(1, Matching::new(Method::POST, &tickets), fault);
    order(Fault::CloseConnection);
    ensure!(post("one").await.is_err());
    order(Fault::Status { code: 200, body: CRASH.to_owned(), retry_after: None });
    assert_eq!(post("two").await?.text().await?, CRASH);
    ensure!(desk.osticket.notes(116).is_empty());
    order(Fault::ApplyThenClose);
    ensure!(post("three").await.is_err());
    order(Fault::ApplyThenStatus(200));
    assert_eq!(post("four").await?.text().await?, CRASH);
    order(Fault::ApplyLater(Duration::from_millis(20)));
    // Without an answer; the note comes all the same.
    let posted = post("five");
    let came = desk.osticket.wait_for_note(116, |note| note.html == "five");
    tokio::select! {
        answer = posted => anyhow::bail!("answered: {answer:?}"),
        note = came => assert_eq!(note?.author, "Avery Agent"),
    }
    order(Fault::StatusThenApplyLater { code: 502, after: Duration::from_millis(20) });
    assert_eq!(post("six").await?.status(), 502);
    desk.osticket.wait_for_note(116, |note| note.html == "six").await?;
    order(Fault::CloseThenApplyLater(Duration::from_millis(20)));
    ensure!(post("seven").await.is_err());
    desk.osticket.wait_for_note(116, |note| note.html == "seven").await?;
    let kept: Vec<String> = desk.osticket.notes(116).into_iter().map(|note| note.html).collect();
    assert_eq!(kept, ["three", "four", "five", "six", "seven"]);
    assert_eq!(desk.osticket.count(&Method::POST, &tickets), 7);
    let requests = desk.osticket.requests();
    let last = requests.last().context("a request")?;
    assert_eq!((last.user.as_deref(), last.status, last.headers.contains_key("cookie")), (None, None, false));
    Ok(())
}
