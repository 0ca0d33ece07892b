//! The simulated Autotask tenant keeps the real one's rules (autotask-extension.md a, c), seen over real HTTP.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deskbridge_tests::autotask::{
    ATTACHED_MAX, ATTACHING_TIME, ApiUser, CATEGORY_INCIDENT, CONCURRENT_MAX, Choice, Entity, ErrorShape, FILE_MAX, Fault, Matching,
    Options, PRIORITY_MEDIUM, QUEUE, REST, SERVICES, STATUS_NEW, SampleData, SimulatedAutotask, ThreadRefusal,
};
use deskbridge_tests::server::loopback_client;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

const NO_RIGHT: &str = "The logged in Resource does not have the adequate permissions";
const NOT_PAIRED: &str = "The specified AssignedResourceID and AssignedRoleID combination is not currently defined";

/// A tenant with sample data, and a client with the API user's credentials.
struct Desk {
    autotask: SimulatedAutotask,
    client: Client,
    data: SampleData,
}

impl Desk {
    async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    async fn start_with(options: Options) -> anyhow::Result<Self> {
        let autotask = SimulatedAutotask::start(options).await?;
        let data = autotask.fill_sample_data()?;
        Ok(Self { autotask, client: loopback_client()?, data })
    }

    fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}v1.0/{path}", self.autotask.url()))
    }

    fn by(&self, user: &ApiUser, method: Method, path: &str) -> RequestBuilder {
        signed(self.anonymous(method, path), user)
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.by(&self.autotask.options().api_user, method, path)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        accepted(self.call(Method::GET, path)).await
    }

    /// A write that is accepted; gives `itemId`.
    async fn write(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<i64> {
        let answer = accepted(self.call(method, path).json(body)).await?;
        answer["itemId"].as_i64().with_context(|| format!("no itemId in {answer}"))
    }

    async fn create(&self, path: &str, body: &Value) -> anyhow::Result<i64> {
        self.write(Method::POST, path, body).await
    }

    /// Ids a query finds.
    async fn query(&self, entity: &str, filter: Value) -> anyhow::Result<Vec<i64>> {
        let request = self.call(Method::POST, &format!("{entity}/query")).json(&json!({"filter": filter}));
        Ok(ids(&accepted(request).await?))
    }

    /// A call that is refused with 500 and a text that has `text` in it.
    async fn refused(&self, case: &str, request: RequestBuilder, text: &str) -> anyhow::Result<()> {
        let (status, body) = answer(request).await?;
        let said = body["errors"][0].as_str().unwrap_or_default();
        ensure!(status == 500 && said.contains(text), "{case}: {status} {body} instead of {text:?}");
        Ok(())
    }

    fn ticket_body(&self) -> Value {
        json!({
            "companyID": self.data.company, "title": "Remote session", "status": STATUS_NEW, "priority": PRIORITY_MEDIUM,
            "queueID": QUEUE, "dueDateTime": "2030-03-21T00:00:00",
        })
    }

    fn notes_path(&self) -> String {
        format!("Tickets/{}/Notes", self.data.ticket)
    }

    fn attachments_path(&self) -> String {
        format!("Tickets/{}/Attachments", self.data.ticket)
    }

    fn time_entry_body(&self) -> Value {
        json!({
            "ticketID": self.data.ticket, "resourceID": self.data.technician, "roleID": self.data.role,
            "startDateTime": "2026-11-21T10:00:00Z", "endDateTime": "2026-11-21T10:34:00Z", "summaryNotes": "Remote support session",
        })
    }
}

fn signed(request: RequestBuilder, user: &ApiUser) -> RequestBuilder {
    request.header("UserName", &user.user_name).header("Secret", &user.secret).header("ApiIntegrationCode", &user.integration_code)
}

fn note_body() -> Value {
    json!({"title": "Remote session 0f5c (1/2)", "description": "10:00 Anna: hello", "noteType": 1, "publish": 2})
}

async fn answer(request: RequestBuilder) -> anyhow::Result<(u16, Value)> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

async fn accepted(request: RequestBuilder) -> anyhow::Result<Value> {
    let (status, body) = answer(request).await?;
    ensure!(status == 200, "status {status}: {body}");
    Ok(body)
}

fn ids(page: &Value) -> Vec<i64> {
    page["items"].as_array().into_iter().flatten().filter_map(|item| item["id"].as_i64()).collect()
}

/// `body` with some fields replaced; null takes one away.
fn altered(mut body: Value, changes: Value) -> Value {
    if let (Value::Object(body), Value::Object(changes)) = (&mut body, changes) {
        body.extend(changes);
        body.retain(|_, value| !value.is_null());
    }
    body
}

#[tokio::test]
async fn every_zone_tells_where_a_user_lives() -> anyhow::Result<()> {
    let desk = Desk::start_with(Options { home_zone: 1, ..Options::default() }).await?;
    let autotask = &desk.autotask;
    for zone in 0..2 {
        // Lower case too, as the vendor's samples write it.
        for services in [SERVICES.to_owned(), SERVICES.to_ascii_lowercase()] {
            let base = autotask.zone_url(zone).replace(SERVICES, &services);
            let ask = |query: &str| desk.client.get(format!("{base}v1.0/zoneInformation{query}"));
            let found = accepted(ask("?user=api-user@msp.example")).await?;
            assert_eq!(found["url"], autotask.zone_url(1));
            assert_eq!(found["webUrl"], autotask.web_url());
            assert_eq!(found["ci"], 30_595);
            for unknown in ["", "?user=", "?user=nobody@msp.example"] {
                desk.refused(unknown, ask(unknown), "").await?;
            }
            let versions = accepted(desk.client.get(format!("{base}versioninformation"))).await?;
            assert_eq!(versions, json!({"apiVersions": ["1.0"]}));
        }
    }
    // Everything else keeps the case it was given in.
    let other_case = format!("{}v1.0/ThresholdInformation", autotask.url().replace(SERVICES, "/atservicesrest/"));
    assert_eq!(answer(signed(desk.client.get(other_case), &autotask.options().api_user)).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn a_tenant_that_moved_answers_401_where_it_was() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let path = format!("v1.0/Tickets/{}", desk.data.ticket);
    let old = desk.autotask.url();
    let user = desk.autotask.options().api_user;
    let get = |base: &str| answer(signed(desk.client.get(format!("{base}{path}")), &user));
    assert_eq!(get(&old).await?.0, 200);
    desk.autotask.move_to_zone(1);
    assert_eq!(get(&old).await?.0, 401);
    let found = accepted(desk.client.get(format!("{old}v1.0/zoneInformation?user={}", user.user_name))).await?;
    let new = found["url"].as_str().context("no url")?;
    assert_ne!(new, old);
    let (status, body) = get(new).await?;
    assert_eq!((status, &body["item"]["id"]), (200, &json!(desk.data.ticket)));
    Ok(())
}

#[tokio::test]
async fn only_the_right_headers_open_the_tenant() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let right = desk.autotask.options().api_user;
    let case = |change: fn(&mut ApiUser)| {
        let mut user = right.clone();
        change(&mut user);
        desk.by(&user, Method::GET, "ThresholdInformation")
    };
    for (name, request, status) in [
        ("right", case(|_| {}), 200),
        ("other case of the name", case(|user| user.user_name = "API-User@MSP.example".to_owned()), 200),
        ("none", desk.anonymous(Method::GET, "ThresholdInformation"), 401),
        ("user", case(|user| user.user_name = "nobody@msp.example".to_owned()), 401),
        ("secret", case(|user| user.secret = "other".to_owned()), 401),
        ("no secret", case(|user| user.secret.clear()), 401),
        ("integration code", case(|user| user.integration_code = "OTHER".to_owned()), 401),
        ("no integration code", case(|user| user.integration_code.clear()), 401),
    ] {
        assert_eq!(answer(request).await?.0, status, "{name}");
    }
    let recorded = desk.autotask.requests();
    assert_eq!(recorded[0].user.as_deref(), Some("api-user@msp.example"));
    assert!(recorded[0].headers.contains_key("username") && !recorded[0].headers.contains_key("secret"));
    assert_eq!(recorded[2].user, None);
    Ok(())
}

