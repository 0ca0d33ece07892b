//! `/help-center/customize/{token}`: how an administrator puts the customer's button into their Help Center.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use deskbridge_core::clock::rfc3339;
use deskbridge_help_desks::zendesk::{CustomerProof, LineFound, PageChecked, PageFault};
use deskbridge_security::signed_token::TokenError;
use deskbridge_shared::routes;
use deskbridge_use_cases::customize_help_center::{self, Refusal, SetUp};
use handlebars::RenderError;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::pages::{self, Message, Pages};
use crate::state::CustomizeState;

/// The page's texts begin so.
const TEXT_PREFIX: &str = "customize_";
/// Stands for the number of a field that is not known yet.
const NUMBER: &str = "NUMBER";

/// How to put the customer's button into the Help Center.
///
/// For administrators of the help desk, from the link in their panel. Pages are in the language of `Accept-Language`.
#[utoipa::path(
    get,
    context_path = routes::HELP_CENTER_CUSTOMIZE,
    path = "/{token}",
    operation_id = "customize_help_center",
    params(("token" = String, Path)),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 403, description = "Not an administrator any more", body = String, content_type = "text/html"),
        (status = 404, description = "Not a link of this server", body = String, content_type = "text/html"),
        (status = 410, description = "Expired", body = String, content_type = "text/html"),
        (status = 500, description = "No page"),
        (status = 503, description = "Try again in a minute", body = String, content_type = "text/html"),
    ),
)]
pub async fn page(State(state): State<Arc<CustomizeState>>, token: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    show(&state, token, &headers, false).await
}

/// Looks whether the Help Center's public pages have the button's line.
///
/// The same page with what was found. Changes nothing.
#[utoipa::path(
    post,
    context_path = routes::HELP_CENTER_CUSTOMIZE,
    path = "/{token}/check",
    operation_id = "check_help_center",
    params(("token" = String, Path)),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 403, description = "Not an administrator any more", body = String, content_type = "text/html"),
        (status = 404, description = "Not a link of this server", body = String, content_type = "text/html"),
        (status = 410, description = "Expired", body = String, content_type = "text/html"),
        (status = 500, description = "No page"),
        (status = 503, description = "Try again in a minute", body = String, content_type = "text/html"),
    ),
)]
pub async fn check(State(state): State<Arc<CustomizeState>>, token: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    show(&state, token, &headers, true).await
}

async fn show(state: &CustomizeState, token: Result<Path<String>, PathRejection>, headers: &HeaderMap, with_check: bool) -> Response {
    // What does not read is no token of ours.
    let token = token.map(|Path(token)| token).unwrap_or_default();
    let locale = state.translations.of_request(headers);
    let (connection, set_up) = match customize_help_center::open(&state.services, &token).await {
        Ok(opened) => opened,
        Err(refusal) => {
            let (status, message) = refused(&refusal);
            return pages::respond(status, state.pages.message(locale, message));
        }
    };
    let mut results = Vec::new();
    if with_check {
        for page in customize_help_center::check(&state.services, &connection).await {
            let seen = state.seen.last(connection.id, &page.origin);
            results.push((page, seen));
        }
    }
    let check_path = format!("{}/{token}/check", routes::HELP_CENTER_CUSTOMIZE);
    pages::respond_customize(View { pages: &state.pages, locale, set_up: &set_up }.page(&check_path, &results))
}

fn refused(refusal: &Refusal) -> (StatusCode, Message) {
    match refusal {
        Refusal::Token(TokenError::Invalid) => (StatusCode::NOT_FOUND, Message::CustomizeInvalid),
        Refusal::Token(TokenError::Expired) => (StatusCode::GONE, Message::CustomizeExpired),
        Refusal::NotAdministrator => (StatusCode::FORBIDDEN, Message::CustomizeNotAdministrator),
        Refusal::HelpDesk(error) => {
            tracing::warn!(%error, "the help desk does not say who administers it");
            (StatusCode::SERVICE_UNAVAILABLE, Message::CustomizeLater)
        }
    }
}

