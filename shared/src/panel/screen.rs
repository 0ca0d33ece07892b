//! What the panel shows: from the state to a tree of elements. Pure: the same state gives the same tree.
//!
//! Elements keep their key from tree to tree, so that the page keeps its nodes, and with them the keyboard's place, while texts around them change.
//! Buttons carry `data-action`, fields their API name, values worth reading `data-part`: styles and tests hold on to these.

use super::element::{Element, element};
use super::model::{
    Action, Field, Form, Made, Panel, Part, Phase, Ready, Sessions, Slot, TEXT_LIMIT, Thing, customer_name, is_web, spelled, state_text,
};
use super::texts::{Text, Texts, decimal, fill};
use super::time::{clock, unix_milliseconds};
use crate::api::{JumpMethod, LiveSession, SessionState};
use crate::percent;

/// What the screen needs beside the state.
pub struct Surroundings<'a> {
    /// Unix milliseconds.
    pub now: i64,
    /// A point in time (Unix milliseconds) as the agent writes it.
    pub local_time: &'a dyn Fn(i64) -> String,
}

/// The panel as it looks now.
pub fn screen(panel: &Panel, surroundings: &Surroundings<'_>) -> Element {
    let texts = &panel.texts;
    let said = |text: Text| texts.get(text);
    let status = element("p", "status")
        .attributes(&[
            ("class", "visually-hidden"),
            ("role", "status"),
            ("aria-live", "polite"),
        ])
        .text(&panel.announcement);
    let root = element("div", "panel")
        .attributes(&[
            ("class", "panel"),
            ("tabindex", "-1"),
            ("lang", &panel.locale),
        ])
        .child(status);
    match &panel.phase {
        Phase::Connecting | Phase::Loading => root.child(
            element("div", "loading")
                .class("loading")
                .child(spinner())
                .child(label(said(Text::Loading))),
        ),
        Phase::Unsaved => root.child(message(
            "unsaved",
            "save",
            said(Text::UnsavedTitle),
            said(Text::UnsavedHint),
        )),
        Phase::NoHost => root.child(message(
            "no-host",
            "fault",
            said(Text::NoHostTitle),
            said(Text::NoHostHint),
        )),
        Phase::Ended => root.child(message(
            "ended",
            "lock",
            said(Text::EndedTitle),
            said(Text::EndedHint),
        )),
        Phase::Failed(problem) => root.child(
            message(
                "failed",
                "fault",
                said(Text::FailedTitle),
                &problem.message(texts),
            )
            .child(button(Action::Reload, "button button-primary").text(said(Text::Retry))),
        ),
        Phase::Ready(ready) => {
            let mut root = root.child(key_section(&ready.key, panel, surroundings.now));
            if let Some(form) = &ready.form {
                root = root.child(jump_section(ready, form, texts));
            }
            if !ready.offer.issues.is_empty() {
                root = root.child(chat_section(ready, panel, surroundings.now));
            }
            root.child(sessions_section(&ready.sessions, texts, surroundings))
        }
    }
}

/// The page's id of a field.
pub fn field_id(field: Field) -> String {
    ["field-", field.name()].concat()
}

fn key_section(slot: &Slot<Timed<Box<SessionKey>>>, panel: &Panel, now: i64) -> Element {
    let texts = &panel.texts;
    let mut section = section("key", texts.get(Text::KeyTitle)).child(lifetime(
        slot,
        [Text::KeyHint, Text::KeyExpired],
        texts,
        now,
    ));
    if let Some(key) = slot.fresh() {
        let spelled = [texts.get(Text::KeyLabel), ": ", &spelled(&key.short_key)].concat();
        let mail = element("a", "mail")
            .attributes(&[
                ("class", "button"),
                ("href", &mail_link(key)),
                ("target", "_blank"),
                ("rel", "noopener"),
                ("data-action", "mail"),
            ])
            .child(icon("mail"))
            .child(label(texts.get(Text::Mail)));
        section = section
            .child(
                element("p", "key")
                    .class("key")
                    .child(
                        element("span", "spelled")
                            .class("visually-hidden")
                            .text(&spelled),
                    )
                    .child(
                        element("span", "plain")
                            .attributes(&[("aria-hidden", "true"), ("data-part", "key")])
                            .text(&key.short_key),
                    ),
            )
            .maybe(link("key-link", &key.key_url, &key.key_url))
            .child(
                element("div", "actions")
                    .class("actions")
                    .child(copy_button(Part::Key, Text::KeyCopy, panel))
                    .child(copy_button(Part::KeyLink, Text::LinkCopy, panel))
                    .child(icon_button(
                        Action::InsertKey,
                        "insert",
                        texts.get(Text::Insert),
                    ))
                    .child(mail)
                    .child(copy_button(Part::Mail, Text::MailCopy, panel)),
            );
    }
    section.maybe(fault(slot.problem(), texts)).child(maker(
        Action::MakeKey,
        slot.step(),
        [Text::KeyMake, Text::KeyMaking, Text::KeyMakeAgain],
        texts,
    ))
}

