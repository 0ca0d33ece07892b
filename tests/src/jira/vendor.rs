//! The vendor's own documents, and what they refuse (`documents/README.md`).

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::json_schema;

static OPENAPI: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("documents/openapi.json")).expect("it is JSON"));
static ADF: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("documents/adf.json")).expect("it is JSON"));

/// What is wrong with a text in Atlassian Document Format.
pub(super) fn adf_fault(text: &Value) -> Option<String> {
    json_schema::fault(&ADF, &json!({ "$ref": "#/definitions/doc_node" }), text)
}

/// A call that the document has.
pub(super) struct Operation(&'static Value);

impl Operation {
    /// That of a method, in lower case, and a path.
    pub(super) fn of(method: &str, path: &str) -> Option<Self> {
        let paths = OPENAPI["paths"].as_object()?;
        let fits = |template: &str| {
            let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
            loop {
                match (parts.next(), wanted.next()) {
                    (None, None) => return true,
                    (Some(part), Some(wanted)) if part == wanted || (wanted.starts_with('{') && !part.is_empty()) => {}
                    _ => return false,
                }
            }
        };
        // A path without variables before one with.
        let mut found: Vec<&String> = paths.keys().filter(|template| fits(template)).collect();
        found.sort_by_key(|template| template.matches('{').count());
        let operation = &OPENAPI["paths"][found.first()?.as_str()][method];
        operation.is_object().then_some(Self(operation))
    }

    /// What is wrong with a request.
    pub(super) fn request_fault(&self, query: &[(String, String)], content_type: &str, body: &Value) -> Option<String> {
        let parameters = self.0["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        for (name, value) in query {
            let Some(parameter) = parameters.iter().find(|parameter| parameter["in"] == "query" && parameter["name"] == name.as_str())
            else {
                return Some(format!("there is no query parameter {name}"));
            };
            let schema = &parameter["schema"];
            let value = match schema["type"].as_str() {
                Some("integer") => value.parse::<i64>().map_or_else(|_| json!(value), Value::from),
                Some("boolean") => value.parse::<bool>().map_or_else(|_| json!(value), Value::from),
                Some("array") => value.split(',').collect(),
                _ => json!(value),
            };
            if let Some(fault) = json_schema::fault(&OPENAPI, schema, &value) {
                return Some(format!("{name}: {fault}"));
            }
        }
        let missing = parameters.iter().find(|parameter| {
            parameter["in"] == "query" && parameter["required"] == true && !query.iter().any(|(name, _)| parameter["name"] == name.as_str())
        });
        if let Some(missing) = missing {
            return Some(format!("the query has no {}", missing["name"]));
        }
        let kinds = &self.0["requestBody"]["content"];
        let kind = content_type.split(';').next().unwrap_or_default();
        match kinds.as_object() {
            None if body.is_null() => None,
            None => Some("a body where there is none".to_owned()),
            Some(kinds) => match kinds.get(kind) {
                None => Some(format!("a body of the type {kind:?}")),
                // The parts of a form are looked at where they are read.
                Some(_) if kind != "application/json" => None,
                Some(kind) => json_schema::fault(&OPENAPI, &kind["schema"], body),
            },
        }
    }

    /// What is wrong with an answer. The document has no schema for some failures.
    pub(super) fn answer_fault(&self, status: u16, body: &Value) -> Option<String> {
        let schema = self.0["responses"].get(status.to_string())?;
        json_schema::fault(&OPENAPI, schema, body).map(|fault| format!("{status}: {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_format_refuses_what_the_vendor_refuses() {
        let doc = |content: Value| json!({ "type": "doc", "version": 1, "content": content });
        let paragraph = |content: Value| json!({ "type": "paragraph", "content": content });
        let text = |text: &str| json!({ "type": "text", "text": text });
        for good in
            [doc(json!([])), doc(json!([paragraph(json!([text("x")]))])), doc(json!([{ "type": "codeBlock", "content": [text("x")] }]))]
        {
            assert_eq!(adf_fault(&good), None, "{good}");
        }
        // argus-tickets.md 2.2
        for bad in [
            json!("plain"),
            json!({ "type": "doc", "content": [] }),
            doc(json!([text("x")])),
            doc(json!([paragraph(json!([text("")]))])),
            doc(json!([{ "type": "heading", "attrs": { "level": 7 }, "content": [text("x")] }])),
            doc(json!([{ "type": "bulletList", "content": [{ "type": "listItem", "content": [text("x")] }] }])),
            doc(json!([paragraph(json!([{ "type": "text", "text": "x", "marks": [{ "type": "code" }, { "type": "strong" }] }]))])),
            doc(json!([paragraph(json!([{ "type": "shout", "text": "x" }]))])),
        ] {
            assert!(adf_fault(&bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn the_interface_refuses_what_it_does_not_know() {
        let create = Operation::of("post", "/rest/api/3/issue").unwrap();
        assert_eq!(create.request_fault(&[], "application/json", &json!({ "fields": {} })), None);
        assert!(create.request_fault(&[], "application/json", &json!({ "fields": "x" })).is_some());
        assert!(create.request_fault(&[], "text/plain", &Value::Null).is_some());
        assert!(create.answer_fault(201, &json!({ "id": 5 })).is_some());
        let comments = Operation::of("get", "/rest/api/3/issue/NET-1/comment").unwrap();
        let query = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        assert_eq!(comments.request_fault(&query("startAt", "0"), "", &Value::Null), None);
        assert!(comments.request_fault(&query("startAt", "x"), "", &Value::Null).is_some());
        assert!(comments.request_fault(&query("page", "0"), "", &Value::Null).is_some());
        assert!(Operation::of("post", "/rest/api/3/issues").is_none() && Operation::of("put", "/rest/api/3/issue").is_none());
        assert!(Operation::of("post", "/rest/api/3/issue/bulkfetch").is_some());
    }
}