/// What stands on the page.
#[derive(Serialize)]
struct Content<'a> {
    is_in_settings: bool,
    settings: Code<'a>,
    apply: Code<'a>,
    /// Whether a chat link proves anything.
    takes_links: bool,
    /// Whether the settings name a field for chat links.
    has_link_field: bool,
    link_field: Code<'a>,
    sentence: Code<'a>,
    head_line: Code<'a>,
    snippet: Code<'a>,
    /// How customers prove that a ticket is theirs.
    proofs: Vec<String>,
    /// Whether the Help Center's sign-in of people in copy counts, too.
    has_participants: bool,
    /// What the button lacks, where no accepted proof has what it needs.
    lacking: Option<&'a str>,
    policies: Vec<Code<'a>>,
    /// Where the form of the check leads.
    check_path: &'a str,
    results: Vec<Checked>,
}

/// Something to copy.
#[derive(Serialize)]
struct Code<'a> {
    id: &'static str,
    /// For screen readers: which of the copy buttons it is.
    name: &'static str,
    text: String,
    copy: &'a str,
    copied: &'a str,
    failed: &'a str,
}

/// What was found at an origin.
#[derive(Serialize)]
struct Checked {
    origin: String,
    /// A class of the style sheet.
    tone: &'static str,
    said: String,
    seen: String,
}

/// One administrator's page.
struct View<'a> {
    pages: &'a Pages,
    locale: &'a str,
    set_up: &'a SetUp,
}

impl<'a> View<'a> {
    fn page(&self, check_path: &str, results: &[(PageChecked, Option<i64>)]) -> Result<String, RenderError> {
        let SetUp { public_url, id, link_field, proofs, .. } = self.set_up;
        let button = format!("{public_url}{}", routes::HELP_CENTER_BUTTON);
        let line = |ticket: &str| {
            format!("<script src=\"{button}\" data-connection=\"{id}\"{ticket} data-locale=\"{{{{help_center.locale}}}}\" defer></script>")
        };
        let link_number = link_field.map_or_else(|| NUMBER.to_owned(), |field| field.to_string());
        let field = format!("ticket.ticket_field_{link_number}");
        let sentence = self.text("sentence")?.replace("{placeholder}", &format!("{{{{{field}}}}}"));
        let content = Content {
            is_in_settings: self.set_up.is_in_settings,
            settings: self.code("settings", "deskbridge.toml", self.settings_lines()?)?,
            apply: self.code("apply", "deskbridge config apply", "deskbridge config apply".to_owned())?,
            takes_links: proofs.contains(&CustomerProof::ChatLink),
            has_link_field: link_field.is_some(),
            link_field: self.code("link-field", "link_field", format!("link_field = {link_number}"))?,
            sentence: self.code("sentence", "ticket_field", format!("{{% if {field} != blank %}}{sentence}{{% endif %}}"))?,
            head_line: self.code("head-line", "document_head.hbs", line(""))?,
            snippet: self.code("snippet", "request_page.hbs", line(" data-ticket=\"{{request.id}}\""))?,
            proofs: proofs.iter().map(|proof| self.proof(*proof)).collect::<Result<_, _>>()?,
            has_participants: self.set_up.has_participants && proofs.contains(&CustomerProof::HelpCenterToken),
            lacking: self.lacking()?,
            policies: vec![
                self.code("script-src", "script-src", format!("script-src {public_url}"))?,
                self.code("connect-src", "connect-src", format!("connect-src 'self' {public_url}"))?,
            ],
            check_path,
            results: results.iter().map(|(page, seen)| self.checked(page, *seen)).collect::<Result<_, _>>()?,
        };
        self.pages.customize(self.locale, &content, &self.texts())
    }