fn jump_section(ready: &Ready, form: &JumpForm, texts: &Texts) -> Element {
    let mut section =
        section("jump", texts.get(Text::JumpTitle)).attribute("data-enter", Action::Jump.name());
    if ready.offer.methods.len() > 1 {
        section = section.child(segments(&ready.offer.methods, form.method, texts));
    }
    section = section.child(hint(texts.get(method_texts(form.method).1)));
    for &field in Field::main_of(form.method) {
        section = section.maybe(jump_field(field, ready, form, texts));
    }
    let options = Field::options_of(form.method);
    if !options.is_empty() {
        let mut shown =
            element("div", "options").attributes(&[("class", "options"), ("id", "jump-options")]);
        for &field in options.iter().filter(|_| form.options_open) {
            shown = shown.maybe(jump_field(field, ready, form, texts));
        }
        let expanded = if form.options_open { "true" } else { "false" };
        section = section
            .child(
                button(Action::ToggleOptions, "disclosure")
                    .attributes(&[
                        ("aria-expanded", expanded),
                        ("aria-controls", "jump-options"),
                    ])
                    .text(texts.get(Text::MoreOptions)),
            )
            .child(shown);
    }
    if let Slot::Made(url) = &ready.jump {
        section = section.child(
            element("div", "made")
                .class("notice notice-done")
                .child(element("p", "text").text(texts.get(Text::JumpMade)))
                .maybe(link("launch", url, texts.get(Text::JumpAgain))),
        );
    }
    section.maybe(fault(ready.jump.problem(), texts)).child(
        maker(
            Action::Jump,
            ready.jump.step(),
            [Text::Jump, Text::Jumping, Text::Jump],
            texts,
        )
        .class(PRIMARY),
    )
}

fn segments(methods: &[JumpMethod], chosen: JumpMethod, texts: &Texts) -> Element {
    let mut choices = element("div", "choices").class("choices");
    for &method in methods {
        let input = element("input", "input")
            .attributes(&[
                ("type", "radio"),
                ("name", Field::Method.name()),
                ("value", method.name()),
            ])
            .checked(method == chosen);
        choices = choices.child(
            element("label", method.name())
                .class("segment")
                .child(input)
                .child(label(texts.get(method_texts(method).0))),
        );
    }
    element("fieldset", "method")
        .class("segments")
        .child(
            element("legend", "legend")
                .class("label")
                .text(texts.get(Text::Method)),
        )
        .child(choices)
}

