//! The workspace page hosts an app as the real one does (zendesk.md b.1, c.3, c.4, c.8), in a real browser, with a
//! small app that speaks the wire protocol by hand.

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Form, RawQuery};
use axum::response::Html;
use axum::routing::post;
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::server::loopback_client;
use deskbridge_tests::zendesk::{Options, SimulatedZendesk, TARGET_FIELD};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Answers `ask` messages typed into its field, and shows every answer and event.
const APP: &str = r"<!doctype html><title>App</title>
<input id=message aria-label=Message><button id=send>Send</button><output></output><ol></ol>
<script>
  const query = new URLSearchParams(location.search);
  const [origin, guid] = [query.get('origin'), query.get('app_guid')];
  const post = (message) =>
    parent.postMessage(JSON.stringify({ ...message, appGuid: guid, instanceGuid: guid }), origin);
  addEventListener('message', (event) => {
    if (event.origin !== origin || event.source !== parent) return;
    const message = typeof event.data === 'string' ? JSON.parse(event.data) : event.data;
    document.querySelector('ol').append(
      Object.assign(document.createElement('li'), { textContent: JSON.stringify(message) }));
    if (message.id) document.querySelector('output').textContent = JSON.stringify(message);
  });
  document.querySelector('#send').onclick = () => post(JSON.parse(document.querySelector('#message').value));
  post({ key: 'iframe.handshake', message: { version: '0.0.0' } });
</script>";

/// Serves the app; gives its URL and what is posted to it.
async fn serve_app() -> anyhow::Result<(String, mpsc::UnboundedReceiver<Value>)> {
    let (sender, posted) = mpsc::unbounded_channel();
    let sidebar = async move |RawQuery(query): RawQuery, Form(form): Form<Value>| {
        // The test has ended when nobody listens any more.
        let _ = sender.send(json!({"query": query, "form": form}));
        Html(APP)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let router = Router::new().route("/zendesk/sidebar", post(sidebar));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((format!("http://localhost:{port}/zendesk/sidebar"), posted))
}

struct Page {
    browser: Browser,
    asked: u64,
}

impl Page {
    /// Sends a request from inside the app and gives the host's answer.
    async fn ask(&mut self, request: &str, params: Value) -> anyhow::Result<Value> {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({"id": id, "request": request, "params": params})).await?;
        let answer = format!("\"id\":{id},");
        let found = self.browser.element_with_text("output", &answer).await?;
        Ok(serde_json::from_str(&found.text().await?)?)
    }

    async fn say(&self, message: &Value) -> anyhow::Result<()> {
        self.browser.enter_frame("#app").await?;
        self.browser
            .execute(
                "document.querySelector('#message').value = arguments[0]; document.querySelector('#send').click()",
                vec![json!(message.to_string())],
            )
            .await?;
        Ok(())
    }

    async fn in_workspace(&self, script: &str) -> anyhow::Result<Value> {
        self.browser.leave_frames().await?;
        self.browser.execute(script, vec![]).await
    }

    async fn waits_for_event(&self, text: &str) -> anyhow::Result<()> {
        self.browser.leave_frames().await?;
        self.browser.enter_frame("#app").await?;
        self.browser.element_with_text("li", text).await?;
        self.browser.leave_frames().await?;
        Ok(())
    }
}