    /// A text of this page as it is written down.
    fn text(&self, name: &str) -> Result<&'a str, RenderError> {
        self.pages.text(self.locale, &[TEXT_PREFIX, name].concat())
    }

    /// All texts of this page, with its values. The connection's name goes in last: it may hold anything.
    fn texts(&self) -> Map<String, Value> {
        let link_field = self.set_up.link_field.map(|field| field.to_string()).unwrap_or_default();
        let filled = |text: &str| text.replace("{link_field}", &link_field).replace("{connection}", &self.set_up.connection);
        let texts = self.pages.texts(self.locale);
        texts.filter_map(|(name, text)| Some((name.strip_prefix(TEXT_PREFIX)?.to_owned(), Value::from(filled(text.as_str()?))))).collect()
    }

    fn code(&self, id: &'static str, name: &'static str, text: String) -> Result<Code<'a>, RenderError> {
        Ok(Code { id, name, text, copy: self.text("copy")?, copied: self.text("copied")?, failed: self.text("copy_failed")? })
    }

    /// What whoever runs Deskbridge adds to the connection.
    fn settings_lines(&self) -> Result<String, RenderError> {
        let proofs: Vec<String> = CustomerProof::DEFAULT.iter().map(|proof| format!("\"{}\"", proof.name())).collect();
        Ok(format!(
            "[connection.help_center]\ncustomer_proof = [{}]\n# {}\n# origins = [\"https://help.example.com\"]\n# {}\n# link_field = 360002",
            proofs.join(", "),
            self.text("settings_origins")?,
            self.text("settings_link_field")?,
        ))
    }

    /// What to say where the button has no proof. The account's plan is not known here.
    fn lacking(&self) -> Result<Option<&'a str>, RenderError> {
        let SetUp { link_field, ticket_field, proofs, .. } = self.set_up;
        let takes = |proof| proofs.contains(&proof);
        let has_field =
            takes(CustomerProof::TicketField) && ticket_field.is_some() || takes(CustomerProof::ChatLink) && link_field.is_some();
        let name = match (takes(CustomerProof::HelpCenterToken), takes(CustomerProof::ChatLink)) {
            _ if has_field => return Ok(None),
            (true, true) => "proofs_plan",
            (true, false) => "proofs_plan_only",
            (false, _) => "proofs_lacking",
        };
        self.text(name).map(Some)
    }

    fn proof(&self, proof: CustomerProof) -> Result<String, RenderError> {
        let field = self.set_up.ticket_field.map(|field| field.to_string()).unwrap_or_default();
        Ok(self.text(&format!("proof_{}", proof.name()))?.replace("{field}", &field))
    }

    /// `seen`: when a page last asked for the button's offer, in Unix ms.
    fn checked(&self, page: &PageChecked, seen: Option<i64>) -> Result<Checked, RenderError> {
        let (tone, said) = match &page.found {
            Ok(LineFound::Ours) => ("notice-done", self.text("found")?.to_owned()),
            Ok(LineFound::Another) => ("notice-fault", self.text("found_another")?.to_owned()),
            Ok(LineFound::None) => ("notice-waiting", self.text("found_none")?.to_owned()),
            Err(fault) => ("notice-fault", self.fault(fault)?),
        };
        let seen = match seen {
            Some(at) => self.text("seen")?.replace("{time}", &minute(at)),
            None => self.text("not_seen")?.to_owned(),
        };
        Ok(Checked { origin: page.origin.clone(), tone, said, seen })
    }

    fn fault(&self, fault: &PageFault) -> Result<String, RenderError> {
        Ok(match fault {
            PageFault::Unreachable(error) => {
                tracing::warn!(error, "a page of the Help Center cannot be read");
                self.text("fault_unreachable")?.to_owned()
            }
            PageFault::SignIn => self.text("fault_sign_in")?.to_owned(),
            PageFault::NotThere => self.text("fault_not_there")?.to_owned(),
            PageFault::Status(status) => self.text("fault_status")?.replace("{status}", &status.to_string()),
            PageFault::LeadsTo(origin) => self.text("fault_leads_to")?.replace("{origin}", origin),
            PageFault::LeadsNowhere | PageFault::LeadsOn => self.text("fault_leads_on")?.to_owned(),
        })
    }
}