#[tokio::test]
async fn a_user_of_least_privilege_does_his_work_and_no_more() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let user = ApiUser { user_name: "least@msp.example".to_owned(), ..ApiUser::default() }.least_privilege();
    desk.autotask.add_api_user(user.clone());
    let everything = json!({"filter": [{"op": "exist", "field": "id"}]});
    for entity in Entity::ALL {
        let request = desk.by(&user, Method::POST, &format!("{}/query", entity.path())).json(&everything);
        let denied = matches!(entity, Entity::ConfigurationItems | Entity::ResourceServiceDeskRoles | Entity::Resources | Entity::Roles);
        if denied {
            desk.refused(entity.path(), request, &format!("{NO_RIGHT} to query this entity type.")).await?;
        } else {
            assert_eq!(answer(request).await?.0, 200, "{}", entity.path());
        }
    }
    let post = |path: &str, body: Value| desk.by(&user, Method::POST, path).json(&body);
    accepted(post("Tickets", desk.ticket_body())).await?;
    accepted(post(&desk.notes_path(), note_body())).await?;
    let entry = accepted(post("TimeEntries", desk.time_entry_body())).await?;
    let delete = desk.by(&user, Method::DELETE, &format!("TimeEntries/{}", entry["itemId"]));
    desk.refused("delete", delete, NO_RIGHT).await?;

    desk.autotask.alter_api_user("least@msp.example", |user| user.denial_status = 403).context("no such user")?;
    let (status, body) = answer(desk.by(&user, Method::POST, "Resources/query").json(&everything)).await?;
    assert_eq!(status, 403);
    assert!(body["errors"][0].as_str().is_some_and(|text| text.starts_with(NO_RIGHT)));
    // Metadata is for everybody, and tells what the caller may do.
    let information = accepted(desk.by(&user, Method::GET, "TimeEntries/entityInformation")).await?["info"].clone();
    let access = [&information["userAccessForCreate"], &information["userAccessForDelete"]];
    assert_eq!(access, ["All", "None"], "{information}");
    assert_eq!(answer(desk.by(&user, Method::GET, "Resources/entityInformation/fields")).await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn paths_and_methods_are_those_of_the_real_tenant() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let ticket = desk.data.ticket;
    let note = desk.create(&desk.notes_path(), &note_body()).await?;
    for (method, path, status) in [
        (Method::GET, format!("Tickets/{ticket}"), 200),
        (Method::GET, "Tickets/1".to_owned(), 404),
        (Method::GET, "Tickets".to_owned(), 405),
        (Method::DELETE, format!("Tickets/{ticket}"), 405),
        (Method::GET, format!("TicketNotes/{note}"), 200),
        (Method::POST, "TicketNotes".to_owned(), 404),
        (Method::GET, format!("Tickets/{ticket}/Notes/{note}"), 200),
        (Method::GET, format!("Tickets/{}/Notes/{note}", ticket + 1), 404),
        (Method::DELETE, format!("Tickets/{ticket}/Notes/{note}"), 405),
        (Method::POST, format!("Tickets/{ticket}/Notes/query"), 404),
        (Method::GET, format!("Tickets/{ticket}/Notes/query"), 404),
        (Method::POST, "Tickets/1/Notes".to_owned(), 404),
        (Method::GET, "Nonsense/query".to_owned(), 404),
        (Method::GET, "tickets/query".to_owned(), 404),
        (Method::POST, "ThresholdInformation".to_owned(), 405),
    ] {
        let (answered, body) = answer(desk.call(method.clone(), &path).json(&note_body())).await?;
        assert_eq!(answered, status, "{method} {path}: {body}");
        if status == 405 {
            assert_eq!(body["Message"], format!("The requested resource does not support http method '{method}'."));
        }
    }
    let page = desk.get(&desk.notes_path()).await?;
    assert_eq!((ids(&page), &page["pageDetails"]["nextPageUrl"]), (vec![note], &Value::Null));
    let missing = desk.call(Method::DELETE, "TimeEntries/1");
    desk.refused("missing", missing, "No message. No matching records found.").await?;
    // A body must say that it is JSON.
    let plain = desk.call(Method::POST, &desk.notes_path()).header("content-type", "text/plain").body(note_body().to_string());
    assert_eq!(answer(plain).await?.0, 415);
    desk.refused("not JSON", desk.call(Method::POST, &desk.notes_path()).header("content-type", "application/json").body("{"), "").await
}

#[tokio::test]
async fn every_operator_finds_what_it_says() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let data = &desk.data;
    let add = |title: &str, more: Value| {
        let body = altered(json!({"companyID": data.company, "title": title, "status": 1, "priority": 1}), more);
        desk.autotask.add(Entity::Tickets, body)
    };
    let printer = add("Printer offline", json!({"status": 5, "estimatedHours": 1.5, "dueDateTime": "2026-11-21T10:00:00Z"}))?;
    let mail = add("Mail is slow", json!({"companyID": 0, "userDefinedFields": [{"name": "Device Name", "value": "PC-042"}]}))?;
    let vpn = data.ticket;
    let all = vec![vpn, printer, mail];
    let test = |op: &str, field: &str, value: Value| json!([{"op": op, "field": field, "value": value}]);
    for (filter, found) in [
        (test("eq", "id", json!(vpn)), vec![vpn]),
        (test("eq", "companyID", json!(0)), vec![mail]),
        (test("eq", "TICKETNUMBER", json!(data.ticket_number.to_lowercase())), vec![vpn]),
        (test("noteq", "status", json!(5)), vec![vpn, mail]),
        // Nothing is unequal to a missing value.
        (test("noteq", "contactID", json!(1)), vec![vpn]),
        (test("gt", "id", json!(vpn)), vec![printer, mail]),
        (test("gte", "id", json!(printer)), vec![printer, mail]),
        (test("lt", "estimatedHours", json!(2)), vec![printer]),
        (test("lte", "dueDateTime", json!("2026-11-21T11:00:00+01:00")), vec![printer]),
        (test("lt", "dueDateTime", json!("2026-11-21T10:00:00")), vec![]),
        (test("beginsWith", "title", json!("print")), vec![printer]),
        (test("endsWith", "title", json!("SLOW")), vec![mail]),
        (test("contains", "title", json!("r o")), vec![printer]),
        (test("in", "id", json!([vpn, mail])), vec![vpn, mail]),
        (test("notIn", "id", json!([vpn, mail])), vec![printer]),
        (json!([{"op": "exist", "field": "contactID"}]), vec![vpn]),
        (json!([{"op": "notExist", "field": "contactID"}]), vec![printer, mail]),
        // Operators that are none are overlooked: everything is found.
        (test("noteExist", "contactID", Value::Null), all.clone()),
        (test("ne", "status", json!(5)), all.clone()),
        (
            json!([{"op": "and", "items": [{"op": "ne", "field": "status", "value": 5}, {"op": "eq", "field": "id", "value": vpn}]}]),
            vec![vpn],
        ),
        // A flat list is "and".
        (json!([{"op": "eq", "field": "priority", "value": 1}, {"op": "noteq", "field": "status", "value": 5}]), vec![mail]),
        (
            json!([{"op": "and", "items": [
                {"op": "gt", "field": "id", "value": 0},
                {"op": "or", "items": [
                    {"op": "contains", "field": "title", "value": "vpn"},
                    {"op": "eq", "field": "Device Name", "udf": true, "value": "pc-042"},
                ]},
            ]}]),
            vec![vpn, mail],
        ),
    ] {
        assert_eq!(desk.query("Tickets", filter.clone()).await?, found, "{filter}");
        let search = json!({"filter": filter}).to_string();
        let by_get = desk.call(Method::GET, "Tickets/query").query(&[("search", &search)]);
        assert_eq!(ids(&accepted(by_get).await?), found, "{filter}");
        for request in [
            desk.call(Method::POST, "Tickets/query/count").json(&json!({"filter": filter})),
            desk.call(Method::GET, "Tickets/query/count").query(&[("search", &search)]),
        ] {
            assert_eq!(accepted(request).await?, json!({"queryCount": found.len()}), "{filter}");
        }
    }
    // `isActive` is an integer on contacts only.
    assert_eq!(desk.query("Contacts", test("eq", "isActive", json!(1))).await?, [data.contact]);
    assert_eq!(desk.query("Companies", test("eq", "isActive", json!(true))).await?, [0, data.company]);
    Ok(())
}

