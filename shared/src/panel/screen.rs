//! What the panel shows: from the state to a tree of elements. Pure: the same state gives the same tree.
//!
//! Elements keep their key from tree to tree, so that the page keeps its nodes, and with them the keyboard's place, while texts around them change.
//! Buttons carry `data-action`, fields their API name, values worth reading `data-part`: styles and tests hold on to these.

use super::element::{Element, element};
use super::model::{
    Action, Field, Form, Made, Panel, Part, Phase, Ready, Sessions, Slot, TEXT_LIMIT, Thing, customer_name, is_web, spelled, state_text,
};
use super::texts::{Text, Texts, cut, decimal, fill, join};
use super::time::clock;
use crate::api::{JumpMethod, LiveSession};
use crate::percent;

/// What the screen needs beside the state.
pub struct Surroundings<'a> {
    /// Unix milliseconds.
    pub now: i64,
    /// A point in time (RFC 3339) as the agent writes it; empty for what is no time.
    pub local_time: &'a dyn Fn(&str) -> String,
}

/// The panel as it looks now.
pub fn screen(panel: &Panel, surroundings: &Surroundings<'_>) -> Element {
    Screen { panel, texts: &panel.texts, surroundings }.whole()
}

/// The page's id of a field.
pub fn field_id(field: Field) -> String {
    join(&["field-", field.name()])
}

const PRIMARY: &str = "class=button button-primary button-wide";
const WIDE: &str = "class=button button-wide";

struct Screen<'a> {
    panel: &'a Panel,
    texts: &'a Texts,
    surroundings: &'a Surroundings<'a>,
}

