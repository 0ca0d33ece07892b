//! The REST API: version 3 of Cloud, version 2 of Data Center.

use axum::http::{HeaderMap, Method};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::site::{Errors, Field, Issue, PROJECT_ID, Site};
use super::vendor::Operation;
use super::{Kind, jql};

/// Largest file.
const FILE_MAX: usize = 10 * 1024 * 1024;
/// Most entries of a page of a search, as it is set.
const SEARCH_MAX: usize = 100;

/// A request.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: Vec::new(), content_type: "application/json;charset=UTF-8", body: body.to_string() }
    }

    fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), content_type: "text/plain", body: body.to_owned() }
    }

    fn errors(status: u16, errors: &Errors) -> Self {
        Self::json(status, &errors.body())
    }
}

type Answer = Result<Reply, Reply>;

fn refused(status: u16, message: impl Into<String>) -> Reply {
    Reply::errors(status, &Errors::of(message))
}

impl Call {
    fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.asked(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Result<Value, Reply> {
        if !self.header("content-type").starts_with("application/json") {
            return Err(Reply::text(415, "Unsupported Media Type"));
        }
        serde_json::from_slice(&self.body).map_err(|error| refused(400, format!("There was an error parsing JSON. {error}")))
    }
}

/// Answers a request; and the user it was done as.
pub(super) fn answer(site: &mut Site, call: &Call) -> (Reply, Option<String>) {
    let version = if site.options.kind == Kind::Cloud { 3 } else { 2 };
    let Some(path) = call.path.strip_prefix(&format!("/rest/api/{version}/")) else {
        return (Reply::text(404, "null for uri"), None);
    };
    if call.header("authorization") != site.options.authorization() {
        return (unauthorized(site), None);
    }
    let user = Some(site.options.user().email.clone());
    if !call.header("accept").contains("json") {
        return (Reply::text(406, "Not Acceptable"), user);
    }
    let operation = Operation::of(call.method.as_str().to_ascii_lowercase().as_str(), &call.path);
    if version == 3 {
        let body = serde_json::from_slice(&call.body).unwrap_or(Value::Null);
        let fault = match &operation {
            None => Some("is not in the vendor's document".to_owned()),
            Some(operation) => operation.request_fault(&call.query, call.header("content-type"), &body),
        };
        if let Some(fault) = fault {
            let said = format!("{} {}: {fault}", call.method, call.path);
            site.violations.push(said.clone());
            return (refused(400, said), user);
        }
    }
    let path = path.to_owned();
    let reply = route(site, call, &path).unwrap_or_else(|refusal| refusal);
    if version == 3
        && let Some(operation) = operation
        && let Ok(body) = serde_json::from_str(&reply.body)
        && let Some(fault) = operation.answer_fault(reply.status, &body)
    {
        site.violations.push(format!("answer to {} {}: {fault}", call.method, call.path));
    }
    (reply, user)
}

fn unauthorized(site: &Site) -> Reply {
    match site.options.kind {
        Kind::Cloud => {
            let mut reply = Reply::text(401, "Client must be authenticated to access this resource.");
            reply.headers.push(("www-authenticate", "OAuth realm=\"https%3A%2F%2Fexample.atlassian.net\"".to_owned()));
            reply
        }
        Kind::DataCenter => {
            Reply { content_type: "text/html", ..Reply::text(401, "<html><head><title>Unauthorized (401)</title></head></html>") }
        }
    }
}

fn route(site: &mut Site, call: &Call, path: &str) -> Answer {
    let parts: Vec<&str> = path.split('/').collect();
    let (is_get, is_post) = (call.method == Method::GET, call.method == Method::POST);
    match parts[..] {
        ["myself"] if is_get => Ok(Reply::json(200, &user_json(site, 0))),
        ["field"] if is_get => Ok(Reply::json(200, &site.fields.iter().map(|field| field_json(site, field, false)).collect())),
        ["project", key] if is_get => project(site, key),
        ["mypermissions"] if is_get => permissions(site, call),
        ["user", "search"] if is_get && site.options.kind == Kind::Cloud => Ok(Reply::json(200, &users(site, call.asked("query")))),
        ["search", "jql"] if is_get && site.options.kind == Kind::Cloud => {
            search(site, call.asked("jql"), call.asked("fields"), None, true)
        }
        ["search"] if site.options.kind == Kind::DataCenter => search_data_center(site, call),
        ["issue"] if is_post => create(site, call),
        ["issue", "bulkfetch"] if is_post && site.options.kind == Kind::Cloud => bulk(site, call),
        ["issue", "createmeta", project, "issuetypes"] if is_get => createmeta(site, call, project, None),
        ["issue", "createmeta", project, "issuetypes", id] if is_get => createmeta(site, call, project, Some(id)),
        ["issue", key] if is_get => {
            let asked: Vec<&str> = call.asked("fields").map_or_else(Vec::new, |fields| fields.split(',').collect());
            let mut shown = issue_json(site, seen(site, key)?, &asked);
            if call.asked("expand") == Some("transitions") {
                shown["transitions"] = transitions_json(site, seen(site, key)?);
            }
            Ok(Reply::json(200, &shown))
        }
        ["issue", key, "transitions"] if is_get => {
            Ok(Reply::json(200, &json!({ "transitions": transitions_json(site, seen(site, key)?) })))
        }
        ["issue", key, "transitions"] if is_post => transition(site, call, key),
        ["issue", key, "comment"] if is_get => entries(site, call, key, "comments"),
        ["issue", key, "comment"] if is_post => comment(site, call, key),
        ["issue", key, "worklog"] if is_get => entries(site, call, key, "worklogs"),
        ["issue", key, "worklog"] if is_post => worklog(site, call, key),
        ["issue", key, "attachments"] if is_post => attach(site, call, key),
        _ => Err(Reply::text(404, "null for uri")),
    }
}

fn denies(site: &Site, permission: &str) -> bool {
    site.denied.iter().any(|denied| denied == permission)
}

fn seen<'a>(site: &'a Site, key: &str) -> Result<&'a Issue, Reply> {
    let no_issue = || refused(404, "Issue does not exist or you do not have permission to see it.");
    if denies(site, "BROWSE_PROJECTS") {
        return Err(no_issue());
    }
    site.issue(key).ok_or_else(no_issue)
}