#[tokio::test]
async fn wrong_queries_are_refused() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let eq = |field: &str, value: Value| json!({"filter": [{"op": "eq", "field": field, "value": value}]});
    let udf = json!({"op": "eq", "field": "Device Name", "udf": true, "value": "x"});
    let exists = json!([{"op": "exist", "field": "id"}]);
    let many = vec![json!({"op": "eq", "field": "id", "value": 1}); 501];
    for (entity, search, text) in [
        ("Tickets", json!({}), "filter"),
        ("Tickets", json!({"filter": []}), "filter"),
        ("Tickets", json!({"filters": exists}), "filters"),
        ("Tickets", json!({"filter": [{"op": "eq", "feild": "id", "value": 1}]}), "feild"),
        ("Tickets", eq("projectId2", json!(1)), "Unable to find projectId2 in the Ticket Entity"),
        ("TimeEntries", eq("projectID", json!(1)), "Unable to find projectID in the TimeEntry Entity"),
        ("Tickets", eq("creatorType", json!(1)), "creatorType is not queryable"),
        ("Tickets", eq("lastActivityPersonType", json!(1)), "lastActivityPersonType is not queryable"),
        ("Tickets", eq("status", json!("New")), "Could not convert string to integer: New. Path 'status'"),
        ("Tickets", eq("dueDateTime", json!("tomorrow")), "datetime"),
        ("Companies", eq("isActive", json!(1)), "boolean"),
        ("Companies", eq("isActive", json!("true")), "boolean"),
        ("Contacts", eq("isActive", json!(true)), "integer"),
        ("Tickets", json!({"filter": [{"op": "in", "field": "id", "value": 1}]}), "list"),
        ("Tickets", json!({"filter": [{"op": "contains", "field": "id", "value": "1"}]}), "not a text"),
        ("Tickets", json!({"filter": [udf, udf]}), "only one user defined field"),
        ("Tickets", json!({"filter": [{"op": "eq", "field": "Serial", "udf": true, "value": "x"}]}), "Unable to find Serial"),
        ("Tickets", json!({"filter": [{"op": "or", "items": many}]}), "500 OR conditions"),
        ("Tickets", json!({"filter": [{"op": "or", "items": []}]}), "no items"),
        ("Tickets", json!({"filter": exists, "MaxRecords": 0}), "MaxRecords"),
        ("Tickets", json!({"filter": exists, "MaxRecords": 501}), "MaxRecords"),
        ("Tickets", json!({"filter": exists, "IncludeFields": ["number"]}), "Unable to find number"),
    ] {
        let request = desk.call(Method::POST, &format!("{entity}/query")).json(&search);
        desk.refused(&search.to_string(), request, text).await?;
    }
    let long = eq("title", json!("x".repeat(2_000))).to_string();
    assert_eq!(answer(desk.call(Method::GET, "Tickets/query").query(&[("search", long)])).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn a_query_goes_on_with_the_method_and_body_it_began_with() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let mut all = vec![desk.data.ticket];
    for _ in 0..6 {
        all.push(desk.autotask.add(Entity::Tickets, json!({"companyID": 0, "title": "Disk", "status": 1}))?);
    }
    let search = json!({"MaxRecords": 3, "IncludeFields": ["ID", "title"], "filter": [{"op": "exist", "field": "id"}]});
    let user = desk.autotask.options().api_user;
    let url = |page: &Value, key: &str| page["pageDetails"][key].as_str().map(str::to_owned);
    let at = |method: Method, url: &str| signed(desk.client.request(method, url), &user);

    for method in [Method::POST, Method::GET] {
        let ask = |url: &str| match method {
            Method::POST => at(Method::POST, url).json(&search),
            _ => at(Method::GET, url),
        };
        let first = desk.call(method.clone(), "Tickets/query");
        let first = if method == Method::POST { first.json(&search) } else { first.query(&[("search", search.to_string())]) };
        let mut page = accepted(first).await?;
        assert_eq!(page["items"][0], json!({"id": desk.data.ticket, "title": "VPN drops"}));
        assert_eq!((&page["pageDetails"]["count"], &page["pageDetails"]["requestCount"]), (&json!(3), &json!(3)));
        assert_eq!(url(&page, "prevPageUrl"), None);
        let mut seen = ids(&page);
        let second = url(&page, "nextPageUrl").context("no next page")?;
        assert!(second.starts_with(&format!("{}V1.0/Tickets/query/next?paging=", desk.autotask.url())), "{second}");
        while let Some(next) = url(&page, "nextPageUrl") {
            page = accepted(ask(&next)).await?;
            seen.extend(ids(&page));
        }
        assert_eq!(seen, all, "{method}");
        let back = accepted(ask(&url(&page, "prevPageUrl").context("no previous page")?)).await?;
        assert_eq!(ids(&back), all[3..6]);

        let other = if method == Method::POST { Method::GET } else { Method::POST };
        assert_eq!(answer(at(other, &second).json(&search)).await?.0, 405, "{method}");
        if method == Method::POST {
            let another = altered(search.clone(), json!({"filter": [{"op": "gt", "field": "id", "value": 1}]}));
            desk.refused("another body", at(Method::POST, &second).json(&another), "not the one").await?;
        }
    }
    for _ in 0..500 {
        desk.autotask.add(Entity::Tickets, json!({"companyID": 0, "title": "Disk", "status": 1}))?;
    }
    let search = |fields: Value| json!({"IncludeFields": fields, "filter": [{"op": "exist", "field": "id"}]});
    let without = desk.call(Method::POST, "Tickets/query").json(&search(json!(["title"])));
    desk.refused("no id", without, "must have id").await?;
    let page = accepted(desk.call(Method::POST, "Tickets/query").json(&search(json!(["id"])))).await?;
    assert_eq!((ids(&page).len(), url(&page, "nextPageUrl").is_some()), (500, true));
    Ok(())
}