fn jump_field(field: Field, ready: &Ready, form: &JumpForm, texts: &Texts) -> Option<Element> {
    let value = form.value(field);
    let said = |text: Text| texts.get(text);
    let input = || {
        element("input", "input").value(value).attributes(&[
            ("class", "input"),
            ("type", "text"),
            ("autocomplete", "off"),
            ("autocapitalize", "off"),
            ("spellcheck", "false"),
        ])
    };
    let select = |options: &[(&str, &str)]| select(value, options);
    let (label, control) = match field {
        Field::Target => {
            let searches = form.method == JumpMethod::JumpClient;
            let label = if searches {
                Text::TargetSearch
            } else {
                Text::TargetHost
            };
            (label, input().attribute("required", ""))
        }
        Field::Jumpoint => {
            let names: Vec<(&str, &str)> = ready
                .offer
                .jumpoints
                .iter()
                .map(|name| (name.as_str(), name.as_str()))
                .collect();
            if names.is_empty() {
                return None;
            }
            (Text::Jumpoint, select(&names))
        }
        Field::Username => (Text::Username, input()),
        Field::DisplaySize => {
            let sizes = [
                ("", said(Text::DisplayPrimary)),
                ("all_displays", said(Text::DisplayAll)),
                ("1280x720", "1280 × 720"),
                ("1366x768", "1366 × 768"),
                ("1600x900", "1600 × 900"),
                ("1920x1080", "1920 × 1080"),
                ("2560x1440", "2560 × 1440"),
            ];
            (Text::DisplaySize, select(&sizes))
        }
        Field::Quality => {
            let qualities = [
                ("low", said(Text::QualityLow)),
                ("", said(Text::QualityPerformance)),
                ("performance_quality", said(Text::QualityBalanced)),
                ("quality", said(Text::QualityBest)),
            ];
            (Text::Quality, select(&qualities))
        }
        Field::Protocol => (
            Text::Protocol,
            select(&[("ssh", "SSH"), ("telnet", "Telnet")]),
        ),
        Field::Terminal => (
            Text::Terminal,
            select(&[("xterm", "xterm"), ("vt100", "vt100")]),
        ),
        Field::Port => (Text::Port, input().attribute("inputmode", "numeric")),
        Field::Console => return Some(tick_box(field, value == "yes", said(Text::Console))),
        Field::Method | Field::Issue => return None,
    };
    let fault = form.faults.iter().find(|(faulty, _)| *faulty == field);
    let fault = fault.map(|&(_, fault)| texts.fill(fault, "limit", &decimal(TEXT_LIMIT)));
    Some(labelled(field, said(label), control, fault.as_deref()))
}

/// A field under its label, with what is wrong with it below.
fn labelled(field: Field, label: &str, control: Element, fault: Option<&str>) -> Element {
    let id = field_id(field);
    let fault_id = [&id, "-fault"].concat();
    let mut control = control.attributes(&[("id", &id), ("name", field.name())]);
    if fault.is_some() {
        control = control.attributes(&[("aria-invalid", "true"), ("aria-describedby", &fault_id)]);
    }
    element("div", field.name())
        .class("field")
        .child(
            element("label", "label")
                .attributes(&[("class", "label"), ("for", &id)])
                .text(label),
        )
        .child(control)
        .maybe(fault.map(|fault| {
            element("p", "fault")
                .attributes(&[("class", "field-fault"), ("id", &fault_id)])
                .text(fault)
        }))
}

fn tick_box(field: Field, ticked: bool, label: &str) -> Element {
    let id = field_id(field);
    element("div", field.name())
        .class("tick")
        .child(
            element("input", "input")
                .attributes(&[("type", "checkbox"), ("id", &id), ("name", field.name())])
                .checked(ticked),
        )
        .child(element("label", "label").attribute("for", &id).text(label))
}

fn select(value: &str, options: &[(&str, &str)]) -> Element {
    options.iter().fold(
        element("select", "input").class("input").value(value),
        |select, (value, name)| {
            select.child(
                element("option", value)
                    .attribute("value", value)
                    .text(name),
            )
        },
    )
}

fn chat_section(ready: &Ready, panel: &Panel, now: i64) -> Element {
    let texts = &panel.texts;
    let mut section = section("chat", texts.get(Text::ChatTitle)).child(lifetime(
        &ready.chat,
        [Text::ChatHint, Text::ChatExpired],
        texts,
        now,
    ));
    if ready.offer.issues.len() > 1 {
        let issues: Vec<(&str, &str)> = ready
            .offer
            .issues
            .iter()
            .map(|issue| (issue.code_name.as_str(), issue.title.as_str()))
            .collect();
        section = section.child(labelled(
            Field::Issue,
            texts.get(Text::Issue),
            select(&ready.issue, &issues),
            None,
        ));
    }
    if let Some(chat) = ready.chat.fresh() {
        section = section
            .maybe(link("chat-link", &chat.url, &chat.url))
            .child(
                element("div", "actions")
                    .class("actions")
                    .child(copy_button(Part::ChatLink, Text::LinkCopy, panel))
                    .child(icon_button(
                        Action::InsertChatLink,
                        "insert",
                        texts.get(Text::Insert),
                    )),
            );
    }
    section
        .maybe(fault(ready.chat.problem(), texts))
        .child(maker(
            Action::MakeChatLink,
            ready.chat.step(),
            [Text::ChatMake, Text::ChatMaking, Text::ChatMakeAgain],
            texts,
        ))
}