fn user_json(site: &Site, number: usize) -> Value {
    let user = &site.options.users[number];
    match site.options.kind {
        Kind::Cloud => json!({ "accountId": user.id, "accountType": "atlassian", "active": true, "displayName": user.name }),
        Kind::DataCenter => {
            json!({ "name": user.id, "key": user.id, "active": true, "displayName": user.name, "emailAddress": user.email })
        }
    }
}

/// Cloud finds people by their address and does not tell it.
fn users(site: &Site, query: Option<&str>) -> Value {
    let found = |number: &usize| query.is_some_and(|query| site.options.users[*number].email.starts_with(query));
    (0..site.options.users.len()).filter(found).map(|number| user_json(site, number)).collect()
}

fn project(site: &Site, key: &str) -> Answer {
    if (key != site.options.project && key != PROJECT_ID) || denies(site, "BROWSE_PROJECTS") {
        return Err(refused(404, format!("No project could be found with key '{key}'.")));
    }
    Ok(Reply::json(200, &json!({ "id": PROJECT_ID, "key": site.options.project, "name": "Network" })))
}

fn permissions(site: &Site, call: &Call) -> Answer {
    let project = call.asked("projectKey").or_else(|| call.asked("projectId")).unwrap_or_default();
    if project != site.options.project && project != PROJECT_ID {
        return Err(refused(404, format!("No project could be found with key '{project}'.")));
    }
    let known = ["BROWSE_PROJECTS", "CREATE_ISSUES", "ADD_COMMENTS", "CREATE_ATTACHMENTS", "WORK_ON_ISSUES", "TRANSITION_ISSUES"];
    let asked: Vec<&str> = match (call.asked("permissions"), site.options.kind) {
        (Some(names), Kind::Cloud) => names.split(',').collect(),
        (None, Kind::Cloud) => return Err(refused(400, "The permissions query parameter is required.")),
        (_, Kind::DataCenter) => known.to_vec(),
    };
    let mut told = Map::new();
    for name in asked {
        if !known.contains(&name) {
            return Err(refused(400, format!("Unrecognized permission: {name}")));
        }
        told.insert(
            name.to_owned(),
            json!({ "id": "1", "key": name, "name": name, "type": "PROJECT", "havePermission": !denies(site, name) }),
        );
    }
    Ok(Reply::json(200, &json!({ "permissions": told })))
}

