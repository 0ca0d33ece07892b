//! How support sessions live: begin, join, happen, end, surveys, and the outbound event of each step in order.
//!
//! The same code plays sessions for tests and answers API calls that change sessions.

use anyhow::{Context as _, bail, ensure};

use super::answer::Refusal;
use super::options::Representative;
use super::outbound::EventKind;
use super::script::{SessionScript, Step};
use super::session::{Customer, Member, NewSession, Party, Queue, Session, SessionEvent, StampedEvent, Survey};
use super::state::{SessionKey, State, random_hex};

/// `version` of outbound events; the real number is not known (beyondtrust.md E.4).
const EVENT_VERSION: &str = "7";

/// More than any session has; a loop in a test must not fill the memory.
const EVENT_LIMIT: usize = 10_000;

const FIRST_GSNUMBER: u32 = 21;

impl State {
    /// Begins a session. Sends its event.
    pub(super) fn begin(&mut self, new: NewSession, at: i64) -> String {
        let lsid = random_hex();
        let mut session = Session {
            lsid: lsid.clone(),
            lseq: 4711 + self.sessions.all().len() as u64,
            started_at: at,
            ended_at: None,
            external_key: new.external_key,
            custom_attributes: new.custom_attributes,
            queue: new.queue,
            jumpoint: new.jumpoint,
            jump_group: new.jump_group,
            recorded: new.recorded,
            customers: Vec::new(),
            representatives: Vec::new(),
            events: Vec::new(),
            customer_survey: None,
            representative_survey: None,
            lagging_requests: 0,
            signature: random_hex() + "0123abcd",
        };
        // The first two events of every real record have no performer (beyondtrust.md D.5).
        for event in [
            SessionEvent { event_type: "Session Start".into(), ..SessionEvent::default() },
            SessionEvent {
                event_type: "Conference Owner Changed".into(),
                destination: Some(Party::PreStart),
                data: vec![("owner".into(), "Pre-start Conference".into())],
                ..SessionEvent::default()
            },
        ] {
            session.events.push(StampedEvent { at, event });
        }
        self.sessions.add(session);
        self.send(EventKind::Begin, &lsid, at, &[]);
        lsid
    }

    /// Begins the session of a generated key, found by its short or long form. The key's custom fields win over `given`.
    pub(super) fn begin_with_key(&mut self, key: &str, given: &[(String, String)], at: i64) -> Result<String, Refusal> {
        let key = self.redeem_key(key, at)?;
        let mut new = NewSession { queue: key.queue, ..NewSession::default() };
        new.set_attributes(given);
        new.set_attributes(&key.custom_fields);
        Ok(self.begin(new, at))
    }

    /// Looks a key up; refuses an unknown, expired or used one.
    pub(super) fn find_key(&self, key: &str, now: i64) -> Result<&SessionKey, Refusal> {
        let mut keys = self.keys.iter();
        let found = keys.find(|known| known.short_key == key || known.long_key == key);
        match found {
            None => Err(Refusal::new("The session key is not valid.")),
            Some(known) if known.used => Err(Refusal::new("The session key was already used.")),
            Some(known) if known.expires_at <= now => Err(Refusal::new("The session key has expired.")),
            Some(known) => Ok(known),
        }
    }

    fn redeem_key(&mut self, key: &str, now: i64) -> Result<SessionKey, Refusal> {
        let found = self.find_key(key, now)?.clone();
        for known in &mut self.keys {
            known.used |= known.short_key == found.short_key;
        }
        Ok(found)
    }

    /// Plays a whole script that finishes now. Stops at a step that does not fit.
    pub(super) fn play(&mut self, script: SessionScript, now: i64) -> anyhow::Result<String> {
        let length: i64 = script.steps.iter().map(|(seconds, _)| i64::from(*seconds)).sum();
        let mut at = now - length;
        let lsid = self.begin(script.session, at);
        for (number, (seconds, step)) in script.steps.into_iter().enumerate() {
            at += i64::from(seconds);
            let applied = self.apply(&lsid, step, at);
            applied.with_context(|| format!("step {number} of the script"))?;
        }
        Ok(lsid)
    }

