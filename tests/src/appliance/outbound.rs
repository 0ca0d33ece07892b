//! Outbound events: one strictly ordered queue per recipient, blocked by whatever is not answered with exactly 200.
//!
//! It never looks at sessions: it gets finished events and posts them (beyondtrust.md E.1 to E.4).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::state::Shared;

/// So many attempts are remembered; the oldest are forgotten first.
const ATTEMPT_LIMIT: usize = 100_000;

/// What can trigger an outbound event (beyondtrust.md E.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EventKind {
    /// Support session start.
    Begin,
    /// Support session end.
    End,
    /// Ownership changes.
    OwnerChanged,
    /// Someone joins.
    MemberAdded,
    /// Someone leaves.
    MemberDeparted,
    /// Customer exit survey completed.
    CustomerSurvey,
    /// Representative exit survey completed.
    RepresentativeSurvey,
    /// Any other `event` value: later versions have more.
    Other(String),
}

impl EventKind {
    /// The `event` value.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Begin => "support_conference_begin",
            Self::End => "support_conference_end",
            Self::OwnerChanged => "support_conference_owner_changed",
            Self::MemberAdded => "support_conference_member_added",
            Self::MemberDeparted => "support_conference_member_departed",
            Self::CustomerSurvey => "support_conference_customer_exit_survey_completed",
            Self::RepresentativeSurvey => "support_conference_rep_exit_survey_completed",
            Self::Other(value) => value,
        }
    }
}

/// How custom fields are named in an outbound event; the real names are not known (beyondtrust.md E.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CustomFieldNames {
    /// "Send Custom Fields" is off.
    NotSent,
    /// `session.custom.<code_name>`.
    Prefixed,
    /// `<code_name>`.
    Bare,
}

/// One HTTP recipient of outbound events.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Unique name.
    pub name: String,
    /// Where events are posted.
    pub url: String,
    /// Which events; all when empty.
    pub events: Vec<EventKind>,
    /// Time between two attempts.
    pub retry_interval: Duration,
    /// An event that fails again so long after its first failure is dropped.
    pub retry_duration: Duration,
    /// Custom fields in the events.
    pub send_custom_fields: CustomFieldNames,
    /// How long one attempt may take.
    pub answer_limit: Duration,
}

impl Recipient {
    /// The recipient "Deskbridge" of all events, retrying every 200 ms for an hour.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            name: "Deskbridge".into(),
            url: url.into(),
            events: Vec::new(),
            retry_interval: Duration::from_millis(200),
            retry_duration: Duration::from_hours(1),
            send_custom_fields: CustomFieldNames::NotSent,
            answer_limit: Duration::from_secs(30),
        }
    }

    fn wants(&self, kind: &EventKind) -> bool {
        self.events.is_empty() || self.events.contains(kind)
    }
}

/// How a recipient is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecipientStatus {
    /// Its name.
    pub name: String,
    /// `OK`, or what went wrong last.
    pub status: String,
    /// Events waiting, the one under way included.
    pub queued: usize,
    /// Events passed with 200; one delivered twice counts once.
    pub delivered: u64,
    /// Events given up after the retry duration.
    pub dropped: u64,
}

/// One post of one event.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Recipient's name.
    pub recipient: String,
    /// Number of the event, counted from 0 since the start.
    pub event_number: u64,
    /// The `event` value.
    pub event: String,
    /// The session.
    pub lsid: String,
    /// The answer's status, or why there was none.
    pub outcome: Result<u16, String>,
    /// How long it took.
    pub took: Duration,
}

/// An event ready to be posted.
#[derive(Clone, Debug)]
pub(super) struct OutboundEvent {
    pub number: u64,
    pub kind: EventKind,
    pub lsid: String,
    /// Everything but custom fields.
    pub fields: Vec<(String, String)>,
    pub custom_fields: Vec<(String, String)>,
}

#[derive(Debug)]
struct Queued {
    event: Arc<OutboundEvent>,
    first_failure: Option<Instant>,
    answer_lost_once: bool,
}

#[derive(Debug)]
struct Queue {
    recipient: Recipient,
    wake: Arc<Notify>,
    events: VecDeque<Queued>,
    not_before: Option<Instant>,
    status: String,
    delivered: u64,
    dropped: u64,
}

/// All queues, the log, and the switches for trouble.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    queues: BTreeMap<String, Queue>,
    attempts: VecDeque<Attempt>,
    next_number: u64,
    held: Option<OutboundEvent>,
    pub deliver_twice: bool,
    swap_neighbours: bool,
}

/// What a recipient's worker does next.
pub(super) enum Next {
    Removed,
    Idle,
    Wait(Instant),
    Post(Recipient, Arc<OutboundEvent>),
}

impl Outbound {
    pub(super) fn push(&mut self, kind: EventKind, lsid: &str, fields: Vec<(String, String)>, custom_fields: Vec<(String, String)>) {
        let event = OutboundEvent { number: self.next_number, kind, lsid: lsid.into(), fields, custom_fields };
        self.next_number += 1;
        if self.swap_neighbours && self.held.is_none() {
            self.held = Some(event);
            return;
        }
        self.enqueue(event);
        self.release_held();
    }

    /// While on, every first of two neighbouring events is held back until the second is queued.
    pub(super) fn set_swap_neighbours(&mut self, on: bool) {
        self.swap_neighbours = on;
        if !on {
            self.release_held();
        }
    }

    fn release_held(&mut self) {
        if let Some(event) = self.held.take() {
            self.enqueue(event);
        }
    }

    fn enqueue(&mut self, event: OutboundEvent) {
        let event = Arc::new(event);
        for queue in self.queues.values_mut() {
            if queue.recipient.wants(&event.kind) {
                queue.events.push_back(Queued { event: Arc::clone(&event), first_failure: None, answer_lost_once: false });
            }
        }
    }