fn field_json(site: &Site, field: &Field, is_meta: bool) -> Value {
    if !is_meta {
        let custom = field.id.starts_with("customfield_");
        return json!({ "id": field.id, "key": field.id, "name": field.name, "custom": custom, "orderable": true, "navigable": true, "searchable": true, "schema": field.schema });
    }
    let mut shown = json!({ "required": field.is_required, "schema": field.schema, "name": field.name, "hasDefaultValue": false, "operations": ["set"], "fieldId": field.id });
    if site.options.kind == Kind::Cloud {
        shown["key"] = json!(field.id);
    }
    if !field.options.is_empty() {
        let key = if field.id == "priority" { "name" } else { "value" };
        shown["allowedValues"] =
            field.options.iter().enumerate().map(|(id, option)| json!({ "self": "x", key: option, "id": (id + 1).to_string() })).collect();
    }
    shown
}

fn createmeta(site: &Site, call: &Call, project: &str, issue_type: Option<&str>) -> Answer {
    if (project != site.options.project && project != PROJECT_ID) || denies(site, "CREATE_ISSUES") {
        return Err(refused(
            if site.options.kind == Kind::Cloud { 404 } else { 400 },
            "Project not found or no permission to create issues",
        ));
    }
    if !site.options.tells_fields {
        return Err(refused(404, "Issue Does Not Exist"));
    }
    let (list, name): (Vec<Value>, &str) = match issue_type {
        None => {
            let types =
                site.types.iter().map(|(id, name)| json!({ "self": "x", "id": id, "description": "", "name": name, "subtask": false }));
            (types.collect(), "issueTypes")
        }
        Some(id) if site.types.iter().any(|(known, _)| known == id) => {
            let on_screen = site.fields.iter().filter(|field| field.is_on_screen);
            (on_screen.map(|field| field_json(site, field, true)).collect(), "fields")
        }
        Some(_) => return Err(refused(400, "Issue type not found")),
    };
    let start = call.number("startAt", 0).min(list.len());
    let most = call.number("maxResults", 50).min(site.options.page_max);
    let page = &list[start..list.len().min(start + most)];
    Ok(Reply::json(
        200,
        &match site.options.kind {
            Kind::Cloud => json!({ "maxResults": most, "startAt": start, "total": list.len(), name: page }),
            Kind::DataCenter => {
                json!({ "maxResults": most, "startAt": start, "total": list.len(), "isLast": start + page.len() == list.len(), "values": page })
            }
        },
    ))
}

fn create(site: &mut Site, call: &Call) -> Answer {
    let body = call.json()?;
    if let Some(name) =
        body.as_object().and_then(|body| body.keys().find(|name| !["fields", "update", "properties"].contains(&name.as_str())))
    {
        return Err(refused(400, format!("Unrecognized field \"{name}\"")));
    }
    let Some(fields) = body["fields"].as_object() else { return Err(refused(400, "one of 'fields' or 'update' required")) };
    let origin = site.url.clone();
    let version = if site.options.kind == Kind::Cloud { 3 } else { 2 };
    let made = site.create(fields.clone()).map_err(|errors| Reply::errors(400, &errors))?;
    let own = format!("{origin}rest/api/{version}/issue/{}", made.id);
    Ok(Reply::json(201, &json!({ "id": made.id.to_string(), "key": made.key, "self": own })))
}

fn issue_json(site: &Site, issue: &Issue, asked: &[&str]) -> Value {
    let mut fields = Map::new();
    for name in asked {
        let value = match *name {
            "status" => {
                let (key, category, id) = Site::category(&issue.status);
                json!({ "name": issue.status, "id": "1", "statusCategory": { "id": id, "key": key, "name": category } })
            }
            "attachment" => issue.files.iter().map(file_json).collect(),
            name => issue.fields.get(name).cloned().unwrap_or(Value::Null),
        };
        fields.insert((*name).to_owned(), value);
    }
    json!({ "id": issue.id.to_string(), "key": issue.key, "self": format!("{}rest/api/3/issue/{}", site.url, issue.id), "fields": fields })
}

fn transitions_json(site: &Site, issue: &Issue) -> Value {
    if denies(site, "TRANSITION_ISSUES") {
        return json!([]);
    }
    let possible = site.transitions.iter().enumerate().filter(|(_, transition)| transition.to != issue.status);
    possible
        .map(|(number, transition)| {
            let (key, category, id) = Site::category(&transition.to);
            let to = json!({ "name": transition.to, "id": "1", "statusCategory": { "id": id, "key": key, "name": category } });
            json!({ "id": (number + 11).to_string(), "name": transition.name, "to": to, "hasScreen": false })
        })
        .collect()
}

