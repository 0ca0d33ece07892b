//! The simulated Zendesk account keeps the real one's rules (zendesk.md d, b.3), seen over real HTTP.

use std::time::Duration;

use anyhow::Context as _;
use deskbridge_tests::server::loopback_client;
use deskbridge_tests::zendesk::{
    AppKey, Fault, KeyAnswer, KeyEndpoint, Matching, OAuthClient, Options, RateLimits, Role, SimulatedZendesk, TARGET_FIELD, Ticket,
    TicketRestriction, UPLOAD_LIFE, User,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// An account with one agent, one customer and one ticket, and a client with the API user's credentials.
struct Desk {
    zendesk: SimulatedZendesk,
    client: Client,
    agent: u64,
    customer: u64,
    ticket: u64,
}

impl Desk {
    async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    async fn start_with(options: Options) -> anyhow::Result<Self> {
        let zendesk = SimulatedZendesk::start(options).await?;
        let agent = zendesk.add_user(User {
            name: "Anna Lindqvist".to_owned(),
            email: "anna@example.com".to_owned(),
            role: Role::Agent,
            ..User::default()
        });
        let customer =
            zendesk.add_user(User { name: "Tom Okafor".to_owned(), email: "tom@customer.example".to_owned(), ..User::default() });
        let ticket = zendesk.add_ticket(Ticket {
            subject: "VPN drops".to_owned(),
            description: "It drops.".to_owned(),
            requester_id: customer,
            custom_fields: [(TARGET_FIELD, json!("HBR-LT-0147"))].into(),
            ..Ticket::default()
        });
        Ok(Self { zendesk, client: loopback_client()?, agent, customer, ticket })
    }

    fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.zendesk.url()))
    }

    fn by(&self, email: &str, method: Method, path: &str) -> RequestBuilder {
        let token = self.zendesk.options().api_token;
        self.anonymous(method, path).basic_auth(format!("{email}/token"), Some(token))
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.by("api@example.com", method, path)
    }

    fn ticket_path(&self) -> String {
        format!("/api/v2/tickets/{}", self.ticket)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        json_of(self.call(Method::GET, path).send().await?, 200).await
    }

    async fn put(&self, ticket: Value) -> anyhow::Result<Response> {
        let request = self.call(Method::PUT, &format!("{}.json", self.ticket_path()));
        Ok(request.json(&json!({"ticket": ticket})).send().await?)
    }

    async fn upload(&self, query: &str, media_type: &str) -> anyhow::Result<Response> {
        let request = self.call(Method::POST, &format!("/api/v2/uploads?{query}"));
        Ok(request.header("content-type", media_type).body("transcript").send().await?)
    }
}

async fn json_of(response: Response, expected: u16) -> anyhow::Result<Value> {
    let status = response.status().as_u16();
    let text = response.text().await?;
    anyhow::ensure!(status == expected, "status {status} instead of {expected}: {text}");
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
}