impl Screen<'_> {
    fn whole(&self) -> Element {
        let status = element("p", "status").with("class=visually-hidden;role=status;aria-live=polite").text(&self.panel.announcement);
        let root = element("div", "panel").with("class=panel;tabindex=-1").attribute("lang", &self.panel.locale).child(status);
        match &self.panel.phase {
            Phase::Connecting | Phase::Loading => {
                root.child(element("div", "loading").with("class=loading").child(spinner()).child(self.label(Text::Loading)))
            }
            Phase::Unsaved => root.child(self.message("unsaved", "save", Text::UnsavedTitle, self.said(Text::UnsavedHint))),
            Phase::NoHost => root.child(self.message("no-host", "fault", Text::NoHostTitle, self.said(Text::NoHostHint))),
            Phase::Ended => root.child(self.message("ended", "lock", Text::EndedTitle, self.said(Text::EndedHint))),
            Phase::Failed(problem) => {
                root.child(self.message("failed", "fault", Text::FailedTitle, &problem.message(self.texts)).child(self.button(
                    Action::Reload,
                    "class=button button-primary",
                    Text::Retry,
                )))
            }
            Phase::Ready(ready) => {
                let mut root = root.child(self.key_section(ready));
                if let Some(method) = ready.form.method {
                    root = root.child(self.jump_section(ready, method));
                }
                if !ready.offer.issues.is_empty() {
                    root = root.child(self.chat_section(ready));
                }
                root.child(self.sessions_section(&ready.sessions))
            }
        }
    }

    fn key_section(&self, ready: &Ready) -> Element {
        let slot = ready.slot(Thing::Key);
        let mut section = self.section("key", Text::KeyTitle).child(self.lifetime(slot, Thing::Key, Text::KeyHint));
        if let Some(key) = slot.fresh() {
            let spelled = join(&[self.said(Text::KeyLabel), ": ", &spelled(&key.short_key)]);
            let mail = element("a", "mail")
                .with("class=button;target=_blank;rel=noopener;data-action=mail")
                .attribute("href", &mail_link(key))
                .child(icon("mail"))
                .child(self.label(Text::Mail));
            section = section
                .child(
                    element("p", "key")
                        .with("class=key")
                        .child(element("span", "spelled").with("class=visually-hidden").text(&spelled))
                        .child(element("span", "plain").with("aria-hidden=true;data-part=key").text(&key.short_key)),
                )
                .child(link("key-link", &key.url, &key.url))
                .child(
                    element("div", "actions")
                        .with("class=actions")
                        .child(self.copy_button(Part::Key, Text::KeyCopy))
                        .child(self.copy_button(Part::KeyLink, Text::LinkCopy))
                        .child(self.icon_button(Action::Insert(Part::Mail), "insert", Text::Insert).with(WIDE))
                        .child(mail)
                        .child(self.copy_button(Part::Mail, Text::MailCopy)),
                );
        }
        self.make(section, slot, Thing::Key)
    }

    fn jump_section(&self, ready: &Ready, method: JumpMethod) -> Element {
        let form = &ready.form;
        let mut section = self.section("jump", Text::JumpTitle).with("data-enter=jump");
        if ready.offer.methods.len() > 1 {
            section = section.child(self.segments(&ready.offer.methods, method));
        }
        section = section.child(self.hint(method_texts(method).1));
        for &field in Field::main_of(method) {
            section = section.maybe(self.jump_field(field, ready, method));
        }
        let options = Field::options_of(method);
        if !options.is_empty() {
            let mut shown = element("div", "options").with("class=options;id=jump-options");
            for &field in options.iter().filter(|_| form.options_open) {
                shown = shown.maybe(self.jump_field(field, ready, method));
            }
            let expanded = if form.options_open { "true" } else { "false" };
            section = section
                .child(
                    self.button(Action::ToggleOptions, "class=disclosure;aria-controls=jump-options", Text::MoreOptions)
                        .attribute("aria-expanded", expanded),
                )
                .child(shown);
        }
        let slot = ready.slot(Thing::Jump);
        if let Slot::Made(jump) = slot {
            section = section.child(
                element("div", "made")
                    .with("class=notice notice-done")
                    .child(element("p", "text").text(self.said(Text::JumpMade)))
                    .child(link("launch", &jump.url, self.said(Text::JumpAgain))),
            );
        }
        self.make(section, slot, Thing::Jump)
    }

    fn segments(&self, methods: &[JumpMethod], chosen: JumpMethod) -> Element {
        let mut choices = element("div", "choices").with("class=choices");
        for &method in methods {
            let name = method.name();
            let input = element("input", "input").with("type=radio;name=method").attribute("value", name).checked(method == chosen);
            let segment = element("label", name).with("class=segment").child(input);
            choices = choices.child(segment.child(self.label(method_texts(method).0)));
        }
        element("fieldset", "method")
            .with("class=segments")
            .child(element("legend", "legend").with("class=label").text(self.said(Text::Method)))
            .child(choices)
    }

    fn jump_field(&self, field: Field, ready: &Ready, method: JumpMethod) -> Option<Element> {
        let value = ready.form.value(field);
        let (label, control) = match field {
            Field::Target if method == JumpMethod::JumpClient => (Text::TargetSearch, input(value).with("required=")),
            Field::Target => (Text::TargetHost, input(value).with("required=")),
            Field::Jumpoint if ready.offer.jumpoints.is_empty() => return None,
            Field::Jumpoint => {
                let names = ready.offer.jumpoints.iter();
                (Text::Jumpoint, names.fold(select(value), |select, name| option(select, name, name)))
            }
            Field::Username => (Text::Username, input(value)),
            Field::DisplaySize => {
                let mut control = option(select(value), "", self.said(Text::DisplayPrimary));
                control = option(control, "all_displays", self.said(Text::DisplayAll));
                for size in ["1280x720", "1366x768", "1600x900", "1920x1080", "2560x1440"] {
                    control = option(control, size, size);
                }
                (Text::DisplaySize, control)
            }
            Field::Quality => {
                let mut control = option(select(value), "low", self.said(Text::QualityLow));
                control = option(control, "", self.said(Text::QualityPerformance));
                control = option(control, "performance_quality", self.said(Text::QualityBalanced));
                (Text::Quality, option(control, "quality", self.said(Text::QualityBest)))
            }
            Field::Protocol => (Text::Protocol, option(option(select(value), "ssh", "SSH"), "telnet", "Telnet")),
            Field::Terminal => (Text::Terminal, option(option(select(value), "", "xterm"), "vt100", "vt100")),
            Field::Port => (Text::Port, input(value).with("inputmode=numeric")),
            Field::Console => {
                let id = field_id(field);
                let input = element("input", "input").with("type=checkbox;name=console").attribute("id", &id).checked(value == "true");
                let label = element("label", "label").attribute("for", &id).text(self.said(Text::Console));
                return Some(element("div", field.name()).with("class=tick").child(input).child(label));
            }
            Field::Method | Field::Issue => return None,
        };
        Some(self.labelled(&ready.form, field, label, control))
    }

    /// A field under its label, with what is wrong with it below.
    fn labelled(&self, form: &Form, field: Field, label: Text, control: Element) -> Element {
        let id = field_id(field);
        let fault_id = join(&[&id, "-fault"]);
        let mut control = control.attribute("id", &id).attribute("name", field.name());
        let label = element("label", "label").with("class=label").attribute("for", &id).text(self.said(label));
        let mut fault = None;
        if let Some(&(_, text)) = form.faults.iter().find(|(faulty, _)| *faulty == field) {
            control = control.with("aria-invalid=true").attribute("aria-describedby", &fault_id);
            let text = self.texts.fill(text, "limit", &decimal(TEXT_LIMIT));
            fault = Some(element("p", "fault").with("class=field-fault").attribute("id", &fault_id).text(&text));
        }
        element("div", field.name()).with("class=field").child(label).child(control).maybe(fault)
    }

    fn chat_section(&self, ready: &Ready) -> Element {
        let slot = ready.slot(Thing::ChatLink);
        let issues = &ready.offer.issues;
        let mut section = self.section("chat", Text::ChatTitle).child(self.lifetime(slot, Thing::ChatLink, Text::ChatHint));
        if issues.len() > 1 {
            let control = select(ready.form.value(Field::Issue));
            let control = issues.iter().fold(control, |control, issue| option(control, &issue.code_name, &issue.title));
            section = section.child(self.labelled(&ready.form, Field::Issue, Text::Issue, control));
        }
        if let Some(chat) = slot.fresh() {
            section = section.child(link("chat-link", &chat.url, &chat.url)).child(
                element("div", "actions")
                    .with("class=actions")
                    .child(self.copy_button(Part::ChatLink, Text::LinkCopy))
                    .child(self.icon_button(Action::Insert(Part::ChatLink), "insert", Text::Insert)),
            );
        }
        self.make(section, slot, Thing::ChatLink)
    }

    fn sessions_section(&self, sessions: &Sessions) -> Element {
        let mut section = self.section("sessions", Text::SessionsTitle);
        if !sessions.list.is_empty() {
            let list = element("ul", "list").with("class=sessions");
            section = section.child(sessions.list.iter().fold(list, |list, session| list.child(self.session_item(session))));
        } else if sessions.known {
            section = section.child(self.hint(Text::SessionsNone));
        } else if sessions.problem.is_none() {
            section = section.child(self.hint(Text::Loading));
        }
        let Some(problem) = &sessions.problem else { return section };
        let stale = join(&[self.said(Text::SessionsStale), " ", &problem.message(self.texts)]);
        section.child(
            element("div", "stale").with("class=notice notice-fault").child(element("p", "text").text(&stale)).child(self.button(
                Action::RefreshSessions,
                "class=button button-small",
                Text::Retry,
            )),
        )
    }

    fn session_item(&self, session: &LiveSession) -> Element {
        let time = |time: &Option<String>| time.as_deref().map(self.surroundings.local_time).unwrap_or_default();
        let (start, end) = (time(&session.started_at), time(&session.ended_at));
        let mut details = String::new();
        if let Some(name) = &session.representative {
            details.push_str(&self.texts.fill(Text::WithRepresentative, "name", name));
        }
        if !start.is_empty() {
            if !details.is_empty() {
                details.push_str(" · ");
            }
            let template = if end.is_empty() { Text::TimeSince } else { Text::TimeSpan };
            details.push_str(&fill(&self.texts.fill(template, "start", &start), "end", &end));
        }
        let state = session.state.name();
        element("li", &session.lsid)
            .attribute("data-state", state)
            .child(element("span", "customer").with("class=customer").text(customer_name(session, self.texts)))
            .child(element("span", "state").attribute("class", &join(&["badge badge-", state])).text(self.said(state_text(session.state))))
            .child(element("span", "details").with("class=details").text(&details))
    }

    fn said(&self, text: Text) -> &str {
        self.texts.get(text)
    }

    fn hint(&self, text: Text) -> Element {
        hint(self.said(text))
    }

    fn label(&self, text: Text) -> Element {
        element("span", "label").text(self.said(text))
    }

    fn section(&self, name: &str, title: Text) -> Element {
        let id = join(&["title-", name]);
        element("section", name)
            .with("class=card;tabindex=-1")
            .attribute("aria-labelledby", &id)
            .attribute("data-section", name)
            .child(element("h2", "title").attribute("id", &id).text(self.said(title)))
    }

    fn message(&self, key: &str, picture: &str, title: Text, text: &str) -> Element {
        element("div", key)
            .with(if picture == "fault" { "class=message;role=alert" } else { "class=message;role=note" })
            .attribute("data-message", key)
            .child(icon(picture))
            .child(element("h2", "title").text(self.said(title)))
            .child(hint(text))
    }

    /// What something is for, and once it is there how long it is good for yet. Not a live region: nobody wants to hear every second.
    fn lifetime(&self, slot: &Slot, thing: Thing, purpose: Text) -> Element {
        let Slot::Made(made) = slot else { return self.hint(purpose) };
        if made.expired {
            return self.hint(thing.texts()[4]).with("class=hint hint-fault");
        }
        let Some(expires_at) = made.expires_at else { return self.hint(purpose) };
        let left = clock(expires_at - self.surroundings.now);
        hint(&self.texts.fill(Text::ExpiresIn, "time", &left)).with("data-part=expiry")
    }

    /// The section with what went wrong and the button that makes the thing: the same node whether nothing, a result or a fault stands
    /// above it, so the keyboard stays on it. Never `disabled`, which would throw the keyboard off.
    fn make(&self, mut section: Element, slot: &Slot, thing: Thing) -> Element {
        let [make, making, again, ..] = thing.texts();
        let (class, name) = match slot {
            Slot::Empty => (PRIMARY, make),
            Slot::Busy => (PRIMARY, making),
            Slot::Made(_) if thing == Thing::Jump => (PRIMARY, again),
            Slot::Made(_) => (WIDE, again),
            Slot::Failed(problem) => {
                let text = problem.message(self.texts);
                section = section.child(element("p", "fault").with("class=notice notice-fault;role=alert").text(&text));
                (PRIMARY, Text::Retry)
            }
        };
        let mut button = button(Action::Make(thing)).with(class).child(self.label(name));
        if matches!(slot, Slot::Busy) {
            button = button.with("aria-disabled=true").child(spinner());
        }
        section.child(button)
    }

    fn button(&self, action: Action, attributes: &'static str, name: Text) -> Element {
        button(action).with(attributes).text(self.said(name))
    }

    fn icon_button(&self, action: Action, picture: &str, name: Text) -> Element {
        button(action).with("class=button").child(icon(picture)).child(self.label(name))
    }

    fn copy_button(&self, part: Part, name: Text) -> Element {
        let copied = self.panel.copied.is_some_and(|(copied, _)| copied == part);
        let (picture, name) = if copied { ("done", Text::Copied) } else { ("copy", name) };
        self.icon_button(Action::Copy(part), picture, name)
    }
}