fn transition(site: &mut Site, call: &Call, key: &str) -> Answer {
    let body = call.json()?;
    let issue = seen(site, key)?;
    let offered = transitions_json(site, issue);
    let chosen = offered.as_array().into_iter().flatten().find(|offered| offered["id"] == body["transition"]["id"]);
    let Some(to) = chosen.and_then(|chosen| chosen["to"]["name"].as_str()).map(str::to_owned) else {
        return Err(refused(
            400,
            "It seems that you have tried to perform a workflow operation that is not valid for the current state of this issue.",
        ));
    };
    if let Some(issue) = site.issue_mut(key) {
        issue.status = to;
    }
    Ok(Reply { body: String::new(), ..Reply::text(204, "") })
}

fn search(site: &Site, jql: Option<&str>, fields: Option<&str>, most: Option<usize>, is_strict: bool) -> Answer {
    let jql = jql.ok_or_else(|| refused(400, "no jql"))?;
    let asked: Vec<&str> = fields.map_or_else(Vec::new, |fields| fields.split(',').collect());
    let found = jql::search(site, jql, is_strict).map_err(|said| refused(400, said))?;
    let issues: Vec<Value> = found.iter().take(most.unwrap_or(SEARCH_MAX)).map(|issue| issue_json(site, issue, &asked)).collect();
    Ok(Reply::json(
        200,
        &match site.options.kind {
            Kind::Cloud => json!({ "issues": issues, "isLast": true }),
            Kind::DataCenter => json!({ "startAt": 0, "maxResults": SEARCH_MAX, "total": found.len(), "issues": issues }),
        },
    ))
}

fn search_data_center(site: &Site, call: &Call) -> Answer {
    if call.method == Method::GET {
        return search(site, call.asked("jql"), call.asked("fields"), call.asked("maxResults").and_then(|most| most.parse().ok()), true);
    }
    let body = call.json()?;
    let known = ["jql", "startAt", "maxResults", "validateQuery", "fields", "expand"];
    if let Some(name) = body.as_object().and_then(|body| body.keys().find(|name| !known.contains(&name.as_str()))) {
        return Err(refused(400, format!("Unrecognized field \"{name}\"")));
    }
    let fields: Vec<&str> = body["fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    search(site, body["jql"].as_str(), Some(&fields.join(",")), None, body["validateQuery"] != false)
}

/// What is gone or not shown is left out.
fn bulk(site: &Site, call: &Call) -> Answer {
    let body = call.json()?;
    let fields: Vec<&str> = body["fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let keys = body["issueIdsOrKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let issues: Vec<Value> = keys.filter_map(|key| seen(site, key).ok()).map(|issue| issue_json(site, issue, &fields)).collect();
    Ok(Reply::json(200, &json!({ "issues": issues, "issueErrors": [] })))
}

fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000");
    super::real_time().format(&format).unwrap_or_default()
}

fn visibility_fault(site: &Site, body: &Value) -> Option<Reply> {
    let visibility = body.get("visibility")?;
    let (kind, value) = (visibility["type"].as_str()?, visibility["value"].as_str().unwrap_or_default());
    let known = if kind == "role" { &site.options.roles } else { &site.options.groups };
    let said = format!("The {kind}: {value} does not exist.");
    (!known.iter().any(|name| name == value)).then(|| Reply::errors(400, &Errors::field("commentLevel", said)))
}

fn comment(site: &mut Site, call: &Call, key: &str) -> Answer {
    let mut body = call.json()?;
    seen(site, key)?;
    if denies(site, "ADD_COMMENTS") {
        return Err(refused(400, "You do not have the permission to comment on this issue."));
    }
    if let Some(name) =
        body.as_object().and_then(|body| body.keys().find(|name| !["body", "visibility", "properties"].contains(&name.as_str())))
    {
        return Err(refused(400, format!("Unrecognized field \"{name}\"")));
    }
    if let Some(fault) = site.text_fault(&body["body"]) {
        return Err(Reply::errors(400, &Errors::field("comment", fault)));
    }
    if let Some(refusal) = visibility_fault(site, &body) {
        return Err(refusal);
    }
    let id = site.id();
    body["id"] = json!(id.to_string());
    body["author"] = json!({ "displayName": site.options.user().name, "active": true });
    body["created"] = json!(now());
    body["updated"] = body["created"].clone();
    if let Some(issue) = site.issue_mut(key) {
        issue.comments.push(body.clone());
    }
    Ok(Reply::json(201, &without_properties(&body)))
}

/// Properties are told to those who ask for them.
fn without_properties(entry: &Value) -> Value {
    let mut entry = entry.clone();
    if let Some(entry) = entry.as_object_mut() {
        entry.remove("properties");
    }
    entry
}

fn worklog(site: &mut Site, call: &Call, key: &str) -> Answer {
    let mut body = call.json()?;
    seen(site, key)?;
    if denies(site, "WORK_ON_ISSUES") {
        return Err(refused(400, "You do not have the permission to associate a worklog to this issue."));
    }
    let known = ["comment", "started", "timeSpentSeconds", "visibility"];
    if let Some(name) = body.as_object().and_then(|body| body.keys().find(|name| !known.contains(&name.as_str()))) {
        return Err(refused(400, format!("Unrecognized field \"{name}\"")));
    }
    if let Some(fault) = site.text_fault(&body["comment"]) {
        return Err(Reply::errors(400, &Errors::field("comment", fault)));
    }
    if let Some(refusal) = visibility_fault(site, &body) {
        return Err(refusal);
    }
    let format = format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3][offset_hour sign:mandatory][offset_minute]"
    );
    let started = body["started"].as_str().and_then(|text| OffsetDateTime::parse(text, &format).ok());
    if started.is_none() {
        return Err(Reply::errors(400, &Errors::field("started", "Error parsing time. Expected format is yyyy-MM-dd'T'HH:mm:ss.SSSZ")));
    }
    if body["timeSpentSeconds"].as_i64().is_none_or(|seconds| seconds < 60) {
        return Err(Reply::errors(400, &Errors::field("timeLogged", "You must indicate the time spent working.")));
    }
    let id = site.id();
    body["id"] = json!(id.to_string());
    body["created"] = json!(now());
    if let Some(issue) = site.issue_mut(key) {
        body["issueId"] = json!(issue.id.to_string());
        issue.worklogs.push(body.clone());
    }
    Ok(Reply::json(201, &body))
}

