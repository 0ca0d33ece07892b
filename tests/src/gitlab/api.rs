//! The endpoints (argus-tickets.md 2.4), and what they refuse.

use axum::http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use super::project::{Issue, Note, Project, TimeSpent, USER, USER_ID, Upload, note_json};
use super::{PROJECT_ID, REST, Role, SpamAnswer};

/// Longest title, description and note, in characters.
const TITLE_MAX: usize = 255;
const DESCRIPTION_MAX: usize = 1_048_576;
const NOTE_MAX: usize = 1_000_000;
const SUMMARY_MAX: usize = 255;
/// What a new issue may have (`lib/api/issues.rb`), as far as the double knows it.
const ISSUE_PARAMETERS: [&str; 9] =
    ["title", "description", "labels", "confidential", "issue_type", "due_date", "milestone_id", "assignee_ids", "weight"];

/// A request, read completely.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// As it was sent.
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
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Nothing,
    Json(Value),
    Text(&'static str, String),
}

impl Reply {
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(body) }
    }

    fn message(status: u16, message: impl Into<Value>) -> Self {
        Self::json(status, json!({ "message": message.into() }))
    }

    /// What the frame around the endpoints refuses.
    fn error(status: u16, error: &str) -> Self {
        Self::json(status, json!({ "error": error }))
    }
}

type Outcome = Result<Reply, Reply>;

impl Call {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn queries(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    fn only_queries(&self, known: &[&str]) -> Result<(), Reply> {
        let unknown = self.query.iter().find(|(name, _)| !known.contains(&name.as_str()));
        unknown
            .map_or(Ok(()), |(name, _)| Err(Reply::error(400, &format!("{name} is no parameter of this (the real GitLab overlooks it)"))))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, which must be a JSON object of these members.
    fn json(&self, known: &[&str]) -> Result<Map<String, Value>, Reply> {
        if self.header("content-type").is_none_or(|kind| !kind.starts_with("application/json")) {
            return Err(Reply::error(406, "The requested content-type is not supported."));
        }
        let Ok(Value::Object(members)) = serde_json::from_slice(&self.body) else {
            return Err(Reply::error(400, "There was a problem in the JSON you submitted"));
        };
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Reply::error(400, &format!("{name} is no parameter of this (the real GitLab overlooks it)"))),
            None => Ok(members),
        }
    }
}

/// Answers a request; the user it was done as, unless it was refused.
pub(super) fn answer(project: &mut Project, call: &Call) -> (Reply, Option<String>) {
    match admitted(project, call).and_then(|()| routed(project, call)) {
        Ok(reply) => (reply, Some(USER.to_owned())),
        Err(reply) => (reply, None),
    }
}

fn admitted(project: &Project, call: &Call) -> Result<(), Reply> {
    let options = &project.options;
    if let Some(seconds) = options.limited {
        let content = Content::Text("text/plain", "Retry later\n".to_owned());
        return Err(Reply { status: 429, headers: vec![("retry-after", seconds.to_string())], content });
    }
    let bearer = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let sent = call.header("private-token").or(bearer);
    if sent != Some(options.token.as_str()) {
        return Err(Reply::message(401, "401 Unauthorized"));
    }
    let may = |scope: &str| options.scopes.iter().any(|one| one == scope);
    let is_own_record = call.path.ends_with("/personal_access_tokens/self");
    let may_read = call.method == Method::GET && may("read_api");
    if !(may("api") || may_read || is_own_record) {
        let body = json!({
            "error": "insufficient_scope", "scope": "api",
            "error_description": "The request requires higher privileges than provided by the access token.",
        });
        return Err(Reply::json(403, body));
    }
    Ok(())
}

