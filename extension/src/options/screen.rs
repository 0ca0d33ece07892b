//! What the options page shows: from the state to a tree of elements. Pure, as the panel's own screen.

use deskbridge_shared::panel::element::{Element, element};

use super::{Action, Field, Options, Progress, Trouble};
use crate::settings::{Language, Paired, connection_of};
use crate::site::{SiteKind, SiteSettings};
use crate::texts::Word;

/// The page as it looks now.
pub fn screen(options: &Options) -> Element {
    Screen(options).whole()
}

struct Screen<'a>(&'a Options);

impl Screen<'_> {
    fn whole(&self) -> Element {
        let language = self.0.words.language();
        let root = element("main", "options").with("class=panel options-page;tabindex=-1").attribute("lang", language);
        let heading = element("h1", "title").text(self.said(Word::Title));
        let status = element("p", "status").with("class=announcement;role=status;aria-live=polite").text(&self.0.announcement);
        let root = root.child(heading).child(status);
        if self.0.facts.is_none() {
            return root.child(element("p", "loading").with("class=hint").text(self.said(Word::Loading)));
        }
        root.child(self.server()).child(self.pairing()).child(self.sites()).child(self.general())
    }

    fn server(&self) -> Element {
        let section = self.section("server", Word::ServerTitle).child(self.hint(Word::ServerHint));
        let is_managed = self.0.settings.server_is_managed;
        let mut field =
            self.text_field(Field::Server, Word::ServerAddress, &self.0.typed.server, "type=url;placeholder=https://remote.example.com");
        if is_managed {
            field = self.text_field(Field::Server, Word::ServerAddress, &self.0.settings.server, "type=url;readonly=readonly");
            return section.child(field).child(self.managed());
        }
        section.child(field).child(self.button(Action::SaveServer, Word::ServerSave))
    }

    fn pairing(&self) -> Element {
        let mut section = self.section("pairing", Word::PairingTitle);
        if let Some(paired) = self.0.paired() {
            section = section.child(self.pairing_is(paired));
        } else {
            section = section.maybe(self.paired_elsewhere()).child(self.pairing_form());
        }
        if let Progress::Failed(trouble) = &self.0.pairing {
            section = self.trouble(section, "pairing-fault", trouble);
        }
        section = section.child(self.check_button());
        match &self.0.check {
            Progress::Done => {
                section = section.child(notice("check-ok", "notice-done", self.said(Word::CheckOk)));
                for site in self.0.sites_without_connection() {
                    let text = self.0.words.fill(Word::CheckSite, "site", &site.url);
                    section = section.child(notice(&site.url, "notice-fault", &text));
                }
            }
            Progress::Failed(trouble) => section = self.trouble(section, "check-fault", trouble),
            Progress::Idle | Progress::Busy => {}
        }
        section
    }

    fn pairing_is(&self, paired: &Paired) -> Element {
        let words = &self.0.words;
        let mut name = words.fill(Word::PairedAs, "name", &paired.name);
        if let Some(agent) = &paired.agent {
            name = format!("{name} {}", words.fill(Word::PairedFor, "agent", agent));
        }
        let mut list = element("ul", "connections").with("class=list");
        for connection in &paired.connections {
            let text = format!("{} ({})", connection.name, connection.system);
            list = list.child(element("li", &connection.name).text(&text));
        }
        let forget = if self.0.is_forgetting { Word::ForgetSure } else { Word::Forget };
        let mut state = element("div", "paired").with("class=state;data-state=paired").child(notice("name", "notice-done", &name));
        state = if paired.connections.is_empty() {
            state.child(notice("none", "notice-fault", self.said(Word::ConnectionsNone)))
        } else {
            state.child(element("h3", "connections-title").with("class=label").text(self.said(Word::Connections))).child(list)
        };
        state.child(self.button(Action::Forget, forget))
    }

    fn paired_elsewhere(&self) -> Option<Element> {
        let paired = self.0.facts.as_ref()?.paired.as_ref()?;
        let text = self.0.words.fill(Word::PairedElsewhere, "server", &paired.server);
        Some(notice("elsewhere", "notice-fault", &text))
    }

    fn pairing_form(&self) -> Element {
        let typed = &self.0.typed;
        let mut form = element("div", "form").with("class=state;data-state=unpaired;data-enter=pair").child(self.hint(Word::PairingHint));
        if self.0.settings.enrolment_token.is_some() {
            form = form.child(notice("enrolment", "notice-waiting", self.said(Word::EnrolmentWaits)));
        }
        let name = if self.0.pairing == Progress::Busy { Word::Pairing } else { Word::Pair };
        form.child(self.text_field(Field::Code, Word::PairingCode, &typed.code, "type=text"))
            .child(self.text_field(Field::Name, Word::DeviceName, &typed.name, "type=text;maxlength=100"))
            .child(self.busy_button(Action::Pair, name, &self.0.pairing).with("class=button button-primary"))
    }

    fn check_button(&self) -> Element {
        let name = if self.0.check == Progress::Busy { Word::Checking } else { Word::Check };
        self.busy_button(Action::Check, name, &self.0.check)
    }

    fn trouble(&self, section: Element, key: &str, trouble: &Trouble) -> Element {
        let section = section.child(notice(key, "notice-fault", &trouble.message(&self.0.words)).with("role=alert"));
        let (Trouble::Unreachable(server) | Trouble::NotDeskbridge(server)) = trouble else { return section };
        let link = element("a", "try")
            .with("class=link;target=_blank;rel=noopener noreferrer")
            .attribute("href", server)
            .text(&self.0.words.fill(Word::TryAddress, "server", server));
        section.child(link)
    }

    fn sites(&self) -> Element {
        let settings = &self.0.settings;
        let mut section = self.section("sites", Word::SitesTitle).child(self.hint(Word::SitesHint));
        if settings.sites.is_empty() {
            section = section.child(notice("none", "notice-waiting", self.said(Word::SitesNone)));
        }
        for (number, site) in settings.sites.iter().enumerate() {
            section = section.child(self.site(number, site));
        }
        if settings.sites_are_managed {
            return section.child(self.managed());
        }
        let form = element("div", "add")
            .with("class=state;data-enter=add-osticket")
            .child(self.text_field(
                Field::NewSite,
                Word::SiteAddOsticket,
                &self.0.typed.new_site,
                "type=url;placeholder=https://desk.example.com/",
            ))
            .child(self.hint(Word::SiteAddHint))
            .child(self.button(Action::AddOsTicket, Word::SiteAdd))
            .child(self.button(Action::AddRequestTracker, Word::SiteAddRequestTracker));
        section = section.child(form);
        if settings.sites.iter().any(|site| site.kind == SiteKind::Autotask) {
            section
        } else {
            section.child(self.button(Action::AddAutotask, Word::SiteAddAutotask))
        }
    }

    fn site(&self, number: usize, site: &SiteSettings) -> Element {
        let kind = match site.kind {
            SiteKind::Autotask => Word::Autotask,
            SiteKind::Osticket => Word::Osticket,
            SiteKind::RequestTracker => Word::RequestTracker,
        };
        let mut row = element("div", &site.url).with("class=site").attribute("data-site", &site.url);
        row = row
            .child(element("h3", "kind").with("class=customer").text(self.said(kind)))
            .child(element("p", "url").with("class=details").text(&site.url));
        if !self.0.is_allowed(site) {
            row = row
                .child(notice("allow", "notice-waiting", self.said(Word::SiteUnallowed)))
                .child(self.button(Action::Allow(number), Word::SiteAllow));
        }
        if let Some(paired) = self.0.paired() {
            row = row.child(self.connection(number, site, paired));
        }
        if self.0.settings.sites_are_managed {
            return row;
        }
        let is_open = self.0.open_site == Some(number);
        let toggle = self
            .button(Action::Toggle(number), Word::SiteOptions)
            .with("class=disclosure")
            .attribute("aria-expanded", if is_open { "true" } else { "false" })
            .attribute("aria-controls", &format!("own-{number}"));
        let mut own = element("div", "own").with("class=state").attribute("id", &format!("own-{number}"));
        if is_open {
            own = own
                .child(self.list_field(Field::Labels(number), Word::SiteLabels, &site.target_labels))
                .child(self.list_field(Field::Targets(number), Word::SiteTargets, &site.target_selectors))
                .child(self.list_field(Field::Mounts(number), Word::SiteMounts, &site.mount_selectors))
                .child(self.hint(Word::SiteListsHint));
        }
        let remove = button(Action::Remove(number)).text(&self.0.words.fill(Word::SiteRemove, "site", &site.url));
        row.child(toggle).child(own).child(remove)
    }

    fn connection(&self, number: usize, site: &SiteSettings, paired: &Paired) -> Element {
        let unchosen = SiteSettings { connection: String::new(), ..site.clone() };
        let found = connection_of(&unchosen, &paired.connections);
        let auto = found.map_or_else(
            || self.said(Word::SiteConnectionNone).to_owned(),
            |name| self.0.words.fill(Word::SiteConnectionAuto, "name", name),
        );
        let mut select = element("select", "input").with("class=input").value(&site.connection).child(option("", &auto));
        let fitting = || paired.connections.iter().filter(|connection| site.kind.is_of(connection));
        for connection in fitting() {
            select = select.child(option(&connection.name, &connection.name));
        }
        if !site.connection.is_empty() && !fitting().any(|connection| connection.name == site.connection) {
            select = select.child(option(&site.connection, &site.connection));
        }
        if self.0.settings.sites_are_managed {
            select = select.with("disabled=disabled");
        }
        self.field(Field::Connection(number), Word::SiteConnection, select)
    }

    fn general(&self) -> Element {
        let facts = self.0.facts.as_ref();
        let chosen = facts.map(|facts| facts.stored.language).unwrap_or_default();
        let mut select = element("select", "input").with("class=input").value(chosen.name());
        for language in Language::ALL {
            let name = match language {
                Language::Auto => Word::LanguageAuto,
                Language::En => Word::LanguageEn,
                Language::De => Word::LanguageDe,
            };
            select = select.child(option(language.name(), self.said(name)));
        }
        let shortcut = facts.and_then(|facts| facts.shortcut.as_deref()).unwrap_or(self.said(Word::ShortcutNone));
        let shortcut = element("p", "shortcut")
            .with("class=shortcut")
            .child(element("span", "label").with("class=label").text(self.said(Word::Shortcut)))
            .child(element("kbd", "keys").text(shortcut));
        self.section("general", Word::GeneralTitle)
            .child(self.field(Field::Language, Word::Language, select))
            .child(shortcut)
            .child(self.button(Action::ChangeShortcut, Word::ShortcutChange))
    }

    fn said(&self, word: Word) -> &str {
        self.0.words.get(word)
    }

    fn section(&self, name: &'static str, title: Word) -> Element {
        let id = format!("title-{name}");
        element("section", name)
            .with("class=card;tabindex=-1")
            .attribute("data-section", name)
            .attribute("aria-labelledby", &id)
            .child(element("h2", "title").attribute("id", &id).text(self.said(title)))
    }

    fn hint(&self, word: Word) -> Element {
        element("p", word.name()).with("class=hint").text(self.said(word))
    }

    fn managed(&self) -> Element {
        notice("managed", "notice-waiting", self.said(Word::Managed))
    }

    fn button(&self, action: Action, name: Word) -> Element {
        button(action).text(self.said(name))
    }

    fn busy_button(&self, action: Action, name: Word, progress: &Progress) -> Element {
        let button = button(action).child(element("span", "name").text(self.said(name)));
        if *progress == Progress::Busy {
            button.with("aria-disabled=true").child(element("span", "spinner").with("class=spinner;aria-hidden=true"))
        } else {
            button
        }
    }

    fn text_field(&self, field: Field, label: Word, value: &str, attributes: &'static str) -> Element {
        let input = element("input", "input").with("class=input;autocomplete=off;autocapitalize=off;spellcheck=false").with(attributes);
        self.field(field, label, input.value(value))
    }

    fn list_field(&self, field: Field, label: Word, lines: &[String]) -> Element {
        let input = element("textarea", "input").with("class=input;rows=3;spellcheck=false;autocomplete=off");
        let text = match &self.0.typed.list {
            Some((typed, text)) if *typed == field => text.clone(),
            _ => lines.join("\n"),
        };
        self.field(field, label, input.value(&text))
    }

    fn field(&self, field: Field, label: Word, mut input: Element) -> Element {
        let name = field.name();
        let id = format!("field-{name}");
        let fault_id = format!("fault-{name}");
        input = input.attribute("id", &id).attribute("name", &name);
        let label = element("label", "label").with("class=label").attribute("for", &id).text(self.said(label));
        let group = element("div", &name).with("class=field").child(label);
        match &self.0.fault {
            Some((faulty, text)) if *faulty == field => {
                let input = input.with("aria-invalid=true").attribute("aria-describedby", &fault_id);
                let fault = element("p", "fault").with("class=field-fault;role=alert").attribute("id", &fault_id).text(text);
                group.child(input).child(fault)
            }
            _ => group.child(input),
        }
    }
}

