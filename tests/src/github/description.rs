//! GitHub's own description of its API, cut to the operations that Deskbridge calls (`description.json`, made by `description.mjs`).
//!
//! The simulated GitHub refuses what it refuses, and takes its examples as the pattern of its answers.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::Method;
use jsonschema::Validator;
use serde_json::{Value, json};

/// The operations, by method and path of the description.
static DESCRIPTION: &str = include_str!("description.json");

/// One operation.
pub struct Operation {
    query: BTreeMap<String, Validator>,
    body: Option<(Validator, Vec<String>)>,
    answers: BTreeMap<u16, Option<Validator>>,
    example: Value,
}

/// What the description says.
pub struct Description(BTreeMap<String, Operation>);

impl Description {
    /// It, read once.
    pub fn get() -> &'static Self {
        static READ: OnceLock<Description> = OnceLock::new();
        READ.get_or_init(|| Self::read().unwrap_or_else(|what| panic!("description.json: {what}")))
    }

    fn read() -> Result<Self, String> {
        let document: Value = serde_json::from_str(DESCRIPTION).map_err(|error| error.to_string())?;
        let schemas = &document["schemas"];
        // References are looked for from the schema's root.
        let validator = |schema: &Value| {
            jsonschema::validator_for(&json!({ "allOf": [schema], "schemas": schemas })).map_err(|error| error.to_string())
        };
        let mut operations = BTreeMap::new();
        for (name, operation) in document["operations"].as_object().into_iter().flatten() {
            let members = |member: &str| operation[member].as_object().into_iter().flatten();
            let mut query = BTreeMap::new();
            for (name, schema) in members("query") {
                query.insert(name.clone(), validator(schema)?);
            }
            let mut answers = BTreeMap::new();
            for (status, schema) in members("answers") {
                let status = status.parse().map_err(|_| format!("a status {status}"))?;
                answers.insert(status, if schema.is_object() { Some(validator(schema)?) } else { None });
            }
            let body = match operation.get("body") {
                Some(schema) => {
                    let names = schema["properties"].as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default();
                    Some((validator(schema)?, names))
                }
                None => None,
            };
            operations.insert(name.clone(), Operation { query, body, answers, example: operation["example"].clone() });
        }
        Ok(Self(operations))
    }

    /// The operation of a method and a path of the description, like `/repos/{owner}/{repo}/issues`.
    pub fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        self.0.get(&format!("{method} {path}"))
    }

    /// The description's path for one below the API's address. `repositories/7` stands for `repos/owner/name`.
    pub fn path_of(path: &str) -> Option<&'static str> {
        let parts: Vec<&str> = path.split('/').collect();
        let rest = match parts.as_slice() {
            ["user"] => return Some("/user"),
            ["repos", _, _, rest @ ..] | ["repositories", _, rest @ ..] => rest,
            _ => return None,
        };
        match rest {
            [] => Some("/repos/{owner}/{repo}"),
            ["labels"] => Some("/repos/{owner}/{repo}/labels"),
            ["issues"] => Some("/repos/{owner}/{repo}/issues"),
            ["issues", _] => Some("/repos/{owner}/{repo}/issues/{issue_number}"),
            ["issues", _, "comments"] => Some("/repos/{owner}/{repo}/issues/{issue_number}/comments"),
            _ => None,
        }
    }
}

impl Operation {
    /// What is wrong with a query; names that the description does not have, too, which GitHub overlooks.
    pub fn faults_of_query(&self, query: &[(String, String)]) -> Vec<String> {
        let fault = |(name, text): &(String, String)| {
            let Some(validator) = self.query.get(name) else { return Some(format!("{name} is no parameter")) };
            let value = text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
            (!validator.is_valid(&value) && !validator.is_valid(&json!(text))).then(|| format!("{name} cannot be {text}"))
        };
        query.iter().filter_map(fault).collect()
    }

    /// What is wrong with a body; members that the description does not have, too, which GitHub overlooks.
    pub fn faults_of_body(&self, body: &Value) -> Vec<String> {
        let Some((validator, names)) = &self.body else {
            return if body.is_null() { Vec::new() } else { vec!["a body where none is taken".to_owned()] };
        };
        let unknown = body.as_object().into_iter().flatten().filter(|(name, _)| !names.contains(name));
        let unknown = unknown.map(|(name, _)| format!("{name} is no member"));
        validator.iter_errors(body).map(|error| error.to_string()).chain(unknown).collect()
    }

    /// What is wrong with an answer.
    pub fn faults_of_answer(&self, status: u16, body: &Value) -> Vec<String> {
        // A renamed repository's are redirected, whether that is described or not.
        if status == 301 {
            return Vec::new();
        }
        match self.answers.get(&status) {
            Some(Some(validator)) => validator.iter_errors(body).map(|error| error.to_string()).collect(),
            Some(None) => Vec::new(),
            None => vec![format!("status {status} is not described")],
        }
    }

    /// The description's example of its answer; of a list, one item.
    pub(super) fn example(&self) -> Value {
        self.example.as_array().map_or_else(|| self.example.clone(), |list| list.first().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create() -> &'static Operation {
        Description::get().operation(&Method::POST, "/repos/{owner}/{repo}/issues").unwrap()
    }

    /// Prism let every body through here (argus-tickets.md part 3, trap 1).
    #[test]
    fn a_body_that_the_description_does_not_allow_is_refused() {
        assert_eq!(create().faults_of_body(&json!({ "title": "T", "labels": ["bug"], "milestone": null })), Vec::<String>::new());
        for wrong in [
            json!({}),
            json!({ "title": ["T"] }),
            json!({ "title": "T", "labels": "bug" }),
            json!({ "title": "T", "bodi": "x" }),
            json!([]),
        ] {
            assert!(!create().faults_of_body(&wrong).is_empty(), "{wrong}");
        }
    }

    #[test]
    fn queries_and_answers_are_looked_at() {
        let list = Description::get().operation(&Method::GET, "/repos/{owner}/{repo}/issues").unwrap();
        let query = |name: &str, value: &str| list.faults_of_query(&[(name.to_owned(), value.to_owned())]);
        assert!(query("state", "all").is_empty() && query("per_page", "50").is_empty());
        assert!(!query("state", "opened").is_empty() && !query("per_page", "many").is_empty() && !query("sorted", "created").is_empty());
        assert!(!create().faults_of_answer(201, &json!({ "number": 1 })).is_empty());
        assert!(!create().faults_of_answer(202, &json!({})).is_empty());
        assert_eq!(create().faults_of_answer(201, &create().example()), Vec::<String>::new());
    }
}