fn entries(site: &Site, call: &Call, key: &str, list: &str) -> Answer {
    let issue = seen(site, key)?;
    let mut entries: Vec<Value> =
        if list == "comments" { &issue.comments } else { &issue.worklogs }.iter().map(without_properties).collect();
    match call.asked("orderBy") {
        Some("-created") => entries.reverse(),
        Some("created" | "+created") | None => {}
        Some(_) => return Err(refused(400, "The orderBy parameter is not valid")),
    }
    let start = call.number("startAt", 0).min(entries.len());
    let most = call.number("maxResults", 50).min(site.options.page_max);
    let page = &entries[start..entries.len().min(start + most)];
    Ok(Reply::json(200, &json!({ "startAt": start, "maxResults": most, "total": entries.len(), list: page })))
}

fn file_json(file: &(u64, String, String, Vec<u8>)) -> Value {
    json!({ "id": file.0.to_string(), "filename": file.1, "mimeType": file.2, "size": file.3.len() })
}

fn attach(site: &mut Site, call: &Call, key: &str) -> Answer {
    if call.header("x-atlassian-token") != "no-check" {
        return Err(Reply::text(403, "XSRF check failed"));
    }
    seen(site, key)?;
    if denies(site, "CREATE_ATTACHMENTS") {
        return Err(refused(403, "You do not have permission to create attachments for this issue."));
    }
    let Some((name, kind, content)) = form_file(call) else { return Err(Reply::text(415, "Unsupported Media Type")) };
    if content.len() > FILE_MAX {
        return Err(refused(413, "The file exceeds the maximum size"));
    }
    let file = (site.id(), name, kind, content);
    let shown = file_json(&file);
    if let Some(issue) = site.issue_mut(key) {
        issue.files.push(file);
    }
    Ok(Reply::json(200, &json!([shown])))
}

/// Name, type and content of the one part `file` (RFC 7578).
fn form_file(call: &Call) -> Option<(String, String, Vec<u8>)> {
    let boundary = call.header("content-type").strip_prefix("multipart/form-data; boundary=")?;
    let at = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted);
    let body = call.body.strip_prefix(format!("--{boundary}\r\n").as_bytes())?;
    let body = body.strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes())?;
    let split = at(body, b"\r\n\r\n")?;
    let (head, content) = (String::from_utf8(body[..split].to_vec()).ok()?, body[split + 4..].to_vec());
    let (mut name, mut kind) = (None, None);
    for line in head.split("\r\n") {
        if let Some(disposition) = line.strip_prefix("Content-Disposition: form-data; name=\"file\"; filename=\"") {
            name = disposition.strip_suffix('"').map(str::to_owned);
        } else if let Some(said) = line.strip_prefix("Content-Type: ") {
            kind = Some(said.to_owned());
        }
    }
    Some((name?, kind?, content))
}