    /// Adds or changes a recipient; its queue stays. Answers the wake-up call of a new one.
    pub(super) fn set_recipient(&mut self, recipient: Recipient) -> Option<Arc<Notify>> {
        if let Some(queue) = self.queues.get_mut(&recipient.name) {
            queue.recipient = recipient;
            queue.not_before = None;
            return None;
        }
        let wake = Arc::new(Notify::new());
        let queue = Queue {
            recipient: recipient.clone(),
            wake: Arc::clone(&wake),
            events: VecDeque::new(),
            not_before: None,
            status: "OK".into(),
            delivered: 0,
            dropped: 0,
        };
        self.queues.insert(recipient.name, queue);
        Some(wake)
    }

    pub(super) fn remove_recipient(&mut self, name: &str) {
        if let Some(queue) = self.queues.remove(name) {
            queue.wake.notify_one();
        }
    }

    pub(super) fn retry_now(&mut self) {
        for queue in self.queues.values_mut() {
            queue.not_before = None;
        }
    }

    /// Wakes the workers which have something to post. A needless call does no harm.
    pub(super) fn wake_workers(&self) {
        for queue in self.queues.values() {
            if !queue.events.is_empty() && queue.not_before.is_none() {
                queue.wake.notify_one();
            }
        }
    }

    pub(super) fn statuses(&self) -> Vec<RecipientStatus> {
        let status = |queue: &Queue| RecipientStatus {
            name: queue.recipient.name.clone(),
            status: queue.status.clone(),
            queued: queue.events.len(),
            delivered: queue.delivered,
            dropped: queue.dropped,
        };
        self.queues.values().map(status).collect()
    }

    pub(super) fn delivered(&self) -> u64 {
        self.queues.values().map(|queue| queue.delivered).sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queues.values().all(|queue| queue.events.is_empty())
    }

    pub(super) fn attempts(&self) -> &VecDeque<Attempt> {
        &self.attempts
    }

    fn next(&self, name: &str, now: Instant) -> Next {
        let Some(queue) = self.queues.get(name) else {
            return Next::Removed;
        };
        let Some(head) = queue.events.front() else {
            return Next::Idle;
        };
        match queue.not_before {
            Some(at) if at > now => Next::Wait(at),
            _ => Next::Post(queue.recipient.clone(), Arc::clone(&head.event)),
        }
    }

    fn finish(&mut self, attempt: Attempt, now: Instant) {
        let lose_answer = self.deliver_twice;
        if let Some(queue) = self.queues.get_mut(&attempt.recipient) {
            queue.finish(&attempt, lose_answer, now);
        }
        if self.attempts.len() >= ATTEMPT_LIMIT {
            self.attempts.pop_front();
        }
        self.attempts.push_back(attempt);
    }
}

impl Queue {
    fn finish(&mut self, attempt: &Attempt, lose_answer: bool, now: Instant) {
        let number = attempt.event_number;
        let head = self.events.front_mut();
        let Some(head) = head.filter(|head| head.event.number == number) else {
            return;
        };
        // Exactly 200: other 2xx are no success by the letter (beyondtrust.md E.1).
        if attempt.outcome == Ok(200) {
            self.status = "OK".into();
            self.not_before = None;
            if lose_answer && !head.answer_lost_once {
                head.answer_lost_once = true;
                return;
            }
            self.events.pop_front();
            self.delivered += 1;
            return;
        }
        self.status = match &attempt.outcome {
            Ok(status) => format!("HTTP status {status}"),
            Err(error) => error.clone(),
        };
        let first_failure = *head.first_failure.get_or_insert(now);
        if now.duration_since(first_failure) >= self.recipient.retry_duration {
            self.events.pop_front();
            self.dropped += 1;
            self.not_before = None;
        } else {
            self.not_before = Some(now + self.recipient.retry_interval);
        }
    }
}

/// Posts one recipient's events in order until the recipient is removed.
pub(super) async fn work(shared: Arc<Shared>, name: String, wake: Arc<Notify>) {
    loop {
        match shared.read(|state| state.outbound.next(&name, Instant::now())) {
            Next::Removed => return,
            Next::Idle => wake.notified().await,
            Next::Wait(until) => {
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = wake.notified() => {}
                }
            }
            Next::Post(recipient, event) => {
                let started = Instant::now();
                let outcome = post(&shared.http, &recipient, &event).await;
                let attempt = Attempt {
                    recipient: recipient.name,
                    event_number: event.number,
                    event: event.kind.as_str().to_owned(),
                    lsid: event.lsid.clone(),
                    outcome,
                    took: started.elapsed(),
                };
                shared.with(|state| state.outbound.finish(attempt, Instant::now()));
            }
        }
    }
}

/// The client for outbound posts: any certificate, no redirects, no hidden retries, a connection per event.
pub(super) fn http_client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()?)
}

async fn post(http: &reqwest::Client, recipient: &Recipient, event: &OutboundEvent) -> Result<u16, String> {
    let mut form = event.fields.clone();
    for (code_name, value) in &event.custom_fields {
        match recipient.send_custom_fields {
            CustomFieldNames::NotSent => {}
            CustomFieldNames::Prefixed => {
                form.push((format!("session.custom.{code_name}"), value.clone()));
            }
            CustomFieldNames::Bare => form.push((code_name.clone(), value.clone())),
        }
    }
    let request = http.post(&recipient.url).form(&form);
    let sent = request.timeout(recipient.answer_limit).send().await;
    match sent {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(anyhow::Error::from(error.without_url())).map_err(|error: anyhow::Error| format!("{error:#}")),
    }
}