fn routed(project: &mut Project, call: &Call) -> Outcome {
    let not_found = || Reply::error(404, "404 Not Found");
    let page = || Reply {
        status: 404,
        headers: Vec::new(),
        content: Content::Text("text/html", "<html><head><title>Not Found</title></head></html>".to_owned()),
    };
    let below = call.path.strip_prefix(project.options.path.trim_end_matches('/')).ok_or_else(page)?;
    if below == "/api/graphql" && call.method == Method::POST {
        return graphql(project, call);
    }
    let path = below.strip_prefix(REST).ok_or_else(page)?;
    let parts: Vec<&str> = path.split('/').collect();
    match (call.method.as_str(), parts.as_slice()) {
        ("GET", ["user"]) => Ok(Reply::json(200, json!({ "id": USER_ID, "username": USER, "bot": true }))),
        ("GET", ["version"]) => Ok(Reply::json(200, json!({ "version": project.options.version }))),
        ("GET", ["personal_access_tokens", "self"]) => {
            Ok(Reply::json(200, json!({ "id": 4, "scopes": project.options.scopes, "active": true, "expires_at": "2027-06-30" })))
        }
        ("GET", ["projects"]) => {
            call.only_queries(&["search", "membership", "simple", "per_page", "page"])?;
            let is_found = call.query("search").is_some_and(|text| project.options.project.contains(text));
            let other = json!({ "id": 6, "path_with_namespace": "other/proj", "web_url": format!("{}other/proj", project.url) });
            let all = if is_found && project.options.role > Role::None { vec![other, project_json(project)] } else { vec![other] };
            Ok(paged(project, call, &all))
        }
        (method, ["projects", id, rest @ ..]) => {
            // What stands before GitLab has decoded it: another route, which there is not.
            if project.options.decodes_slashes && id.to_ascii_lowercase().contains("%2f") {
                return Err(not_found());
            }
            let name = percent_decoded(id);
            let is_former = project.former_path.as_deref() == Some(&name);
            if is_former && project.options.role > Role::None {
                if method != "GET" {
                    return Err(Reply::message(405, "Non GET methods are not allowed for moved projects"));
                }
                let location = format!("{}api/v4/{}", project.url, path.replace(id, &PROJECT_ID.to_string()));
                return Err(Reply {
                    status: 301,
                    headers: vec![("location", location)],
                    content: Content::Json(json!({ "message": "This resource has been moved permanently" })),
                });
            }
            let is_it = name == PROJECT_ID.to_string() || name.eq_ignore_ascii_case(&project.options.project);
            if !is_it || project.options.role == Role::None {
                return Err(if name.contains('/') || name.bytes().all(|byte| byte.is_ascii_digit()) {
                    Reply::message(404, "404 Project Not Found")
                } else {
                    not_found()
                });
            }
            in_project(project, call, method, rest).unwrap_or_else(|| Err(not_found()))
        }
        _ => Err(not_found()),
    }
}

fn percent_decoded(text: &str) -> String {
    deskbridge_shared::percent::decode(text).unwrap_or_default()
}

fn project_json(project: &Project) -> Value {
    let options = &project.options;
    json!({
        "id": PROJECT_ID, "path_with_namespace": options.project, "web_url": project.web_url(), "archived": options.is_archived,
        "issues_access_level": if options.has_issues { "enabled" } else { "disabled" },
        "permissions": { "project_access": { "access_level": options.role as u64 }, "group_access": null },
    })
}

/// `None`: no such route.
fn in_project(project: &mut Project, call: &Call, method: &str, path: &[&str]) -> Option<Outcome> {
    Some(match (method, path) {
        ("GET", []) => Ok(Reply::json(200, project_json(project))),
        ("GET", ["labels"]) => {
            let labels: Vec<Value> = project.labels.iter().map(|name| json!({ "name": name, "color": "#dc143c" })).collect();
            call.only_queries(&["per_page", "page"]).map(|()| paged(project, call, &labels))
        }
        ("GET", ["issues"]) => issues(project, call),
        ("POST", ["issues"]) => create(project, call),
        ("POST", ["uploads"]) => upload(project, call),
        (method, ["issues", iid, rest @ ..]) => {
            let Some(index) = project.issues.iter().position(|issue| issue.iid.to_string() == *iid) else {
                return Some(Err(Reply::message(404, "404 Issue Not Found")));
            };
            return of_issue(project, call, method, index, rest);
        }
        _ => return None,
    })
}

