//! What the panel shows: from the state to a tree of elements. Pure: the same state gives the same tree.
//!
//! Elements keep their key from tree to tree, so that the page keeps its nodes, and with them the keyboard's place, while texts around them change.
//! Buttons carry `data-action`, fields their API name, values worth reading `data-part`: styles and tests hold on to these.

use super::RECORDS_IN_PAGE;
use super::element::{Element, element};
use super::model::{
    Action, Deed, Entry, Field, Form, Inquiry, MachineList, Made, Panel, Part, Phase, Ready, Slot, TEXT_LIMIT, Thing, customer_name,
    is_web, spelled, waiting,
};
use super::texts::{Text, Texts, cut, decimal, fill, join};
use super::time::clock;
use crate::api::{JumpMethod, LiveSession, MachineState, SessionState};
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
const PRIMARY_SMALL: &str = "class=button button-primary";
const WIDE: &str = "class=button button-wide";
/// The page is given this many milliseconds to say which ticket it shows before the agent reads that it is asked.
const DOUBT_UNTOLD: i64 = 1_000;

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
            Phase::NoHost => root.child(self.no_host()),
            Phase::Ended(kept) => {
                let root = root.child(self.doubt().unwrap_or_else(|| self.ended(kept.as_deref())));
                match kept {
                    Some(ready) => self.kept(root, ready),
                    None => root,
                }
            }
            Phase::Failed(problem) => {
                let help = if problem.is_of_pairing() { self.settings("class=button button-primary") } else { self.reload() };
                root.child(self.message("failed", "fault", Text::FailedTitle, &problem.message(self.texts)).child(help))
            }
            Phase::Ready(ready) => {
                let mut root = root.maybe(self.doubt());
                for session in ready.sessions.list.iter().filter(|session| session.state == SessionState::Waiting) {
                    let said = waiting(session, self.texts);
                    root = root.child(element("p", &session.lsid).with("class=notice notice-waiting").text(&said));
                }
                // A report that waits is what the agent came for.
                let report_first = RECORDS_IN_PAGE && ready.report_first;
                let mut root = if report_first { root.child(self.sessions_section(ready)) } else { root };
                if ready.offer.machines {
                    root = root.child(self.machines_section(ready));
                }
                if ready.offer.session_keys {
                    root = root.child(self.key_section(ready));
                }
                if let Some(method) = ready.form.method.filter(|_| !ready.offer.machines) {
                    root = root.child(self.jump_section(ready, method));
                }
                if !ready.offer.issues.is_empty() {
                    root = root.child(self.chat_section(ready));
                }
                if !report_first {
                    root = root.child(self.sessions_section(ready));
                }
                root.maybe(
                    ready.offer.help_center_page.as_ref().map(|page| link("help-center", page, self.said(Text::CustomizeHelpCenter))),
                )
            }
        }
    }

    fn no_host(&self) -> Element {
        self.message("no-host", "fault", Text::NoHostTitle, self.said(Text::NoHostHint)).child(self.reload())
    }

    /// Why no button does anything while the page has not said which ticket it shows. Most pages say so at once.
    fn doubt(&self) -> Option<Element> {
        let doubt = self.panel.doubt?;
        if doubt.is_silent {
            return Some(self.no_host());
        }
        let is_long = self.surroundings.now >= doubt.since + DOUBT_UNTOLD;
        is_long.then(|| element("p", "doubt").with("class=notice;role=status").text(self.said(Text::TicketInDoubt)))
    }

    /// That the session is over, and what came of the last try.
    fn ended(&self, kept: Option<&Ready>) -> Element {
        let mut message = self.message("ended", "lock", Text::EndedTitle, self.said(Text::EndedHint));
        let mut reload = button(Action::Reload).with(PRIMARY_SMALL);
        if let Some(sessions) = kept.map(|ready| &ready.sessions) {
            if let Some(problem) = &sessions.inquiry.problem {
                message = message.child(fault(&problem.message(self.texts)));
            }
            if sessions.inquiry.is_asking() {
                reload = reload.with("aria-disabled=true").child(spinner());
            }
        }
        message.child(reload.child(self.label(Text::Retry)))
    }

    /// What is still good of an ended session, without the buttons that need one.
    fn kept(&self, mut root: Element, ready: &Ready) -> Element {
        if !ready.machines.list.links.is_empty() {
            root = root.child(self.machines_section(ready));
        }
        if ready.made(Thing::Key).is_some() {
            root = root.child(self.key_section(ready));
        }
        if let Some(jump) = ready.made(Thing::Jump) {
            root = root.child(self.section("jump", Text::JumpTitle).child(self.jump_notice(ready, jump)));
        }
        if ready.made(Thing::ChatLink).is_some() {
            root = root.child(self.chat_section(ready));
        }
        if !ready.sessions.list.is_empty() {
            root = root.child(self.sessions_section(ready));
        }
        root
    }

    fn key_section(&self, ready: &Ready) -> Element {
        let mut section = self.section("key", Text::KeyTitle).child(self.lifetime(ready, Thing::Key, Text::KeyHint));
        if let Some(key) = ready.fresh(Thing::Key) {
            let spelled = join(&[self.said(Text::KeyLabel), ": ", &spelled(&key.short_key)]);
            let mail = element("a", "mail")
                .with("class=button;target=_blank;rel=noopener;data-action=mail")
                .attribute("href", &mail_link(key, self.panel.recipient.as_deref()))
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
                        .maybe(ready.has_reply.then(|| self.insert_button(Part::Mail, Text::Insert).with(WIDE)))
                        .child(mail)
                        .child(self.copy_button(Part::Mail, Text::MailCopy)),
                );
        }
        self.make(section, ready, Thing::Key)
    }

    fn jump_section(&self, ready: &Ready, method: JumpMethod) -> Element {
        let form = &ready.form;
        let mut section = self.section("jump", Text::JumpTitle).with("data-enter=jump");
        if ready.offer.methods.len() > 1 {
            section = section.child(self.segments(&ready.offer.methods, method));
        }
        section = section.child(hint(self.texts.by_name("hint_", method.name())));
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
        if let Some(jump) = ready.made(Thing::Jump) {
            section = section.child(self.jump_notice(ready, jump));
        }
        self.make(section, ready, Thing::Jump)
    }

    /// Whether the browser opened the Jump, with its link. A frame that may open nothing opens no link either: it can be copied.
    fn jump_notice(&self, ready: &Ready, jump: &Made) -> Element {
        let (class, text) = if ready.jump_blocked {
            ("class=notice notice-fault", Text::JumpBlocked)
        } else {
            ("class=notice notice-done", Text::JumpMade)
        };
        element("div", "made")
            .with(class)
            .child(element("p", "text").text(self.said(text)))
            .child(link("launch", &jump.url, self.said(Text::JumpAgain)).attribute("data-action", Action::Launch.name()))
            .child(self.copy_button(Part::JumpLink, Text::LinkCopy))
    }

    fn segments(&self, methods: &[JumpMethod], chosen: JumpMethod) -> Element {
        let mut choices = element("div", "choices").with("class=choices");
        for &method in methods {
            let name = method.name();
            let input = element("input", "input").with("type=radio;name=method").attribute("value", name).checked(method == chosen);
            let segment = element("label", name).with("class=segment").child(input);
            choices = choices.child(segment.child(label(self.texts.by_name("method_", name))));
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
            Field::Method | Field::Issue | Field::Search => return None,
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
        let issues = &ready.offer.issues;
        let mut section = self.section("chat", Text::ChatTitle).child(self.lifetime(ready, Thing::ChatLink, Text::ChatHint));
        if issues.len() > 1 && !self.is_ended() {
            let control = select(ready.form.value(Field::Issue));
            let control = issues.iter().fold(control, |control, issue| option(control, &issue.code_name, &issue.title));
            section = section.child(self.labelled(&ready.form, Field::Issue, Text::Issue, control));
        }
        let mut actions = element("div", "actions").with("class=actions");
        let mut insert = Text::ChatSend;
        if let Some(chat) = ready.fresh(Thing::ChatLink) {
            section = section.child(link("chat-link", &chat.url, &chat.url));
            actions = actions.child(self.copy_button(Part::ChatLink, Text::LinkCopy));
            insert = Text::Insert;
        } else if self.is_ended() {
            return section;
        }
        if ready.has_reply {
            actions = actions.child(self.insert_button(Part::ChatLink, insert));
        }
        self.make(section.child(actions), ready, Thing::ChatLink)
    }

    fn sessions_section(&self, ready: &Ready) -> Element {
        let sessions = &ready.sessions;
        let mut section = self.section("sessions", Text::SessionsTitle);
        if RECORDS_IN_PAGE && ready.is_page_old {
            section = section.child(
                element("div", "added")
                    .with("class=notice notice-done")
                    .child(element("p", "text").text(self.said(Text::RecordAdded)))
                    .child(self.button(Action::ReloadPage, "class=button button-small", Text::ReloadTicket)),
            );
        }
        if !sessions.list.is_empty() {
            section = section.child(sessions.list.iter().fold(list("list"), |list, session| list.child(self.session_item(session, ready))));
        } else if sessions.inquiry.known {
            section = section.child(self.hint(Text::SessionsNone));
        } else if sessions.inquiry.problem.is_none() {
            section = section.child(self.hint(Text::Loading));
        }
        if self.is_ended() {
            return section.child(element("p", "stale").with("class=notice").text(self.said(Text::SessionsStale)));
        }
        section.maybe(self.stale(&sessions.inquiry))
    }

    /// That a list may be old, why, and what helps.
    fn stale(&self, inquiry: &Inquiry) -> Option<Element> {
        let problem = inquiry.problem.as_ref()?;
        let stale = join(&[self.said(Text::SessionsStale), " ", &problem.message(self.texts)]);
        let help = if problem.is_of_pairing() {
            self.settings("class=button button-small")
        } else {
            self.button(Action::RefreshSessions, "class=button button-small", Text::Retry)
        };
        Some(element("div", "stale").with("class=notice notice-fault").child(element("p", "text").text(&stale)).child(help))
    }

    fn session_item(&self, session: &LiveSession, ready: &Ready) -> Element {
        let time = |time: &Option<String>| time.as_deref().map(self.surroundings.local_time).unwrap_or_default();
        let (start, end) = (time(&session.started_at), time(&session.ended_at));
        let name = customer_name(session, self.texts);
        let mut details = String::new();
        // A session without a customer's name has the machine's.
        add_detail(&mut details, session.machine.as_deref().filter(|machine| *machine != name).unwrap_or_default());
        add_detail(&mut details, self.texts.by_name("method_", session.kind.as_deref().unwrap_or_default()));
        if let Some(name) = &session.representative {
            add_detail(&mut details, &self.texts.fill(Text::WithRepresentative, "name", name));
        }
        if !start.is_empty() {
            let template = if end.is_empty() { Text::TimeSince } else { Text::TimeSpan };
            add_detail(&mut details, &fill(&self.texts.fill(template, "start", &start), "end", &end));
        }
        let mut item = self.item(&session.lsid, name, session.state.name(), &details);
        if session.recording && !self.is_ended() {
            item = item.child(deed_button(Deed::Watch, &session.lsid).text(self.said(Text::Watch)));
        }
        if let Some((lsid, url)) = &ready.blocked_recording
            && *lsid == session.lsid
        {
            item = item.child(fault(self.said(Text::RecordingBlocked))).child(link("recording", url, self.said(Text::Watch)));
        }
        if RECORDS_IN_PAGE && ready.is_recordable(session) && !self.is_ended() { self.recordable(item, session, ready) } else { item }
    }

    /// An item of a list: what it is about, its state, and what else is to be said.
    fn item(&self, key: &str, name: &str, state: &str, details: &str) -> Element {
        element("li", key)
            .attribute("data-state", state)
            .child(element("span", "customer").with("class=customer").text(name))
            .child(element("span", "state").attribute("class", &join(&["badge badge-", state])).text(self.texts.by_name("state_", state)))
            .child(element("span", "details").with("class=details").text(details))
    }

    /// The machines to choose from, the ticket's own first, each with the ticket's links to it.
    fn machines_section(&self, ready: &Ready) -> Element {
        let MachineList { machines, more, links } = &ready.machines.list;
        let inquiry = &ready.machines.inquiry;
        let mut section = self.section("machines", Text::MachinesTitle);
        let is_ended = self.is_ended();
        if !is_ended {
            let search = ready.form.value(Field::Search);
            section = section
                .child(self.labelled(&ready.form, Field::Search, Text::MachineSearch, input(search).with("type=search")))
                .maybe(self.stale(inquiry));
            if machines.is_empty() && inquiry.problem.is_none() {
                section = section.child(self.hint(match inquiry.known {
                    false => Text::Loading,
                    true if search.is_empty() => Text::MachinesNone,
                    true => Text::MachinesNotFound,
                }));
            }
        }
        let mut has_title = false;
        for (is_ticket, key, title_id, title) in
            [(true, "of-ticket", "title-of-ticket", Text::MachinesOfTicket), (false, "others", "title-others", Text::MachinesOther)]
        {
            let mut group = list(key);
            for machine in machines.iter().filter(|machine| machine.is_marked == is_ticket) {
                let mut item = self.item(&machine.id, &machine.name, &machine.state, &machine.person);
                if !is_ended {
                    item = self.with_methods(item, machine, ready);
                }
                for link in links.iter().filter(|link| link.machine == machine.id) {
                    item = item.child(self.machine_link(link, ready));
                }
                group = group.child(item);
            }
            if !group.children.is_empty() {
                has_title |= is_ticket;
                if has_title {
                    section = section.child(element("h3", title_id).attribute("id", title_id).text(self.said(title)));
                    group = group.attribute("aria-labelledby", title_id);
                }
                section = section.child(group);
            }
        }
        section.maybe(more.then(|| self.hint(Text::MachinesMore)))
    }

    /// A machine's item with a button for each kind of session, and why the last one did not come.
    fn with_methods(&self, mut item: Element, machine: &Entry, ready: &Ready) -> Element {
        let slot = ready.slot(Thing::Jump);
        let is_asked = ready.form.value(Field::Target) == machine.id;
        if machine.state == MachineState::Online.name() || machine.state == MachineState::InUse.name() {
            let mut actions = element("div", "actions").with("class=actions");
            for &method in &ready.offer.methods {
                let name = self.texts.by_name("method_", method.name());
                let mut button = deed_button(Deed::Open(method), &machine.id).attribute("aria-label", &join(&[name, ", ", &machine.name]));
                button = button.child(label(name));
                let is_busy = *slot == Slot::Busy;
                if is_busy || self.panel.doubt.is_some() {
                    button = button.with("aria-disabled=true");
                }
                if is_busy && is_asked && ready.form.method == Some(method) {
                    button = button.child(spinner());
                }
                actions = actions.child(button);
            }
            item = item.child(actions);
        }
        match slot {
            Slot::Failed(problem) if is_asked => item.child(fault(&problem.message(self.texts))),
            _ => item,
        }
    }

    fn machine_link(&self, link: &Entry, ready: &Ready) -> Element {
        let mut details = self.texts.by_name("method_", &link.state).to_owned();
        add_detail(&mut details, &link.person);
        if let Some(expires_at) = link.expires_at {
            add_detail(&mut details, &self.expires_in(expires_at));
        }
        let mut notice = element("div", &link.id).with("class=notice notice-done").child(element("p", "text").text(&details));
        if !link.url.is_empty() {
            let is_copied = self.is_copied(Part::MachineLink) && ready.machines.copied == link.id;
            notice = notice.child(self::link("launch", &link.url, self.said(Text::JumpAgain))).child(self.copy(
                deed_button(Deed::CopyLink, &link.id),
                is_copied,
                Text::LinkCopyTechnician,
            ));
        }
        if self.is_ended() || link.id.is_empty() {
            return notice;
        }
        let end = deed_button(Deed::EndLink, &link.id).child(self.label(Text::LinkEnd));
        notice.child(if link.is_marked { end.with("aria-disabled=true").child(spinner()) } else { end })
    }

    /// A session's item with the button that puts its report onto the ticket, and what came of it.
    fn recordable(&self, mut item: Element, session: &LiveSession, ready: &Ready) -> Element {
        let recording = ready.recording.as_ref().filter(|recording| recording.lsid == session.lsid);
        let fault = recording.and_then(|recording| recording.fault.as_ref());
        if let Some(said) = fault {
            item = item.child(self::fault(said));
        }
        if recording.is_some_and(|recording| recording.untold.is_some()) {
            return item.child(element("p", "untold").with("class=notice;role=status").text(self.said(Text::RecordUntold)));
        }
        let is_busy = recording.is_some() && fault.is_none();
        let mut button = deed_button(Deed::Record, &session.lsid).with("class=button button-primary").child(self.label(if is_busy {
            Text::Recording
        } else {
            Text::Record
        }));
        if is_busy {
            button = button.with("aria-disabled=true").child(spinner());
        }
        item = item.child(button);
        if fault.is_some() && recording.is_some_and(|recording| recording.note.is_some()) {
            item = item.child(self.copy_button(Part::Report, Text::RecordCopy));
        }
        if recording.is_some_and(|recording| recording.reload_helps && recording.fault.is_some()) {
            item = item.child(self.button(Action::ReloadPage, "class=button", Text::ReloadTicket));
        }
        item
    }

    fn said(&self, text: Text) -> &str {
        self.texts.get(text)
    }

    fn hint(&self, text: Text) -> Element {
        hint(self.said(text))
    }

    fn label(&self, text: Text) -> Element {
        label(self.said(text))
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
    fn lifetime(&self, ready: &Ready, thing: Thing, purpose: Text) -> Element {
        let Some(made) = ready.made(thing) else { return self.hint(purpose) };
        if made.expired {
            return self.hint(thing.texts()[4]).with("class=hint hint-fault");
        }
        let Some(expires_at) = made.expires_at else { return self.hint(purpose) };
        hint(&self.expires_in(expires_at)).with("data-part=expiry")
    }

    fn expires_in(&self, expires_at: i64) -> String {
        self.texts.fill(Text::ExpiresIn, "time", &clock(expires_at - self.surroundings.now))
    }

    /// The section with what went wrong and the button that makes the thing: the same node whether nothing, a result or a fault stands
    /// above it, so the keyboard stays on it. Never `disabled`, which would throw the keyboard off.
    fn make(&self, mut section: Element, ready: &Ready, thing: Thing) -> Element {
        if self.is_ended() {
            return section;
        }
        let slot = ready.slot(thing);
        let [make, making, again, ..] = thing.texts();
        let (class, name) = match slot {
            Slot::Empty => (PRIMARY, make),
            Slot::Busy => (PRIMARY, making),
            Slot::Made(made) if thing == Thing::Jump || made.expired => (PRIMARY, again),
            Slot::Made(_) => (WIDE, again),
            Slot::Failed(problem) => {
                section = section.child(fault(&problem.message(self.texts)));
                (PRIMARY, Text::Retry)
            }
        };
        let mut button = button(Action::Make(thing)).with(class).child(self.label(name));
        let is_busy = matches!(slot, Slot::Busy);
        if is_busy || self.panel.doubt.is_some() {
            button = button.with("aria-disabled=true");
        }
        if is_busy {
            button = button.child(spinner());
        }
        section.child(button)
    }

    fn is_ended(&self) -> bool {
        matches!(self.panel.phase, Phase::Ended(_))
    }

    /// Where a browser is paired again.
    fn settings(&self, attributes: &'static str) -> Element {
        self.button(Action::OpenSettings, attributes, Text::OpenSettings)
    }

    fn reload(&self) -> Element {
        self.button(Action::Reload, PRIMARY_SMALL, Text::Retry)
    }

    /// One text at a time: until the page has answered, no insert button does anything.
    fn insert_button(&self, part: Part, name: Text) -> Element {
        let action = Action::Insert(part);
        match self.panel.inserting {
            None if self.panel.doubt.is_none() => self.icon_button(action, "insert", name),
            Some(inserting) if inserting == part => {
                let busy = button(action).with("class=button;aria-disabled=true").child(spinner());
                busy.child(self.label(Text::Inserting))
            }
            _ => self.icon_button(action, "insert", name).with("aria-disabled=true"),
        }
    }

    fn button(&self, action: Action, attributes: &'static str, name: Text) -> Element {
        button(action).with(attributes).text(self.said(name))
    }

    fn icon_button(&self, action: Action, picture: &str, name: Text) -> Element {
        button(action).with("class=button").child(icon(picture)).child(self.label(name))
    }

    fn copy_button(&self, part: Part, name: Text) -> Element {
        self.copy(button(Action::Copy(part)).with("class=button"), self.is_copied(part), name)
    }

    fn is_copied(&self, part: Part) -> bool {
        self.panel.copied.is_some_and(|(copied, _)| copied == part)
    }

    fn copy(&self, button: Element, is_copied: bool, name: Text) -> Element {
        let (picture, name) = if is_copied { ("done", Text::Copied) } else { ("copy", name) };
        button.child(icon(picture)).child(self.label(name))
    }
}

fn label(text: &str) -> Element {
    element("span", "label").text(text)
}

fn fault(text: &str) -> Element {
    element("p", "fault").with("class=notice notice-fault;role=alert").text(text)
}

/// Browsers take the list out of what a screen reader is told where its marks are not drawn: hence the role.
fn list(key: &str) -> Element {
    element("ul", key).with("class=sessions;role=list")
}

fn add_detail(details: &mut String, detail: &str) {
    if !details.is_empty() && !detail.is_empty() {
        details.push_str(" · ");
    }
    details.push_str(detail);
}

fn hint(text: &str) -> Element {
    element("p", "hint").with("class=hint").text(text)
}

fn button(action: Action) -> Element {
    named_button(action.name())
}

fn deed_button(deed: Deed, id: &str) -> Element {
    named_button(deed.name()).with("class=button").attribute("data-id", id)
}

fn named_button(name: &str) -> Element {
    element("button", name).with("type=button").attribute("data-action", name)
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
fn mail_link(key: &Made, recipient: Option<&str>) -> String {
    let mut body = String::new();
    let mut rest = key.mail_body.as_str();
    while let Some((line, after)) = cut(rest, b'\n') {
        body.push_str(line.strip_suffix('\r').unwrap_or(line));
        body.push_str("\r\n");
        rest = after;
    }
    body.push_str(rest);
    let mut link = String::from("mailto:");
    if let Some((name, domain)) = recipient.and_then(|recipient| cut(recipient, b'@')) {
        percent::encode_into(&mut link, name);
        link.push('@');
        percent::encode_into(&mut link, domain);
    }
    link.push('?');
    percent::append_pair(&mut link, "subject", &key.mail_subject);
    percent::append_pair(&mut link, "body", &body);
    link
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::{
        NOW, at_work, at_work_in_page, at_work_with_machines, heard, key, link_entry, link_made, machine, problem, session,
    };
    use super::super::model::{Command, Event, Panel, Problem, Report};
    use super::super::requests::Call;
    use super::super::{Insertion, NoteFault};
    use super::*;

    fn show_at(panel: &Panel, now: i64) -> Element {
        let local_time = |time: &str| time.get(11..16).unwrap_or_default().to_owned();
        screen(panel, &Surroundings { now, local_time: &local_time })
    }

    fn show(panel: &Panel) -> Element {
        show_at(panel, NOW)
    }

    fn all(element: &Element) -> Vec<&Element> {
        std::iter::once(element).chain(element.children.iter().flat_map(all)).collect()
    }

    fn find<'a>(element: &'a Element, attribute: &str, value: &str) -> Option<&'a Element> {
        all(element).into_iter().find(|element| element.get(attribute) == Some(value))
    }

    fn words(element: &Element) -> String {
        let words: Vec<&str> = all(element).into_iter().map(|element| element.text.as_str()).filter(|text| !text.is_empty()).collect();
        words.join(" | ")
    }

    fn names(element: &Element) -> Vec<&str> {
        all(element).into_iter().filter(|element| element.tag != "label").filter_map(|element| element.get("name")).collect()
    }

    /// Each screen there is, by what it is called.
    fn screens() -> Vec<(String, Panel)> {
        let mut screens: Vec<(String, Panel)> = Vec::new();
        for (name, phase) in [
            ("connecting", Phase::Connecting),
            ("no host", Phase::NoHost),
            ("unsaved", Phase::Unsaved),
            ("ended", Phase::Ended(None)),
            ("failed", Phase::Failed(problem())),
        ] {
            screens.push((name.into(), Panel { phase, ..at_work() }));
        }
        for method in JumpMethod::JUMPS {
            let mut panel = at_work();
            panel.update(Event::Filled(Field::Method, method.name().into()), NOW);
            panel.update(Event::Pressed(Action::ToggleOptions), NOW);
            screens.push((method.name().into(), panel.clone()));
            panel.update(Event::Filled(Field::Target, String::new()), NOW);
            panel.update(Event::Pressed(Action::Make(Thing::Jump)), NOW);
            screens.push((method.name().to_owned() + " with faults", panel));
        }
        let mut panel = at_work();
        for thing in Thing::ALL {
            panel.update(Event::Made(thing, Box::new(key())), NOW);
        }
        panel.update(Event::Sessions(SessionState::ALL.map(session).into()), NOW);
        panel.update(Event::Refused(Call::Sessions, problem()), NOW);
        screens.push(("all made".into(), panel.clone()));
        let mut in_page = at_work_in_page();
        screens.push(("a report to be added".into(), in_page.clone()));
        in_page.update(Event::Done(Deed::Record, session(SessionState::Ended).lsid), NOW);
        screens.push(("a report on its way".into(), in_page.clone()));
        in_page.update(Event::Report(Box::new(Report { lsid: session(SessionState::Ended).lsid, ..Report::default() })), NOW);
        in_page.update(Event::NotePosted(session(SessionState::Ended).lsid, Err(NoteFault::Refused)), NOW);
        screens.push(("a report that was refused".into(), in_page));
        for thing in Thing::ALL {
            panel.update(Event::Pressed(Action::Make(thing)), NOW);
            panel.update(Event::Refused(Call::Make(thing, Vec::new()), problem()), NOW);
        }
        screens.push(("another key did not come".into(), panel.clone()));
        panel.update(Event::Pressed(Action::Insert(Part::Mail)), NOW);
        screens.push(("a text on its way".into(), panel.clone()));
        let mut blocked = at_work();
        blocked.update(Event::Made(Thing::Jump, Box::new(key())), NOW);
        blocked.update(Event::Opened(false), NOW);
        screens.push(("a blocked Jump".into(), blocked));
        let mut machines = at_work_with_machines();
        screens.push(("machines".into(), machines.clone()));
        machines.update(Event::Done(Deed::Open(JumpMethod::Desktop), "node//LAPTOP-0042".into()), NOW);
        screens.push(("a link on its way".into(), machines.clone()));
        machines.update(link_made("L1"), NOW);
        machines.update(Event::Copied(Part::MachineLink, true), NOW);
        machines.update(Event::Done(Deed::EndLink, "L1".into()), NOW);
        machines.update(Event::Sessions(vec![LiveSession { recording: true, ..session(SessionState::Ended) }]), NOW);
        screens.push(("a link that is being ended, and a recording".into(), machines.clone()));
        machines.update(Event::Done(Deed::Open(JumpMethod::Desktop), "node//FRONT-DESK".into()), NOW);
        machines.update(Event::Refused(Call::Make(Thing::Jump, Vec::new()), problem()), NOW);
        screens.push(("a link that did not come".into(), machines.clone()));
        let mut lost = machines.clone();
        let url = "https://remote.example.com/recordings/1".to_owned();
        lost.update(Event::RecordingBlocked(session(SessionState::Ended).lsid, url), NOW);
        lost.update(heard(vec![machine("LAPTOP-0042", "unavailable")], vec![link_entry("L1")]), NOW);
        screens.push(("a link to a lost machine, and a recording that was not opened".into(), lost));
        machines.update(Event::Refused(Call::Machines { search: String::new(), target: String::new() }, problem()), NOW);
        screens.push(("machines that cannot be read".into(), machines.clone()));
        machines.update(Event::Refused(Call::Sessions, Problem { status: 401, ..problem() }), NOW);
        screens.push(("ended with a link".into(), machines));
        let mut ended = panel.clone();
        ended.update(Event::Refused(Call::Sessions, Problem { status: 401, ..problem() }), NOW);
        screens.push(("ended at work".into(), ended));
        let mut doubted = panel.clone();
        doubted.update(Event::InDoubt, NOW - 1_000);
        screens.push(("which ticket is not known".into(), doubted.clone()));
        doubted.update(Event::NoHost, NOW);
        screens.push(("which ticket is not told".into(), doubted));
        panel.update(Event::Tick, NOW + 600_000);
        screens.push(("all expired".into(), panel));
        screens
    }

    #[test]
    fn every_control_has_a_name_and_every_reference_a_target() {
        for (name, panel) in screens() {
            let tree = show(&panel);
            let elements = all(&tree);
            let ids: Vec<&str> = elements.iter().filter_map(|element| element.get("id")).collect();
            for (index, id) in ids.iter().enumerate() {
                assert!(!ids[..index].contains(id), "{name}: two elements are {id}");
            }
            for reference in ["for", "aria-labelledby", "aria-describedby", "aria-controls"] {
                for target in elements.iter().filter_map(|element| element.get(reference)) {
                    assert!(ids.contains(&target), "{name}: {reference} leads to no {target}");
                }
            }
            for element in &elements {
                let labelled = || elements.iter().any(|label| label.get("for").is_some() && label.get("for") == element.get("id"));
                let within_label = || elements.iter().any(|label| label.tag == "label" && label.children.contains(element));
                match element.tag {
                    "input" | "select" => assert!(labelled() || within_label(), "{name}: {element:?} has no label"),
                    "button" | "a" => assert!(!words(element).is_empty(), "{name}: {element:?} has no words"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn siblings_have_different_keys_and_no_element_has_text_and_children() {
        for (name, panel) in screens() {
            for element in all(&show(&panel)) {
                let keys: Vec<&str> = element.children.iter().map(|child| child.key.as_str()).collect();
                for (index, key) in keys.iter().enumerate() {
                    assert!(!keys[..index].contains(key), "{name}: two children {key} in {}", element.key);
                }
                assert!(element.text.is_empty() || element.children.is_empty(), "{name}: {}", element.key);
            }
        }
    }

    #[test]
    fn nothing_the_csp_refuses_is_asked_for() {
        for (name, panel) in screens() {
            for element in all(&show(&panel)) {
                assert!(!["script", "style", "iframe", "form"].contains(&element.tag), "{name}");
                let refused = element.attributes.iter().find(|(attribute, _)| *attribute == "style" || attribute.starts_with("on"));
                assert_eq!(refused, None, "{name}");
            }
        }
    }

    #[test]
    fn each_method_has_its_own_fields() {
        let check = |method: JumpMethod, expected: &[&str]| {
            let mut panel = at_work();
            panel.update(Event::Filled(Field::Method, method.name().into()), NOW);
            panel.update(Event::Pressed(Action::ToggleOptions), NOW);
            let tree = show(&panel);
            let section = find(&tree, "data-section", "jump").expect("the Jump section");
            let fields: Vec<&str> = names(section).into_iter().filter(|name| *name != "method").collect();
            assert_eq!(fields, expected, "{method:?}");
        };
        check(JumpMethod::JumpClient, &["target"]);
        check(JumpMethod::LocalPush, &["target"]);
        check(JumpMethod::RemotePush, &["target", "jumpoint"]);
        check(JumpMethod::Rdp, &["target", "jumpoint", "username", "display_size", "quality", "console"]);
        check(JumpMethod::ShellJump, &["target", "jumpoint", "username", "protocol", "port", "terminal"]);
    }

    #[test]
    fn only_what_is_allowed_is_offered() {
        let mut panel = at_work();
        let Phase::Ready(ready) = &mut panel.phase else { panic!("not ready") };
        ready.offer.methods = vec![JumpMethod::Rdp];
        ready.form.method = Some(JumpMethod::Rdp);
        ready.offer.jumpoints.clear();
        ready.offer.issues.truncate(1);
        let tree = show(&panel);
        assert_eq!(names(&tree), ["target", "username"], "one method and one issue need no choice");
        let Phase::Ready(ready) = &mut panel.phase else { panic!("not ready") };
        ready.form.method = None;
        ready.offer.issues.clear();
        let tree = show(&panel);
        let sections: Vec<&str> = all(&tree).into_iter().filter_map(|element| element.get("data-section")).collect();
        assert_eq!(sections, ["key", "sessions"]);
    }

    fn sections(panel: &Panel) -> Vec<String> {
        all(&show(panel)).into_iter().filter_map(|element| element.get("data-section").map(str::to_owned)).collect()
    }

    #[test]
    fn an_engine_that_lists_its_machines_has_a_list_in_place_of_the_jump() {
        let panel = at_work_with_machines();
        assert_eq!(sections(&panel), ["machines", "sessions"]);
        let mut with_keys = panel.clone();
        let Phase::Ready(ready) = &mut with_keys.phase else { panic!("not ready") };
        ready.offer.session_keys = true;
        assert_eq!(sections(&with_keys), ["machines", "key", "sessions"]);
        assert_eq!(sections(&at_work()), ["key", "jump", "chat", "sessions"], "others have none");
    }

    #[test]
    fn the_tickets_machine_stands_first_and_one_that_cannot_be_reached_has_no_buttons() {
        let mut panel = at_work_with_machines();
        let tree = show(&panel);
        let section = find(&tree, "data-section", "machines").expect("the machines");
        let kinds = "method_desktop | method_terminal | method_files";
        let expected = [
            "machines_title | machine_search | machines_of_ticket",
            "LAPTOP-0042 | state_online",
            kinds,
            "machines_other | FRONT-DESK | state_in_use",
            kinds,
            "ATTIC | state_offline",
        ];
        assert_eq!(words(section), expected.join(" | "));
        let lists = all(section).into_iter().filter(|element| element.tag == "ul" && element.get("role") == Some("list"));
        assert_eq!(lists.map(|list| list.children.len()).collect::<Vec<_>>(), [1, 2]);
        let button = find(section, "data-action", "files").expect("a button");
        assert_eq!((button.get("data-id"), button.get("aria-label")), (Some("node//LAPTOP-0042"), Some("method_files, LAPTOP-0042")));
        panel.update(heard(vec![Entry { person: "Tom".into(), ..machine("ATTIC", "online") }], Vec::new()), NOW);
        let tree = show(&panel);
        let section = find(&tree, "data-section", "machines").expect("the machines");
        assert_eq!(words(section), ["machines_title | machine_search | ATTIC | state_online | Tom", kinds].join(" | "), "no titles");
        panel.update(heard(vec![machine("ATTIC", "unavailable")], Vec::new()), NOW);
        let tree = show(&panel);
        let section = find(&tree, "data-section", "machines").expect("the machines");
        assert_eq!(words(section), "machines_title | machine_search | ATTIC | state_unavailable");
    }

    #[test]
    fn no_machines_are_told() {
        let mut panel = at_work_with_machines();
        let hint = |panel: &Panel| find(&show(panel), "data-section", "machines").map(words);
        panel.update(heard(Vec::new(), Vec::new()), NOW);
        assert_eq!(hint(&panel).as_deref(), Some("machines_title | machine_search | machines_none"));
        panel.update(Event::Filled(Field::Search, "x".into()), NOW);
        panel.update(heard(Vec::new(), Vec::new()), NOW);
        assert_eq!(hint(&panel).as_deref(), Some("machines_title | machine_search | machines_not_found"));
        let tree = show(&panel);
        assert_eq!(find(&tree, "name", "search").and_then(|field| field.value.as_deref()), Some("x"));
        panel
            .update(Event::Machines(Box::new(MachineList { more: true, machines: vec![machine("A", "offline")], links: Vec::new() })), NOW);
        assert_eq!(hint(&panel).as_deref(), Some("machines_title | machine_search | A | state_offline | machines_more"));
    }

    #[test]
    fn machines_that_cannot_be_read_are_told_above_those_last_heard() {
        let mut panel = at_work_with_machines();
        panel.update(Event::Refused(Call::Machines { search: String::new(), target: String::new() }, problem()), NOW);
        let tree = show(&panel);
        let section = find(&tree, "data-section", "machines").expect("the machines");
        let words = words(section);
        let told = ["sessions_stale ", &problem().message(&panel.texts), " | retry | machines_of_ticket | LAPTOP-0042"].concat();
        assert!(words.contains(&told), "{words}");
    }

    #[test]
    fn a_link_stands_at_its_machine() {
        let mut panel = at_work_with_machines();
        panel.update(Event::Done(Deed::Open(JumpMethod::Desktop), "node//FRONT-DESK".into()), NOW);
        let tree = show(&panel);
        let buttons = all(&tree).into_iter().filter(|element| element.get("aria-disabled").is_some());
        let spinners = |element: &Element| all(element).into_iter().filter(|element| element.key == "spinner").count();
        assert_eq!(buttons.map(spinners).collect::<Vec<_>>(), [0, 0, 0, 1, 0, 0], "one link at a time");
        panel.update(link_made("L1"), NOW);
        let item = |panel: &Panel, name: &str| find(&show_at(panel, NOW + 1_000), "data-id", name).is_some();
        let list = || vec![machine("LAPTOP-0042", "online"), machine("FRONT-DESK", "in_use")];
        let machines = |panel: &Panel| words(find(&show_at(panel, NOW + 1_000), "data-section", "machines").expect("the machines"));
        let own = "method_desktop · expires_in 9:59 | jump_again | link_copy_technician | link_end";
        assert!(machines(&panel).contains(own), "{}", machines(&panel));
        panel.update(Event::Done(Deed::CopyLink, "L1".into()), NOW);
        panel.update(Event::Copied(Part::MachineLink, true), NOW);
        assert!(machines(&panel).contains("jump_again | copied | link_end"));
        panel.update(heard(list(), vec![link_entry("L0")]), NOW);
        panel.update(heard(list(), vec![link_entry("L0")]), NOW);
        let others = "method_files | method_terminal · Rita · expires_in 9:59 | link_end | machines_other";
        assert!(machines(&panel).contains(others), "without an address there is nothing to copy: {}", machines(&panel));
        panel.update(Event::Refused(Call::Sessions, Problem { status: 401, ..problem() }), NOW);
        assert!(!item(&panel, "L0"), "ending needs a session");
        assert!(!machines(&panel).contains("machine_search"));
    }

    #[test]
    fn a_recording_that_was_not_opened_is_a_link_at_its_session() {
        let mut panel = at_work_with_machines();
        let recorded = |lsid: &str| LiveSession { lsid: lsid.repeat(32), recording: true, ..session(SessionState::Recorded) };
        panel.update(Event::Sessions(["a", "b"].map(recorded).into()), NOW);
        let url = "https://remote.example.com/recordings/1";
        panel.update(Event::RecordingBlocked("b".repeat(32), url.into()), NOW);
        let tree = show(&panel);
        let items: Vec<&Element> = all(&tree).into_iter().filter(|element| element.get("data-state") == Some("recorded")).collect();
        assert!(!words(items[0]).contains("recording_blocked"));
        assert!(words(items[1]).ends_with(" | watch_recording | recording_blocked | watch_recording"), "{}", words(items[1]));
        assert_eq!(find(items[1], "data-part", "recording").and_then(|link| link.get("href")), Some(url));
    }

    #[test]
    fn a_link_that_did_not_come_is_told_at_its_machine() {
        let mut panel = at_work_with_machines();
        panel.update(Event::Done(Deed::Open(JumpMethod::Desktop), "node//FRONT-DESK".into()), NOW);
        panel.update(Event::Refused(Call::Make(Thing::Jump, Vec::new()), problem()), NOW);
        let tree = show(&panel);
        let alerts: Vec<&Element> =
            all(&tree).into_iter().filter(|element| element.children.iter().any(|child| child.get("role") == Some("alert"))).collect();
        assert_eq!(alerts.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["node//FRONT-DESK"]);
    }

    #[test]
    fn a_session_with_a_machine_names_it_and_has_its_recording() {
        let mut panel = at_work_with_machines();
        let desktop = LiveSession { machine: Some("ATTIC".into()), kind: Some("desktop".into()), ..session(SessionState::Active) };
        let nobody = LiveSession { customer: None, representative: None, recording: true, kind: Some("other".into()), ..desktop.clone() };
        panel.update(Event::Sessions(vec![desktop, LiveSession { lsid: "b".repeat(32), ..nobody }]), NOW);
        let tree = show(&panel);
        let list = find(&tree, "data-section", "sessions").expect("the sessions");
        let since = "time_since 10:00";
        let expected = [
            "sessions_title | Charlie Customer | state_active | ATTIC · method_desktop · with_representative Rita · ",
            since,
            " | ATTIC | state_active | ",
            since,
            " | watch_recording",
        ];
        assert_eq!(words(list), expected.concat());
        assert_eq!(find(list, "data-action", "watch").and_then(|button| button.get("data-id")), Some("b".repeat(32).as_str()));
    }

    #[test]
    fn a_key_shows_its_life() {
        let mut panel = at_work();
        panel.update(Event::Made(Thing::Key, Box::new(key())), NOW);
        let part = |panel: &Panel, now, part: &str| find(&show_at(panel, now), "data-part", part).map(|element| element.text.clone());
        assert_eq!(part(&panel, NOW, "key").as_deref(), Some("K7QX42P"));
        assert_eq!(part(&panel, NOW, "expiry").as_deref(), Some("expires_in 10:00"));
        assert_eq!(part(&panel, NOW + 541_000, "expiry").as_deref(), Some("expires_in 0:59"));
        panel.update(Event::Tick, NOW + 600_000);
        assert_eq!(part(&panel, NOW + 600_000, "key"), None);
        let tree = show_at(&panel, NOW + 600_000);
        assert_eq!(words(find(&tree, "data-section", "key").expect("the section")), "key_title | key_expired | key_make_again");
    }

    #[test]
    fn the_button_stays_the_same_node_through_its_states() {
        let mut panel = at_work();
        let keys = |panel: &Panel| {
            let tree = show(panel);
            let section = find(&tree, "data-section", "key").expect("the section").clone();
            let button = section.children.last().expect("a button").clone();
            (button.tag, button.key.clone(), button.get("disabled").is_some(), words(&button))
        };
        assert_eq!(keys(&panel), ("button", "make-key".into(), false, "key_make".into()));
        panel.update(Event::Pressed(Action::Make(Thing::Key)), NOW);
        assert_eq!(keys(&panel), ("button", "make-key".into(), false, "key_making".into()));
        panel.update(Event::Refused(Call::Make(Thing::Key, Vec::new()), problem()), NOW);
        assert_eq!(keys(&panel), ("button", "make-key".into(), false, "retry".into()));
        panel.update(Event::Made(Thing::Key, Box::new(key())), NOW);
        assert_eq!(keys(&panel), ("button", "make-key".into(), false, "key_make_again".into()));
    }

    #[test]
    fn a_tick_changes_the_countdown_and_nothing_else() {
        let mut panel = at_work();
        panel.update(Event::Made(Thing::Key, Box::new(key())), NOW);
        let before = show_at(&panel, NOW);
        panel.update(Event::Tick, NOW + 1_000);
        let after = show_at(&panel, NOW + 1_000);
        let changed: Vec<_> = all(&before).into_iter().zip(all(&after)).filter(|(before, after)| before.text != after.text).collect();
        assert_eq!(changed.len(), 1);
        assert_eq!((changed[0].0.text.as_str(), changed[0].1.text.as_str()), ("expires_in 10:00", "expires_in 9:59"));
        assert_eq!(all(&before).len(), all(&after).len());
    }

    #[test]
    fn sessions_read_like_sentences() {
        let mut panel = at_work();
        let unnamed = LiveSession { customer: None, representative: None, ..session(SessionState::Waiting) };
        panel.update(Event::Sessions(vec![session(SessionState::Recorded), unnamed]), NOW);
        let tree = show(&panel);
        let list = find(&tree, "class", "sessions").expect("a list");
        assert_eq!(
            words(list),
            "Charlie Customer | state_recorded | with_representative Rita · time_span 10:00 10:31 | unnamed_customer | state_waiting | time_since 10:00"
        );
    }

    #[test]
    fn a_customer_who_waits_is_shown_above_everything_until_somebody_joins() {
        let mut panel = at_work_in_page();
        let first = |panel: &Panel| {
            let tree = show(panel);
            let first = &tree.children[1];
            (first.get("class").map(str::to_owned), words(first))
        };
        let waits = (Some("notice notice-waiting".to_owned()), "customer_waiting: Charlie Customer".to_owned());
        panel.update(Event::Sessions(vec![session(SessionState::Ended), session(SessionState::Waiting)]), NOW);
        assert_eq!(first(&panel), waits);
        let nameless = LiveSession { customer: Some(String::new()), ..session(SessionState::Waiting) };
        panel.update(Event::Sessions(vec![nameless]), NOW);
        assert_eq!(first(&panel).1, "customer_waiting");
        for state in [SessionState::Active, SessionState::Ended, SessionState::Recorded] {
            panel.update(Event::Sessions(vec![session(state)]), NOW);
            assert_eq!(first(&panel).0.as_deref(), Some("card"), "{state:?}");
        }
    }

    #[test]
    fn an_ended_session_offers_its_report_where_the_page_writes_it() {
        let shown = |name: &str| {
            let (_, panel) = screens().into_iter().find(|(known, _)| known == name).expect("that screen");
            words(find(&show(&panel), "class", "sessions").expect("a list"))
        };
        let ended = "Charlie Customer | state_ended | with_representative Rita · time_span 10:00 10:31";
        let active = "Charlie Customer | state_active | with_representative Rita · time_since 10:00";
        assert_eq!(shown("a report to be added"), [ended, "record", active].join(" | "));
        assert_eq!(shown("a report on its way"), [ended, "recording", active].join(" | "));
        assert_eq!(shown("a report that was refused"), [ended, "record_refused", "record", "record_copy", active].join(" | "));
        assert!(!shown("all made").contains("record |"));
        let (_, panel) = screens().into_iter().find(|(known, _)| known == "a report to be added").expect("that screen");
        let tree = show(&panel);
        let button = find(&tree, "data-action", Deed::Record.name()).expect("the button");
        assert_eq!(button.get("data-id"), Some(session(SessionState::Ended).lsid.as_str()));
    }

    fn shown(name: &str) -> Element {
        show(&screens().into_iter().find(|(known, _)| known == name).expect("that screen").1)
    }

    #[test]
    fn a_key_stays_in_view_above_the_fault_of_the_next_one() {
        let tree = shown("another key did not come");
        for (section, part) in [("key", "K7QX42P"), ("chat", "https://support.example.com/?ak=1")] {
            let words = words(find(&tree, "data-section", section).expect("the section"));
            let (key, fault) = (words.find(part).expect("the old one"), words.find(&problem().title).expect("the fault"));
            assert!(key < fault && words.ends_with("retry"), "{words}");
        }
    }

    #[test]
    fn a_report_that_waits_stands_on_top() {
        let sections = |panel: &Panel| {
            let tree = show(panel);
            all(&tree).into_iter().filter_map(|element| element.get("data-section").map(str::to_owned)).collect::<Vec<_>>()
        };
        let mut panel = at_work_in_page();
        assert_eq!(sections(&panel), ["sessions", "key", "jump", "chat"]);
        panel.update(Event::Sessions(vec![session(SessionState::Active), session(SessionState::Recorded)]), NOW);
        assert_eq!(sections(&panel), ["sessions", "key", "jump", "chat"], "nothing moves away under the agent's hands");
        let mut panel = at_work();
        panel.update(Event::Sessions(vec![session(SessionState::Active), session(SessionState::Ended)]), NOW);
        assert_eq!(sections(&panel), ["key", "jump", "chat", "sessions"], "its reports come by themselves");
    }

    #[test]
    fn a_pairing_that_was_ended_leads_to_the_settings() {
        let revoked = Problem { status: 403, kind: "device-revoked".into(), ..problem() };
        let leads = |panel: &Panel| find(&show(panel), "data-action", Action::OpenSettings.name()).is_some();
        let mut panel = at_work();
        assert!(!leads(&panel) && panel.is_at_work());
        panel.update(Event::Refused(Call::Sessions, problem()), NOW);
        assert!(!leads(&panel) && panel.is_at_work());
        panel.update(Event::Refused(Call::Sessions, revoked.clone()), NOW);
        assert!(leads(&panel) && !panel.is_at_work());
        panel.phase = Phase::Failed(revoked);
        assert!(leads(&panel) && !panel.is_at_work());
        assert_eq!(panel.update(Event::Pressed(Action::OpenSettings), NOW), Some(Command::OpenSettings));
    }

    #[test]
    fn after_a_report_the_ticket_can_be_loaded_again() {
        let mut panel = at_work_in_page();
        if let Phase::Ready(ready) = &mut panel.phase {
            ready.is_page_old = true;
        }
        let tree = show(&panel);
        assert!(words(&tree).contains("record_added | reload_ticket"));
        assert!(find(&tree, "data-action", Action::ReloadPage.name()).is_some());
    }

    #[test]
    fn nothing_is_offered_for_a_reply_that_cannot_be_written() {
        let offered = |panel: &Panel| {
            let tree = show(panel);
            [Part::Mail, Part::ChatLink].map(|part| find(&tree, "data-action", Action::Insert(part).name()).is_some())
        };
        let (_, mut panel) = screens().into_iter().find(|(known, _)| known == "all made").expect("that screen");
        assert_eq!(offered(&panel), [true, true]);
        if let Phase::Ready(ready) = &mut panel.phase {
            ready.has_reply = false;
        }
        assert_eq!(offered(&panel), [false, false]);
    }

    #[test]
    fn a_chat_link_is_sent_by_one_button_and_made_by_another() {
        let mut panel = at_work();
        let buttons = |panel: &Panel| {
            let tree = show(panel);
            let section = find(&tree, "data-section", "chat").expect("the section");
            let buttons = all(section).into_iter().filter(|element| element.tag == "button");
            buttons.map(words).collect::<Vec<_>>()
        };
        assert_eq!(buttons(&panel), ["chat_send", "chat_make"]);
        panel.update(Event::Pressed(Action::Insert(Part::ChatLink)), NOW);
        assert_eq!(buttons(&panel), ["inserting", "chat_making"]);
        panel.update(Event::Made(Thing::ChatLink, Box::new(key())), NOW);
        panel.update(Event::Inserted(Insertion::Done), NOW);
        assert_eq!(buttons(&panel), ["link_copy", "insert", "chat_make_again"]);
        panel.update(Event::Tick, NOW + 600_000);
        assert_eq!(buttons(&panel), ["chat_send", "chat_make_again"], "an expired one is made anew");
        if let Phase::Ready(ready) = &mut panel.phase {
            ready.has_reply = false;
        }
        assert_eq!(buttons(&panel), ["chat_make_again"], "where no reply can be written");
    }

    #[test]
    fn the_help_centers_page_is_a_link_at_the_end_for_those_who_have_it() {
        let page = "https://remote.example.com/help-center/customize/token";
        let mut panel = at_work();
        assert!(find(&show(&panel), "data-part", "help-center").is_none());
        if let Phase::Ready(ready) = &mut panel.phase {
            ready.offer.help_center_page = Some(page.into());
        }
        let tree = show(&panel);
        let last = tree.children.last().expect("an element");
        let attribute = |name| last.get(name).unwrap_or_default();
        assert_eq!((last.tag, words(last).as_str()), ("a", "customize_help_center"));
        assert_eq!([attribute("href"), attribute("target"), attribute("rel")], [page, "_blank", "noopener"]);
    }

    #[test]
    fn an_ended_session_leaves_what_can_be_copied_and_no_other_button() {
        let tree = shown("ended at work");
        let actions: Vec<&str> = all(&tree).into_iter().filter_map(|element| element.get("data-action")).collect();
        let kept =
            ["copy-key", "copy-key-link", "insert-key", "mail", "copy-mail", "copy-chat-link", "insert-chat-link"].map(str::to_owned);
        assert_eq!(actions, [["reload".to_owned()].as_slice(), &kept].concat());
        assert!(names(&tree).is_empty(), "no field");
        assert!(find(&tree, "data-part", "expiry").is_some());
    }

    #[test]
    fn an_ended_session_keeps_the_jumps_link_and_the_list_of_sessions() {
        let over = || Event::Refused(Call::Sessions, Problem { status: 401, ..problem() });
        let mut panel = at_work();
        panel.update(Event::Made(Thing::Jump, Box::new(key())), NOW);
        panel.update(Event::Opened(false), NOW);
        panel.update(Event::Sessions(vec![session(SessionState::Active)]), NOW);
        panel.update(over(), NOW);
        let tree = show(&panel);
        let jump = words(find(&tree, "data-section", "jump").expect("the Jump section"));
        assert_eq!(jump, "jump_title | jump_blocked | jump_again | link_copy");
        let sessions = words(find(&tree, "data-section", "sessions").expect("the sessions"));
        assert!(sessions.contains("state_active") && sessions.ends_with("sessions_stale"), "{sessions}");
        assert!(names(&tree).is_empty(), "no field");
        let mut in_page = at_work_in_page();
        in_page.update(over(), NOW);
        assert!(find(&show(&in_page), "data-action", Deed::Record.name()).is_none(), "that needs a session");
    }

    #[test]
    fn trying_again_after_the_end_shows_that_it_asks_and_what_came_of_it() {
        let over = || Event::Refused(Call::Sessions, Problem { status: 401, ..problem() });
        let mut panel = at_work();
        panel.update(Event::Refused(Call::Sessions, problem()), NOW);
        panel.update(over(), NOW);
        let message = |panel: &Panel| {
            let tree = show(panel);
            let button = find(&tree, "data-action", "reload").expect("the button");
            (words(find(&tree, "data-message", "ended").expect("the message")), button.get("aria-disabled").is_some())
        };
        let plain = ("ended_title | ended_hint | retry".to_owned(), false);
        assert_eq!(message(&panel), plain);
        panel.update(Event::Pressed(Action::Reload), NOW);
        assert_eq!(message(&panel), (plain.0.clone(), true));
        panel.update(Event::Refused(Call::Sessions, problem()), NOW);
        let told = ["ended_title | ended_hint | ", &problem().title, ". ", &problem().detail, " | retry"].concat();
        assert_eq!(message(&panel), (told, false));
        panel.update(Event::Pressed(Action::Reload), NOW);
        panel.update(over(), NOW);
        assert_eq!(message(&panel), plain);
    }

    #[test]
    fn a_text_on_its_way_into_the_reply_shows_it_on_its_button() {
        let tree = shown("a text on its way");
        let button = |action| find(&tree, "data-action", action).expect("the button");
        assert_eq!((words(button("insert-key")).as_str(), words(button("insert-chat-link")).as_str()), ("inserting", "insert"));
        for action in ["insert-key", "insert-chat-link"] {
            assert_eq!(button(action).get("aria-disabled"), Some("true"), "{action}");
        }
    }

    #[test]
    fn a_ticket_in_doubt_holds_its_buttons_and_says_why() {
        let mut panel = at_work();
        panel.update(Event::Made(Thing::Key, Box::new(key())), NOW);
        let held = |panel: &Panel, now| {
            let tree = show_at(panel, now);
            ["make-key", "jump", "make-chat-link", "insert-key"].map(|action| {
                let button = find(&tree, "data-action", action).expect("the button");
                button.get("aria-disabled") == Some("true")
            })
        };
        assert_eq!(held(&panel, NOW), [false; 4]);
        panel.update(Event::InDoubt, NOW);
        assert_eq!(held(&panel, NOW), [true; 4]);
        assert!(!words(&show_at(&panel, NOW + 999)).contains("ticket_in_doubt"), "most pages answer at once");
        assert!(words(&show_at(&panel, NOW + 1_000)).contains("ticket_in_doubt"));
        panel.update(Event::NoHost, NOW + 10_000);
        let tree = show_at(&panel, NOW + 10_000);
        assert!(words(&tree).contains("no_host_title | no_host_hint | retry") && !words(&tree).contains("ticket_in_doubt"));
        assert_eq!(held(&panel, NOW + 10_000), [true; 4]);
        panel.update(Event::Refused(Call::Sessions, Problem { status: 401, ..problem() }), NOW);
        let tree = show_at(&panel, NOW + 10_000);
        assert!(words(&tree).contains("no_host_title") && !words(&tree).contains("ended_hint"), "one button to try again");
    }

    #[test]
    fn a_blocked_jump_keeps_its_link() {
        let tree = shown("a blocked Jump");
        let notice = find(&tree, "class", "notice notice-fault").expect("a fault");
        assert_eq!(words(notice), "jump_blocked | jump_again | link_copy");
        assert_eq!(find(notice, "data-part", "launch").and_then(|link| link.get("href")), Some("https://support.example.com/?ak=1"));
        // Opened by that link, it is no longer told that it was not.
        let (_, mut panel) = screens().into_iter().find(|(known, _)| known == "a blocked Jump").expect("that screen");
        panel.update(Event::Pressed(Action::from_name("launch").expect("the link")), NOW);
        let tree = show(&panel);
        assert_eq!(words(find(&tree, "class", "notice notice-done").expect("a notice")), "jump_made | jump_again | link_copy");
    }

    #[test]
    fn a_mail_has_subject_and_body() {
        let made = Made { mail_subject: "Your session & more".into(), mail_body: "One\nTwo\r\nThree".into(), ..Made::default() };
        assert_eq!(mail_link(&made, None), "mailto:?subject=Your%20session%20%26%20more&body=One%0D%0ATwo%0D%0AThree");
        let to = |recipient| mail_link(&Made::default(), Some(recipient));
        assert_eq!(to("carl+x@customer.example"), "mailto:carl%2Bx@customer.example?subject=&body=");
        assert_eq!(to("a@b?cc=evil@c&bcc=d,e@f"), "mailto:a@b%3Fcc%3Devil%40c%26bcc%3Dd%2Ce%40f?subject=&body=");
        assert_eq!(to("nobody"), "mailto:?subject=&body=");
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert_eq!(link("part", "https://a.example", "text").get("href"), Some("https://a.example"));
        assert_eq!(link("part", "javascript:alert(1)", "text").get("href"), Some(""));
    }
}