fn button(action: Action) -> Element {
    let name = action.name();
    element("button", &name).with("class=button;type=button").attribute("data-action", &name)
}

fn notice(key: &str, kind: &'static str, text: &str) -> Element {
    element("p", key).attribute("class", &format!("notice {kind}")).text(text)
}

fn option(value: &str, name: &str) -> Element {
    element("option", value).attribute("value", value).text(name)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{opened, paired};
    use super::super::{Event, Facts};
    use deskbridge_shared::device::DeviceConnection;

    use super::*;
    use crate::settings::{Managed, Stored, autotask, site};

    fn all(element: &Element) -> Vec<&Element> {
        std::iter::once(element).chain(element.children.iter().flat_map(all)).collect()
    }

    /// Each look the page has, by what it is called.
    fn screens() -> Vec<(&'static str, Options)> {
        let desk = site(SiteKind::Osticket, "https://desk.example.com/".into());
        let stored = Stored { server: "https://remote.example.com".into(), sites: Some(vec![autotask(), desk]), ..Stored::default() };
        let at_work = Facts { stored: stored.clone(), paired: Some(paired()), shortcut: Some("Alt+R".into()), ..Facts::default() };
        let managed: Managed = serde_json::from_str(
            r#"{"serverUrl":"https://remote.example.com","enrolmentToken":"T","sites":[{"kind":"osticket","url":"https://desk.example.com","connection":"Gone"}]}"#,
        )
        .expect("a policy");
        let mut checked = opened(at_work.clone());
        checked.update(Event::Pressed(Action::Check));
        let busy = checked.clone();
        checked.update(Event::Checked(Ok(paired())));
        checked.update(Event::Pressed(Action::Toggle(1)));
        let mut failed = opened(Facts { stored, ..Facts::default() });
        failed.pairing = Progress::Failed(Trouble::Unreachable("https://remote.example.com".into()));
        failed.update(Event::Pressed(Action::AddOsTicket));
        vec![
            ("being read", Options::new("de")),
            ("new", opened(Facts::default())),
            ("without sites", opened(Facts { stored: Stored { sites: Some(Vec::new()), ..Stored::default() }, ..Facts::default() })),
            ("at work", opened(at_work)),
            ("busy", busy),
            ("checked", checked),
            ("failed", failed),
            ("managed", opened(Facts { managed: managed.clone(), ..Facts::default() })),
            ("managed and paired", opened(Facts { managed, paired: Some(paired()), ..Facts::default() })),
        ]
    }

    #[test]
    fn every_control_has_a_name_and_every_reference_a_target() {
        for (name, options) in screens() {
            let tree = screen(&options);
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
                match element.tag {
                    "input" | "select" | "textarea" => assert!(labelled(), "{name}: {element:?} has no label"),
                    "button" | "a" => assert!(all(element).iter().any(|part| !part.text.is_empty()), "{name}: {element:?} has no words"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn siblings_have_different_keys_and_buttons_lead_somewhere() {
        for (name, options) in screens() {
            for element in all(&screen(&options)) {
                let keys: Vec<&str> = element.children.iter().map(|child| child.key.as_str()).collect();
                for (index, key) in keys.iter().enumerate() {
                    assert!(!keys[..index].contains(key), "{name}: two children {key} in {}", element.key);
                }
                assert!(element.text.is_empty() || element.children.is_empty(), "{name}: {}", element.key);
                assert_eq!(element.get("style"), None, "{name}: the CSP refuses it");
                if let Some(action) = element.get("data-action") {
                    assert!(Action::from_name(action).is_some(), "{name}: {action}");
                }
                if let Some(field) = element.get("name") {
                    assert!(Field::from_name(field).is_some(), "{name}: {field}");
                }
            }
        }
    }

    #[test]
    fn a_site_is_offered_connections_of_its_kind() {
        let connection = |name: &str, system: &str| DeviceConnection { name: name.into(), system: system.into(), site: None };
        let connections = vec![connection("Desk", "osticket"), connection("PSA", "autotask"), connection("Other", "zendesk")];
        let paired = Paired { connections, ..paired() };
        let sites = vec![autotask(), site(SiteKind::Osticket, "https://desk.example.com/".into())];
        let stored = Stored { server: paired.server.clone(), sites: Some(sites), ..Stored::default() };
        let mut options = Options::new("en");
        options.update(Event::Read(Box::new(Facts { stored, paired: Some(paired), ..Facts::default() })));
        let tree = screen(&options);
        let offered = |number: usize| {
            let name = Field::Connection(number).name();
            let select = all(&tree).into_iter().find(|element| element.get("name") == Some(&name)).expect("a drop-down");
            select
                .children
                .iter()
                .filter_map(|option| option.get("value"))
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!((offered(0), offered(1)), (vec!["PSA".to_owned()], vec!["Desk".to_owned()]));
    }

    #[test]
    fn what_a_policy_sets_cannot_be_changed() {
        for (name, options) in screens() {
            let tree = screen(&options);
            let actions: Vec<&str> = all(&tree).into_iter().filter_map(|element| element.get("data-action")).collect();
            assert_eq!(actions.contains(&"save-server"), options.facts.is_some() && !options.settings.server_is_managed, "{name}");
            assert_eq!(actions.contains(&"add-osticket"), options.facts.is_some() && !options.settings.sites_are_managed, "{name}");
        }
    }
}