#[tokio::test]
async fn only_the_right_credentials_open_the_account() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let path = desk.ticket_path();
    let zendesk = &desk.zendesk;
    zendesk.alter_user(desk.agent, |agent| agent.suspended = true);
    let token = zendesk.options().api_token;
    let get = || desk.anonymous(Method::GET, &path);
    let basic = |user: &str, token: &str| get().basic_auth(user, Some(token));
    for (case, request, status) in [
        ("token", basic("api@example.com/token", &token), 200),
        ("any user", basic("API@EXAMPLE.com/token", &token), 200),
        ("nothing", get(), 401),
        ("no /token", basic("api@example.com", &token), 401),
        ("wrong token", basic("api@example.com/token", "other"), 401),
        ("unknown user", basic("nobody@example.com/token", &token), 401),
        ("suspended", basic("anna@example.com/token", &token), 401),
        ("end user", basic("tom@customer.example/token", &token), 403),
        ("bearer", get().bearer_auth("unknown"), 401),
    ] {
        let response = request.send().await?;
        assert_eq!(response.status(), status, "{case}");
        let body: Value = response.json().await?;
        match status {
            401 => assert_eq!(body, json!({"error": "Couldn't authenticate you"}), "{case}"),
            403 => assert_eq!(body["error"]["title"], "Forbidden", "{case}"),
            _ => assert_eq!(body["ticket"]["id"], desk.ticket, "{case}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn oauth_tokens_are_bound_to_scope_and_time() -> anyhow::Result<()> {
    let client = OAuthClient { allowed_scopes: vec!["tickets:read".to_owned()], ..OAuthClient::default() };
    let desk = Desk::start_with(Options { oauth_client: Some(client), ..Options::default() }).await?;
    let ask = |body: Value| desk.anonymous(Method::POST, "/oauth/tokens").json(&body).send();
    let mut body = json!({
        "grant_type": "client_credentials", "client_id": "deskbridge", "client_secret": "simulated-client-secret",
        "scope": "tickets:read", "expires_in": 300,
    });
    let granted = json_of(ask(body.clone()).await?, 200).await?;
    assert_eq!(granted["token_type"], "bearer");
    let token = granted["access_token"].as_str().context("no token")?;
    let status = async |method: Method, path: &str| -> anyhow::Result<u16> {
        let request = desk.anonymous(method, path).bearer_auth(token);
        Ok(request.send().await?.status().as_u16())
    };
    let path = desk.ticket_path();
    assert_eq!(status(Method::GET, &path).await?, 200);
    assert_eq!(status(Method::PUT, &path).await?, 403);
    // Audits need the global scope.
    assert_eq!(status(Method::GET, &format!("{path}/audits")).await?, 403);
    desk.zendesk.advance_clock(Duration::from_secs(301));
    assert_eq!(status(Method::GET, &path).await?, 401);

    body["scope"] = json!("tickets:read write");
    assert_eq!(json_of(ask(body.clone()).await?, 400).await?["error"], "invalid_scope");
    body["client_secret"] = json!("wrong");
    assert_eq!(json_of(ask(body).await?, 401).await?["error"], "invalid_client");
    Ok(())
}

#[tokio::test]
async fn wrong_paths_and_bodies_are_refused_and_change_nothing() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let path = desk.ticket_path();
    let ticket = desk.ticket;
    let missing = "/api/v2/tickets/999999".to_owned();
    let note = json!({"ticket": {"comment": {"body": "x"}}});
    let with = |ticket: Value| json!({ "ticket": ticket });
    let both = with(json!({"comment": {"body": "x", "html_body": "y"}}));
    let cases: Vec<(Method, String, Value, u16, &str)> = vec![
        (Method::GET, "/api/v2/tickts".into(), Value::Null, 404, "InvalidEndpoint"),
        (Method::POST, format!("{path}/comments"), note.clone(), 404, "InvalidEndpoint"),
        (Method::GET, format!("{path}?inclued=users"), Value::Null, 400, "BadRequest"),
        (Method::GET, missing.clone(), Value::Null, 404, "RecordNotFound"),
        (Method::PUT, missing, note, 404, "RecordNotFound"),
        (Method::PUT, path.clone(), json!({"tickets": {}}), 400, "BadRequest"),
        (Method::PUT, path.clone(), with(json!({"coment": {}})), 400, "BadRequest"),
        (Method::PUT, path.clone(), with(json!({"comment": {"text": "x"}})), 400, "BadRequest"),
        (Method::PUT, path.clone(), both, 400, "BadRequest"),
        (Method::PUT, path.clone(), with(json!({"comment": {"public": false}})), 422, "RecordInvalid"),
        (Method::PUT, path.clone(), with(json!({"comment": {"body": "  "}})), 422, "RecordInvalid"),
        (Method::PUT, path.clone(), with(json!({"comment": {"body": "x", "author_id": 5}})), 422, "RecordInvalid"),
        (Method::PUT, path.clone(), with(json!({"comment": {"body": "x", "uploads": ["?"]}})), 422, "RecordInvalid"),
        (Method::PUT, path.clone(), with(json!({"status": "done"})), 422, "RecordInvalid"),
        (Method::PUT, path.clone(), with(json!({"assignee_id": desk.customer})), 422, "RecordInvalid"),
        (Method::PUT, path.clone(), with(json!({"metadata": "x", "comment": {"body": "x"}})), 400, "BadRequest"),
        (Method::PUT, path, with(json!({"safe_update": true, "comment": {"body": "x"}})), 400, "BadRequest"),
        (Method::POST, "/api/v2/tickets".into(), with(json!({"subject": "x"})), 422, "RecordInvalid"),
        (Method::PUT, format!("/api/v2/tickets/{ticket}/tags"), json!({"tag": ["a"]}), 400, "BadRequest"),
        (Method::POST, "/api/v2/apps/notify".into(), json!({"app_id": 1001}), 422, "RecordInvalid"),
    ];
    for (method, path, body, status, error) in cases {
        let mut request = desk.call(method.clone(), &path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let case = format!("{method} {path} {body}");
        let answer = json_of(request.send().await?, status).await.context(case.clone())?;
        assert_eq!(answer["error"], error, "{case}");
    }
    let as_text = desk.call(Method::PUT, &desk.ticket_path());
    let as_text = as_text.body(r#"{"ticket":{"status":"solved"}}"#);
    assert_eq!(as_text.send().await?.status(), 415);
    let broken = desk.call(Method::PUT, &desk.ticket_path());
    let broken = broken.header("content-type", "application/json").body("{");
    assert_eq!(broken.send().await?.status(), 400);

    assert_eq!(desk.zendesk.comments(desk.ticket).len(), 1);
    assert_eq!(desk.zendesk.audits(desk.ticket).len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_note_comes_with_its_metadata_and_its_author() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let answer = desk
        .put(json!({
            "comment": {
                "html_body": "<h3 class=\"x\">Report</h3><!-- m --><p onclick=\"x()\">12 min</p><script>x</script>",
                "public": false, "author_id": desk.agent,
            },
            "status": "pending",
            "tags": ["remote_session"],
            "metadata": {"remote_session_id": "0a1b"},
        }))
        .await?;
    let answer = json_of(answer, 200).await?;
    assert_eq!(answer["ticket"]["status"], "pending");
    assert_eq!(answer["audit"]["metadata"]["custom"]["remote_session_id"], "0a1b");

    let audits = desk.get(&format!("{}/audits", desk.ticket_path())).await?;
    let audit = &audits["audits"][1];
    assert_eq!(audit["author_id"], desk.zendesk.api_user());
    let events: Vec<&str> = audit["events"].as_array().context("no events")?.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(events, ["Comment", "Change", "Change"]);

    let comments = desk.get(&format!("{}/comments.json", desk.ticket_path())).await?;
    let comment = &comments["comments"][1];
    assert_eq!(comment["author_id"], desk.agent);
    assert_eq!(comment["public"], false);
    assert_eq!(comment["audit_id"], audit["id"]);
    assert_eq!(comment["html_body"], "<div class=\"zd-comment\" dir=\"auto\"><h3>Report</h3><p>12 min</p></div>");
    assert_eq!(comment["plain_body"], "Report\n12 min");
    Ok(())
}

#[tokio::test]
async fn placeholders_in_an_agents_comment_are_expanded() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let id = desk.ticket;
    for (comment, html, plain) in [
        (json!({"body": "{{ticket.id}} {{ticket.title}}{{nothing.such}}"}), format!("<p>{id} VPN drops</p>"), format!("{id} VPN drops")),
        (json!({"body": r"\{{ticket.id}}"}), "<p>{{ticket.id}}</p>".to_owned(), "{{ticket.id}}".to_owned()),
        (
            json!({"html_body": "<p>&#123;{ticket.ticket_field_27642}} <code>{{ticket.id}}</code> {{x}}</p>"}),
            "<p>HBR-LT-0147 <code>{{ticket.id}}</code> </p>".to_owned(),
            "HBR-LT-0147 {{ticket.id}}".to_owned(),
        ),
        (json!({"body": "{{ticket.id}}", "author_id": desk.customer}), "<p>{{ticket.id}}</p>".to_owned(), "{{ticket.id}}".to_owned()),
    ] {
        json_of(desk.put(json!({ "comment": comment })).await?, 200).await?;
        let comments = desk.zendesk.comments(id);
        let stored = comments.last().context("no comment")?;
        assert_eq!(stored.html_body, html, "{comment}");
        assert_eq!(stored.plain_body, plain, "{comment}");
    }
    Ok(())
}

#[tokio::test]
async fn bodies_are_cut_at_64_kilobytes_without_a_word() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    // Three bytes a letter: the cut falls between letters.
    let long = "\u{20ac}".repeat(30_000);
    json_of(desk.put(json!({"comment": {"html_body": long}})).await?, 200).await?;
    let stored = desk.zendesk.comments(desk.ticket).remove(1);
    assert_eq!(stored.html_body.len(), 65_535);
    Ok(())
}

#[tokio::test]
async fn a_ticket_takes_5000_comments_and_none_when_closed() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let note = json!({"comment": {"body": "one more", "public": false}});
    for _ in 0..4998 {
        desk.zendesk.add_comment(desk.ticket, desk.agent, false, "x");
    }
    json_of(desk.put(note.clone()).await?, 200).await?;
    json_of(desk.put(note.clone()).await?, 422).await?;
    // A change without a comment is still taken; closing ends that too.
    json_of(desk.put(json!({"status": "closed"})).await?, 200).await?;
    let refused = json_of(desk.put(json!({"priority": "low"})).await?, 422).await?;
    assert_eq!(refused["error"], "RecordInvalid");
    assert_eq!(desk.zendesk.comments(desk.ticket).len(), 5000);
    Ok(())
}

#[tokio::test]
async fn safe_update_refuses_a_stale_stamp() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let stamp = desk.get(&desk.ticket_path()).await?["ticket"]["updated_at"].clone();
    let update = |safe: bool| json!({"status": "solved", "safe_update": safe, "updated_stamp": stamp});
    desk.zendesk.add_comment(desk.ticket, desk.customer, true, "Still dropping.");
    // `false` has the same effect as `true` (zendesk.md d.4).
    for safe in [true, false] {
        let refused = json_of(desk.put(update(safe)).await?, 409).await?;
        assert_eq!(refused["error"], "UpdateConflict");
    }
    let fresh = desk.get(&desk.ticket_path()).await?["ticket"]["updated_at"].clone();
    let fresh = json!({"status": "solved", "safe_update": true, "updated_stamp": fresh});
    let answer = json_of(desk.put(fresh).await?, 200).await?;
    assert_eq!(answer["ticket"]["status"], "solved");
    Ok(())
}

