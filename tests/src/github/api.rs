//! What each request does and answers (argus-tickets.md 2.3), in GitHub's own words where those are known.

use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::description::{Description, Operation};
use super::repository::{Comment, Issue, REPOSITORY_ID, Repository, real_time};
use super::{Limit, REST};

/// Longest title and text, in characters.
const MAX_TITLE: usize = 256;
const MAX_BODY: usize = 65_536;
/// Items on a page, unless another number is asked for.
const PER_PAGE: usize = 30;
const MOST_PER_PAGE: usize = 100;
const VERSIONS: [&str; 2] = ["2022-11-28", "2026-03-10"];

/// A request, read completely.
#[derive(Debug)]
pub(super) struct Call {
    pub method: Method,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Call {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
}

impl Reply {
    fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    fn said(status: u16, message: &str) -> Self {
        Self::new(status, json!({ "message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string() }))
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn invalid(resource: &str, field: &str, code: &str, message: Option<&str>) -> Self {
        let mut error = json!({ "resource": resource, "field": field, "code": code });
        if let Some(message) = message {
            error["message"] = json!(message);
        }
        let mut reply = Self::said(422, "Validation Failed");
        reply.body["errors"] = json!([error]);
        reply
    }

    fn not_found() -> Self {
        Self::said(404, "Not Found")
    }
}

/// Does what is asked for; the answer, and whom it was done as.
pub(super) fn answer(repository: &mut Repository, call: &Call) -> (Reply, Option<String>) {
    if let Err(refusal) = admitted(repository, call) {
        return (refusal, None);
    }
    let reply = dispatch(repository, call);
    (dated(repository, call, reply), Some(repository.options.login.clone()))
}

/// The headers, the token, the limits.
fn admitted(repository: &Repository, call: &Call) -> Result<(), Reply> {
    if call.header("user-agent").is_none_or(str::is_empty) {
        return Err(Reply::said(403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"));
    }
    let accept = call.header("accept").unwrap_or("*/*");
    if !["application/vnd.github+json", "application/json", "*/*"].iter().any(|kind| accept.contains(kind)) {
        return Err(Reply::said(415, "Must accept 'application/json'"));
    }
    if call.header("x-github-api-version").is_none_or(|version| !VERSIONS.contains(&version)) {
        return Err(Reply::said(400, "API version is not supported"));
    }
    let token = call.header("authorization").and_then(|value| value.split_once(' '));
    match token {
        Some((scheme, token)) if ["Bearer", "token"].contains(&scheme) && token == repository.options.token => {}
        Some(_) => return Err(Reply::said(401, "Bad credentials")),
        None => return Err(Reply::said(401, "Requires authentication")),
    }
    let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    match &repository.options.limit {
        None => Ok(()),
        Some(Limit::Secondary { status, retry_after }) => {
            let reply = Reply::said(*status, secondary);
            Err(match retry_after {
                Some(seconds) => reply.with("retry-after", seconds.to_string()),
                None => reply,
            })
        }
        Some(Limit::Primary { resets_in }) => {
            let reset = real_time().unix_timestamp() + i64::from(*resets_in);
            let reply = Reply::said(403, &format!("API rate limit exceeded for user ID {REPOSITORY_ID}."));
            Err(reply.with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", reset.to_string()))
        }
    }
}

/// What every answer has besides; a GET that brings nothing new is a 304.
fn dated(repository: &Repository, call: &Call, mut reply: Reply) -> Reply {
    let reset = real_time().unix_timestamp() + 1_800;
    for (name, value) in
        [("limit", "5000".to_owned()), ("remaining", "4990".to_owned()), ("used", "10".to_owned()), ("reset", reset.to_string())]
    {
        let name = match name {
            "limit" => "x-ratelimit-limit",
            "remaining" => "x-ratelimit-remaining",
            "used" => "x-ratelimit-used",
            _ => "x-ratelimit-reset",
        };
        reply = reply.with(name, value);
    }
    if let Some(ends) = &repository.options.token_ends {
        reply = reply.with("github-authentication-token-expiration", ends.clone());
    }
    if call.method == Method::GET && reply.status == 200 {
        let tag =
            format!("W/\"{:x}\"", reply.body.to_string().bytes().fold(5_381_u64, |hash, byte| hash.wrapping_mul(33) ^ u64::from(byte)));
        if call.header("if-none-match") == Some(tag.as_str()) {
            return Reply::new(304, Value::Null).with("etag", tag);
        }
        reply = reply.with("etag", tag);
    }
    reply
}

fn dispatch(repository: &mut Repository, call: &Call) -> Reply {
    let Some(path) = call.path.strip_prefix(REST) else { return Reply::not_found() };
    let Some((described, operation)) =
        Description::path_of(path).and_then(|described| Some((described, Description::get().operation(&call.method, described)?)))
    else {
        return Reply::not_found();
    };
    if described == "/user" {
        if repository.options.is_app {
            return Reply::said(403, "Resource not accessible by integration");
        }
        return Reply::new(200, repository.user_json(&repository.options.login, operation.example()));
    }
    let rest = match in_repository(repository, path) {
        Ok(rest) => rest,
        Err(reply) => return reply,
    };
    let faults = operation.faults_of_query(&call.query);
    if !faults.is_empty() {
        return Reply::said(422, &format!("Invalid request.\n\n{}", faults.join("\n")));
    }
    let body = match body_of(call, operation) {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    if let Some(refusal) = forbidden(repository, call, described) {
        return refusal;
    }
    let mut parts = rest.split('/').skip(2).map(str::parse::<u64>);
    let number = parts.next();
    match (call.method.as_str(), described, number) {
        ("GET", "/repos/{owner}/{repo}", _) => Reply::new(200, repository.repository_json(operation.example())),
        ("GET", "/repos/{owner}/{repo}/labels", _) => {
            let labels = repository.labels.iter().map(|name| repository.label_json(name, operation.example())).collect();
            page(repository, call, &rest, labels)
        }
        ("GET", "/repos/{owner}/{repo}/issues", _) => list(repository, call, &rest, operation),
        ("POST", "/repos/{owner}/{repo}/issues", _) => create(repository, &body, operation),
        ("GET", "/repos/{owner}/{repo}/issues/{issue_number}", Some(Ok(number))) => one(repository, number),
        ("PATCH", _, Some(Ok(number))) => change(repository, number, &body, operation),
        (_, "/repos/{owner}/{repo}/issues/{issue_number}/comments", Some(Ok(number))) => {
            comments(repository, call, &rest, number, &body, operation)
        }
        _ => Reply::not_found(),
    }
}

/// What stands behind the repository in the path; a redirect where it has another name now, a 404 where the token does not see it.
fn in_repository(repository: &Repository, path: &str) -> Result<String, Reply> {
    let parts: Vec<&str> = path.split('/').collect();
    let (is_by_id, name, rest) = match parts.as_slice() {
        ["repositories", id, rest @ ..] => (true, (*id).to_owned(), rest.join("/")),
        ["repos", owner, name, rest @ ..] => (false, format!("{owner}/{name}"), rest.join("/")),
        _ => return Err(Reply::not_found()),
    };
    let rest = if rest.is_empty() { rest } else { format!("/{rest}") };
    let is_it = if is_by_id { name == REPOSITORY_ID.to_string() } else { name.eq_ignore_ascii_case(&repository.options.project) };
    if !repository.options.is_seen {
        return Err(Reply::not_found());
    }
    if is_it {
        return Ok(rest);
    }
    if repository.earlier_names.iter().any(|earlier| earlier.eq_ignore_ascii_case(&name)) {
        let to = format!("{}api/v3/repositories/{REPOSITORY_ID}{rest}", repository.options.url);
        let mut reply = Reply::said(301, "Moved Permanently");
        reply.body["url"] = json!(to);
        return Err(reply.with("location", to));
    }
    Err(Reply::not_found())
}

fn body_of(call: &Call, operation: &Operation) -> Result<Value, Reply> {
    let body = if call.body.is_empty() {
        Value::Null
    } else {
        if call.header("content-type").is_none_or(|kind| !kind.starts_with("application/json")) {
            return Err(Reply::said(415, "Unsupported Media Type"));
        }
        serde_json::from_slice(&call.body).map_err(|_| Reply::said(400, "Problems parsing JSON"))?
    };
    let faults = operation.faults_of_body(&body);
    if faults.is_empty() { Ok(body) } else { Err(Reply::said(422, &format!("Invalid request.\n\n{}", faults.join("\n")))) }
}

/// What the token may not do, and what nobody may in this repository.
fn forbidden(repository: &Repository, call: &Call, described: &str) -> Option<Reply> {
    let options = &repository.options;
    if !described.contains("/issues") {
        return None;
    }
    if !options.has_issues {
        return Some(Reply::said(410, "Issues are disabled for this repo"));
    }
    if call.method == Method::GET {
        return None;
    }
    if options.is_archived {
        return Some(Reply::said(403, "Repository was archived so is read-only."));
    }
    let refusal =
        Reply::said(403, "Resource not accessible by personal access token").with("x-accepted-github-permissions", "issues=write");
    (!options.may_write_issues).then_some(refusal)
}

/// A page of a list. Addresses of others name the repository by its number.
fn page(repository: &Repository, call: &Call, rest: &str, items: Vec<Value>) -> Reply {
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok());
    let per_page = number("per_page").unwrap_or(PER_PAGE).clamp(1, MOST_PER_PAGE);
    let at = number("page").unwrap_or(1).max(1);
    let last = items.len().div_ceil(per_page).max(1);
    let link = |page: usize, rel: &str| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in call.query.iter().filter(|(name, _)| name != "page") {
            query.append_pair(name, value);
        }
        query.append_pair("page", &page.to_string());
        format!("<{}api/v3/repositories/{REPOSITORY_ID}{rest}?{}>; rel=\"{rel}\"", repository.options.url, query.finish())
    };
    let mut links = Vec::new();
    if at > 1 {
        links.push(link(at - 1, "prev"));
    }
    if at < last {
        links.push(link(at + 1, "next"));
        links.push(link(last, "last"));
    }
    let reply = Reply::new(200, items.into_iter().skip((at - 1) * per_page).take(per_page).collect());
    if links.is_empty() { reply } else { reply.with("link", links.join(", ")) }
}

fn list(repository: &Repository, call: &Call, rest: &str, operation: &Operation) -> Reply {
    let state = call.query("state").unwrap_or("open");
    let is_wanted = |issue: &&Issue| {
        !issue.is_deleted
            && match state {
                "all" => true,
                "closed" => issue.closed.is_some(),
                _ => issue.closed.is_none(),
            }
    };
    let mut issues: Vec<&Issue> = repository.issues.iter().filter(is_wanted).collect();
    if call.query("direction") != Some("asc") {
        issues.reverse();
    }
    let issues = issues.into_iter().map(|issue| repository.issue_json(issue, operation.example())).collect();
    page(repository, call, rest, issues)
}

fn one(repository: &mut Repository, number: u64) -> Reply {
    // The description has no example of this answer that is one.
    let pattern = pattern();
    match repository.issue(number).cloned() {
        None => Reply::not_found(),
        Some(issue) if issue.is_deleted => Reply::said(410, "This issue was deleted"),
        Some(issue) => Reply::new(200, repository.issue_json(&issue, pattern)),
    }
}

/// The description's example of an issue.
fn pattern() -> Value {
    Description::get().operation(&Method::POST, "/repos/{owner}/{repo}/issues").map(Operation::example).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    let name = |one: &Value| one.as_str().or_else(|| one["name"].as_str()).map(str::to_owned);
    value.as_array().into_iter().flatten().filter_map(name).collect()
}

/// The text of a body's member, within its limit; null is an empty one.
fn text(body: &Value, member: &str, most: usize) -> Result<String, Reply> {
    let text =
        body[member].as_str().map_or_else(|| body[member].as_i64().map(|number| number.to_string()).unwrap_or_default(), str::to_owned);
    if text.chars().count() > most {
        let message = format!("{member} is too long (maximum is {most} characters)");
        return Err(Reply::invalid("Issue", member, "custom", Some(&message)));
    }
    Ok(text)
}

fn create(repository: &mut Repository, body: &Value, operation: &Operation) -> Reply {
    let made = text(body, "title", MAX_TITLE).and_then(|title| Ok((title, text(body, "body", MAX_BODY)?)));
    let (title, text) = match made {
        Ok(made) => made,
        Err(reply) => return reply,
    };
    if title.trim().is_empty() {
        return Reply::invalid("Issue", "title", "missing_field", None);
    }
    let may_push = repository.options.may_push;
    let (labels, assignees, milestone) = (texts(&body["labels"]), texts(&body["assignees"]), body["milestone"].as_u64());
    if may_push {
        if let Some(stranger) = assignees.iter().find(|login| !repository.people.contains(login)) {
            let mut reply = Reply::invalid("Issue", "assignees", "invalid", None);
            reply.body["errors"][0]["value"] = json!(stranger);
            return reply;
        }
        if milestone.is_some_and(|number| !repository.milestones.contains(&number)) {
            return Reply::invalid("Issue", "milestone", "invalid", None);
        }
    }
    let login = repository.options.login.clone();
    let number = repository.add(&login, &title, &text);
    // Without push access they are left out in silence; with it, an unknown label is made.
    if may_push {
        let mut named = Vec::new();
        for label in labels {
            let known = repository.label(&label).cloned();
            named.push(known.unwrap_or_else(|| {
                repository.labels.push(label.clone());
                label
            }));
        }
        if let Some(issue) = repository.issue(number) {
            (issue.labels, issue.assignees, issue.milestone) = (named, assignees, milestone);
        }
    }
    let Some(issue) = repository.issue(number).cloned() else { return Reply::not_found() };
    let made = repository.issue_json(&issue, operation.example());
    let location = made["url"].as_str().unwrap_or_default().to_owned();
    Reply::new(201, made).with("location", location)
}

fn change(repository: &mut Repository, number: u64, body: &Value, operation: &Operation) -> Reply {
    let text = match text(body, "body", MAX_BODY) {
        Ok(text) => text,
        Err(reply) => return reply,
    };
    let is_ours = |issue: &Issue, login: &str| issue.author == login;
    let (login, may_push) = (repository.options.login.clone(), repository.options.may_push);
    let Some(issue) = repository.issue(number) else { return Reply::not_found() };
    if issue.is_deleted {
        return Reply::said(410, "This issue was deleted");
    }
    if !may_push && !is_ours(issue, &login) {
        return Reply::said(403, "Must have admin rights to Repository.");
    }
    if body.get("body").is_some() {
        issue.body = text;
    }
    match body["state"].as_str() {
        Some("closed") => issue.closed = Some(body["state_reason"].as_str().unwrap_or("completed").to_owned()),
        Some("open") => issue.closed = None,
        Some(_) => return Reply::invalid("Issue", "state", "invalid", None),
        None => {}
    }
    let issue = issue.clone();
    Reply::new(200, repository.issue_json(&issue, operation.example()))
}

fn comments(repository: &mut Repository, call: &Call, rest: &str, number: u64, body: &Value, operation: &Operation) -> Reply {
    let (id, login) = (repository.next_id(), repository.options.login.clone());
    let Some(issue) = repository.issue(number) else { return Reply::not_found() };
    if issue.is_deleted {
        return Reply::said(410, "This issue was deleted");
    }
    if call.method == Method::GET {
        let issue = issue.clone();
        let comments = issue.comments.iter().map(|comment| repository.comment_json(number, comment, operation.example())).collect();
        return page(repository, call, rest, comments);
    }
    let text = body["body"].as_str().unwrap_or_default();
    if text.trim().is_empty() {
        return Reply::invalid("IssueComment", "body", "missing_field", None);
    }
    if text.chars().count() > MAX_BODY {
        let mut reply = Reply::invalid("IssueComment", "data", "unprocessable", None);
        reply.body["errors"][0]["message"] = json!(format!("Body is too long (maximum is {MAX_BODY} characters)"));
        return reply;
    }
    let comment = Comment { id, author: login, body: text.to_owned(), at: real_time() };
    issue.comments.push(comment.clone());
    let made = repository.comment_json(number, &comment, operation.example());
    let location = made["url"].as_str().unwrap_or_default().to_owned();
    Reply::new(201, made).with("location", location)
}