#[tokio::test]
async fn the_app_is_opened_signed_and_spoken_to() -> anyhow::Result<()> {
    let zendesk = SimulatedZendesk::start(Options::default()).await?;
    let demo = zendesk.fill_demo_data();
    let (app_url, mut posted) = serve_app().await?;
    zendesk.set_app_url(&app_url);
    let browser = Browser::start(&Settings::default()).await?;
    browser.open(&zendesk.ticket_page(demo.vpn_ticket, demo.agent)).await?;

    let launch = posted.recv().await.context("the app was not opened")?;
    let query = launch["query"].as_str().context("no query")?;
    assert!(query.contains("colorScheme=light"), "{query}");
    let token = launch["form"]["token"].as_str().context("no token")?;
    assert_eq!(token.split('.').count(), 3);

    let mut page = Page { browser, asked: 0 };
    page.waits_for_event("zaf.app.registered").await?;
    page.browser.enter_frame("#app").await?;
    let registered = page.browser.element_with_text("li", "zaf.app.registered").await?;
    let registered: Value = serde_json::from_str(&registered.text().await?)?;
    let message = &registered["message"];
    assert_eq!(message["metadata"]["installationId"], 360_001_234_567_u64);
    assert_eq!(message["metadata"]["settings"]["allow_rdp"], true);
    assert_eq!(message["context"]["ticketId"], demo.vpn_ticket);
    assert_eq!(message["context"]["location"], "ticket_sidebar");
    page.browser.leave_frames().await?;

    let field = format!("ticket.customField:custom_field_{TARGET_FIELD}");
    let paths = json!(["ticket.id", "ticket.isNew", "ticket.requester.email", "currentUser", field, "no.such"]);
    let answer = page.ask("get", paths).await?;
    let result = &answer["result"];
    assert_eq!(result["ticket.id"], demo.vpn_ticket);
    assert_eq!(result["ticket.isNew"], false);
    assert_eq!(result["ticket.requester.email"], "tom.okafor@harbour.example");
    assert_eq!(result["currentUser"]["locale"], "en-US");
    assert_eq!(result[&field], "HBR-LT-0147");
    assert_eq!(result["errors"], json!({"no.such": {"name": "APIError", "message": "No such Api", "path": "no.such"}}));

    page.browser.leave_frames().await?;
    page.ask("set", json!({"comment.type": "internalNote", "comment.text": "Key:"})).await?;
    page.browser.leave_frames().await?;
    page.ask("invoke", json!({"comment.appendText": ["1234567"], "resize": [{"width": "100%", "height": "333px"}]})).await?;
    let state = page
        .in_workspace(
            "return [document.querySelector('#editor').value, document.querySelector('[name=mode]:checked').value, \
             document.querySelector('#app').offsetHeight, document.querySelector('#app').offsetWidth]",
        )
        .await?;
    assert_eq!(state, json!(["Key:\n1234567", "internalNote", 333, 320]));

    for (request, params) in [("erase", json!({})), ("invoke", json!({"resize": {"height": "1px"}}))] {
        let refused = page.ask(request, params).await?;
        assert!(refused["error"]["message"].is_string(), "{refused}");
        page.browser.leave_frames().await?;
    }
    let unknown = page.ask("invoke", json!({"no.such": []})).await?;
    assert_eq!(unknown["result"]["errors"]["no.such"]["name"], "APIError");

    // Events reach whoever listens.
    page.browser.leave_frames().await?;
    for event in ["colorScheme.changed", "ticket.submit.done", "ticket.conversation.changed", "api_notification.ended"] {
        page.say(&json!({"key": format!("iframe.on:{event}"), "message": {"subscriberCount": 1}})).await?;
        page.browser.leave_frames().await?;
    }
    page.browser.click("#scheme").await?;
    page.waits_for_event(r#"{"key":"zaf.colorScheme.changed","message":"dark"}"#).await?;
    page.browser.click("#submit").await?;
    page.waits_for_event("zaf.ticket.submit.done").await?;
    let note = zendesk.wait_for_comment(demo.vpn_ticket, |comment| comment.plain_body.ends_with("1234567")).await?;
    assert_eq!((note.public, note.author_id), (false, demo.agent));

    // What others write appears by itself, and cannot run.
    let options = zendesk.options();
    let report = json!({"ticket": {"comment": {
        "html_body": "<h3>Session report</h3><p>Chat</p><img src=x onerror=alert(1)>", "public": false,
    }}});
    let written = loopback_client()?
        .put(format!("{}/api/v2/tickets/{}", zendesk.url(), demo.vpn_ticket))
        .basic_auth(format!("{}/token", options.api_email), Some(options.api_token))
        .json(&report)
        .send()
        .await?;
    assert_eq!(written.status(), 200);
    page.browser.element_with_text("#conversation .internal h3", "Session report").await?;
    page.waits_for_event("zaf.ticket.conversation.changed").await?;

    let message = json!({"app_id": options.app_id, "event": "ended", "body": {"lsid": "l1"}});
    let options = zendesk.options();
    let told = loopback_client()?
        .post(format!("{}/api/v2/apps/notify.json", zendesk.url()))
        .basic_auth(format!("{}/token", options.api_email), Some(options.api_token))
        .json(&message)
        .send()
        .await?;
    assert_eq!(told.status(), 200);
    page.waits_for_event("zaf.api_notification.ended").await?;

    // A ticket not saved has no id, in the context as in the API.
    page.browser.open(&zendesk.new_ticket_page(demo.agent)).await?;
    page.waits_for_event("zaf.app.registered").await?;
    page.browser.enter_frame("#app").await?;
    let registered = page.browser.element_with_text("li", "new_ticket_sidebar").await?;
    assert!(!registered.text().await?.contains("ticketId"));
    page.browser.leave_frames().await?;
    page.asked = 0;
    let answer = page.ask("get", json!(["ticket.isNew", "ticket.id"])).await?;
    assert_eq!(answer["result"]["ticket.isNew"], true);
    assert_eq!(answer["result"]["ticket.id"], Value::Null);

    let errors = page.browser.console_errors().await?;
    assert!(errors.is_empty(), "{errors:?}");
    page.browser.close().await
}

#[tokio::test]
async fn a_message_from_elsewhere_is_not_answered() -> anyhow::Result<()> {
    let zendesk = SimulatedZendesk::start(Options::default()).await?;
    let demo = zendesk.fill_demo_data();
    let (app_url, mut posted) = serve_app().await?;
    zendesk.set_app_url(&app_url);
    let browser = Browser::start(&Settings::default()).await?;
    browser.open(&zendesk.ticket_page(demo.vpn_ticket, demo.agent)).await?;
    posted.recv().await.context("the app was not opened")?;
    let page = Page { browser, asked: 0 };
    page.waits_for_event("zaf.app.registered").await?;
    // The workspace window itself is the wrong source, whatever it says.
    page.in_workspace(
        "window.postMessage(JSON.stringify({id: 99, request: 'set', params: {'comment.text': 'forged'}, \
         appGuid: appHost.guid}), '*')",
    )
    .await?;
    // A genuine message behind it: when that is answered, the forged one was dropped.
    let mut page = page;
    page.ask("get", json!(["ticket.id"])).await?;
    let text = page.in_workspace("return document.querySelector('#editor').value").await?;
    assert_eq!(text, "");
    page.browser.close().await
}