    /// Lets one thing happen in a session.
    pub(super) fn apply(&mut self, lsid: &str, step: Step, at: i64) -> anyhow::Result<()> {
        let lag = self.options.report_lag;
        let session = self.sessions.get_mut(lsid).context("there is no such session")?;
        let survey = matches!(step, Step::CustomerSurvey(_) | Step::RepresentativeSurvey(_));
        ensure!(survey || session.ended_at.is_none(), "the session has ended");
        ensure!(session.events.len() < EVENT_LIMIT, "the session has too many events");
        match step {
            Step::CustomerJoins(customer) => self.customer_joins(lsid, customer, at),
            Step::RepresentativeJoins(representative) => {
                self.representative_joins(lsid, representative, at);
            }
            Step::Leaves(party) => {
                session.leave(party, at)?;
                let event = SessionEvent { performed_by: Some(party), ..SessionEvent::of_type("Conference Member Departed") };
                let fields = member_fields(session, party);
                session.events.push(StampedEvent { at, event });
                self.send(EventKind::MemberDeparted, lsid, at, &fields);
            }
            Step::Happens(event) => {
                for party in event.performed_by.iter().chain(&event.destination) {
                    session.require(*party)?;
                }
                session.events.push(StampedEvent { at, event });
            }
            Step::ExternalKey(external_key) => session.external_key = external_key,
            Step::CustomAttribute(code_name, value) => {
                session.set_attributes(&[(code_name, value)]);
            }
            Step::Ends => {
                session.end(at);
                session.lagging_requests = lag.requests;
                self.send(EventKind::End, lsid, at, &[]);
            }
            Step::CustomerSurvey(answers) => {
                if session.customer_survey.is_some() {
                    bail!("the customer completed the survey before");
                }
                session.customer_survey = Some(Survey { submitted_at: at, answers, lagging_requests: lag.survey_requests });
                self.send(EventKind::CustomerSurvey, lsid, at, &[]);
            }
            Step::RepresentativeSurvey(answers) => {
                if session.representative_survey.is_some() {
                    bail!("the representative completed the survey before");
                }
                session.representative_survey = Some(Survey { submitted_at: at, answers, lagging_requests: lag.survey_requests });
                self.send(EventKind::RepresentativeSurvey, lsid, at, &[]);
            }
        }
        Ok(())
    }

    fn customer_joins(&mut self, lsid: &str, customer: Customer, at: i64) {
        let Some(session) = self.sessions.get_mut(lsid) else {
            return;
        };
        let data = vec![
            ("name".into(), customer.name.clone()),
            ("private_ip".into(), customer.private_ip.clone()),
            ("public_ip".into(), customer.public_ip.clone()),
            ("hostname".into(), customer.hostname.clone()),
            ("os".into(), customer.operating_system.clone()),
        ];
        let party = Party::Customer(session.customers.len());
        let member = session.member(customer, at);
        session.customers.push(member);
        session.member_added(party, data, at);
        let fields = member_fields(session, party);
        self.send(EventKind::MemberAdded, lsid, at, &fields);
    }

    fn representative_joins(&mut self, lsid: &str, representative: Representative, at: i64) {
        let teams: Vec<_> = self.options.teams.iter().collect();
        let teams = teams.iter().filter(|team| team.members.contains(&representative.id));
        let teams: Vec<&str> = teams.map(|team| team.name.as_str()).collect();
        let teams = teams.join(", ");
        let Some(session) = self.sessions.get_mut(lsid) else {
            return;
        };
        let data = vec![
            ("private_name".into(), representative.private_display_name.clone()),
            ("public_name".into(), representative.display_name.clone()),
            ("username".into(), representative.username.clone()),
            ("private_ip".into(), representative.private_ip.clone()),
            ("public_ip".into(), representative.public_ip.clone()),
            ("os".into(), representative.operating_system.clone()),
            ("user_id".into(), representative.id.to_string()),
            ("support_teams".into(), teams),
        ];
        let owner_changes = session.representatives.is_empty();
        let (name, id) = (representative.display_name.clone(), representative.id);
        let party = Party::Representative(session.representatives.len());
        let member = session.member(representative, at);
        session.representatives.push(member);
        if owner_changes {
            session.owner_changed(Some(party), &name, at);
        }
        session.member_added(party, data, at);
        let fields = member_fields(session, party);
        if owner_changes {
            let owner = [("conference_name", name), ("conference_id", id.to_string())];
            // Without `type` and `name`, which only member events carry.
            let about_owner = fields.iter().skip(2).cloned();
            let owner: Vec<_> = owner.into_iter().chain(about_owner).collect();
            self.send(EventKind::OwnerChanged, lsid, at, &owner);
        }
        self.send(EventKind::MemberAdded, lsid, at, &fields);
    }

    /// Moves an active session to another queue. Sends "ownership changes".
    pub(super) fn transfer(&mut self, lsid: &str, queue: Queue, at: i64) {
        let (name, id) = match &queue {
            Queue::General => ("General".to_owned(), String::new()),
            Queue::Representative(id) => {
                let mut users = self.options.representatives.iter();
                let user = users.find(|user| user.id == *id);
                (user.map_or_else(String::new, |user| user.display_name.clone()), id.to_string())
            }
            Queue::Team(id) => {
                let team = self.options.teams.iter().find(|team| team.id == *id);
                (team.map_or_else(String::new, |team| team.name.clone()), id.to_string())
            }
            Queue::Issue(code_name) => (code_name.clone(), String::new()),
        };
        if let Some(session) = self.sessions.active_mut(lsid) {
            session.queue = queue;
            session.owner_changed(None, &name, at);
            let fields = [("conference_name", name), ("conference_id", id)];
            self.send(EventKind::OwnerChanged, lsid, at, &fields);
        }
    }