#[tokio::test]
async fn creation_is_idempotent_by_its_key() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let create = async |key: &str, subject: &str| {
        let body = json!({"ticket": {
            "subject": subject, "comment": {"body": "Help"}, "external_id": "argus-7",
            "requester": {"name": "New Person", "email": "new@customer.example"},
        }});
        let request = desk.call(Method::POST, "/api/v2/tickets.json");
        let response = request.header("idempotency-key", key).json(&body).send().await?;
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (lookup, location) = (header("x-idempotency-lookup"), header("location"));
        let status = response.status().as_u16();
        anyhow::Ok((status, lookup, location, response.json::<Value>().await?))
    };
    let (status, lookup, location, first) = create("k1", "a").await?;
    assert_eq!((status, lookup.as_deref()), (201, Some("miss")));
    let id = first["ticket"]["id"].as_u64().context("no id")?;
    assert_eq!(location, Some(format!("{}/api/v2/tickets/{id}.json", desk.zendesk.url())));
    let (status, lookup, _, second) = create("k1", "a").await?;
    assert_eq!((status, lookup.as_deref()), (201, Some("hit")));
    assert_eq!(second, first);
    let (status, _, _, refused) = create("k1", "b").await?;
    assert_eq!(status, 400);
    assert_eq!(refused["errors"][0]["code"], "IdempotentRequestError");
    assert_eq!(create(&"k".repeat(256), "a").await?.0, 400);

    let requester = desk.zendesk.ticket(id).context("no ticket")?.requester_id;
    let requester = desk.zendesk.user(requester).context("no requester")?;
    assert_eq!(requester.email, "new@customer.example");
    assert_eq!(desk.zendesk.comments(id)[0].author_id, requester.id);

    desk.zendesk.advance_clock(Duration::from_secs(2 * 3600 + 1));
    let (_, lookup, _, third) = create("k1", "a").await?;
    assert_eq!(lookup.as_deref(), Some("miss"));
    assert_ne!(third["ticket"]["id"], id);
    let listed = desk.get("/api/v2/tickets?external_id=argus-7").await?;
    assert_eq!(listed["count"], 2);
    let found = desk.get("/api/v2/search?query=type:ticket%20external_id:argus-7").await?;
    assert_eq!(found["count"], 2);
    Ok(())
}

