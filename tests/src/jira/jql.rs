//! As much of JQL as is asked: clauses joined by AND, and an order. All else is refused.

use super::site::{Issue, PROJECT_ID, Site, is_found};

/// What a query finds, the newest first; else why it is refused.
pub(super) fn search<'a>(site: &'a Site, jql: &str, is_strict: bool) -> Result<Vec<&'a Issue>, String> {
    let (conditions, order) = jql.split_once("ORDER BY").map_or((jql, "created DESC"), |(conditions, order)| (conditions, order.trim()));
    if order != "created DESC" {
        return Err(format!("no such order: {order}"));
    }
    if conditions.trim().is_empty() {
        return Err("Unbounded JQL queries are not allowed here. Please add a search restriction to your query.".to_owned());
    }
    let mut found: Vec<&Issue> = site.issues.iter().filter(|issue| is_found(issue)).collect();
    for clause in conditions.split(" AND ") {
        let clause = clause.trim();
        if let Some(keys) = clause.strip_prefix("key in (").and_then(|keys| keys.strip_suffix(')')) {
            let keys: Vec<String> = keys.split(',').map(|key| unquoted(key).to_owned()).collect();
            if let Some(missing) = keys.iter().find(|key| is_strict && site.issue(key).is_none()) {
                return Err(format!("An issue with key '{missing}' does not exist for field 'key'."));
            }
            found.retain(|issue| keys.contains(&issue.key));
            continue;
        }
        let mut words = clause.splitn(3, ' ');
        let (Some(field), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("Error in the JQL Query: {clause}"));
        };
        let is_quoted = value.starts_with('"');
        let value = unquoted(value);
        match (field, operator) {
            ("project", "=") => {
                let is_ours = if is_quoted { value == site.options.project } else { value == PROJECT_ID || value == site.options.project };
                if !is_ours {
                    return Err(format!("The value '{value}' does not exist for the field 'project'."));
                }
                if site.denied.iter().any(|permission| permission == "BROWSE_PROJECTS") {
                    found.clear();
                }
            }
            ("labels", "=") => found.retain(|issue| {
                issue
                    .fields
                    .get("labels")
                    .and_then(|labels| labels.as_array())
                    .is_some_and(|labels| labels.iter().any(|label| label == value))
            }),
            // By words, as an index has them.
            ("description", "~") => found.retain(|issue| {
                let text = issue.fields.get("description").map(ToString::to_string).unwrap_or_default();
                text.split(|character: char| !character.is_alphanumeric()).any(|word| word.eq_ignore_ascii_case(value))
            }),
            ("statusCategory", "!=") => found.retain(|issue| Site::category(&issue.status).1 != value),
            _ => return Err(format!("Error in the JQL Query: {clause}")),
        }
    }
    found.reverse();
    Ok(found)
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"')
}