fn of_issue(project: &mut Project, call: &Call, method: &str, index: usize, path: &[&str]) -> Option<Outcome> {
    Some(match (method, path) {
        ("GET", []) => Ok(Reply::json(200, project.issue_json(&project.issues[index]))),
        ("PUT", []) => change(project, call, index),
        ("GET", ["notes"]) => call.only_queries(&["sort", "order_by", "activity_filter", "per_page", "page"]).map(|()| {
            let issue = &project.issues[index];
            let seen = |note: &&Note| !note.internal || project.options.role >= Role::Reporter;
            let mut notes: Vec<Value> = issue.notes.iter().filter(seen).map(|note| note_json(note, issue.iid, true)).collect();
            if call.query("sort") != Some("asc") {
                notes.reverse();
            }
            paged(project, call, &notes)
        }),
        ("POST", ["notes"]) => add_note(project, call, index),
        ("DELETE", ["notes", id]) => {
            project.issues[index].notes.retain(|note| note.id.to_string() != *id);
            Ok(Reply { status: 204, headers: Vec::new(), content: Content::Nothing })
        }
        ("POST", ["add_spent_time"]) => spend_time(project, call, index),
        _ => return None,
    })
}

/// A page of a list, with the headers that tell of the next.
fn paged(project: &Project, call: &Call, items: &[Value]) -> Reply {
    let number = |name: &str, default: usize| call.query(name).and_then(|text| text.parse().ok()).unwrap_or(default).max(1);
    let size = number("per_page", 20).min(project.options.page_size);
    let page = number("page", 1);
    let begin = ((page - 1) * size).min(items.len());
    let end = (begin + size).min(items.len());
    let next = if end < items.len() { (page + 1).to_string() } else { String::new() };
    let headers = vec![("x-next-page", next), ("x-page", page.to_string()), ("x-total", items.len().to_string())];
    Reply { status: 200, headers, content: Content::Json(items[begin..end].to_vec().into()) }
}

fn issues(project: &Project, call: &Call) -> Outcome {
    call.only_queries(&["scope", "state", "iids[]", "search", "in", "order_by", "sort", "per_page", "page"])?;
    for (name, values) in [("scope", &["all", "created_by_me"][..]), ("state", &["all", "opened", "closed"]), ("sort", &["asc", "desc"])] {
        if call.query(name).is_some_and(|value| !values.contains(&value)) {
            return Err(Reply::error(400, &format!("{name} does not have a valid value")));
        }
    }
    let iids = call.queries("iids[]");
    let is_wanted = |issue: &&Issue| {
        let in_state = call.query("state").is_none_or(|state| state == "all" || state == issue.state);
        let texts = match call.query("in") {
            Some("title") => issue.title.clone(),
            Some("description") => issue.description.clone(),
            _ => format!("{}\n{}", issue.title, issue.description),
        };
        let is_found = call.query("search").is_none_or(|text| texts.to_lowercase().contains(&text.to_lowercase()));
        in_state && is_found && (iids.is_empty() || iids.contains(&issue.iid.to_string().as_str()))
    };
    let mut found: Vec<Value> = project.issues.iter().filter(is_wanted).map(|issue| project.issue_json(issue)).collect();
    if call.query("sort") != Some("asc") {
        found.reverse();
    }
    Ok(paged(project, call, &found))
}

/// A text member, unless it is missing.
fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Reply> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Reply::error(400, &format!("{name} is invalid"))),
    }
}

fn check_writable(project: &Project) -> Result<(), Reply> {
    let options = &project.options;
    if options.is_archived || !options.has_issues { Err(Reply::message(403, "403 Forbidden")) } else { Ok(()) }
}