#[tokio::test]
async fn fields_and_choices_are_described() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let path = |what: &str| format!("Tickets/entityInformation{what}");
    let described = desk.get(&path("/fields")).await?;
    let field = |name: &str| {
        let fields = described["fields"].as_array().into_iter().flatten();
        fields.into_iter().find(|field| field["name"] == name).cloned().with_context(|| format!("no field {name}"))
    };
    let priority = field("priority")?;
    assert_eq!((&priority["isRequired"], &priority["isPickList"], &priority["dataType"]), (&json!(true), &json!(true), &json!("integer")));
    let low = priority["picklistValues"].as_array().into_iter().flatten().find(|choice| choice["label"] == "Low (old)");
    assert_eq!(low.map(|choice| (&choice["value"], &choice["isActive"])), Some((&json!("3"), &json!(false))));
    let sub_issue = field("subIssueType")?;
    assert_eq!(sub_issue["picklistParentValueField"], "issueType");
    assert_eq!(sub_issue["picklistValues"][0]["parentValue"], "10");
    assert_eq!(field("title")?["length"], 255);
    assert_eq!(field("ticketNumber")?["isReadOnly"], true);
    assert_eq!(field("creatorType")?["isQueryable"], false);
    assert_eq!(field("companyID")?["referenceEntityType"], "Company");
    // It says that it can be written, and is ignored.
    assert_eq!(field("createdByContactID")?["isReadOnly"], false);

    let information = desk.get(&path("")).await?;
    assert_eq!((&information["info"]["name"], &information["info"]["canDelete"]), (&json!("Ticket"), &json!(false)));
    desk.autotask.add_user_defined_field(Entity::Tickets, "Room");
    let defined = desk.get(&path("/userDefinedFields")).await?;
    assert_eq!(defined["fields"][1]["name"], "Room");
    // Another tenant, other choices.
    desk.autotask.set_picklist(Entity::Tickets, "status", vec![Choice::new(7001, "New")]);
    desk.refused("status", desk.call(Method::POST, "Tickets").json(&desk.ticket_body()), "Picklist value [1] does not exist for status")
        .await
}

#[tokio::test]
async fn tickets_are_checked_before_they_are_made() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let data = &desk.data;
    let stranger = desk.autotask.add(Entity::Companies, json!({"companyName": "Contoso Ltd", "isActive": true}))?;
    let before = desk.autotask.records(Entity::Tickets).len();
    for (changes, text) in [
        (json!({"companyID": null}), "Value does not exist for the required field companyID"),
        (json!({"title": null}), "required field title"),
        (json!({"title": "  "}), "required field title"),
        (json!({"status": null}), "required field status"),
        (json!({"priority": null}), "required field priority"),
        (json!({"dueDateTime": null}), "required field dueDateTime"),
        (json!({"queueID": null}), "queueID is required"),
        (
            json!({
                "queueID": null, "assignedResourceID": data.technician, "assignedResourceRoleID": data.role,
                "ticketCategory": CATEGORY_INCIDENT,
            }),
            "queueID is required",
        ),
        (json!({"status": "New"}), "Could not convert string to integer: New. Path 'status'"),
        (json!({"status": "1"}), "Could not convert string to integer"),
        (json!({"priority": 3}), "Picklist value [3] does not exist for priority"),
        (json!({"queueID": 99}), "Picklist value [99] does not exist for queueID"),
        (json!({"issueType": 10, "subIssueType": 137}), "subIssueType"),
        (json!({"subIssueType": 137}), "subIssueType"),
        (json!({"title": "x".repeat(256)}), "255"),
        (json!({"description": "x".repeat(8001)}), "8000"),
        (json!({"externalID": "x".repeat(51)}), "50"),
        (json!({"companyID": 77}), "77"),
        (json!({"companyID": stranger, "contactID": data.contact}), "contactID"),
        (json!({"companyID": stranger, "configurationItemID": data.device}), "configurationItemID"),
        (json!({"assignedResourceID": data.technician}), "assignedResourceRoleID"),
        (json!({"assignedResourceID": data.technician, "assignedResourceRoleID": data.other_role}), NOT_PAIRED),
        (json!({"billingCodeID": data.old_work_type}), "not an active general allocation code"),
        (json!({"dueDateTime": "tomorrow"}), "DateTime"),
        (json!({"workType": data.work_type}), "Unable to find workType in the Ticket Entity"),
        (json!({"userDefinedFields": [{"name": "Serial", "value": "x"}]}), "Unable to find Serial"),
    ] {
        let request = desk.call(Method::POST, "Tickets").json(&altered(desk.ticket_body(), changes.clone()));
        desk.refused(&changes.to_string(), request, text).await?;
    }
    assert_eq!(desk.autotask.records(Entity::Tickets).len(), before, "a refused create leaves nothing");

    let full = altered(
        desk.ticket_body(),
        json!({
            "contactID": data.contact, "configurationItemID": data.device, "issueType": 11, "subIssueType": 137, "billingCodeID": data.work_type,
            "assignedResourceID": data.technician, "assignedResourceRoleID": data.role, "queueID": null, "externalID": "rs:0f5c",
            "title": "x".repeat(255), "description": "<b>ü</b>".repeat(1000), "ticketNumber": "T1", "createdByContactID": data.contact,
            "dueDateTime": "2026-11-24T17:00:00+02:00", "userDefinedFields": [{"name": "Device Name", "value": "PC-042"}],
        }),
    );
    let id = desk.create("Tickets", &full).await?;
    let made = desk.get(&format!("Tickets/{id}")).await?["item"].clone();
    let today = desk.autotask.now().date();
    let day = format!("T{:04}{:02}{:02}", today.year(), u8::from(today.month()), today.day());
    assert_eq!(made["ticketNumber"], format!("{day}.0002"));
    assert_eq!(made["description"], full["description"]);
    assert_eq!(made["dueDateTime"], "2026-11-24T15:00:00Z");
    assert_eq!((&made["ticketCategory"], &made["ticketType"]), (&json!(1), &json!(1)));
    assert_eq!(made["createdByContactID"], Value::Null);
    assert_eq!(made["creatorResourceID"], desk.autotask.options().api_user.resource_id);
    assert_eq!(made["userDefinedFields"], json!([{"name": "Device Name", "value": "PC-042"}]));
    assert!(made["createDate"].as_str().is_some_and(|at| at.ends_with('Z')));

    // The tenant's own organisation has id 0; names in other case are the same names; there is no idempotency.
    let body = json!({
        "CompanyID": 0, "TITLE": "Printer", "Status": 1, "priority": 1, "queueID": QUEUE, "dueDateTime": "2026-11-24", "externalID": "rs:0f5c",
    });
    let twins = [desk.create("Tickets", &body).await?, desk.create("Tickets", &body).await?];
    assert_ne!(twins[0], twins[1]);
    let found = desk.query("Tickets", json!([{"op": "eq", "field": "externalID", "value": "rs:0f5c"}])).await?;
    assert_eq!(found, [id, twins[0], twins[1]]);
    desk.autotask.alter(|options| options.settings.supplies_due_date = true);
    desk.create("Tickets", &altered(desk.ticket_body(), json!({"dueDateTime": null}))).await?;
    Ok(())
}

