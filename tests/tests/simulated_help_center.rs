//! The simulated Help Center keeps the real one's rules (zendesk.md e, d.9; changes-2026-11.md C11 to C13), seen over real HTTP and in a
//! real browser.

use std::time::Duration;

use anyhow::Context as _;
use deskbridge_tests::browser::{Browser, Settings};
use deskbridge_tests::server::loopback_client;
use deskbridge_tests::zendesk::{
    AppKey, Details, Fault, HelpCenterOptions, HelpCenterToken, Matching, Options, Role, Sidebar, Signing, SimulatedZendesk, Ticket,
    TicketField, User,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// An account with an agent, a customer, somebody in copy, a stranger and the customer's ticket.
struct HelpCenter {
    zendesk: SimulatedZendesk,
    client: Client,
    agent: u64,
    customer: u64,
    in_copy: u64,
    stranger: u64,
    ticket: u64,
}

impl HelpCenter {
    async fn start() -> anyhow::Result<Self> {
        Self::start_with(HelpCenterOptions::default()).await
    }

    async fn start_with(help_center: HelpCenterOptions) -> anyhow::Result<Self> {
        let zendesk = SimulatedZendesk::start(Options { help_center, ..Options::default() }).await?;
        let agent = zendesk.add_user(User { name: "Anna Lindqvist".to_owned(), role: Role::Agent, ..User::default() });
        let [customer, in_copy, stranger] = ["Tom <b>Okafor</b>", "Mia Berg", "Sam Other"].map(|name| {
            zendesk.add_user(User { name: name.to_owned(), external_id: Some(format!("crm-{}", name.len())), ..User::default() })
        });
        let ticket = zendesk.add_ticket(Ticket {
            subject: "VPN <i>drops</i>".to_owned(),
            description: "It drops.".to_owned(),
            requester_id: customer,
            collaborator_ids: vec![in_copy],
            ..Ticket::default()
        });
        Ok(Self { zendesk, client: loopback_client()?, agent, customer, in_copy, stranger, ticket })
    }

    fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.zendesk.help_center_origin()))
    }

    fn by(&self, user: u64, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).header("cookie", self.zendesk.help_center_cookie(user))
    }

    /// By the administrator's API token.
    fn by_api(&self, method: Method, path: &str) -> RequestBuilder {
        let options = self.zendesk.options();
        let url = format!("{}{path}", self.zendesk.url());
        self.client.request(method, url).basic_auth(format!("{}/token", options.api_email), Some(options.api_token))
    }

    fn page(&self) -> String {
        format!("/hc/en-us/requests/{}", self.ticket)
    }

    async fn get(&self, user: u64, path: &str) -> anyhow::Result<Response> {
        Ok(self.by(user, Method::GET, path).send().await?)
    }

    /// The text of the customer's page of their request.
    async fn own_page(&self) -> anyhow::Result<String> {
        text_of(self.get(self.customer, &self.page()).await?, 200).await
    }

    async fn keys(&self) -> anyhow::Result<Vec<Value>> {
        let answer = json_of(self.anonymous(Method::GET, "/api/v2/help_center/integration/keys").send().await?, 200).await?;
        Ok(answer["keys"].as_array().context("no keys")?.clone())
    }

    /// Checks a token with the key that is published under its `kid`.
    async fn verify(&self, token: &str) -> anyhow::Result<Value> {
        let kid = jsonwebtoken::decode_header(token)?.kid.context("no kid")?;
        let keys = self.keys().await?;
        let key = keys.iter().find(|key| key["kid"] == kid.as_str()).context("not published")?;
        let member = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
        let decoding = DecodingKey::from_rsa_components(&member("n"), &member("e"))?;
        Ok(jsonwebtoken::decode::<Value>(token, &decoding, &Validation::new(Algorithm::RS256))?.claims)
    }
}

async fn text_of(response: Response, expected: u16) -> anyhow::Result<String> {
    let status = response.status().as_u16();
    let text = response.text().await?;
    anyhow::ensure!(status == expected, "status {status} instead of {expected}: {text}");
    Ok(text)
}