/// `2026-11-29 23:40 UTC`.
fn minute(at: i64) -> String {
    let at = rfc3339(at);
    let (date, time) = at.split_once('T').unwrap_or((&at, ""));
    format!("{date} {} UTC", time.get(..5).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use deskbridge_help_desks::HelpDeskError;

    use super::*;
    use crate::assets::Assets;
    use crate::texts::Translations;

    const LOCALES: [&str; 2] = ["de", "en"];

    fn pages() -> Pages {
        let translations = Arc::new(Translations::load().unwrap());
        assert_eq!(translations.all().map(|(locale, _)| locale).collect::<Vec<_>>(), LOCALES);
        Pages::new(&Assets::load(&translations), translations).unwrap()
    }

    fn set_up() -> SetUp {
        SetUp {
            connection: "Zendesk".into(),
            id: "0192f3a7-c1e7-7b0a-9f2e-0242ac120002".into(),
            public_url: "https://remote.example.com".into(),
            origins: vec!["https://acme.zendesk.com".into()],
            is_in_settings: true,
            link_field: Some(360_002),
            ticket_field: Some(360_001),
            proofs: vec![CustomerProof::HelpCenterToken, CustomerProof::TicketField, CustomerProof::ChatLink],
            has_participants: true,
        }
    }

    fn page(locale: &str, set_up: &SetUp, results: &[(PageChecked, Option<i64>)]) -> String {
        View { pages: &pages(), locale, set_up }.page("/help-center/customize/t/check", results).unwrap()
    }

    #[test]
    fn a_page_has_every_value_and_the_braces_of_themes_and_triggers() {
        for locale in LOCALES {
            let page = page(locale, &set_up(), &[]);
            let line = "&lt;script src=&quot;https://remote.example.com/help-center/button.js&quot; \
                        data-connection=&quot;0192f3a7-c1e7-7b0a-9f2e-0242ac120002&quot;";
            let end = "data-locale=&quot;{{help_center.locale}}&quot; defer&gt;&lt;/script&gt;";
            for expected in [
                format!("<html lang=\"{locale}\" dir=\"ltr\""),
                format!("{line} {end}").replace('=', "&#x3D;"),
                format!("{line} data-ticket=&quot;{{{{request.id}}}}&quot; {end}").replace('=', "&#x3D;"),
                "{% if ticket.ticket_field_360002 !&#x3D; blank %}".to_owned(),
                " {{ticket.ticket_field_360002}}{% endif %}<".to_owned(),
                "360001".to_owned(),
                "script-src https://remote.example.com<".to_owned(),
                "connect-src &#x27;self&#x27; https://remote.example.com<".to_owned(),
                "action=\"/help-center/customize/t/check#check\"".to_owned(),
            ] {
                assert!(page.contains(&expected), "{expected} is not in {page}");
            }
            assert!(!page.contains("NUMBER") && !page.contains("[connection.help_center]\n"), "{page}");
        }
    }

    #[test]
    fn a_connection_without_a_help_center_is_told_what_to_add() {
        let bare = SetUp { is_in_settings: false, link_field: None, ticket_field: None, proofs: CustomerProof::DEFAULT.into(), ..set_up() };
        for locale in LOCALES {
            let page = page(locale, &bare, &[]);
            let lines = "[connection.help_center]\ncustomer_proof &#x3D; [&quot;help_center_token&quot;, &quot;chat_link&quot;]\n# ";
            for expected in [lines, "deskbridge config apply", "link_field &#x3D; NUMBER", "{{ticket.ticket_field_NUMBER}}"] {
                assert!(page.contains(expected), "{expected} is not in {page}");
            }
            assert!(!page.contains("<form"), "{page}");
        }
    }

    #[test]
    fn what_still_lacks_is_said() {
        use CustomerProof::{ChatLink, HelpCenterToken, TicketField};
        const OFF: &str = "needs chat_link among customer_proof";
        const PLAN: &str = "not an Enterprise plan, the button cannot start a chat yet.";
        const PLAN_ONLY: &str = "not an Enterprise plan, the button cannot start a chat. Ask";
        const LACKING: &str = "The button cannot start a chat yet:";
        for (proofs, ticket_field, link_field, expected) in [
            (vec![HelpCenterToken, TicketField, ChatLink], Some(1), Some(2), vec![]),
            (vec![HelpCenterToken, ChatLink], None, Some(2), vec![]),
            (vec![ChatLink], None, Some(2), vec![]),
            (vec![TicketField], Some(1), None, vec![OFF]),
            (vec![HelpCenterToken, TicketField], Some(1), None, vec![OFF]),
            (vec![TicketField, ChatLink], Some(1), None, vec![]),
            (vec![HelpCenterToken, ChatLink], None, None, vec![PLAN]),
            (vec![HelpCenterToken], None, None, vec![OFF, PLAN_ONLY]),
            (vec![ChatLink], None, None, vec![LACKING]),
        ] {
            let what = format!("{proofs:?} {ticket_field:?} {link_field:?}");
            let page = page("en", &SetUp { proofs, ticket_field, link_field, ..set_up() }, &[]);
            for said in [OFF, PLAN, PLAN_ONLY, LACKING] {
                assert_eq!(page.contains(said), expected.contains(&said), "{what}: {said}");
            }
        }
    }

    #[test]
    fn who_can_start_a_chat_is_said_for_each_proof() {
        let requester = page("en", &SetUp { has_participants: false, ..set_up() }, &[]);
        let participants = page("en", &set_up(), &[]);
        for said in ["The ticket’s requester, if they are signed in", "including people in copy", "Everyone who has a chat link"] {
            assert!(requester.contains(said) && participants.contains(said), "{said}");
        }
        let by_setting = "It counts for the Help Center’s sign-in only.";
        assert!(participants.contains(by_setting) && !requester.contains(by_setting));
        // Without the Help Center's sign-in the setting changes nothing.
        let by_field = page("en", &SetUp { proofs: vec![CustomerProof::TicketField], ..set_up() }, &[]);
        assert!(!by_field.contains(by_setting));
    }

    #[test]
    fn no_value_becomes_markup() {
        let evil = "\"><script>alert(1)</script>{link_field}";
        let set_up = SetUp { connection: evil.into(), is_in_settings: false, ..set_up() };
        let results = [(PageChecked { origin: evil.into(), found: Err(PageFault::LeadsTo(evil.into())) }, None)];
        for locale in LOCALES {
            let told = page(locale, &set_up, &[]);
            assert!(told.contains("&quot;&gt;&lt;script&gt;alert(1)") && told.contains("{link_field}"), "{told}");
            let checked = page(locale, &SetUp { is_in_settings: true, ..set_up.clone() }, &results);
            assert!(checked.matches("&gt;&lt;script&gt;alert(1)").count() >= 3, "{checked}");
            for page in [told, checked] {
                assert!(!page.contains("<script>") && page.matches("<script").count() == 1, "{page}");
            }
        }
    }

    #[test]
    fn each_result_reads_differently() {
        let origin = "https://acme.zendesk.com";
        let mut faults = vec![
            Ok(LineFound::Ours),
            Ok(LineFound::Another),
            Ok(LineFound::None),
            Err(PageFault::Unreachable("refused".into())),
            Err(PageFault::SignIn),
            Err(PageFault::NotThere),
            Err(PageFault::Status(500)),
            Err(PageFault::LeadsTo("https://help.example.com".into())),
        ];
        faults.push(Err(PageFault::LeadsOn));
        for locale in LOCALES {
            let seen: std::collections::BTreeSet<String> = faults
                .iter()
                .map(|found| page(locale, &set_up(), &[(PageChecked { origin: origin.into(), found: found.clone() }, Some(0))]))
                .collect();
            assert_eq!(seen.len(), faults.len());
            assert!(seen.iter().all(|page| page.contains(origin) && page.contains("1970-01-01 00:00 UTC")));
        }
    }

    #[test]
    fn refusals_have_a_status_and_a_page_each() {
        for (refusal, expected) in [
            (Refusal::Token(TokenError::Invalid), (404, Message::CustomizeInvalid)),
            (Refusal::Token(TokenError::Expired), (410, Message::CustomizeExpired)),
            (Refusal::NotAdministrator, (403, Message::CustomizeNotAdministrator)),
            (Refusal::HelpDesk(HelpDeskError::passing("away")), (503, Message::CustomizeLater)),
        ] {
            let (status, message) = refused(&refusal);
            assert_eq!((status.as_u16(), message), expected);
        }
    }
}
