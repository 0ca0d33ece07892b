//! Files: uploaded first, attached by token later (zendesk.md d.7).

use std::sync::Arc;

use axum::http::header;
use serde_json::{Value, json};

use super::account::{Account, Attachment, UPLOAD_LIFE, Upload};
use super::call::{Call, Outcome, Reply};

/// Content types that match a file name's extension. An extension not listed takes any type.
const MEDIA_TYPES: &[(&str, &[&str])] = &[
    ("csv", &["text/csv"]),
    ("gif", &["image/gif"]),
    ("htm", &["text/html"]),
    ("html", &["text/html"]),
    ("jpeg", &["image/jpeg"]),
    ("jpg", &["image/jpeg"]),
    ("json", &["application/json"]),
    ("log", &["text/plain"]),
    ("md", &["text/markdown", "text/plain"]),
    ("pdf", &["application/pdf"]),
    ("png", &["image/png"]),
    ("txt", &["text/plain"]),
    ("xml", &["application/xml", "text/xml"]),
    ("zip", &["application/zip"]),
];
const FILE_NAME_MAX: usize = 255;

pub(super) fn create(account: &mut Account, call: &Call) -> Outcome {
    call.only_query(&["filename", "token"])?;
    let file_name = call
        .query("filename")
        .filter(|name| !name.trim().is_empty() && name.len() <= FILE_NAME_MAX)
        .ok_or_else(|| Reply::bad_request("filename is missing or too long"))?;
    let given = call.header(header::CONTENT_TYPE).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if !matches_extension(file_name, media_type) {
        return Err(
            Reply::invalid("attachment", "invalid", &format!("Content-Type \"{media_type}\" does not match \"{file_name}\"")).into()
        );
    }
    if call.body.is_empty() {
        return Err(Reply::invalid("attachment", "blank", "can't be blank").into());
    }
    let now = account.now();
    account.uploads.retain(|_, upload| upload.expires_at > now);
    let token = match call.query("token") {
        None => super::random_token(),
        Some(token) if account.uploads.contains_key(token) => token.to_owned(),
        Some(_) => return Err(Reply::invalid("token", "invalid", "is invalid").into()),
    };
    let file = Attachment {
        id: account.next_id(),
        file_name: file_name.to_owned(),
        content_type: media_type.to_owned(),
        secret: super::random_token(),
        content: Arc::from(call.body.as_slice()),
    };
    // Whoever knows the content_url can read it from now on, attached or not.
    account.files.insert(file.secret.clone(), file.clone());
    let upload = account.uploads.entry(token.clone()).or_insert_with(|| Upload { files: Vec::new(), expires_at: now + UPLOAD_LIFE });
    upload.files.push(file.clone());
    let all: Vec<Value> = upload.files.iter().map(|f| f.json(&account.url)).collect();
    Ok(Reply::json(201, json!({"upload": {"token": token, "attachment": file.json(&account.url), "attachments": all}})))
}

pub(super) fn delete(account: &mut Account, token: &str) -> Outcome {
    match account.uploads.remove(token) {
        Some(upload) => {
            for file in upload.files {
                account.files.remove(&file.secret);
            }
            Ok(Reply::empty(204))
        }
        None => Err(Reply::no_record().into()),
    }
}

/// `GET /attachments/token/{secret}/`: always a download, whatever its type.
pub(super) fn download(account: &Account, secret: &str) -> Outcome {
    let file = account.files.get(secret).ok_or_else(Reply::no_record)?;
    let name: String = url::form_urlencoded::byte_serialize(file.file_name.as_bytes()).collect();
    Ok(Reply::bytes("application/octet-stream", file.content.to_vec())
        .with("x-content-type-options", "nosniff")
        .with("content-disposition", format!("attachment; filename*=UTF-8''{}", name.replace('+', "%20"))))
}

fn matches_extension(file_name: &str, media_type: &str) -> bool {
    let extension = match file_name.rsplit_once('.') {
        Some((_, extension)) => extension.to_ascii_lowercase(),
        None => String::new(),
    };
    match MEDIA_TYPES.iter().find(|(known, _)| *known == extension) {
        Some((_, types)) => types.contains(&media_type.to_ascii_lowercase().as_str()),
        None => media_type.contains('/'),
    }
}