async fn json_of(response: Response, expected: u16) -> anyhow::Result<Value> {
    let text = text_of(response, expected).await?;
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn signing_in_gives_a_cookie_and_signing_out_ends_the_session() -> anyhow::Result<()> {
    let desk = HelpCenter::start().await?;
    let page = desk.page();
    let entered = desk.anonymous(Method::GET, "/hc").send().await?;
    assert_eq!((entered.status().as_u16(), header(&entered, "location")), (302, "/hc/en-us"));

    let signed_in = desk.anonymous(Method::GET, &format!("/hc/test-sign-in?user={}&return_to={page}", desk.customer)).send().await?;
    assert_eq!((signed_in.status().as_u16(), header(&signed_in, "location")), (302, page.as_str()));
    let cookie = header(&signed_in, "set-cookie").to_owned();
    let (pair, attributes) = cookie.split_once("; ").context("no attributes")?;
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    let get = |cookie: &str| desk.anonymous(Method::GET, &page).header("cookie", cookie).send();
    text_of(get(pair).await?, 200).await?;
    text_of(get(&format!("other=1; {pair}; last=2")).await?, 200).await?;
    text_of(get(&format!("{pair}; _zendesk_session=0123")).await?, 302).await?;
    text_of(get("_zendesk_session=0123456789abcdef0123456789abcdef").await?, 302).await?;

    let other = desk.zendesk.help_center_cookie(desk.customer);
    assert_ne!(other, pair);
    let signed_out = desk.anonymous(Method::GET, "/hc/test-sign-out").header("cookie", pair).send().await?;
    assert!(header(&signed_out, "set-cookie").contains("Max-Age=0"));
    let refused = get(pair).await?;
    assert_eq!(refused.status(), 302);
    assert_eq!(header(&refused, "location"), format!("/hc/en-us/signin?return_to={}", page.replace('/', "%2F")));
    text_of(desk.anonymous(Method::GET, header(&refused, "location")).send().await?, 200).await?;
    text_of(get(&other).await?, 200).await?;

    desk.zendesk.alter_user(desk.customer, |user| user.suspended = true);
    text_of(get(&other).await?, 302).await?;
    desk.zendesk.alter_user(desk.customer, |user| user.suspended = false);
    desk.zendesk.end_help_center_sessions();
    text_of(get(&other).await?, 302).await?;

    let customer = desk.customer;
    for bad in [
        "user=1".to_owned(),
        "user=x".to_owned(),
        String::new(),
        format!("user={customer}&return_to=https://evil.example/"),
        format!("user={customer}&return_to=//evil.example/hc/"),
        format!("user={customer}&return_to=/hcx"),
        format!("user={customer}&return_to=/hc/%0d%0aset-cookie:a=b"),
        format!("user={customer}&next=/hc"),
    ] {
        let refused = desk.anonymous(Method::GET, &format!("/hc/test-sign-in?{bad}")).send().await?;
        assert_eq!((refused.status().as_u16(), header(&refused, "set-cookie")), (400, ""), "{bad}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_is_shown_to_whom_it_concerns_and_missing_to_all_others() -> anyhow::Result<()> {
    let desk = HelpCenter::start().await?;
    for (who, user, status) in [
        ("requester", desk.customer, 200),
        ("in copy", desk.in_copy, 200),
        ("stranger", desk.stranger, 404),
        ("agent", desk.agent, 404),
        ("administrator", desk.zendesk.api_user(), 404),
    ] {
        let page = desk.get(user, &desk.page()).await?;
        assert_eq!(page.status(), status, "{who}");
        for suffix in ["", ".json"] {
            let answer = json_of(desk.get(user, &format!("/api/v2/requests/{}{suffix}", desk.ticket)).await?, status).await?;
            if status == 200 {
                assert_eq!(answer["request"]["id"], desk.ticket, "{who}");
            } else {
                assert_eq!(answer["error"], "RecordNotFound", "{who}");
            }
        }
    }
    // A foreign request and one that is not there are one and the same page, and so is a deleted one.
    let foreign = text_of(desk.get(desk.stranger, &desk.page()).await?, 404).await?;
    for missing in ["/hc/en-us/requests/999999", "/hc/en-us/requests/abc", "/hc/en-us/requests/-1"] {
        assert_eq!(text_of(desk.get(desk.stranger, missing).await?, 404).await?, foreign, "{missing}");
    }
    let asked = async |id: u64| desk.get(desk.stranger, &format!("/api/v2/requests/{id}.json")).await;
    assert_eq!(json_of(asked(desk.ticket).await?, 404).await?, json_of(asked(999_999).await?, 404).await?);
    desk.zendesk.alter_ticket(desk.ticket, |ticket| "deleted".clone_into(&mut ticket.status));
    text_of(desk.get(desk.customer, &desk.page()).await?, 404).await?;
    json_of(desk.get(desk.customer, &format!("/api/v2/requests/{}", desk.ticket)).await?, 404).await?;
    assert!(!text_of(desk.get(desk.customer, "/hc/en-us/requests").await?, 200).await?.contains("VPN"));
    Ok(())
}

#[tokio::test]
async fn the_request_page_has_the_public_conversation_and_no_internal_note() -> anyhow::Result<()> {
    let desk = HelpCenter::start().await?;
    desk.zendesk.add_comment(desk.ticket, desk.agent, true, "Please open the chat <script>now</script>");
    desk.zendesk.add_comment(desk.ticket, desk.agent, false, "the customer is rude");
    let upload = desk.by_api(Method::POST, "/api/v2/uploads?filename=log.txt").header("content-type", "text/plain").body("lines");
    let token = json_of(upload.send().await?, 201).await?["upload"]["token"].clone();
    let comment = json!({"ticket": {"comment": {"html_body": "<p>See the file</p>", "public": true, "uploads": [token]}}});
    json_of(desk.by_api(Method::PUT, &format!("/api/v2/tickets/{}", desk.ticket)).json(&comment).send().await?, 200).await?;

    let page = desk.own_page().await?;
    for there in [
        "<html dir=\"ltr\" lang=\"en-US\">",
        "<meta content=\"width=device-width, initial-scale=1.0\" name=\"viewport\">",
        "<main role=\"main\">",
        "VPN &lt;i&gt;drops&lt;/i&gt;",
        "Tom &lt;b&gt;Okafor&lt;/b&gt;",
        "Anna Lindqvist",
        "It drops.",
        "Please open the chat &lt;script&gt;now&lt;/script&gt;",
        "<p>See the file</p>",
        ">log.txt</a>",
        "/attachments/token/",
        "class=\"comment-form\"",
        "<section class=\"request-sidebar collapsible-sidebar\">",
        "<dl class=\"request-details\">",
        "<dt>CCs</dt>\n<dd>Mia Berg</dd>",
    ] {
        assert!(page.contains(there), "{there} is not in {page}");
    }
    for absent in ["rude", "<script>now", "<i>drops", "<b>Okafor", "<aside"] {
        assert!(!page.contains(absent), "{absent} is in {page}");
    }
    let list = text_of(desk.get(desk.customer, "/hc/de/requests").await?, 200).await?;
    assert!(list.contains(&format!("<a href=\"/hc/de/requests/{}\">", desk.ticket)), "{list}");

    for (status, told, shown) in [
        ("new", "open", ">Open<"),
        ("open", "open", ">Open<"),
        ("hold", "open", ">Open<"),
        ("pending", "pending", ">Awaiting your reply<"),
        ("solved", "solved", ">Solved<"),
        ("closed", "closed", ">Solved<"),
    ] {
        desk.zendesk.alter_ticket(desk.ticket, |ticket| status.clone_into(&mut ticket.status));
        let answer = json_of(desk.get(desk.customer, &format!("/api/v2/requests/{}.json", desk.ticket)).await?, 200).await?;
        assert_eq!(answer["request"]["status"], told, "{status}");
        let page = desk.own_page().await?;
        assert!(page.contains(shown), "{status}");
        assert_eq!(page.contains("comment-form"), status != "closed", "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_session_opens_what_is_the_customers_and_nothing_of_the_agents() -> anyhow::Result<()> {
    let desk = HelpCenter::start().await?;
    let ticket = format!("/api/v2/tickets/{}.json", desk.ticket);
    let request = format!("/api/v2/requests/{}.json", desk.ticket);
    for (path, anonymous, customer, agent) in [
        (ticket.as_str(), 401, 403, 403),
        ("/api/v2/groups", 401, 403, 403),
        ("/api/v2/apps/installations", 401, 403, 403),
        ("/api/v2/users/search?query=tom", 401, 403, 403),
        (request.as_str(), 401, 200, 404),
        ("/api/v2/users/me.json", 200, 200, 200),
        ("/api/v2/help_center/integration/token", 401, 200, 200),
        ("/api/v2/help_center/integration/keys", 200, 200, 200),
        ("/api/v2/ticket_fields", 401, 200, 200),
        ("/api/v2/help_center/nothing", 404, 404, 404),
    ] {
        let answers =
            [desk.anonymous(Method::GET, path).send().await?, desk.get(desk.customer, path).await?, desk.get(desk.agent, path).await?];
        let statuses = answers.each_ref().map(|answer| answer.status().as_u16());
        assert_eq!(statuses, [anonymous, customer, agent], "{path}");
        assert!(answers.iter().all(|answer| !answer.headers().contains_key("access-control-allow-origin")), "{path}");
    }
    // A session that is over is nobody; wrong credentials are refused.
    let over = desk.anonymous(Method::GET, "/api/v2/users/me.json").header("cookie", "_zendesk_session=gone");
    assert_eq!(json_of(over.send().await?, 200).await?["user"]["name"], "Anonymous user");

    desk.zendesk.alter_user(desk.customer, |user| user.unverified_secondary_email = true);
    json_of(desk.get(desk.customer, &request).await?, 403).await?;
    desk.zendesk.alter_user(desk.customer, |user| user.unverified_secondary_email = false);

    // What changes something needs the session's own authenticity token.
    let cookie = desk.zendesk.help_center_cookie(desk.customer);
    let call = |method: Method, path: &str| desk.anonymous(method, path).header("cookie", &cookie);
    let me = json_of(call(Method::GET, "/api/v2/users/me.json").send().await?, 200).await?;
    assert_eq!(me["user"]["id"], desk.customer);
    let token = me["user"]["authenticity_token"].as_str().context("no token")?.to_owned();
    let upload = || call(Method::POST, "/api/v2/uploads?filename=a.txt").header("content-type", "text/plain").body("a");
    for (csrf, status) in [(None, 403), (Some("other"), 403), (Some(token.as_str()), 201)] {
        let request = csrf.into_iter().fold(upload(), |request, token| request.header("x-csrf-token", token));
        json_of(request.send().await?, status).await?;
    }
    let recorded = desk.zendesk.requests();
    let seen = recorded.iter().rev().find(|request| request.path == "/api/v2/uploads").context("not recorded")?;
    assert_eq!(seen.user, desk.zendesk.user(desk.customer).map(|user| user.email));

    // Faults hit these endpoints as they hit the others.
    desk.zendesk.fail_next(
        1,
        Matching::new(Method::GET, "/api/v2/requests/"),
        Fault::Status { code: 503, body: "no".into(), retry_after: None },
    );
    assert_eq!(desk.get(desk.customer, &request).await?.status(), 503);
    Ok(())
}

#[tokio::test]
async fn customers_see_the_fields_that_are_theirs() -> anyhow::Result<()> {
    let desk = HelpCenter::start().await?;
    let shown = desk.zendesk.add_ticket_field(TicketField::shown_to_customers("Remote support"));
    let hidden = desk.zendesk.add_ticket_field(TicketField { title: "Internal".to_owned(), ..TicketField::default() });
    let ticket_path = format!("/api/v2/tickets/{}.json", desk.ticket);
    let ticket = async || anyhow::Ok(json_of(desk.by_api(Method::GET, &ticket_path).send().await?, 200).await?["ticket"].clone());
    let before = ticket().await?;
    assert_eq!(before["custom_fields"], json!([{"id": shown, "value": null}, {"id": hidden, "value": null}]));

    let put = async |fields: Value| {
        let request = desk.by_api(Method::PUT, &ticket_path).json(&json!({"ticket": {"custom_fields": fields}}));
        json_of(request.send().await?, 200).await
    };
    put(json!([{"id": hidden, "value": "secret"}])).await?;
    let answer = put(json!([{"id": shown, "value": "proof"}])).await?;
    assert_eq!(answer["audit"]["events"].as_array().map(Vec::len), Some(1));
    let event = &answer["audit"]["events"][0];
    assert_eq!(
        (&event["type"], &event["field_name"], &event["value"], &event["previous_value"]),
        (&json!("Change"), &json!(shown.to_string()), &json!("proof"), &Value::Null)
    );
    let after = ticket().await?;
    assert_eq!(after["custom_fields"], json!([{"id": shown, "value": "proof"}, {"id": hidden, "value": "secret"}]));
    assert_eq!((&after["subject"], &after["status"]), (&before["subject"], &before["status"]));
    assert!(after["updated_at"].as_str() > before["updated_at"].as_str());
    // Unknown fields are overlooked: nothing changes, and nothing is said.
    let audits = desk.zendesk.audits(desk.ticket).len();
    let subject_field = json_of(desk.by_api(Method::GET, "/api/v2/ticket_fields").send().await?, 200).await?["ticket_fields"][0].clone();
    assert_eq!((&subject_field["type"], &subject_field["removable"]), (&json!("subject"), &json!(false)));
    put(json!([{"id": 999_999_999, "value": "lost"}, {"id": subject_field["id"], "value": "lost"}])).await?;
    assert_eq!(ticket().await?, after);
    assert_eq!(desk.zendesk.audits(desk.ticket).len(), audits);

    let request_path = format!("/api/v2/requests/{}.json", desk.ticket);
    let fields =
        async || anyhow::Ok(json_of(desk.get(desk.customer, &request_path).await?, 200).await?["request"]["custom_fields"].clone());
    assert_eq!(fields().await?, json!([{"id": shown, "value": "proof"}]));
    let page = desk.own_page().await?;
    assert!(page.contains("<dt>Remote support</dt>\n<dd>proof</dd>") && !page.contains("secret"), "{page}");

    let field_path = format!("/api/v2/ticket_fields/{shown}.json");
    let field = json_of(desk.by_api(Method::GET, &field_path).send().await?, 200).await?["ticket_field"].clone();
    for (member, value) in [
        ("id", json!(shown)),
        ("type", json!("text")),
        ("title", json!("Remote support")),
        ("active", json!(true)),
        ("visible_in_portal", json!(true)),
        ("editable_in_portal", json!(false)),
        ("required_in_portal", json!(false)),
    ] {
        assert_eq!(field[member], value, "{member}");
    }
    let list = async |response: Response| {
        let answer = json_of(response, 200).await?;
        let ids = answer["ticket_fields"].as_array().context("no list")?.iter().filter_map(|field| field["id"].as_u64());
        anyhow::Ok(ids.filter(|id| [shown, hidden].contains(id)).collect::<Vec<u64>>())
    };
    assert_eq!(list(desk.by_api(Method::GET, "/api/v2/ticket_fields.json").send().await?).await?, [shown, hidden]);
    assert_eq!(list(desk.get(desk.customer, "/api/v2/ticket_fields.json").await?).await?, [shown]);
    json_of(desk.get(desk.customer, &format!("/api/v2/ticket_fields/{hidden}")).await?, 404).await?;

    desk.zendesk.alter_ticket_field(shown, |field| field.visible_in_portal = false);
    assert_eq!(fields().await?, json!([]));
    desk.zendesk.alter_ticket_field(shown, |field| (field.visible_in_portal, field.active) = (true, false));
    assert_eq!(fields().await?, json!([]));

    let organization = desk.zendesk.add_organization("Customer Ltd");
    let path = format!("/api/v2/organizations/{organization}.json");
    let answer = json_of(desk.by_api(Method::GET, &path).send().await?, 200).await?;
    assert_eq!((&answer["organization"]["id"], &answer["organization"]["name"]), (&json!(organization), &json!("Customer Ltd")));
    json_of(desk.by_api(Method::GET, "/api/v2/organizations/1").send().await?, 404).await?;
    json_of(desk.get(desk.customer, &path).await?, 403).await?;
    Ok(())
}

#[tokio::test]
async fn integration_tokens_are_genuine_and_spoilt_ones_are_not() -> anyhow::Result<()> {
    let desk = HelpCenter::start().await?;
    let path = "/api/v2/help_center/integration/token";
    let given = json_of(desk.get(desk.customer, path).await?, 200).await?["token"].as_str().context("no token")?.to_owned();
    let claims = desk.verify(&given).await?;
    let user = desk.zendesk.user(desk.customer).context("no customer")?;
    assert_eq!(
        (&claims["userId"], &claims["email"], &claims["externalId"]),
        (&json!(user.id), &json!(user.email), &json!(user.external_id))
    );
    assert_eq!(claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(180));
    // An API token is no session.
    json_of(desk.by_api(Method::GET, path).send().await?, 403).await?;

    let genuine = || desk.zendesk.help_center_token(desk.customer);
    assert_eq!(desk.verify(&genuine()?.encode()?).await?["userId"], desk.customer);
    let other = std::sync::Arc::new(AppKey::generate()?);
    let secret = desk.zendesk.help_center_token(desk.customer)?.key.public_pem().into_bytes();
    let cases: [(&str, HelpCenterToken); 10] = [
        ("late", genuine()?.with_claim("exp", json!(1_700_000_000))),
        ("for ever", genuine()?.with_claim("exp", None)),
        ("another key", genuine()?.signed_by(&other)),
        ("the app's key", genuine()?.signed_by(&desk.zendesk.app_key())),
        ("unsigned", genuine()?.with_header("alg", json!("none")).signed_as(Signing::Bytes(Vec::new()))),
        ("the public key as secret", genuine()?.with_header("alg", json!("HS256")).signed_as(Signing::Hs256(secret))),
        ("RS512", genuine()?.with_header("alg", json!("RS512")).signed_as(Signing::Rs512)),
        ("PS256", genuine()?.with_header("alg", json!("PS256")).signed_as(Signing::Ps256)),
        ("no kid", genuine()?.with_header("kid", None)),
        ("unknown kid", genuine()?.with_header("kid", json!("00"))),
    ];
    for (case, token) in cases {
        assert!(desk.verify(&token.encode()?).await.is_err(), "{case}");
    }
    let twice = HelpCenterToken { claims: "{\"userId\":1,\"userId\":2}".to_owned(), ..genuine()? };
    assert!(desk.verify(&twice.encode()?).await.is_err());

    // After a rotation both keys are published; a withdrawn one is not, and what it signed is worth nothing.
    let old = desk.zendesk.help_center_key_ids()?;
    let old_token = genuine()?;
    let new = desk.zendesk.rotate_help_center_key().await?;
    assert_eq!(desk.zendesk.help_center_key_ids()?, [old.clone(), vec![new.clone()]].concat());
    assert_eq!(desk.keys().await?.len(), 2);
    assert!(genuine()?.header.contains(&new));
    for token in [&old_token, &genuine()?] {
        desk.verify(&token.encode()?).await?;
    }
    assert!(desk.zendesk.withdraw_help_center_key(&old[0])?);
    assert!(!desk.zendesk.withdraw_help_center_key("00")?);
    assert!(desk.verify(&old_token.encode()?).await.is_err());
    desk.verify(&genuine()?.encode()?).await?;
    assert!(desk.zendesk.count(&Method::GET, "/api/v2/help_center/integration/keys") > 10);

    desk.zendesk.set_integration_token(false);
    for path in [path, "/api/v2/help_center/integration/keys"] {
        assert_eq!(json_of(desk.get(desk.customer, path).await?, 404).await?["error"], "InvalidEndpoint");
        json_of(desk.anonymous(Method::GET, path).send().await?, 404).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_theme_shows_what_an_administrator_put_into_it() -> anyhow::Result<()> {
    let desk = HelpCenter::start().await?;
    desk.zendesk.alter_help_center_theme(|theme| {
        theme.head_line = Some("<script src=\"https://x.example/b.js\" data-locale=\"{{help_center.locale}}\" defer></script>".to_owned());
        theme.request_page_snippet = Some("<i data-ticket=\"{{request.id}}\" data-locale='{{ help_center.locale }}'></i>".to_owned());
        theme.meta_csp = Some("script-src 'self' \"x\"".to_owned());
    })?;
    let home = text_of(desk.anonymous(Method::GET, "/hc/de").send().await?, 200).await?;
    let own = desk.own_page().await?;
    let missing = text_of(desk.get(desk.stranger, &desk.page()).await?, 404).await?;
    for (page, locale) in [(&home, "de"), (&own, "en-us"), (&missing, "en-us")] {
        assert!(
            page.contains(&format!("<script src=\"https://x.example/b.js\" data-locale=\"{locale}\" defer></script>\n</head>")),
            "{page}"
        );
        assert!(
            page.contains("<head>\n<meta http-equiv=\"Content-Security-Policy\" content=\"script-src &#39;self&#39; &quot;x&quot;\">"),
            "{page}"
        );
    }
    let snippet = format!("<i data-ticket=\"{}\" data-locale='en-us'></i>", desk.ticket);
    assert!(own.contains(&format!("</dl>\n{snippet}\n</div>\n</section>")), "{own}");
    assert!(!home.contains("data-ticket"));

    // The theme editor saves no template that names what its page does not have.
    for (head, snippet) in
        [(Some("{{request.id}}"), None), (Some("{{request.id"), None), (None, Some("{{user.id}}")), (None, Some("{{{request.id}}}"))]
    {
        let refused = desk.zendesk.alter_help_center_theme(|theme| {
            theme.head_line = head.map(str::to_owned);
            theme.request_page_snippet = snippet.map(str::to_owned);
        });
        assert!(refused.is_err(), "{head:?} {snippet:?}");
    }
    assert_eq!(desk.own_page().await?, own);

    desk.zendesk.alter_help_center_theme(|theme| (theme.sidebar, theme.dark, theme.meta_csp) = (Sidebar::Aside, true, None))?;
    let page = desk.own_page().await?;
    assert!(page.contains("<aside class=\"request-sidebar\">") && page.contains(" data-scheme=\"dark\"") && !page.contains("http-equiv"));
    desk.zendesk.alter_help_center_theme(|theme| theme.renamed_classes = true)?;
    let page = desk.own_page().await?;
    assert!(page.contains("<dl class=") && !page.contains("class=\"request-") && !page.contains("comment-list"), "{page}");
    desk.zendesk.alter_help_center_theme(|theme| theme.details = Details::Absent)?;
    let page = desk.own_page().await?;
    assert!(!page.contains("<dl") && !page.contains("<aside") && page.contains(&snippet), "{page}");

    for (locale, beginning) in
        [("ar", "<html dir=\"rtl\" lang=\"ar\""), ("he", "<html dir=\"rtl\" lang=\"he\""), ("de", "<html dir=\"ltr\" lang=\"de\"")]
    {
        assert!(text_of(desk.anonymous(Method::GET, &format!("/hc/{locale}")).send().await?, 200).await?.contains(beginning));
    }
    text_of(desk.anonymous(Method::GET, "/hc/xx").send().await?, 404).await?;
    text_of(desk.anonymous(Method::POST, "/hc/de").send().await?, 404).await?;

    let short = format!("/hc/requests/{}", desk.ticket);
    let elsewhere = desk.get(desk.customer, &short).await?;
    assert_eq!((elsewhere.status().as_u16(), header(&elsewhere, "location")), (302, desk.page().as_str()));
    desk.zendesk.alter_help_center_theme(|theme| theme.redirects_to_locale = false)?;
    text_of(desk.get(desk.customer, &short).await?, 200).await?;
    text_of(desk.anonymous(Method::GET, &short).send().await?, 302).await?;
    text_of(desk.get(desk.stranger, &short).await?, 404).await?;
    Ok(())
}

#[tokio::test]
async fn a_host_name_of_its_own_is_another_origin_with_its_own_sessions() -> anyhow::Result<()> {
    let desk = HelpCenter::start_with(HelpCenterOptions { host_mapped: true, ..HelpCenterOptions::default() }).await?;
    let (own, account) = (desk.zendesk.help_center_origin(), desk.zendesk.url().to_owned());
    assert_ne!(own, account);
    assert!(desk.zendesk.request_page("de", desk.ticket).starts_with(&own));
    let cookie = desk.zendesk.help_center_cookie(desk.customer);
    let value = cookie.split_once('=').context("no value")?.1;
    let request = format!("/api/v2/requests/{}.json", desk.ticket);
    for (origin, sent, status) in [
        (&own, cookie.clone(), 200),
        (&account, cookie.clone(), 401),
        (&account, format!("_zendesk_session={value}"), 401),
        (&own, format!("_zendesk_session={value}"), 401),
    ] {
        let answer = desk.client.get(format!("{origin}{request}")).header("cookie", &sent).send().await?;
        assert_eq!(answer.status(), status, "{origin} {sent}");
    }
    text_of(desk.get(desk.customer, &desk.page()).await?, 200).await?;
    // Neither the agents' pages nor API credentials have a place there.
    for path in ["/agent", "/agent/tickets/new?agent=1", "/attachments/token/0"] {
        assert_eq!(desk.anonymous(Method::GET, path).send().await?.status(), 404, "{path}");
    }
    let credentials = desk.zendesk.options();
    let basic = desk.anonymous(Method::GET, &request).basic_auth(format!("{}/token", credentials.api_email), Some(credentials.api_token));
    json_of(basic.send().await?, 401).await?;
    // It answers to its own name only.
    let by_number = own.replace("127.0.0.1", "localhost");
    let elsewhere = desk.client.get(format!("{by_number}/hc/de")).send().await?;
    assert_eq!((elsewhere.status().as_u16(), header(&elsewhere, "location")), (307, format!("{own}/hc/de").as_str()));
    Ok(())
}

#[tokio::test]
async fn in_a_browser_the_details_come_fold_and_are_replaced() -> anyhow::Result<()> {
    let desk = HelpCenter::start().await?;
    let browser = Browser::start(&Settings::default()).await?;
    browser.open(&desk.zendesk.signed_in_request_page(desk.customer, "en-us", desk.ticket)).await?;
    assert_eq!(browser.text("h1").await?, "VPN <i>drops</i>");
    let computed = "return [getComputedStyle(document.querySelector('dl')).fontSize, document.querySelector('dl').checkVisibility(), \
                    getComputedStyle(document.body).backgroundColor]";
    assert_eq!(browser.execute(computed, vec![]).await?, json!(["0px", true, "rgb(255, 255, 255)"]));
    // On a narrow screen the details are folded up until somebody opens them.
    browser.set_size(390, 800).await?;
    assert_eq!(browser.execute(computed, vec![]).await?[1], false);
    browser.click("section > button[aria-expanded]").await?;
    assert_eq!(browser.execute(computed, vec![]).await?[1], true);
    browser.set_size(1280, 900).await?;

    // Same-origin calls of a page's script carry the session.
    let asked = "return fetch(arguments[0], { credentials: 'same-origin' }).then((answer) => answer.status)";
    let request = format!("/api/v2/requests/{}.json", desk.ticket);
    assert_eq!(browser.execute(asked, vec![json!(request)]).await?, 200);
    assert_eq!(browser.execute("return document.cookie", vec![]).await?, "");

    desk.zendesk.alter_help_center_theme(|theme| (theme.details, theme.dark) = (Details::LateByScript(300), true))?;
    browser.driver().refresh().await?;
    browser.element("section dl").await?;
    assert_eq!(browser.execute(computed, vec![]).await?[2], "rgb(20, 24, 28)");

    // What a script of ours put beside the details before `load` is gone when the theme replaces them.
    let put_in = "addEventListener('DOMContentLoaded', () => { const mark = document.createElement('b'); \
                  document.querySelector('dl').after(mark); document.body.dataset.marked = mark.isConnected; })";
    desk.zendesk.alter_help_center_theme(|theme| {
        theme.details = Details::ReplacedByScript(200);
        theme.head_line = Some(format!("<script>{put_in}</script>"));
    })?;
    browser.driver().refresh().await?;
    browser.element("body[data-marked='true']").await?;
    browser.wait_until_gone("dl + b").await?;
    browser.element("section dl").await?;

    // A policy in the page stops a script from elsewhere.
    desk.zendesk.alter_help_center_theme(|theme| {
        theme.meta_csp = Some("script-src 'self'".to_owned());
        theme.head_line = Some("<script>document.title = 'changed'</script>".to_owned());
    })?;
    browser.driver().refresh().await?;
    browser.element("dl").await?;
    assert!(browser.driver().title().await?.starts_with("VPN"));
    deskbridge_tests::server::until("the policy's violation on the console", Duration::from_secs(10), async || {
        Ok(browser.console_errors().await?.iter().any(|message| message.contains("Content Security Policy")))
    })
    .await?;
    browser.close().await
}