#[tokio::test]
async fn tags_are_replaced_by_an_update_and_added_by_their_own_endpoint() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    json_of(desk.put(json!({"tags": ["vpn", "laptop"]})).await?, 200).await?;
    let path = format!("{}/tags", desk.ticket_path());
    for (method, tag, status, expected) in [
        (Method::PUT, "remote_session", 200, json!(["laptop", "remote_session", "vpn"])),
        (Method::DELETE, "vpn", 200, json!(["laptop", "remote_session"])),
        (Method::POST, "only", 201, json!(["only"])),
    ] {
        let request = desk.call(method, &path).json(&json!({"tags": [tag]}));
        let answer = json_of(request.send().await?, status).await?;
        assert_eq!(answer, json!({ "tags": expected }));
    }
    assert_eq!(desk.get(&path).await?, json!({"tags": ["only"]}));
    Ok(())
}

#[tokio::test]
async fn uploads_are_checked_live_an_hour_and_are_used_once() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    for (query, media_type, status) in [
        ("filename=a.txt", "text/html", 422),
        ("filename=a.png", "text/plain", 422),
        ("", "text/plain", 400),
        ("filename=a.txt&token=unknown", "text/plain", 422),
    ] {
        let response = desk.upload(query, media_type).await?;
        assert_eq!(response.status(), status, "{query} {media_type}");
    }
    let first = json_of(desk.upload("filename=a.txt", "text/plain").await?, 201).await?;
    let token = first["upload"]["token"].as_str().context("no token")?;
    let query = format!("filename=b.html&token={token}");
    let second = json_of(desk.upload(&query, "text/html; charset=utf-8").await?, 201).await?;
    assert_eq!(second["upload"]["token"], token);
    assert_eq!(second["upload"]["attachments"].as_array().map(Vec::len), Some(2));

    let attach = json!({"comment": {"body": "see file", "uploads": [token]}});
    json_of(desk.put(attach.clone()).await?, 200).await?;
    json_of(desk.put(attach).await?, 422).await?;
    let comment = desk.zendesk.comments(desk.ticket).remove(1);
    let names: Vec<&str> = comment.attachments.iter().map(|f| f.file_name.as_str()).collect();
    assert_eq!(names, ["a.txt", "b.html"]);
    let listed = desk.get(&format!("{}/comments", desk.ticket_path())).await?;
    let address = listed["comments"][1]["attachments"][0]["content_url"].clone();
    let file = desk.client.get(address.as_str().context("no address")?).send().await?;
    assert_eq!(file.text().await?, "transcript");

    let late = json_of(desk.upload("filename=a.txt", "text/plain").await?, 201).await?;
    desk.zendesk.advance_clock(UPLOAD_LIFE.unsigned_abs());
    let attach = json!({"comment": {"body": "late", "uploads": [late["upload"]["token"]]}});
    json_of(desk.put(attach).await?, 422).await?;
    Ok(())
}