#[tokio::test]
async fn tickets_change_unless_the_answer_lies() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let id = desk.create("Tickets", &altered(desk.ticket_body(), json!({"purchaseOrderNumber": "PO-1"}))).await?;
    let path = format!("Tickets/{id}");
    let close = json!({"id": id, "status": 5});
    desk.autotask.ignore_ticket_updates(1);
    assert_eq!(desk.write(Method::PATCH, "Tickets", &close).await?, id);
    assert_eq!(desk.get(&path).await?["item"]["status"], 1);
    desk.write(Method::PATCH, "Tickets", &close).await?;
    let closed = desk.get(&path).await?["item"].clone();
    assert_eq!((&closed["status"], &closed["title"]), (&json!(5), &json!("Remote session")));
    assert!(closed["completedDate"].is_string());
    // A finished ticket still takes notes.
    desk.create(&format!("{path}/Notes"), &note_body()).await?;

    for (case, body, text) in [
        ("no id", json!({"status": 1}), "required field id"),
        ("cleared", json!({"id": id, "title": null}), "required field title"),
        ("label", json!({"id": id, "status": "New"}), "Could not convert string to integer"),
        ("role", json!({"id": id, "assignedResourceID": desk.data.technician}), "assignedResourceRoleID"),
    ] {
        desk.refused(case, desk.call(Method::PATCH, "Tickets").json(&body), text).await?;
    }
    assert_eq!(answer(desk.call(Method::PATCH, "Tickets").json(&json!({"id": 1, "status": 5}))).await?.0, 404);
    // PUT clears what it does not name.
    desk.write(Method::PUT, "Tickets", &altered(desk.ticket_body(), json!({"id": id}))).await?;
    let replaced = desk.get(&path).await?["item"].clone();
    assert_eq!((&replaced["status"], &replaced["purchaseOrderNumber"]), (&json!(1), &Value::Null));
    assert!(replaced["completedDate"].is_null() && replaced["ticketNumber"].is_string());
    Ok(())
}

#[tokio::test]
async fn notes_are_plain_text_within_limits() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let path = desk.notes_path();
    for (changes, text) in [
        (json!({"description": null}), "Value does not exist for the required field description"),
        (json!({"description": " \r\n"}), "required field description"),
        (json!({"noteType": null}), "required field noteType"),
        (json!({"publish": null}), "required field publish"),
        (json!({"title": "x".repeat(251)}), "250"),
        (json!({"description": "x".repeat(32_001)}), "32000"),
        // Two UTF-16 units each.
        (json!({"title": "😀".repeat(126)}), "250"),
        (json!({"noteType": "Task Summary"}), "Could not convert string to integer: Task Summary. Path 'noteType'"),
        (json!({"noteType": 29_683_412}), "Picklist value [29683412] does not exist for noteType"),
        (json!({"publish": 3}), "Picklist value [3] does not exist for publish"),
        (json!({"publish": 4}), "Picklist value [4] does not exist for publish"),
        (json!({"ticketID": desk.data.ticket + 1}), "ticketID"),
        (json!({"body": "x"}), "Unable to find body in the TicketNote Entity"),
    ] {
        let request = desk.call(Method::POST, &path).json(&altered(note_body(), changes.clone()));
        desk.refused(&changes.to_string(), request, text).await?;
    }
    let untitled = altered(note_body(), json!({"title": null}));
    let (status, body) = answer(desk.call(Method::POST, &path).json(&untitled)).await?;
    assert_eq!((status, &body["errors"][0]), (400, &json!("Missing Required Field: title")));
    assert!(desk.autotask.notes(desk.data.ticket).is_empty(), "a refused create leaves nothing");

    let body = json!({
        "TicketID": desk.data.ticket, "Title": "x".repeat(250), "Description": format!("<b>{}</b>", "ü".repeat(31_993)), "NoteType": 1, "Publish": 1,
    });
    let note = desk.create(&path, &body).await?;
    let twin = desk.create(&path, &body).await?;
    let notes = desk.autotask.notes(desk.data.ticket);
    assert_eq!(notes.iter().map(|note| note.id).collect::<Vec<_>>(), [note, twin], "equal creates make two");
    assert!(notes[0].description.starts_with("<b>ü"), "markup stays as it was sent");
    assert_eq!((notes[0].note_type, notes[0].publish), (1, 1));
    assert_eq!(notes[0].creator, desk.autotask.options().api_user.resource_id);
    assert!(notes[0].created_at.is_some());
    desk.autotask.alter(|options| {
        options.settings.note_titles_required = false;
        options.settings.co_managed = true;
    });
    desk.create(&path, &altered(untitled, json!({"publish": 4}))).await?;

    // The marker in the title is how a second write is avoided.
    let marked = json!([
        {"op": "eq", "field": "ticketID", "value": desk.data.ticket}, {"op": "contains", "field": "title", "value": "xxx"},
    ]);
    assert_eq!(desk.query("TicketNotes", marked).await?, [note, twin]);
    let patch = |body: Value| desk.call(Method::PATCH, &path).json(&body);
    desk.refused("no type", patch(json!({"id": note, "publish": 2, "title": "New"})), "required field noteType").await?;
    desk.refused("no publish", patch(json!({"id": note, "noteType": 1, "title": "New"})), "required field publish").await?;
    accepted(patch(json!({"id": note, "noteType": 1, "publish": 2, "title": "New"}))).await?;
    let changed = &desk.autotask.notes(desk.data.ticket)[0];
    assert_eq!((changed.title.as_str(), changed.publish), ("New", 2));
    Ok(())
}