fn hint(text: &str) -> Element {
    element("p", "hint").with("class=hint").text(text)
}

fn button(action: Action) -> Element {
    element("button", action.name()).with("type=button").attribute("data-action", action.name())
}

fn input(value: &str) -> Element {
    element("input", "input").with("class=input;type=text;autocomplete=off;autocapitalize=off;spellcheck=false").value(value)
}

fn select(value: &str) -> Element {
    element("select", "input").with("class=input").value(value)
}

fn option(select: Element, value: &str, name: &str) -> Element {
    select.child(element("option", value).attribute("value", value).text(name))
}

fn icon(picture: &str) -> Element {
    element("span", "icon").with("aria-hidden=true").attribute("class", &join(&["icon icon-", picture]))
}

fn spinner() -> Element {
    element("span", "spinner").with("class=spinner;aria-hidden=true")
}

/// A link to a web page; a URL of any other scheme leads nowhere.
fn link(part: &str, url: &str, text: &str) -> Element {
    element("a", part)
        .with("class=link;target=_blank;rel=noopener")
        .attribute("data-part", part)
        .attribute("href", if is_web(url) { url } else { "" })
        .text(text)
}

/// RFC 6068: lines end with CR LF.
fn mail_link(key: &Made) -> String {
    let mut body = String::new();
    let mut rest = key.mail_body.as_str();
    while let Some((line, after)) = cut(rest, b'\n') {
        body.push_str(line.strip_suffix('\r').unwrap_or(line));
        body.push_str("\r\n");
        rest = after;
    }
    body.push_str(rest);
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