#[tokio::test]
async fn lists_are_paged_by_cursor_and_by_offset() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    for n in 1..250 {
        desk.zendesk.add_comment(desk.ticket, desk.agent, false, &n.to_string());
    }
    let ids: Vec<u64> = desk.zendesk.comments(desk.ticket).iter().map(|c| c.id).collect();
    let list = format!("{}{}/comments?page[size]=100", desk.zendesk.url(), desk.ticket_path());
    let (mut seen, mut next, mut pages) = (Vec::new(), Some(list), 0);
    while let Some(address) = next {
        let path = address.trim_start_matches(desk.zendesk.url()).to_owned();
        let page = desk.get(&path).await?;
        let comments = page["comments"].as_array().context("no comments")?;
        seen.extend(comments.iter().filter_map(|comment| comment["id"].as_u64()));
        next = page["links"]["next"].as_str().map(str::to_owned);
        assert_eq!(page["meta"]["has_more"], next.is_some());
        pages += 1;
    }
    assert_eq!((pages, &seen), (3, &ids));

    let newest = desk.get(&format!("{}/audits?page[size]=1&sort=-created_at", desk.ticket_path())).await?;
    let audits = desk.zendesk.audits(desk.ticket);
    assert_eq!(newest["audits"][0]["id"], audits[audits.len() - 1].id);

    let page = desk.get(&format!("{}/comments?page=3&per_page=100", desk.ticket_path())).await?;
    assert_eq!(page["comments"].as_array().map(Vec::len), Some(50));
    assert_eq!((&page["count"], &page["next_page"]), (&json!(250), &Value::Null));
    for wrong in ["page[size]=101", "page[after]=bad", "page=101&per_page=100", "per_page=0"] {
        let path = format!("{}/comments?{wrong}", desk.ticket_path());
        let status = desk.call(Method::GET, &path).send().await?.status();
        assert_eq!(status, 400, "{wrong}");
    }
    Ok(())
}

/// Makes the ticket one that the agent may see: gets the ids of the agent, his group and his organisation.
type Change = fn(&mut Ticket, u64, u64, u64);

#[tokio::test]
async fn a_restricted_agent_sees_only_his_tickets() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let zendesk = &desk.zendesk;
    let group = zendesk.add_group("Field Service");
    let organization = zendesk.add_organization("Harbour Foods");
    let agent = desk.agent;
    zendesk.alter_user(agent, |agent| {
        agent.group_ids.push(group);
        agent.organization_ids.push(organization);
    });
    let cases: [(Option<TicketRestriction>, Option<Change>); 5] = [
        (None, None),
        (Some(TicketRestriction::Organization), Some(|t, _, _, id| t.organization_id = Some(id))),
        (Some(TicketRestriction::Groups), Some(|t, _, id, _| t.group_id = Some(id))),
        (Some(TicketRestriction::Assigned), Some(|t, id, _, _| t.assignee_id = Some(id))),
        (Some(TicketRestriction::Requested), Some(|t, id, _, _| t.requester_id = id)),
    ];
    for (restriction, admits) in cases {
        zendesk.alter_user(agent, |agent| agent.ticket_restriction = restriction);
        let ticket = zendesk.add_ticket(Ticket {
            subject: "One".to_owned(),
            description: "…".to_owned(),
            requester_id: desk.customer,
            ..Ticket::default()
        });
        let path = format!("/api/v2/tickets/{ticket}");
        let look = async || {
            let request = desk.by("anna@example.com", Method::GET, &path);
            anyhow::Ok(request.send().await?.status().as_u16())
        };
        if let Some(admits) = admits {
            assert_eq!(look().await?, 403, "{restriction:?}");
            assert!(!zendesk.agent_may_see(agent, ticket));
            zendesk.alter_ticket(ticket, |ticket| admits(ticket, agent, group, organization));
        }
        assert_eq!(look().await?, 200, "{restriction:?}");
    }
    let shown = desk.get(&format!("/api/v2/users/{agent}.json")).await?;
    assert_eq!(shown["user"]["ticket_restriction"], "requested");
    assert_eq!(shown["user"]["role"], "agent");
    let path = format!("/api/v2/users/{agent}/group_memberships");
    assert_eq!(desk.get(&path).await?["group_memberships"][0]["group_id"], group);
    let path = format!("/api/v2/users/{agent}/organization_memberships");
    let rows = desk.get(&path).await?;
    assert_eq!(rows["organization_memberships"][0]["organization_id"], organization);
    Ok(())
}