/// A list of names, or one text with commas.
fn labels(members: &Map<String, Value>) -> Result<Vec<String>, Reply> {
    let invalid = || Reply::error(400, "labels is invalid");
    let names: Vec<String> = match members.get("labels") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(names)) => vec![names.clone()],
        Some(Value::Array(names)) => {
            names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or_else(invalid)?
        }
        Some(_) => return Err(invalid()),
    };
    Ok(names.iter().flat_map(|name| name.split(',')).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn create(project: &mut Project, call: &Call) -> Outcome {
    let mut members = call.json(&ISSUE_PARAMETERS)?;
    check_writable(project)?;
    let title = text(&members, "title")?.ok_or_else(|| Reply::error(400, "title is missing"))?;
    let description = text(&members, "description")?.unwrap_or_default();
    let wanted = labels(&members)?;
    let mut wrong = Map::new();
    if title.trim().is_empty() {
        wrong.insert("title".to_owned(), json!(["can't be blank"]));
    }
    for (name, value, most) in [("title", &title, TITLE_MAX), ("description", &description, DESCRIPTION_MAX)] {
        if value.chars().count() > most {
            wrong.insert(name.to_owned(), json!([format!("is too long (maximum is {most} characters)")]));
        }
    }
    if !wrong.is_empty() {
        return Err(Reply::message(400, wrong));
    }
    match project.options.spam {
        Some(SpamAnswer::Discarded) => {
            let words = "Your issue has been recognized as spam and has been discarded.";
            return Err(Reply::message(400, json!({ "error": words })));
        }
        Some(SpamAnswer::Captcha) => {
            let body = json!({
                "needs_captcha_response": true, "spam_log_id": 42, "captcha_site_key": "REDACTED",
                "message": { "error": "Your issue has been recognized as spam. Please, change the content or solve the reCAPTCHA to proceed." },
            });
            return Err(Reply::json(409, body));
        }
        None => {}
    }
    for name in ["title", "description", "labels"] {
        members.remove(name);
    }
    project.obey(&description);
    let iid = project.add_issue(&title, &description);
    // Guests' labels are dropped without a word; unknown ones are made.
    let labels = if project.options.role >= Role::Reporter { wanted } else { Vec::new() };
    for label in &labels {
        if !project.labels.contains(label) {
            project.labels.push(label.clone());
        }
    }
    let Some(issue) = project.issues.last_mut() else { return Err(Reply::message(500, "500 Internal Server Error")) };
    (issue.labels, issue.fields, issue.is_own) = (labels, members, true);
    let issue = issue.clone();
    debug_assert_eq!(issue.iid, iid);
    Ok(Reply::json(201, project.issue_json(&issue)))
}

fn change(project: &mut Project, call: &Call, index: usize) -> Outcome {
    let members = call.json(&["description", "state_event"])?;
    check_writable(project)?;
    let is_own = project.issues[index].is_own;
    if project.options.role < Role::Reporter && !is_own {
        return Err(Reply::message(403, "403 Forbidden"));
    }
    if let Some(description) = text(&members, "description")? {
        project.obey(&description);
        project.issues[index].description = description;
    }
    match text(&members, "state_event")?.as_deref() {
        Some("close") => "closed".clone_into(&mut project.issues[index].state),
        Some("reopen") => "opened".clone_into(&mut project.issues[index].state),
        Some(_) => return Err(Reply::error(400, "state_event does not have a valid value")),
        None => {}
    }
    Ok(Reply::json(200, project.issue_json(&project.issues[index])))
}

fn add_note(project: &mut Project, call: &Call, index: usize) -> Outcome {
    let members = call.json(&["body", "internal"])?;
    check_writable(project)?;
    let body = text(&members, "body")?.ok_or_else(|| Reply::error(400, "body is missing"))?;
    let internal = match members.get("internal") {
        None => false,
        Some(Value::Bool(internal)) => *internal,
        Some(_) => return Err(Reply::error(400, "internal is invalid")),
    };
    // Before version 15 nothing of the kind is known, and the parameter is overlooked.
    let knows_internal = project.options.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0) >= 15;
    if internal && knows_internal && project.options.role < Role::Reporter {
        return Err(Reply::message(403, "403 Forbidden"));
    }
    if body.trim().is_empty() {
        return Err(Reply::message(400, json!({ "note": ["can't be blank"] })));
    }
    if body.chars().count() > NOTE_MAX {
        return Err(Reply::message(400, json!({ "note": [format!("is too long (maximum is {NOTE_MAX} characters)")] })));
    }
    project.obey(&body);
    let note = Note { id: project.next_id(), body, internal: internal && knows_internal };
    let issue = &mut project.issues[index];
    issue.notes.push(note.clone());
    Ok(Reply::json(201, note_json(&note, issue.iid, knows_internal)))
}

