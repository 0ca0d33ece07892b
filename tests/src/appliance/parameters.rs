//! Parameters of a call, read strictly: an unknown, repeated or overlong one is refused, never ignored.
//!
//! What each action takes is said in the door of that action, as data.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, header};

use super::answer::Refusal;
use super::options::Options;

/// Prefix of custom session fields (beyondtrust.md A.2).
pub(super) const CUSTOM: &str = "session.custom.";

const CUSTOM_VALUE_LIMIT: usize = 1024;
const CUSTOM_TOTAL_LIMIT: usize = 10 * 1024;

/// Name and value pairs in the order they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
}

impl Parameters {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(super) fn parse(text: &[u8]) -> Self {
        Self { pairs: url::form_urlencoded::parse(text).into_owned().collect() }
    }

    /// Query and form of a GET or a POST (beyondtrust.md B.1: multipart is not supported).
    pub(super) fn of_call(method: &Method, headers: &HeaderMap, query: &Self, body: &Bytes) -> Result<Self, Refusal> {
        let mut parameters = query.clone();
        if method == Method::POST {
            if !is_form(headers) {
                return Err(Refusal::new("The request must be of type application/x-www-form-urlencoded."));
            }
            parameters.pairs.extend(Self::parse(body).pairs);
        } else if method != Method::GET {
            return Err(Refusal::new("Only GET and POST are supported."));
        }
        parameters.refuse_repetition()?;
        Ok(parameters)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.pairs.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there and not empty.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        match self.get(name) {
            None => Err(Refusal::new(format!("The parameter '{name}' is required."))),
            Some("") => Err(Refusal::new(format!("The parameter '{name}' is empty."))),
            Some(value) => Ok(value),
        }
    }

    /// A whole number, when given.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Refusal::new(format!("The parameter '{name}' must be an integer."))),
        }
    }

    /// One of a few words, when given.
    pub(super) fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<&str>, Refusal> {
        match self.get(name) {
            Some(value) if !allowed.contains(&value) => {
                Err(Refusal::new(format!("The parameter '{name}' must be one of: {}.", allowed.join(", "))))
            }
            value => Ok(value),
        }
    }

    /// Refuses a value of more than `limit` characters.
    pub(super) fn at_most(&self, name: &str, limit: usize) -> Result<(), Refusal> {
        match self.get(name) {
            Some(value) if value.chars().count() > limit => Err(too_long(name, limit, "characters")),
            _ => Ok(()),
        }
    }

    /// Refuses a value of more than `limit` bytes.
    pub(super) fn at_most_bytes(&self, name: &str, limit: usize) -> Result<(), Refusal> {
        match self.get(name) {
            Some(value) if value.len() > limit => Err(too_long(name, limit, "bytes")),
            _ => Ok(()),
        }
    }

    /// Takes a parameter out.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let position = self.pairs.iter().position(|(key, _)| key == name)?;
        Some(self.pairs.remove(position).1)
    }

    /// Refuses every parameter that is not in `allowed`, except `session.custom.*` when `custom` is set.
    pub(super) fn allow_only(&self, allowed: &[&str], custom: bool) -> Result<(), Refusal> {
        for (name, _) in &self.pairs {
            let known = allowed.contains(&name.as_str()) || (custom && name.starts_with(CUSTOM));
            if !known {
                return Err(Refusal::new(format!("Unknown parameter '{name}'.")));
            }
        }
        Ok(())
    }

    /// Custom fields as code name and value, the external key among them. Unknown fields and overlong values are
    /// refused (beyondtrust.md A.2: 1024 characters each, 10 KB together).
    pub(super) fn custom_fields(&self, options: &Options) -> Result<Vec<(String, String)>, Refusal> {
        let mut fields = Vec::new();
        for (name, value) in &self.pairs {
            if let Some(code_name) = name.strip_prefix(CUSTOM) {
                fields.push((code_name.to_owned(), value.clone()));
            }
        }
        check_custom_fields(&fields, options)?;
        Ok(fields)
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    fn refuse_repetition(&self) -> Result<(), Refusal> {
        for (position, (name, _)) in self.pairs.iter().enumerate() {
            if self.pairs[..position].iter().any(|(other, _)| other == name) {
                return Err(Refusal::new(format!("The parameter '{name}' was given more than once.")));
            }
        }
        Ok(())
    }
}

/// The rules for custom fields, shared by the XML and the JSON API.
pub(super) fn check_custom_fields(fields: &[(String, String)], options: &Options) -> Result<(), Refusal> {
    let mut total = 0;
    for (code_name, value) in fields {
        let known = options.custom_fields.iter();
        if code_name != "external_key" && !known.into_iter().any(|f| f.code_name == *code_name) {
            return Err(Refusal::new(format!("The custom field '{code_name}' does not exist.")));
        }
        if value.chars().count() > CUSTOM_VALUE_LIMIT {
            return Err(too_long(code_name, CUSTOM_VALUE_LIMIT, "characters"));
        }
        total += value.len();
    }
    if total > CUSTOM_TOTAL_LIMIT {
        return Err(too_long("session.custom", CUSTOM_TOTAL_LIMIT, "bytes"));
    }
    Ok(())
}

fn too_long(name: &str, limit: usize, unit: impl Display) -> Refusal {
    Refusal::new(format!("The parameter '{name}' must not exceed {limit} {unit}."))
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = value.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