#[tokio::test]
async fn people_and_requests_are_looked_up() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    assert_eq!(desk.get("/api/v2/users/me.json").await?["user"]["role"], "admin");
    let nobody = desk.anonymous(Method::GET, "/api/v2/users/me").send().await?;
    assert_eq!(json_of(nobody, 200).await?["user"]["id"], Value::Null);
    let found = desk.get("/api/v2/users/search?query=tom@customer.example").await?;
    assert_eq!((&found["count"], &found["users"][0]["id"]), (&json!(1), &json!(desk.customer)));
    assert!(!desk.get("/api/v2/groups").await?["groups"].as_array().context("no groups")?.is_empty());

    let path = format!("/api/v2/requests/{}.json", desk.ticket);
    let own = desk.by("tom@customer.example", Method::GET, &path).send().await?;
    assert_eq!(json_of(own, 200).await?["request"]["requester_id"], desk.customer);
    let other = desk.by("anna@example.com", Method::GET, &path).send().await?;
    assert_eq!(json_of(other, 404).await?["error"], "RecordNotFound");
    Ok(())
}

#[tokio::test]
async fn limits_answer_429_with_the_time_to_wait() -> anyhow::Result<()> {
    let desk = Desk::start_with(Options {
        rate_limits: Some(RateLimits { requests_per_minute: 33, ..RateLimits::default() }),
        ..Options::default()
    })
    .await?;
    let note = json!({"comment": {"body": "again", "public": false}});
    for left in (0..30).rev() {
        let response = desk.put(note.clone()).await?;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-rate-limit-remaining"], (left + 3).to_string());
    }
    // The thirty-first on this ticket; the refused one does not count.
    for _ in 0..2 {
        let response = desk.put(note.clone()).await?;
        let wait: u64 = response.headers()["retry-after"].to_str()?.parse()?;
        assert!((590..=600).contains(&wait), "{wait}");
        let body = json_of(response, 429).await?;
        assert_eq!(body["errors"][0]["code"], "TooManyRequests");
    }
    for _ in 0..3 {
        desk.get(&desk.ticket_path()).await?;
    }
    let response = desk.call(Method::GET, &desk.ticket_path()).send().await?;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["ratelimit-limit"], "33");
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    desk.zendesk.advance_clock(Duration::from_secs(61));
    desk.get(&desk.ticket_path()).await?;
    assert_eq!(desk.put(note.clone()).await?.status(), 429);
    desk.zendesk.advance_clock(Duration::from_mins(9));
    assert_eq!(desk.put(note).await?.status(), 200);
    Ok(())
}

#[tokio::test]
async fn ordered_faults_happen_as_often_as_ordered() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let zendesk = &desk.zendesk;
    let updates = || Matching::new(Method::PUT, "/api/v2/tickets/");
    let note = json!({"comment": {"body": "x"}});
    let comments = || zendesk.comments(desk.ticket).len();

    let busy = Fault::Status { code: 503, body: "<h1>Busy</h1>".to_owned(), retry_after: Some(7) };
    zendesk.fail_next(1, updates(), busy);
    let response = desk.put(note.clone()).await?;
    assert_eq!((response.status().as_u16(), comments()), (503, 1));
    assert_eq!(response.headers()["retry-after"], "7");

    zendesk.fail_next(1, updates(), Fault::CloseConnection);
    assert!(desk.put(note.clone()).await.is_err());
    assert_eq!(comments(), 1);
    zendesk.fail_next(1, updates(), Fault::ApplyThenClose);
    assert!(desk.put(note.clone()).await.is_err());
    assert_eq!(comments(), 2);
    zendesk.fail_next(1, updates(), Fault::ApplyThenStatus(500));
    assert_eq!(desk.put(note.clone()).await?.status(), 500);
    assert_eq!(comments(), 3);

    zendesk.fail_always(updates(), Fault::Hang);
    let answer = tokio::time::timeout(Duration::from_millis(200), desk.put(note.clone())).await;
    assert!(answer.is_err());
    zendesk.clear_faults();
    assert_eq!(desk.put(note).await?.status(), 200);
    assert_eq!(comments(), 4);

    let requests = zendesk.requests();
    let seen: Vec<Option<u16>> = requests.iter().map(|request| request.status).collect();
    assert_eq!(seen, [Some(503), None, None, Some(500), None, Some(200)]);
    assert_eq!(requests[5].user.as_deref(), Some("api@example.com"));
    assert_eq!(requests[5].body["ticket"]["comment"]["body"], "x");
    assert!(!requests[5].headers.contains_key("authorization"));
    assert_eq!(zendesk.count(&Method::PUT, "/api/v2/tickets/"), 6);
    Ok(())
}