fn spend_time(project: &mut Project, call: &Call, index: usize) -> Outcome {
    let members = call.json(&["duration", "summary"])?;
    if project.options.role < Role::Reporter {
        return Err(Reply::message(403, "403 Forbidden"));
    }
    let duration = text(&members, "duration")?.ok_or_else(|| Reply::error(400, "duration is missing"))?;
    let minutes = duration.strip_suffix('m').and_then(|minutes| minutes.parse().ok());
    let minutes: u64 = minutes.ok_or_else(|| Reply::message(400, json!({ "base": ["Time spent formatted incorrectly"] })))?;
    let summary = text(&members, "summary")?.unwrap_or_default();
    if summary.chars().count() > SUMMARY_MAX {
        return Err(Reply::message(400, json!({ "timelogs": ["is invalid"] })));
    }
    let issue = &mut project.issues[index];
    issue.times.push(TimeSpent { minutes, summary });
    let seconds = issue.times.iter().map(|time| time.minutes * 60).sum::<u64>();
    Ok(Reply::json(201, json!({ "time_estimate": 0, "total_time_spent": seconds, "human_time_estimate": null })))
}

/// One file in a part named `file`.
fn upload(project: &mut Project, call: &Call) -> Outcome {
    let missing = || Reply::error(400, "file is missing");
    let kind = call.header("content-type").unwrap_or_default();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").ok_or_else(|| Reply::error(400, "file is invalid"))?;
    let (name, content) = only_file(&call.body, boundary).ok_or_else(missing)?;
    if content.len() > project.options.upload_max {
        return Err(Reply {
            status: 413,
            headers: Vec::new(),
            content: Content::Text("text/html", "<html>Request Entity Too Large</html>".to_owned()),
        });
    }
    // GitLab keeps letters, digits, dots, hyphens and underscores of a name.
    let kept = |character: char| if character.is_ascii_alphanumeric() || ".-_".contains(character) { character } else { '_' };
    let name: String = name.chars().map(kept).collect();
    let path = format!("/uploads/{:032x}/{name}", project.next_id());
    project.uploads.push(Upload { path: path.clone(), content });
    let full_path = format!("/-/project/{PROJECT_ID}{path}");
    Ok(Reply::json(
        201,
        json!({ "id": project.uploads.len(), "alt": name, "url": path, "full_path": full_path, "markdown": format!("[{name}]({path})") }),
    ))
}

/// Name and content of the one file in a form.
pub(super) fn only_file(body: &[u8], boundary: &str) -> Option<(String, Vec<u8>)> {
    let find = |bytes: &[u8], text: &str| bytes.windows(text.len()).position(|part| part == text.as_bytes());
    let head_end = find(body, "\r\n\r\n")?;
    let head = std::str::from_utf8(&body[..head_end]).ok()?;
    if !head.starts_with(&format!("--{boundary}\r\n")) || !head.contains("form-data; name=\"file\"; filename=\"") {
        return None;
    }
    let (_, rest) = head.split_once("filename=\"")?;
    let (name, _) = rest.split_once('"')?;
    let content = &body[head_end + 4..];
    let end = find(content, &format!("\r\n--{boundary}--"))?;
    Some((name.to_owned(), content[..end].to_vec()))
}

/// One question: the times spent on an issue.
fn graphql(project: &Project, call: &Call) -> Outcome {
    let members = call.json(&["query", "variables"])?;
    let query = text(&members, "query")?.unwrap_or_default();
    let asks =
        ["query timelogs($project: ID!, $issue: String!)", "project(fullPath: $project)", "issue(iid: $issue)", "timelogs(last: 100)"];
    if let Some(part) = asks.iter().find(|part| !query.contains(*part)) {
        return Ok(Reply::json(
            200,
            json!({ "errors": [{ "message": format!("the double answers one question alone, which has {part}") }] }),
        ));
    }
    let variables = &members["variables"];
    let is_it = variables["project"].as_str() == Some(project.options.project.as_str()) && project.options.role > Role::None;
    let issue = project.issues.iter().find(|issue| variables["issue"] == json!(issue.iid.to_string()));
    let issue = issue.map(|issue| {
        let log = |(index, time): (usize, &TimeSpent)| json!({ "id": format!("gid://gitlab/Timelog/{index}"), "summary": time.summary });
        json!({ "timelogs": { "nodes": issue.times.iter().enumerate().map(log).collect::<Vec<_>>() } })
    });
    let found = if is_it { json!({ "issue": issue }) } else { Value::Null };
    Ok(Reply::json(200, json!({ "data": { "project": found } })))
}
