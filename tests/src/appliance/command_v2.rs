//! The Command API v2, JSON (beyondtrust.md B.6): `/info`, `/health`, `/session-key`, `/session/{lsid}`.
//!
//! Unknown fields and query parameters are 400. Where the vendor's words are not known, ours are marked so.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer::{self, Refusal};
use super::clock::iso;
use super::command::{Call, find_queue};
use super::options::{CommandPermission, is_hex_id};
use super::parameters::{Parameters, check_custom_fields};
use super::script::Step;

/// Fields of one PATCH (beyondtrust.md B.6).
const FIELD_LIMIT: usize = 30;

type Answer = Result<Response, (StatusCode, String)>;

/// Answers `/api/command/v2/{path}`.
pub(super) fn answer(call: &mut Call<'_>, method: &Method, path: &str, query: &Parameters, headers: &HeaderMap, body: &Bytes) -> Response {
    let answered = check_request(method, query, headers, body).and_then(|()| {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["info"]) => info(call),
            ("GET", ["health"]) => health(call),
            ("POST", ["session-key"]) => session_key(call, body),
            ("GET", ["session", lsid]) => get_session(call, lsid),
            ("PATCH", ["session", lsid]) => patch_session(call, lsid, body),
            ("DELETE", ["session", lsid]) => delete_session(call, lsid),
            (_, ["info" | "health" | "session-key"] | ["session", _]) => {
                Err((StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed.".into()))
            }
            _ => Err(not_found()),
        }
    });
    answered.unwrap_or_else(|(status, message)| answer::json(status, &json!({ "message": message })))
}

fn check_request(method: &Method, query: &Parameters, headers: &HeaderMap, body: &Bytes) -> Result<(), (StatusCode, String)> {
    if let Some((name, _)) = query.pairs().first() {
        let message = format!("Unknown query parameter '{name}'.");
        return Err((StatusCode::BAD_REQUEST, message));
    }
    let reads = method == Method::GET || method == Method::DELETE;
    let wanted = if reads { header::ACCEPT } else { header::CONTENT_TYPE };
    let value = headers.get(&wanted).and_then(|value| value.to_str().ok());
    let mut types = value.unwrap_or("").split(',');
    let is_json = |one: &str| one.split(';').next().unwrap_or("").trim() == "application/json";
    if !types.any(is_json) {
        let status = if reads { StatusCode::NOT_ACCEPTABLE } else { StatusCode::UNSUPPORTED_MEDIA_TYPE };
        return Err((status, format!("The header {wanted} must be application/json.")));
    }
    if reads && !body.is_empty() {
        return Err((StatusCode::BAD_REQUEST, "A body is not allowed.".into()));
    }
    Ok(())
}

fn info(call: &Call<'_>) -> Answer {
    require(call, CommandPermission::ReadOnly)?;
    let options = &call.state.options;
    let body = json!({
        "permissions": {
            "perm_command": options.permissions.command.as_str(),
            "perm_reporting_support": options.permissions.reporting_support,
        },
        "current_time": iso(call.now),
        "command_api_version": "2.0.0",
        "config_api_version": "1.0.0",
        "reporting_api_version": options.api_version,
        "backup_api_version": "1.0.0",
        "product": "rs",
    });
    Ok(answer::json(StatusCode::OK, &body))
}

fn health(call: &Call<'_>) -> Answer {
    require(call, CommandPermission::ReadOnly)?;
    let healthy = call.state.healthy;
    let status = if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    Ok(answer::json(status, &json!({ "success": healthy })))
}

/// The body beyond queue and `url_hostname`, and the whole answer, are not known: both follow the XML command.
fn session_key(call: &mut Call<'_>, body: &Bytes) -> Answer {
    require(call, CommandPermission::FullAccess)?;
    let mut fields = object(body)?;
    let queue_type = take_text(&mut fields, "queue_type")?;
    let queue_number = take_number(&mut fields, "queue_id")?;
    let issue = take_text(&mut fields, "issue_code_name")?;
    let username = take_text(&mut fields, "rep_username")?;
    let hostname = take_text(&mut fields, "url_hostname")?;
    let ttl = take_number(&mut fields, "ttl")?.unwrap_or(86_400);
    let external_key = take_text(&mut fields, "external_key")?;
    if let Some((name, _)) = fields.iter().next() {
        return Err(bad_request(&format!("Unknown field '{name}'.")));
    }
    let queue_id = match (queue_type.as_deref(), queue_number, issue, username) {
        (Some("general"), None, None, None) => "general".to_owned(),
        (Some("rep"), Some(id), None, None) => format!("rep:{id}"),
        (Some("team"), Some(id), None, None) => format!("team:{id}"),
        (None, None, Some(code_name), None) => format!("issue:{code_name}"),
        (None, None, None, Some(username)) => format!("rep_username:{username}"),
        _ => {
            return Err(bad_request("Give queue_type with queue_id, or issue_code_name, or rep_username."));
        }
    };
    let unprocessable = |refusal: Refusal| (StatusCode::UNPROCESSABLE_ENTITY, refusal.0);
    let queue = find_queue(&call.state.options, &queue_id).map_err(unprocessable)?;
    let custom = external_key.map(|value| ("external_key".to_owned(), value));
    let custom: Vec<_> = custom.into_iter().collect();
    check_custom_fields(&custom, &call.state.options).map_err(unprocessable)?;
    let made = call.make_key(queue, ttl, hostname.as_deref(), custom);
    let made = made.map_err(unprocessable)?;
    let body = json!({
        "short_key": made.short_key,
        "key_url": made.key_url,
        "mail_subject": made.mail_subject,
        "mail_body": made.mail_body,
        "expires": iso(made.expires_at),
    });
    Ok(answer::json(StatusCode::OK, &body))
}

