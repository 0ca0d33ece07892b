//! Files on tickets and their limits (autotask-extension.md a.10).
//!
//! Lists never carry the content; only the file's own path below its ticket gives it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::api::Author;
use super::call::{Call, Outcome, Refusal, Reply};
use super::query;
use super::schema::Entity;
use super::tenant::{Tenant, integer, text};
use super::tickets::{child, touch_ticket};
use super::times;
use super::writing::require;

/// Bytes of one file; sources say 6 to 7 MB (a.10).
pub const FILE_MAX: usize = 6_000_000;
const FILE: &str = "FILE_ATTACHMENT";
/// The kinds that are links and have no content.
const LINKS: &[&str] = &["FILE_LINK", "FOLDER_LINK", "URL"];
/// `parentType` of a ticket's file.
const OF_TICKET: i64 = 4;

pub(super) fn create(tenant: &mut Tenant, author: Author, call: &Call, ticket: i64) -> Outcome {
    let mut body = call.json()?;
    let data_key = body.keys().find(|key| key.eq_ignore_ascii_case("data")).cloned();
    let data = data_key.and_then(|key| body.remove(&key)).unwrap_or(Value::Null);
    let mut record = child(tenant, Entity::AttachmentInfo, &body, ticket)?;
    require(Entity::AttachmentInfo, &record)?;
    let content = match text(&record, "attachmentType").unwrap_or_default() {
        FILE => {
            let content = data.as_str().and_then(|encoded| STANDARD.decode(encoded).ok()).filter(|content| !content.is_empty());
            let content = content.ok_or_else(|| Refusal::required("data"))?;
            let name = text(&record, "fullPath").unwrap_or_default();
            let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
            if !tenant.options.settings.file_types.contains(&extension) {
                return Err(Refusal::invalid(format!("The file type .{extension} is not allowed")));
            }
            if content.len() > FILE_MAX {
                return Err(Refusal::invalid("The attachment exceeds the maximum file size"));
            }
            let now = tenant.now();
            if !tenant.attaching.admit(now, content.len()) {
                return Err(Refusal::invalid("The limit of 10000000 bytes of attachments in 5 minutes is exceeded"));
            }
            content
        }
        link if LINKS.contains(&link) => Vec::new(),
        other => return Err(Refusal::invalid(format!("Picklist value [{other}] does not exist for attachmentType"))),
    };
    let now = tenant.now();
    let own = json!({
        "attachDate": times::written(now),
        "contentType": "application/octet-stream",
        "creatorType": 1,
        // A decimal (a.10).
        "fileSize": f64::from(u32::try_from(content.len()).unwrap_or(u32::MAX)),
        "parentID": ticket,
        "parentType": OF_TICKET,
    });
    record.extend(super::tenant::as_record(own));
    author.sign(&mut record, "attachedByResourceID");
    let id = tenant.insert(Entity::AttachmentInfo, record);
    tenant.contents.insert(id, Arc::from(content));
    touch_ticket(tenant, ticket, author);
    Ok(Reply::item_id(id))
}

/// A list even for one (a.10).
pub(super) fn show(tenant: &Tenant, ticket: i64, id: i64) -> Outcome {
    let record = tenant.get(Entity::AttachmentInfo, id).filter(|record| integer(record, "ticketID") == Some(ticket));
    let mut shown = tenant.shown(Entity::AttachmentInfo, record.ok_or_else(Refusal::no_record)?);
    let content = tenant.contents.get(&id).map(|content| STANDARD.encode(content));
    shown.insert("data".to_owned(), content.into());
    Ok(query::list(&[shown.into()]))
}