    fn send(&mut self, kind: EventKind, lsid: &str, at: i64, more: &[(&str, String)]) {
        let Some(session) = self.sessions.get(lsid) else {
            return;
        };
        let common = [
            ("event", kind.as_str().to_owned()),
            ("version", EVENT_VERSION.to_owned()),
            ("timestamp", at.to_string()),
            ("appliance_id", self.options.appliance_id.clone()),
            ("lsid", session.lsid.clone()),
            ("external_key", session.external_key.clone()),
        ];
        let fields = common.iter().chain(more);
        let fields = fields.map(|(name, value)| ((*name).to_owned(), value.clone()));
        let custom_fields = session.custom_attributes.clone();
        self.outbound.push(kind, lsid, fields.collect(), custom_fields);
    }
}

impl NewSession {
    /// Sets custom fields, the external key among them.
    pub(super) fn set_attributes(&mut self, fields: &[(String, String)]) {
        set_attributes(&mut self.external_key, &mut self.custom_attributes, fields);
    }
}

impl Session {
    /// Sets custom fields, the external key among them; an empty value clears (beyondtrust.md B.3).
    pub(super) fn set_attributes(&mut self, fields: &[(String, String)]) {
        set_attributes(&mut self.external_key, &mut self.custom_attributes, fields);
    }

    fn member<Person>(&self, person: Person, at: i64) -> Member<Person> {
        let members = self.customers.len() + self.representatives.len();
        Member { person, gsnumber: FIRST_GSNUMBER + u32::try_from(members).unwrap_or(0), joined_at: at, left_at: None }
    }

    fn member_added(&mut self, party: Party, data: Vec<(String, String)>, at: i64) {
        let event = SessionEvent { performed_by: Some(party), data, ..SessionEvent::of_type("Conference Member Added") };
        self.events.push(StampedEvent { at, event });
    }

    fn owner_changed(&mut self, destination: Option<Party>, owner: &str, at: i64) {
        let event =
            SessionEvent { destination, data: vec![("owner".into(), owner.into())], ..SessionEvent::of_type("Conference Owner Changed") };
        self.events.push(StampedEvent { at, event });
    }

    fn require(&self, party: Party) -> anyhow::Result<()> {
        let there = match party {
            Party::System | Party::Everyone | Party::PreStart => true,
            Party::Customer(number) => number < self.customers.len(),
            Party::Representative(number) => number < self.representatives.len(),
        };
        ensure!(there, "{party:?} did not join the session");
        Ok(())
    }

    fn leave(&mut self, party: Party, at: i64) -> anyhow::Result<()> {
        self.require(party)?;
        let left_at = match party {
            Party::Customer(number) => &mut self.customers[number].left_at,
            Party::Representative(number) => &mut self.representatives[number].left_at,
            Party::System | Party::Everyone | Party::PreStart => bail!("{party:?} cannot leave"),
        };
        ensure!(left_at.is_none(), "{party:?} has left before");
        *left_at = Some(at);
        Ok(())
    }

    fn end(&mut self, at: i64) {
        for customer in &mut self.customers {
            customer.left_at.get_or_insert(at);
        }
        for representative in &mut self.representatives {
            representative.left_at.get_or_insert(at);
        }
        let event = SessionEvent { event_type: "Session End".into(), ..SessionEvent::default() };
        self.events.push(StampedEvent { at, event });
        self.ended_at = Some(at);
    }
}

/// What "someone joins" and "someone leaves" say about the person (beyondtrust.md E.4).
fn member_fields(session: &Session, party: Party) -> Vec<(&'static str, String)> {
    match party {
        Party::Customer(number) => {
            let customer = &session.customers[number].person;
            vec![("type", "customer".into()), ("name", customer.name.clone())]
        }
        Party::Representative(number) => {
            let representative = &session.representatives[number].person;
            vec![
                ("type", "representative".into()),
                ("name", representative.display_name.clone()),
                ("user_id", representative.id.to_string()),
                ("username", representative.username.clone()),
                ("display_name", representative.display_name.clone()),
            ]
        }
        Party::System | Party::Everyone | Party::PreStart => Vec::new(),
    }
}

fn set_attributes(external_key: &mut String, attributes: &mut Vec<(String, String)>, fields: &[(String, String)]) {
    for (code_name, value) in fields {
        if code_name == "external_key" {
            external_key.clone_from(value);
            continue;
        }
        attributes.retain(|(known, _)| known != code_name);
        if !value.is_empty() {
            attributes.push((code_name.clone(), value.clone()));
        }
    }
}