fn get_session(call: &mut Call<'_>, lsid: &str) -> Answer {
    require(call, CommandPermission::ReadOnly)?;
    check_lsid(lsid)?;
    let options = call.state.options.clone();
    let session = call.state.sessions.active_mut(lsid).ok_or_else(not_found)?;
    let external_key = ("external_key".to_owned(), session.external_key.clone());
    let fields = std::iter::once(&external_key).chain(&session.custom_attributes);
    let fields = fields.map(|(code_name, value)| {
        let mut known = options.custom_fields.iter();
        let field = known.find(|field| field.code_name == *code_name);
        let display_name = field.map_or("External Key", |field| &field.display_name);
        json!({ "code_name": code_name, "display_name": display_name, "value": value })
    });
    Ok(answer::json(StatusCode::OK, &Value::Array(fields.collect())))
}

fn patch_session(call: &mut Call<'_>, lsid: &str, body: &Bytes) -> Answer {
    require(call, CommandPermission::FullAccess)?;
    check_lsid(lsid)?;
    let given = object(body)?;
    if given.len() > FIELD_LIMIT {
        return Err(bad_request("Too many fields."));
    }
    let mut fields = Vec::new();
    for (code_name, value) in given {
        let Value::String(value) = value else {
            return Ok(field_error(&code_name, "The value must be a string."));
        };
        fields.push((code_name, value));
        if let Err(refusal) = check_custom_fields(&fields, &call.state.options) {
            let (code_name, _) = &fields[fields.len() - 1];
            if refusal.0.ends_with("does not exist.") {
                return Err(bad_request(&refusal.0));
            }
            return Ok(field_error(code_name, &refusal.0));
        }
    }
    let session = call.state.sessions.active_mut(lsid).ok_or_else(not_found)?;
    session.set_attributes(&fields);
    let body = json!({ "message": "Session attributes were set" });
    Ok(answer::json(StatusCode::OK, &body))
}

fn delete_session(call: &mut Call<'_>, lsid: &str) -> Answer {
    require(call, CommandPermission::FullAccess)?;
    check_lsid(lsid)?;
    call.state.sessions.active_mut(lsid).ok_or_else(not_found)?;
    let ended = call.state.apply(lsid, Step::Ends, call.now);
    ended.map_err(|error| (StatusCode::CONFLICT, format!("{error:#}")))?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn require(call: &Call<'_>, needed: CommandPermission) -> Result<(), (StatusCode, String)> {
    if call.state.options.permissions.command >= needed {
        return Ok(());
    }
    let message = "You do not have permission to perform this action.";
    Err((StatusCode::FORBIDDEN, message.into()))
}

fn check_lsid(lsid: &str) -> Result<(), (StatusCode, String)> {
    if is_hex_id(lsid) { Ok(()) } else { Err(bad_request("The lsid is not valid.")) }
}

fn object(body: &Bytes) -> Result<Map<String, Value>, (StatusCode, String)> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(bad_request("The body must be a JSON object.")),
    }
}

fn take_text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, (StatusCode, String)> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad_request(&format!("The field '{name}' must be a string."))),
    }
}

fn take_number(fields: &mut Map<String, Value>, name: &str) -> Result<Option<i64>, (StatusCode, String)> {
    let Some(value) = fields.remove(name) else {
        return Ok(None);
    };
    // Integers must be JSON numbers (beyondtrust.md B.6).
    match value.as_i64() {
        Some(number) => Ok(Some(number)),
        None => Err(bad_request(&format!("The field '{name}' must be an integer."))),
    }
}

fn field_error(code_name: &str, message: &str) -> Response {
    let body = json!({
        "message": "The given data was invalid.",
        "errors": { code_name: [message] },
    });
    answer::json(StatusCode::UNPROCESSABLE_ENTITY, &body)
}

fn bad_request(message: &str) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message.into())
}

fn not_found() -> (StatusCode, String) {
    let message = "The specified resource was not found.";
    (StatusCode::NOT_FOUND, message.into())
}