#[tokio::test]
async fn time_entries_keep_every_rule() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let data = &desk.data;
    let left = desk.autotask.add(Entity::Resources, json!({"userName": "left", "isActive": false}))?;
    desk.autotask.add(Entity::ResourceServiceDeskRoles, json!({"resourceID": left, "roleID": data.role, "isActive": true}))?;
    let window = |start: &str, end: &str| json!({"startDateTime": start, "endDateTime": end});
    for (changes, text) in [
        (json!({"resourceID": null}), "Value does not exist for the required field resourceID"),
        (json!({"roleID": null}), "TimeEntries for Tickets must have a roleID"),
        (json!({"roleID": data.other_role}), NOT_PAIRED),
        (json!({"resourceID": left}), NOT_PAIRED),
        (json!({"roleID": 1}), "roleID"),
        (json!({"startDateTime": null, "endDateTime": null}), "Must have at least one of hoursWorked or startDateTime/endDateTime"),
        (
            json!({"startDateTime": null, "endDateTime": null, "hoursWorked": 1}),
            "TimeEntries for Service tickets require a start and stop time.",
        ),
        (json!({"startDateTime": null}), "Must have at least one of"),
        (json!({"summaryNotes": null}), "TimeEntry.summaryNotes can not be blank."),
        (json!({"summaryNotes": " "}), "TimeEntry.summaryNotes can not be blank."),
        (window("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"), "hoursWorked greater than 24 hours or less than zero hours"),
        (window("2026-11-21T10:00:00Z", "2026-11-21T10:00:59Z"), "hoursWorked greater than 24 hours or less than zero hours"),
        (window("2026-11-21T10:00:00Z", "2026-11-21T09:00:00Z"), "hoursWorked greater than 24 hours or less than zero hours"),
        (window("2026-11-21T10:00:00Z", "2026-11-22T10:00:01Z"), "hoursWorked greater than 24 hours or less than zero hours"),
        (window("2026-11-21T23:50:00Z", "2026-11-22T00:10:00Z"), "span over midnight"),
        // It is UTC's midnight that counts.
        (window("2026-11-22T00:50:00+01:00", "2026-11-22T01:10:00+01:00"), "span over midnight"),
        (json!({"billingCodeID": data.old_work_type}), "The given allocation code is not an active general allocation code"),
        (json!({"billingCodeID": data.material_code}), "The given allocation code is not an active general allocation code"),
        (json!({"taskID": 5}), "Only one of ticketID,taskID and InternallAllocationCodeID can be used at once"),
        (json!({"internalBillingCodeID": data.work_type}), "Only one of ticketID,taskID and InternallAllocationCodeID can be used at once"),
        (json!({"ticketID": null}), "ticketID"),
        (json!({"ticketID": 7}), "ticketID"),
        (json!({"summaryNotes": "x".repeat(32_001)}), "32000"),
        (json!({"internalNotes": "x".repeat(32_001)}), "32000"),
    ] {
        let body = altered(desk.time_entry_body(), changes.clone());
        desk.refused(&changes.to_string(), desk.call(Method::POST, "TimeEntries").json(&body), text).await?;
    }
    assert!(desk.autotask.time_entries(data.ticket).is_empty(), "a refused create leaves nothing");

    let post = |changes: Value| altered(desk.time_entry_body(), changes);
    let full = post(
        json!({"hoursWorked": 9, "billingCodeID": data.work_type, "internalNotes": "session 0f5c", "offsetHours": 0, "showOnInvoice": true}),
    );
    let id = desk.create("TimeEntries", &full).await?;
    let twin = desk.create("TimeEntries", &full).await?;
    let entries = desk.autotask.time_entries(data.ticket);
    assert_eq!(entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id, twin], "equal creates make two");
    let entry = &entries[0];
    assert!((entry.hours_worked - 0.5667).abs() < 1e-9, "the hours follow the window: {}", entry.hours_worked);
    assert_eq!((entry.resource, entry.role, entry.billing_code), (data.technician, Some(data.role), Some(data.work_type)));
    let stored = desk.get(&format!("TimeEntries/{id}")).await?["item"].clone();
    assert_eq!((&stored["dateWorked"], &stored["timeEntryType"]), (&json!("2026-11-21T00:00:00Z"), &json!(2)));
    let marked = json!([
        {"op": "eq", "field": "ticketID", "value": data.ticket}, {"op": "eq", "field": "resourceID", "value": data.technician},
        {"op": "contains", "field": "internalNotes", "value": "0f5c"},
    ]);
    assert_eq!(desk.query("TimeEntries", marked).await?, [id, twin]);
    // Ending at midnight is not over it.
    desk.create("TimeEntries", &post(window("2026-11-21T23:00:00Z", "2026-11-22T00:00:00Z"))).await?;

    // Hours alone change nothing.
    desk.write(Method::PATCH, "TimeEntries", &json!({"id": id, "hoursWorked": 3, "summaryNotes": "More"})).await?;
    let entry = &desk.autotask.time_entries(data.ticket)[0];
    assert!((entry.hours_worked - 0.5667).abs() < 1e-9);
    assert_eq!(entry.summary, "More");

    desk.autotask.alter(|options| {
        options.settings.time_over_midnight = true;
        options.settings.tickets_need_times = false;
        options.settings.proxy_time_entries = false;
    });
    let for_another = desk.call(Method::POST, "TimeEntries").json(&full);
    desk.refused("for another", for_another, "other Resources").await?;
    desk.autotask.alter(|options| options.settings.proxy_time_entries = true);
    desk.create("TimeEntries", &post(window("2026-11-21T23:50:00Z", "2026-11-22T00:10:00Z"))).await?;
    let no_times = post(json!({"startDateTime": null, "endDateTime": null, "hoursWorked": 1}));
    let dateless = desk.call(Method::POST, "TimeEntries").json(&no_times);
    desk.refused("dateless", dateless, "dateWorked is required when no value is supplied for startDateTime").await?;
    desk.create("TimeEntries", &altered(no_times, json!({"dateWorked": "2026-11-21T00:00:00Z"}))).await?;

    desk.autotask.alter_api_user("api-user@msp.example", |user| user.may_set_work_type = false).context("no such user")?;
    desk.refused("work type", desk.call(Method::POST, "TimeEntries").json(&full), "not authorised to set billingCodeID").await?;
    desk.create("TimeEntries", &desk.time_entry_body()).await?;

    accepted(desk.call(Method::DELETE, &format!("TimeEntries/{id}"))).await?;
    assert!(desk.autotask.time_entries(data.ticket).iter().all(|entry| entry.id != id));
    Ok(())
}

#[tokio::test]
async fn impersonation_is_for_creates_where_it_is_allowed() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let technician = desk.data.technician;
    let acting = |method: Method, path: &str| desk.call(method, path).header("ImpersonationResourceId", technician.to_string());
    let create_note = || acting(Method::POST, &desk.notes_path()).json(&note_body());
    desk.refused("not allowed", create_note(), NO_RIGHT).await?;
    desk.autotask
        .alter_api_user("api-user@msp.example", |user| user.may_impersonate = vec![Entity::TicketNotes, Entity::TimeEntries])
        .context("no such user")?;
    accepted(create_note()).await?;
    assert_eq!(desk.autotask.notes(desk.data.ticket)[0].creator, technician);
    desk.refused("get", acting(Method::GET, &format!("Tickets/{}", desk.data.ticket)), "to query this entity type.").await?;
    desk.refused("other entity", acting(Method::POST, "Tickets").json(&desk.ticket_body()), NO_RIGHT).await?;
    let entry = accepted(acting(Method::POST, "TimeEntries").json(&desk.time_entry_body())).await?["itemId"].clone();
    desk.refused("patch", acting(Method::PATCH, "TimeEntries").json(&json!({"id": entry})), NO_RIGHT).await?;
    desk.refused("delete", desk.call(Method::DELETE, &format!("TimeEntries/{entry}")), NO_RIGHT).await
}