#[tokio::test]
async fn a_write_refused_by_a_gateway_or_cut_off_happens_later_all_the_same() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let zendesk = &desk.zendesk;
    let updates = || Matching::new(Method::PUT, "/api/v2/tickets/");
    let after = Duration::from_millis(50);
    for code in [502, 503, 504] {
        let text = format!("refused with {code}");
        let before = zendesk.comments(desk.ticket).len();
        zendesk.fail_next(1, updates(), Fault::StatusThenApplyLater { code, after });
        let response = desk.put(json!({"comment": {"body": text}})).await?;
        assert_eq!((response.status().as_u16(), zendesk.comments(desk.ticket).len()), (code, before), "nothing happened yet");
        assert_eq!(response.headers()["content-type"], "text/html");
        assert!(response.text().await?.contains(&format!("<h1>{code} ")), "a page of the gateway");
        zendesk.wait_for_comment(desk.ticket, |comment| comment.plain_body == text).await?;
    }
    zendesk.fail_next(1, updates(), Fault::CloseThenApplyLater(after));
    let before = zendesk.comments(desk.ticket).len();
    assert!(desk.put(json!({"comment": {"body": "cut off"}})).await.is_err());
    assert_eq!(zendesk.comments(desk.ticket).len(), before, "nothing happened yet");
    zendesk.wait_for_comment(desk.ticket, |comment| comment.plain_body == "cut off").await?;

    let begin = std::time::Instant::now();
    zendesk.fail_next(1, updates(), Fault::Delay(after));
    assert_eq!(desk.put(json!({"comment": {"body": "slow"}})).await?.status(), 200);
    assert!(begin.elapsed() >= after);
    assert_eq!(zendesk.comments(desk.ticket).len(), 6);
    Ok(())
}

#[tokio::test]
async fn waiting_ends_with_the_comment() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let zendesk = &desk.zendesk;
    let (found, sent) = tokio::join!(
        zendesk.wait_for_comment(desk.ticket, |comment| comment.plain_body == "done"),
        desk.put(json!({"comment": {"body": "done", "public": false}})),
    );
    assert_eq!(sent?.status(), 200);
    assert!(!found?.public);
    zendesk.wait_for_requests(&Method::PUT, "/api/v2/tickets/", 1).await
}

#[tokio::test]
async fn the_key_is_given_out_in_every_known_way() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let zendesk = &desk.zendesk;
    let pem = zendesk.app_key().public_pem();
    let path = "/api/v2/apps/1001/public_key";
    let anonymous = async |path: &str| {
        let response = desk.anonymous(Method::GET, path).send().await?;
        anyhow::Ok((response.status().as_u16(), response.text().await?))
    };
    assert_eq!(anonymous(&format!("{path}.pem")).await?, (200, pem.clone()));
    assert_eq!(anonymous(path).await?, (200, json!(pem).to_string()));
    assert_eq!(anonymous("/api/v2/apps/1002/public_key.pem").await?.0, 404);

    zendesk.set_key_endpoint(KeyEndpoint {
        with_extension: KeyAnswer::NotFound,
        without_extension: KeyAnswer::RawPem,
        needs_credentials: true,
    });
    assert_eq!(anonymous(path).await?.0, 401);
    let known = desk.call(Method::GET, path).send().await?;
    assert_eq!((known.status().as_u16(), known.text().await?), (200, pem.clone()));
    let gone = desk.call(Method::GET, &format!("{path}.pem")).send().await?;
    assert_eq!(json_of(gone, 404).await?["error"], "RecordNotFound");

    let old = zendesk.rotate_app_key().await?;
    assert_eq!(old.public_pem(), pem);
    assert_ne!(zendesk.app_key().public_pem(), pem);
    Ok(())
}

