//! The Apps API: the app's public key, its installation, messages to its pages (zendesk.md b.3, c.6).

use serde_json::{Value, json};

use super::KeyAnswer;
use super::account::{Account, Notification, User};
use super::call::{Call, Outcome, PAGING, Reply, only_keys, paged};

/// One message may be this big.
const NOTIFICATION_MAX: usize = 1024 * 1024;
/// Pages that come later than so many messages do not see the older ones.
const NOTIFICATIONS_KEPT: usize = 10_000;

pub(super) fn public_key(account: &Account, app: u64, pem: bool) -> Outcome {
    let endpoint = &account.options.key_endpoint;
    let answer = if pem { endpoint.with_extension } else { endpoint.without_extension };
    if app != account.options.app_id {
        return Err(Reply::no_record().into());
    }
    let key = account.key.public_pem();
    match answer {
        KeyAnswer::RawPem => Ok(Reply::bytes("application/x-pem-file", key)),
        KeyAnswer::JsonString => Ok(Reply::json(200, Value::String(key))),
        KeyAnswer::NotFound => Err(Reply::no_record().into()),
    }
}

pub(super) fn installations(account: &Account, call: &Call) -> Outcome {
    call.only_query(PAGING)?;
    paged(call, &account.url, "installations", vec![installation_json(account)])
}

pub(super) fn installation(account: &Account, id: u64) -> Outcome {
    if id == account.options.installation_id { Ok(Reply::json(200, installation_json(account))) } else { Err(Reply::no_record().into()) }
}

fn installation_json(account: &Account) -> Value {
    json!({
        "id": account.options.installation_id,
        "app_id": account.options.app_id,
        "product": "support",
        "enabled": account.installation_enabled,
        "paid": null,
        "settings": account.options.installation_settings,
        "updated_at": "2026-08-20T10:38:52Z",
        "created_at": "2026-08-20T10:38:52Z",
    })
}

/// `POST /api/v2/apps/notify`: an event for the app's open pages.
pub(super) fn notify(account: &mut Account, call: &Call) -> Outcome {
    if call.body.len() > NOTIFICATION_MAX {
        return Err(Reply::error(413, "PayloadTooLarge", "at most 1 MB").into());
    }
    let body = call.json()?;
    only_keys(&body, &["app_id", "event", "body", "agent_id"], "the body")?;
    if body.get("app_id").and_then(Value::as_u64) != Some(account.options.app_id) {
        return Err(Reply::no_record().into());
    }
    let event = body
        .get("event")
        .and_then(Value::as_str)
        .filter(|event| !event.is_empty())
        .ok_or_else(|| Reply::invalid("event", "blank", "can't be blank"))?;
    let agent_id = match body.get("agent_id") {
        None | Some(Value::Null) => None,
        Some(agent) => Some(
            agent
                .as_u64()
                .filter(|id| account.users.get(id).is_some_and(User::is_agent))
                .ok_or_else(|| Reply::invalid("agent_id", "invalid", "is not an agent"))?,
        ),
    };
    if account.notifications.len() >= NOTIFICATIONS_KEPT {
        return Err(Reply::error(503, "ServiceUnavailable", "too many messages").into());
    }
    account.notifications.push(Notification { event: event.to_owned(), body: body.get("body").cloned().unwrap_or(Value::Null), agent_id });
    Ok(Reply::json(200, json!("Message sent")))
}