#[tokio::test]
async fn attachments_have_limits_of_their_own() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let path = desk.attachments_path();
    let file = |bytes: usize| {
        json!({
            "id": 0, "attachmentType": "FILE_ATTACHMENT", "fullPath": "session.txt", "title": "Session report", "publish": 2,
            "data": STANDARD.encode(vec![b'x'; bytes]),
        })
    };
    for (changes, text) in [
        (json!({"attachmentType": null}), "required field attachmentType"),
        (json!({"publish": null}), "required field publish"),
        (json!({"title": null}), "required field title"),
        (json!({"fullPath": null}), "required field fullPath"),
        (json!({"data": null}), "required field data"),
        (json!({"data": "not Base64!"}), "required field data"),
        (json!({"attachmentType": "FILE"}), "attachmentType"),
        (json!({"fullPath": "session.exe"}), ".exe"),
        (json!({"fullPath": "session"}), "file type"),
    ] {
        let request = desk.call(Method::POST, &path).json(&altered(file(3), changes.clone()));
        desk.refused(&changes.to_string(), request, text).await?;
    }
    let post = |bytes: usize| desk.call(Method::POST, &path).json(&file(bytes));
    desk.refused("one file", post(FILE_MAX + 1), "maximum file size").await?;

    let id = desk.create(&path, &file(FILE_MAX)).await?;
    let list = desk.get(&path).await?;
    assert_eq!(list["items"][0]["fileSize"], json!(6_000_000.0));
    let query = json!({"filter": [{"op": "eq", "field": "ticketID", "value": desk.data.ticket}]});
    let found = accepted(desk.call(Method::POST, "AttachmentInfo/query").json(&query)).await?;
    for page in [&list, &found] {
        assert_eq!(ids(page), [id]);
        assert!(page["items"][0].get("data").is_none(), "lists have no content");
        assert_eq!(page["items"][0]["parentType"], 4);
    }
    let own = desk.get(&format!("{path}/{id}")).await?;
    assert_eq!(own["items"][0]["data"].as_str().map(str::len), Some(8_000_000));
    assert_eq!(desk.autotask.attachments(desk.data.ticket)[0].content.len(), FILE_MAX);

    // Too much within five minutes blocks even small ones, for five minutes; links are no files.
    desk.refused("window", post(ATTACHED_MAX - FILE_MAX + 1), "10000000").await?;
    desk.refused("blocked", post(1), "10000000").await?;
    let link = altered(file(0), json!({"attachmentType": "URL", "fullPath": "https://support.example.com/recording", "data": null}));
    desk.create(&path, &link).await?;
    desk.autotask.advance_clock(ATTACHING_TIME.unsigned_abs());
    desk.create(&path, &file(ATTACHED_MAX - FILE_MAX + 1)).await?;
    Ok(())
}

#[tokio::test]
async fn further_devices_hang_on_a_ticket() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let path = format!("Tickets/{}/AdditionalConfigurationItems", desk.data.ticket);
    let id = desk.create(&path, &json!({"configurationItemID": desk.data.other_device})).await?;
    let of_ticket = json!([{"op": "eq", "field": "ticketID", "value": desk.data.ticket}]);
    assert_eq!(desk.query("TicketAdditionalConfigurationItems", of_ticket).await?, [id]);
    desk.refused("none", desk.call(Method::POST, &path).json(&json!({})), "required field configurationItemID").await?;
    desk.refused("unknown", desk.call(Method::POST, &path).json(&json!({"configurationItemID": 1})), "configurationItemID").await?;
    let by_name = json!([{"op": "eq", "field": "Device Name", "udf": true, "value": "HBR-PC-0042"}]);
    assert_eq!(desk.query("ConfigurationItems", by_name).await?, [desk.data.other_device]);
    Ok(())
}

#[tokio::test]
async fn errors_come_in_every_shape() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let untitled = altered(desk.ticket_body(), json!({"title": null}));
    let text = "Value does not exist for the required field title";
    for (shape, expected) in [
        (ErrorShape::Texts, json!({"errors": [text]})),
        (ErrorShape::Objects, json!({"errors": [{"message": text, "field": ""}]})),
        (ErrorShape::Message, json!({"Message": text})),
    ] {
        desk.autotask.alter(|options| options.error_shape = shape);
        assert_eq!(answer(desk.call(Method::POST, "Tickets").json(&untitled)).await?, (500, expected));
        // The web framework has its own shape.
        assert!(answer(desk.call(Method::GET, "Tickets")).await?.1["Message"].is_string());
    }
    desk.autotask.alter(|options| options.error_shape = ErrorShape::Page);
    let response = desk.call(Method::POST, "Tickets").json(&untitled).send().await?;
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (500, &"text/html; charset=utf-8".parse()?));
    assert!(response.text().await?.contains("\r\n"));
    Ok(())
}

#[tokio::test]
async fn the_fourth_request_at_once_is_refused() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    desk.autotask.fail_always(Matching { path_prefix: format!("{REST}Tickets/query"), ..Matching::default() }, Fault::Hang);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..CONCURRENT_MAX {
        let search = json!({"filter": [{"op": "exist", "field": "id"}]});
        waiting.spawn(desk.call(Method::POST, "Tickets/query").json(&search).send());
    }
    desk.autotask.wait_for_requests(&Method::POST, &format!("{REST}Tickets/query"), CONCURRENT_MAX).await?;
    // Metadata counts on the entity too; notes and another tracking id have places of their own.
    let fourth = || desk.call(Method::GET, "Tickets/entityInformation/fields");
    let (status, body) = answer(fourth()).await?;
    assert_eq!((status, body["errors"][0].is_string()), (429, true));
    let another = ApiUser { user_name: "another@msp.example".to_owned(), integration_code: "ANOTHER".to_owned(), ..ApiUser::default() };
    desk.autotask.add_api_user(another.clone());
    assert_eq!(answer(desk.by(&another, Method::GET, "Tickets/entityInformation/fields")).await?.0, 200);
    desk.create(&desk.notes_path(), &note_body()).await?;

    desk.autotask.alter(|options| options.thread_refusal = ThreadRefusal::TooManyRequests { retry_after: Some(2) });
    assert_eq!(fourth().send().await?.headers()["retry-after"], "2");
    desk.autotask.alter(|options| options.thread_refusal = ThreadRefusal::ByText { status: 500 });
    desk.refused("by text", fourth(), "Itgenatr005").await?;

    // Whoever goes away gives his place back.
    assert_eq!(desk.autotask.in_flight(Entity::Tickets), CONCURRENT_MAX);
    waiting.shutdown().await;
    desk.autotask.wait_until(|autotask| (autotask.in_flight(Entity::Tickets) == 0).then_some(())).await?;
    accepted(fourth()).await?;
    Ok(())
}

#[tokio::test]
async fn the_hours_threshold_slows_down_and_then_refuses() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let usage = || desk.call(Method::GET, "ThresholdInformation");
    let counted = accepted(usage()).await?;
    assert_eq!(counted, json!({"externalRequestThreshold": 10_000, "requestThresholdTimeframe": 60, "currentTimeframeRequestCount": 1}));
    assert_eq!(desk.autotask.slowed_by(), time::Duration::ZERO);
    desk.autotask.use_up_requests(4_999);
    accepted(usage()).await?;
    assert_eq!(desk.autotask.slowed_by(), time::Duration::milliseconds(500));
    desk.autotask.use_up_requests(2_499);
    accepted(usage()).await?;
    assert_eq!(desk.autotask.slowed_by(), time::Duration::milliseconds(1_500));
    desk.autotask.use_up_requests(2_499);
    assert_eq!(answer(usage()).await?.0, 429);
    assert_eq!(answer(desk.call(Method::POST, "Tickets").json(&desk.ticket_body())).await?.0, 429);
    // Discovery is exempt.
    let zone = desk.anonymous(Method::GET, "zoneInformation?user=api-user@msp.example");
    assert_eq!(answer(zone).await?.0, 200);
    desk.autotask.advance_clock(Duration::from_hours(1));
    assert_eq!(accepted(usage()).await?["currentTimeframeRequestCount"], 1);
    Ok(())
}