#[tokio::test]
async fn sidebar_tokens_are_genuine_and_spoilt_ones_are_not() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let zendesk = &desk.zendesk;
    let url = zendesk.url();
    let key = zendesk.app_key();
    let decoding = DecodingKey::from_rsa_pem(key.public_pem().as_bytes())?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_nbf = true;
    validation.set_issuer(&[zendesk.issuer()]);
    validation.set_audience(&[format!("{url}/api/v2/apps/installations/360001234567.json")]);
    let verify = |token: &str| jsonwebtoken::decode::<Value>(token, &decoding, &validation);

    let launch = zendesk.launch(desk.agent)?;
    let claims = verify(&launch.token)?.claims;
    assert_eq!(claims["sub"], format!("{url}/api/v2/users/{}.json", desk.agent));
    assert_eq!(claims["context"], json!({"product": "support", "location": "ticket_sidebar"}));
    assert!(launch.query.contains(&launch.app_guid.to_string()));
    assert_ne!(zendesk.sidebar_token(desk.agent)?, zendesk.sidebar_token(desk.agent)?);

    let mut spoilt = zendesk.sidebar_claims(desk.agent);
    assert!(verify(&zendesk.sign_claims(&zendesk.sidebar_header(), &spoilt)?).is_ok());
    assert!(verify(&zendesk.sign_claims(&json!({"alg": "none"}), &spoilt)?).is_err());
    let foreign = AppKey::generate()?.sign(&zendesk.sidebar_header(), &spoilt)?;
    assert!(verify(&foreign).is_err());
    spoilt["exp"] = json!(1_700_000_000);
    assert!(verify(&zendesk.sign_claims(&zendesk.sidebar_header(), &spoilt)?).is_err());

    let pem = key.private_pem();
    let encoding = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes())?;
    let header = jsonwebtoken::Header::new(Algorithm::RS256);
    let other_way = jsonwebtoken::encode(&header, &zendesk.sidebar_claims(desk.agent), &encoding)?;
    assert!(verify(&other_way).is_ok());
    Ok(())
}

#[tokio::test]
async fn the_installation_shows_what_its_administrator_filled_in() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let zendesk = &desk.zendesk;
    zendesk.set_installation_settings(json!({"hostname": "h", "allow_rdp": false}));
    zendesk.set_installation_enabled(false);
    let list = desk.get("/api/v2/apps/installations.json").await?;
    let row = &list["installations"][0];
    assert_eq!(row["settings"], json!({"hostname": "h", "allow_rdp": false}));
    assert_eq!((&row["app_id"], &row["enabled"]), (&json!(1001), &json!(false)));
    let one = desk.get("/api/v2/apps/installations/360001234567.json").await?;
    assert_eq!(&one, row);
    let agent = desk.by("anna@example.com", Method::GET, "/api/v2/apps/installations");
    assert_eq!(agent.send().await?.status(), 403);

    let message = json!({"app_id": 1001, "event": "session_ended", "body": {"lsid": "x"}, "agent_id": desk.agent});
    let request = desk.call(Method::POST, "/api/v2/apps/notify").json(&message);
    assert_eq!(request.send().await?.status(), 200);
    assert_eq!(zendesk.notifications()[0].body, json!({"lsid": "x"}));
    Ok(())
}

#[tokio::test]
async fn the_workspace_opens_the_app_and_takes_replies() -> anyhow::Result<()> {
    let zendesk = SimulatedZendesk::start(Options::default()).await?;
    let demo = zendesk.fill_demo_data();
    let client = loopback_client()?;
    let of = |path: &str, ticket: u64, agent: u64| format!("{}/agent/{path}/{ticket}?agent={agent}", zendesk.url());
    let address = of("launch", demo.vpn_ticket, demo.agent);
    let launch = async || json_of(client.post(&address).send().await?, 200).await;
    assert_eq!(launch().await?["app_url"], Value::Null);
    zendesk.set_app_url("http://localhost:1/zendesk/sidebar");
    let opened = launch().await?;
    assert_eq!(opened["context"]["ticketId"], demo.vpn_ticket);
    assert_eq!(opened["metadata"]["settings"]["hostname"], "support.example.com");

    // The light agent sees the tickets of the group alone, and cannot write to the customer.
    let hidden = of("data", demo.vpn_ticket, demo.light_agent);
    assert_eq!(client.get(hidden).send().await?.status(), 403);
    let reply = format!("{}/agent/tickets/{}/comments?agent={}", zendesk.url(), demo.scanner_ticket, demo.light_agent);
    let sent = client.post(reply).json(&json!({"text": "On my way", "public": true}));
    assert_eq!(sent.send().await?.status(), 201);
    let comment = zendesk.comments(demo.scanner_ticket).pop().context("no comment")?;
    assert_eq!((comment.public, comment.author_id), (false, demo.light_agent));

    // Pages live under one name.
    let address = zendesk.ticket_page(demo.vpn_ticket, demo.agent);
    let elsewhere = client.get(address.replace("127.0.0.1", "localhost"));
    let elsewhere = elsewhere.send().await?;
    assert_eq!(elsewhere.status(), 307);
    assert_eq!(elsewhere.headers()["location"], address);
    let page = client.get(address).send().await?.text().await?;
    assert!(page.contains("id=\"editor\""));

    let url = zendesk.url().to_owned();
    zendesk.stop().await;
    assert!(client.get(url).send().await.is_err());
    Ok(())
}