fn sessions_section(
    sessions: &Sessions,
    texts: &Texts,
    surroundings: &Surroundings<'_>,
) -> Element {
    let mut section = section("sessions", texts.get(Text::SessionsTitle));
    if !sessions.list.is_empty() {
        let items = sessions
            .list
            .iter()
            .map(|session| session_item(session, texts, surroundings))
            .collect();
        section = section.child(element("ul", "list").class("sessions").children(items));
    } else if sessions.known {
        section = section.child(hint(texts.get(Text::SessionsNone)));
    } else if sessions.problem.is_none() {
        section = section.child(hint(texts.get(Text::Loading)));
    }
    let Some(problem) = &sessions.problem else {
        return section;
    };
    let stale = [texts.get(Text::SessionsStale), " ", &problem.message(texts)].concat();
    section.child(
        element("div", "stale")
            .class("notice notice-fault")
            .child(element("p", "text").text(&stale))
            .child(
                button(Action::RefreshSessions, "button button-small").text(texts.get(Text::Retry)),
            ),
    )
}

fn session_item(session: &LiveSession, texts: &Texts, surroundings: &Surroundings<'_>) -> Element {
    let time = |text: &Option<String>| {
        text.as_deref()
            .and_then(unix_milliseconds)
            .map(surroundings.local_time)
    };
    let mut details = String::new();
    if let Some(name) = &session.representative {
        details.push_str(&texts.fill(Text::WithRepresentative, "name", name));
    }
    if let Some(start) = time(&session.started_at) {
        if !details.is_empty() {
            details.push_str(" · ");
        }
        let end = time(&session.ended_at);
        let template = if end.is_some() {
            Text::TimeSpan
        } else {
            Text::TimeSince
        };
        details.push_str(&fill(
            &texts.fill(template, "start", &start),
            "end",
            end.as_deref().unwrap_or_default(),
        ));
    }
    let badge = match session.state {
        SessionState::Waiting => "badge badge-waiting",
        SessionState::Active => "badge badge-active",
        SessionState::Ended => "badge badge-ended",
        SessionState::Recorded => "badge badge-recorded",
    };
    element("li", &session.lsid)
        .attribute("data-state", session.state.name())
        .child(
            element("span", "customer")
                .class("customer")
                .text(customer_name(session, texts)),
        )
        .child(
            element("span", "state")
                .class(badge)
                .text(texts.get(state_text(session.state))),
        )
        .child(element("span", "details").class("details").text(&details))
}

fn section(name: &str, title: &str) -> Element {
    let id = ["title-", name].concat();
    element("section", name)
        .attributes(&[
            ("class", "card"),
            ("tabindex", "-1"),
            ("aria-labelledby", &id),
            ("data-section", name),
        ])
        .child(element("h2", "title").attribute("id", &id).text(title))
}

fn message(key: &str, picture: &str, title: &str, text: &str) -> Element {
    let role = if picture == "fault" { "alert" } else { "note" };
    element("div", key)
        .attributes(&[("class", "message"), ("role", role), ("data-message", key)])
        .child(icon(picture))
        .child(element("h2", "title").text(title))
        .child(hint(text))
}

fn hint(text: &str) -> Element {
    element("p", "hint").class("hint").text(text)
}

fn label(text: &str) -> Element {
    element("span", "label").text(text)
}

