//! The pages as HTML, with the elements and class names of the Copenhagen theme 4.50.4.

use serde_json::Value;

use super::super::account::{Account, Comment, Ticket, TicketRecord, rfc3339};
use super::super::call::Reply;
use super::super::requests;
use super::theme::{Details, HelpCenterTheme, LOCALE, REQUEST, Sidebar, escape, fill_in};

const RIGHT_TO_LEFT: &[&str] = &["ar", "fa", "he"];

/// Who looks at the Help Center, and in which language.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub account: &'a Account,
    pub locale: &'a str,
    pub user: Option<u64>,
}

impl View<'_> {
    pub(super) fn home(&self) -> Reply {
        let (hero, blocks) = (self.class("section hero"), self.class("blocks-list"));
        let main = format!(
            "<section id=\"main-content\" class=\"{hero}\"><h1>Help Center</h1></section>\n\
             <div class=\"{}\"><ul class=\"{blocks}\"><li>Frequently asked questions</li></ul></div>",
            self.class("container")
        );
        self.page(200, "Help Center", &main)
    }

    /// The account's own page: without the theme and what was added to it.
    pub(super) fn sign_in(&self, return_to: &str) -> Reply {
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"{}\" dir=\"{}\">\n<head><meta charset=\"utf-8\"><title>Sign in</title></head>\n\
             <body><h1>Sign in</h1>\n<form action=\"/hc/test-sign-in\">\n<label>User id <input name=\"user\" inputmode=\"numeric\" required></label>\n\
             <input type=\"hidden\" name=\"return_to\" value=\"{}\">\n<button>Sign in</button>\n</form></body>\n</html>\n",
            self.language(),
            self.direction(),
            escape(if return_to.is_empty() { "/hc" } else { return_to }),
        );
        answer(200, html)
    }

    pub(super) fn not_found(&self) -> Reply {
        let main = format!(
            "<div id=\"main-content\" class=\"{}\"><h1>oops</h1>\n<h2>The page you were looking for doesn't exist</h2>\n\
             <p>You may have mistyped the address or the page may have moved</p>\n<a href=\"/hc/{}\">Take me back to the home page</a></div>",
            self.class("error-page"),
            self.locale
        );
        self.page(404, "Page not found", &main)
    }

    pub(super) fn requests(&self, own: &[&TicketRecord]) -> Reply {
        let rows: Vec<String> = own
            .iter()
            .map(|record| {
                let ticket = &record.ticket;
                format!(
                    "<tr><td><a href=\"/hc/{}/requests/{}\">{}</a></td><td>#{}</td><td>{}</td></tr>\n",
                    self.locale,
                    ticket.id,
                    escape(&ticket.subject),
                    ticket.id,
                    status_name(ticket)
                )
            })
            .collect();
        let main = format!(
            "<div class=\"{}\"><header class=\"{}\"><h1>Requests</h1></header>\n<div id=\"main-content\"><table>{}</table></div></div>",
            self.class("container"),
            self.class("my-activities-header"),
            rows.concat()
        );
        self.page(200, "Requests", &main)
    }

    pub(super) fn request(&self, record: &TicketRecord) -> Reply {
        let ticket = &record.ticket;
        let id = ticket.id.to_string();
        let snippet = self.theme().request_page_snippet.as_deref().unwrap_or_default();
        let snippet = fill_in(snippet, &[(LOCALE, self.locale), (REQUEST, &id)]).unwrap_or_default();
        let (beside, below) = match self.theme().details {
            Details::Server | Details::ReplacedByScript(_) => (snippet.as_str(), ""),
            Details::LateByScript(_) | Details::Absent => ("", snippet.as_str()),
        };
        let comments: String =
            record.comments.iter().filter(|comment| comment.public).map(|comment| self.comment(ticket, comment)).collect();
        let main = format!(
            "<div class=\"{container}\">\n<nav class=\"{breadcrumbs}\"><ol><li><a href=\"/hc/{locale}\">Help Center</a></li>\
             <li><a href=\"/hc/{locale}/requests\">My activities</a></li></ol></nav>\n\
             <h1 class=\"{title}\">{subject}</h1>\n<div id=\"main-content\" class=\"{request}\">\n\
             <section class=\"{conversation}\">\n<ul class=\"{list}\">\n{comments}</ul>\n{form}{below}</section>\n{sidebar}\n</div>\n</div>",
            container = self.class("container"),
            breadcrumbs = self.class("breadcrumbs"),
            title = self.class("request-title"),
            request = self.class("request-container"),
            conversation = self.class("request-main"),
            list = self.class("comment-list"),
            locale = self.locale,
            subject = escape(&ticket.subject),
            form = self.comment_form(ticket),
            sidebar = self.sidebar(ticket, beside),
        );
        self.page(200, &ticket.subject, &main)
    }

    fn comment(&self, ticket: &Ticket, comment: &Comment) -> String {
        let author = escape(self.name_of(comment.author_id));
        let attachments: Vec<String> = comment
            .attachments
            .iter()
            .map(|file| {
                let url = file.json(&self.account.url)["content_url"].as_str().map(escape).unwrap_or_default();
                format!(
                    "<li class=\"{}\"><a href=\"{url}\" target=\"_blank\">{}</a></li>",
                    self.class("attachment-item"),
                    escape(&file.file_name)
                )
            })
            .collect();
        let attachments = match attachments.as_slice() {
            [] => String::new(),
            items => format!("<ul class=\"{}\">{}</ul>\n", self.class("attachments"), items.concat()),
        };
        format!(
            "<li id=\"request_{ticket}_comment_{id}\" class=\"{item}\"><div class=\"{wrapper}\"><div class=\"{info}\">\n\
             <div class=\"{by}\"><span title=\"{author}\">{author}</span> <time datetime=\"{at}\">{at}</time></div>\n\
             <section class=\"{body}\"><div class=\"zd-comment\" dir=\"auto\">{html}</div></section>\n{attachments}</div></div></li>\n",
            ticket = ticket.id,
            id = comment.id,
            item = self.class("comment"),
            wrapper = self.class("comment-wrapper"),
            info = self.class("comment-info"),
            by = self.class("comment-author"),
            at = rfc3339(comment.created_at),
            body = self.class("comment-body"),
            html = comment.html_body,
        )
    }

    /// Closed requests take no comment; a customer opens a follow-up instead.
    fn comment_form(&self, ticket: &Ticket) -> String {
        if ticket.status == "closed" {
            return format!("<div class=\"{}\">This request is closed for comments.</div>\n", self.class("request-follow-up"));
        }
        format!(
            "<form class=\"{form}\" action=\"/hc/{locale}/requests/{id}/comments\" method=\"post\">\n\
             <textarea name=\"request[comment][body]\" rows=\"7\" aria-label=\"Add to conversation\"></textarea>\n\
             <button class=\"{button}\">Submit</button>\n</form>\n",
            form = self.class("comment-form"),
            locale = self.locale,
            id = ticket.id,
            button = self.class("button button-large"),
        )
    }

    fn sidebar(&self, ticket: &Ticket, snippet: &str) -> String {
        let body = format!("{}{snippet}\n", self.details(ticket));
        let (element, folds) = match self.theme().sidebar {
            Sidebar::Section => ("section", " collapsible-sidebar"),
            Sidebar::Aside => ("aside", ""),
        };
        let toggle = format!(
            "<button type=\"button\" class=\"{}\" aria-labelledby=\"request-sidebar-title\" aria-expanded=\"false\"></button>\n",
            self.class("collapsible-sidebar-toggle")
        );
        let sidebar = format!(
            "<{element} class=\"{class}\">\n{toggle}<h2 id=\"request-sidebar-title\" class=\"{title}\">Ticket details</h2>\n\
             <div class=\"{inner}\">\n{body}</div>\n</{element}>",
            class = self.class(&format!("request-sidebar{folds}")),
            toggle = if folds.is_empty() { "" } else { &toggle },
            title = self.class("collapsible-sidebar-title"),
            inner = if folds.is_empty() { String::new() } else { self.class("collapsible-sidebar-body") },
        );
        match self.theme().details {
            Details::Server => sidebar,
            // What is in a template is no part of the page until the script takes it.
            Details::LateByScript(after) => {
                format!("<div id=\"request-details\" data-after=\"{after}\"><template>{sidebar}</template></div>")
            }
            Details::ReplacedByScript(after) => {
                format!("<div id=\"request-details\" data-after=\"{after}\">{sidebar}<template>{sidebar}</template></div>")
            }
            Details::Absent => String::new(),
        }
    }

    fn details(&self, ticket: &Ticket) -> String {
        let mut people = vec![
            ("Requester".to_owned(), escape(self.name_of(ticket.requester_id))),
            ("Created".to_owned(), rfc3339(ticket.created_at)),
            ("Last activity".to_owned(), rfc3339(ticket.updated_at)),
        ];
        if !ticket.collaborator_ids.is_empty() {
            let names: Vec<String> = ticket.collaborator_ids.iter().map(|id| escape(self.name_of(*id))).collect();
            people.push(("CCs".to_owned(), names.join(", ")));
        }
        let status = format!("<span class=\"{}\">{}</span>", self.class("status-label status-label-request"), status_name(ticket));
        let mut rest = vec![("Id".to_owned(), format!("#{}", ticket.id)), ("Status".to_owned(), status)];
        let fields = requests::public_fields(self.account, ticket).filter(|(_, _, value)| !value.is_null());
        rest.extend(fields.map(|(_, title, value)| (escape(title), escape(&shown(value)))));
        let list = |rows: &[(String, String)]| {
            let rows: Vec<String> = rows.iter().map(|(name, value)| format!("<dt>{name}</dt>\n<dd>{value}</dd>\n")).collect();
            format!("<dl class=\"{}\">\n{}</dl>\n", self.class("request-details"), rows.concat())
        };
        format!("{}{}", list(&people), list(&rest))
    }

    /// A page of the theme around `main`.
    fn page(&self, status: u16, title: &str, main: &str) -> Reply {
        let theme = self.theme();
        let csp = theme
            .meta_csp
            .as_deref()
            .map(|policy| format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n", escape(policy)));
        let style = if theme.renamed_classes { "renamed.css" } else { "style.css" };
        let head_line = fill_in(theme.head_line.as_deref().unwrap_or_default(), &[(LOCALE, self.locale)]).unwrap_or_default();
        let session = match self.user {
            Some(user) => format!("<span>{}</span> <a href=\"/hc/test-sign-out\">Sign out</a>", escape(self.name_of(user))),
            None => format!("<a href=\"/hc/{}/signin\">Sign in</a>", self.locale),
        };
        let html = format!(
            "<!DOCTYPE html>\n<html dir=\"{dir}\" lang=\"{lang}\"{scheme}>\n<head>\n{csp}<meta charset=\"utf-8\">\n<title>{title} – Help Center</title>\n\
             <link rel=\"stylesheet\" href=\"/hc/theming_assets/{style}\">\n\
             <meta content=\"width=device-width, initial-scale=1.0\" name=\"viewport\">\n{head_line}\n</head>\n<body>\n\
             <a class=\"{skip}\" tabindex=\"1\" href=\"#main-content\">Skip to main content</a>\n\
             <header class=\"{header}\"><div class=\"{logo}\"><a href=\"/hc/{locale}\">Help Center</a></div>\n\
             <nav class=\"{nav}\" aria-label=\"User navigation\">{session}</nav></header>\n\
             <main role=\"main\">\n{main}\n</main>\n<footer class=\"{footer}\">Help Center</footer>\n\
             <script src=\"/hc/theming_assets/script.js\"></script>\n</body>\n</html>\n",
            dir = self.direction(),
            lang = self.language(),
            scheme = if theme.dark { " data-scheme=\"dark\"" } else { "" },
            csp = csp.unwrap_or_default(),
            title = escape(title),
            skip = self.class("skip-navigation"),
            header = self.class("header"),
            logo = self.class("logo"),
            nav = self.class("user-nav"),
            locale = self.locale,
            footer = self.class("footer"),
        );
        answer(status, html)
    }

    fn theme(&self) -> &HelpCenterTheme {
        &self.account.help_center.theme
    }

    fn class(&self, name: &str) -> String {
        self.theme().class(name)
    }

    fn name_of(&self, user: u64) -> &str {
        self.account.users.get(&user).map_or("", |user| user.name.as_str())
    }

    fn direction(&self) -> &'static str {
        let language = self.locale.split('-').next().unwrap_or_default();
        if RIGHT_TO_LEFT.contains(&language) { "rtl" } else { "ltr" }
    }

    /// `en-us` is `en-US` in HTML.
    fn language(&self) -> String {
        match self.locale.split_once('-') {
            Some((language, region)) => format!("{language}-{}", region.to_uppercase()),
            None => self.locale.to_owned(),
        }
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What customers read: a request that waits for them is "awaiting your reply".
fn status_name(ticket: &Ticket) -> &'static str {
    match requests::status(ticket) {
        "pending" => "Awaiting your reply",
        "solved" | "closed" => "Solved",
        _ => "Open",
    }
}

fn answer(status: u16, html: String) -> Reply {
    let mut reply = Reply::bytes("text/html; charset=utf-8", html)
        .with("cache-control", "no-store")
        .with("x-content-type-options", "nosniff")
        .with("x-frame-options", "SAMEORIGIN");
    reply.status = status;
    reply
}