#[tokio::test]
async fn faults_come_as_ordered() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let (autotask, ticket) = (&desk.autotask, desk.data.ticket);
    let path = format!("{REST}{}", desk.notes_path());
    let matching = || Matching::new(Method::POST, &path);
    let post = |title: &str| desk.call(Method::POST, &desk.notes_path()).json(&altered(note_body(), json!({"title": title})));
    let titles = || autotask.notes(ticket).into_iter().map(|note| note.title).collect::<Vec<_>>();

    autotask.fail_next(1, matching(), Fault::ApplyThenClose);
    assert!(post("lost answer").send().await.is_err());
    assert_eq!(titles(), ["lost answer"]);
    autotask.fail_next(1, matching(), Fault::CloseConnection);
    assert!(post("lost").send().await.is_err());
    autotask.fail_next(1, matching(), Fault::ApplyThenStatus(503));
    assert_eq!(answer(post("unavailable")).await?.0, 503);
    autotask.fail_next(1, matching(), Fault::Status { code: 502, body: "<html>\r\n</html>".to_owned(), retry_after: Some(7) });
    let response = post("refused").send().await?;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (502, &"7".parse()?));
    autotask.fail_next(1, matching(), Fault::ApplyThenHang);
    assert!(post("hung").timeout(Duration::from_millis(50)).send().await.is_err());
    autotask.fail_next(1, matching(), Fault::ApplyLater(Duration::from_millis(20)));
    assert!(post("late").timeout(Duration::from_millis(10)).send().await.is_err());
    autotask.wait_for_note(ticket, |note| note.title == "late").await?;
    accepted(post("fine")).await?;
    assert_eq!(titles(), ["lost answer", "unavailable", "hung", "late", "fine"]);

    autotask.fail_always(matching(), Fault::CloseConnection);
    assert!(post("lost").send().await.is_err());
    autotask.clear_faults();
    autotask.alter(|options| options.latency = Duration::from_millis(20));
    let begin = std::time::Instant::now();
    accepted(post("slow")).await?;
    assert!(begin.elapsed() >= Duration::from_millis(20));

    let recorded = autotask.requests();
    assert_eq!(recorded.len(), autotask.count(&Method::POST, &path));
    assert_eq!(recorded[0].status, None, "unanswered");
    assert_eq!((recorded[2].status, &recorded[2].body["title"]), (Some(503), &json!("unavailable")));
    autotask.clear_requests();
    assert!(autotask.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_write_refused_by_a_gateway_or_cut_off_happens_later_all_the_same() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let (autotask, ticket) = (&desk.autotask, desk.data.ticket);
    let matching = || Matching::new(Method::POST, format!("{REST}{}", desk.notes_path()));
    let post = |title: &str| desk.call(Method::POST, &desk.notes_path()).json(&altered(note_body(), json!({"title": title})));
    let after = Duration::from_millis(50);
    for code in [502, 503, 504] {
        let title = format!("refused with {code}");
        let before = autotask.notes(ticket).len();
        autotask.fail_next(1, matching(), Fault::StatusThenApplyLater { code, after });
        let response = post(&title).send().await?;
        assert_eq!((response.status().as_u16(), autotask.notes(ticket).len()), (code, before), "nothing happened yet");
        assert!(response.text().await?.contains(&format!("<h1>{code} ")), "a page of the gateway");
        autotask.wait_for_note(ticket, |note| note.title == title).await?;
    }
    autotask.fail_next(1, matching(), Fault::CloseThenApplyLater(after));
    let before = autotask.notes(ticket).len();
    assert!(post("cut off").send().await.is_err());
    assert_eq!(autotask.notes(ticket).len(), before, "nothing happened yet");
    autotask.wait_for_note(ticket, |note| note.title == "cut off").await?;

    let begin = std::time::Instant::now();
    autotask.fail_next(1, matching(), Fault::Delay(after));
    accepted(post("slow")).await?;
    assert!(begin.elapsed() >= after);
    assert_eq!(autotask.notes(ticket).len(), 5);
    Ok(())
}

#[tokio::test]
async fn the_ticket_page_has_the_structure_extensions_meet() -> anyhow::Result<()> {
    let desk = Desk::start().await?;
    let (ticket, number) = (desk.data.ticket, &desk.data.ticket_number);
    desk.autotask.alter_record(Entity::Tickets, ticket, json!({"title": "VPN <drops> & \"more\""}))?;
    desk.create(&desk.notes_path(), &altered(note_body(), json!({"description": "<b>bold</b>"}))).await?;
    let page = async |url: String| -> anyhow::Result<String> {
        let response = desk.client.get(&url).send().await?;
        ensure!(response.status() == 200, "{url}: {}", response.status());
        Ok(response.text().await?)
    };
    let shown = page(desk.autotask.ticket_page(ticket)).await?;
    for part in [
        r#"<body class="EntityPage EntityDetail">"#,
        &format!("<title>{number} - VPN &lt;drops&gt; &amp; &quot;more&quot; | Autotask PSA</title>"),
        &format!(r#"<div class="IdentificationText">{number}</div>"#),
        &format!(r#"<span class="SecondaryText">- {number} - VPN &lt;drops&gt; &amp; &quot;more&quot; (Harbour Logistics)</span>"#),
        r#"<span class="PrimaryText">Configuration Item</span>"#,
        r#"<div class="Text2">HBR-LT-0147</div>"#,
        r#"<div class="Text2">Tom Okafor</div>"#,
        r#"<div class="SecondaryContainer Right"><div class="InsightContainer">"#,
        r#"<div class="Message">&lt;b&gt;bold&lt;/b&gt;</div>"#,
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert_ne!(page(desk.autotask.ticket_page(ticket)).await?, shown, "ids change at every load");
    let web = desk.autotask.web_url();
    for query in [format!("TicketId={ticket}"), format!("ticketID={ticket}&mode=0"), format!("ids%5B0%5D={ticket}&ids%5B1%5D=1")] {
        assert!(page(format!("{web}Mvc/ServiceDesk/TicketDetail.mvc?{query}")).await?.contains(number.as_str()), "{query}");
    }
    desk.autotask.alter(|options| {
        options.ticket_page.configuration_item = false;
        options.ticket_page.labels[0] = "Organización".to_owned();
    });
    let shown = page(desk.autotask.ticket_page(ticket)).await?;
    assert!(!shown.contains("HBR-LT-0147") && shown.contains("Organización"));

    let command = format!("{web}Autotask/AutotaskExtend/ExecuteCommand.aspx?Code=OpenTicketDetail");
    for query in [format!("&TicketID={ticket}"), format!("&TicketNumber={number}")] {
        let response = desk.client.get(format!("{command}{query}")).send().await?;
        assert_eq!(response.status(), 302);
        assert_eq!(response.headers()["location"], format!("/Mvc/ServiceDesk/TicketDetail.mvc?workspace=False&ticketId={ticket}"));
    }
    for missing in [format!("{command}&TicketID=1"), format!("{web}Mvc/ServiceDesk/TicketDetail.mvc?ticketId=1"), web.clone()] {
        assert_eq!(desk.client.get(&missing).send().await?.status(), 404, "{missing}");
    }
    Ok(())
}