/// What something is for, and once it is there how long it is good for yet. Not a live region: nobody wants to hear every second.
fn lifetime<T>(
    slot: &Slot<Timed<T>>,
    [purpose, expired]: [Text; 2],
    texts: &Texts,
    now: i64,
) -> Element {
    let hint = element("p", "hint").class("hint");
    match slot {
        Slot::Made(Timed { expired: true, .. }) => {
            hint.class("hint hint-fault").text(texts.get(expired))
        }
        Slot::Made(Timed {
            expires_at: Some(expires_at),
            ..
        }) => hint.attribute("data-part", "expiry").text(&texts.fill(
            Text::ExpiresIn,
            "time",
            &clock(expires_at - now),
        )),
        _ => hint.text(texts.get(purpose)),
    }
}

const PRIMARY: &str = "button button-primary button-wide";

/// The button that makes something: the same node whether nothing, a result or a fault stands above it, so the keyboard stays on it.
/// Never `disabled`, which would throw the keyboard off.
fn maker(action: Action, step: Step, [make, making, again]: [Text; 3], texts: &Texts) -> Element {
    let (name, class) = match step {
        Step::Empty => (make, PRIMARY),
        Step::Busy => (making, PRIMARY),
        Step::Made => (again, "button button-wide"),
        Step::Failed => (Text::Retry, PRIMARY),
    };
    let button = button(action, class).child(label(texts.get(name)));
    if matches!(step, Step::Busy) {
        return button.attribute("aria-disabled", "true").child(spinner());
    }
    button
}

fn fault(problem: Option<&Problem>, texts: &Texts) -> Option<Element> {
    let text = problem?.message(texts);
    Some(
        element("p", "fault")
            .attributes(&[("class", "notice notice-fault"), ("role", "alert")])
            .text(&text),
    )
}

fn button(action: Action, class: &str) -> Element {
    let name = action.name();
    element("button", name).attributes(&[
        ("class", class),
        ("type", "button"),
        ("data-action", name),
    ])
}

fn icon_button(action: Action, picture: &str, name: &str) -> Element {
    button(action, "button")
        .child(icon(picture))
        .child(label(name))
}

fn copy_button(part: Part, name: Text, panel: &Panel) -> Element {
    let copied = panel.copied.is_some_and(|(copied, _)| copied == part);
    let (picture, name) = if copied {
        ("done", Text::Copied)
    } else {
        ("copy", name)
    };
    icon_button(Action::Copy(part), picture, panel.texts.get(name))
}

fn icon(picture: &str) -> Element {
    let class = ["icon icon-", picture].concat();
    element("span", "icon").attributes(&[("class", &class), ("aria-hidden", "true")])
}

fn spinner() -> Element {
    element("span", "spinner").attributes(&[("class", "spinner"), ("aria-hidden", "true")])
}

/// A link to a web page; nothing for any other scheme.
fn link(part: &str, url: &str, text: &str) -> Option<Element> {
    is_web(url).then(|| {
        element("a", part)
            .attributes(&[
                ("class", "link"),
                ("href", url),
                ("target", "_blank"),
                ("rel", "noopener"),
                ("data-part", part),
            ])
            .text(text)
    })
}

/// RFC 6068: lines end with CR LF.
fn mail_link(key: &SessionKey) -> String {
    let mut body = String::new();
    for line in key.mail_body.lines() {
        body.push_str(line);
        body.push_str("\r\n");
    }
    let mut link = String::from("mailto:?");
    percent::append_pair(&mut link, "subject", &key.mail_subject);
    percent::append_pair(&mut link, "body", &body);
    link
}

/// A method's name and what it is for.
const fn method_texts(method: JumpMethod) -> (Text, Text) {
    match method {
        JumpMethod::JumpClient => (Text::MethodJumpClient, Text::HintJumpClient),
        JumpMethod::LocalPush => (Text::MethodLocalPush, Text::HintLocalPush),
        JumpMethod::RemotePush => (Text::MethodRemotePush, Text::HintRemotePush),
        JumpMethod::Rdp => (Text::MethodRdp, Text::HintRdp),
        JumpMethod::ShellJump => (Text::MethodShellJump, Text::HintShellJump),
    }
}
