//! Writes something to a help desk once, whatever dies in between.
//!
//! The order of the steps is what makes "once" true: the write is prepared (all that can fail without harm), *sent* is stored, exactly one
//! request leaves, *confirmed* is stored. An attempt that finds *sent* looks for the marker, and sends again only when the earlier request
//! cannot be done any more.

use std::collections::HashMap;
use std::time::Duration;

use deskbridge_core::clock::Clock;
use deskbridge_core::event::Origin;
use deskbridge_core::fault_point;
use deskbridge_core::ids::ConnectionId;
use deskbridge_help_desks::{HelpDesk, HelpDeskError, Item, Prepared, Write, WriteOutcome};
use deskbridge_store::{Delivery, DeliveryKey, DeliveryState, LeasedEvent, SendTicket, Store};

use crate::WorkError;
use crate::heard::Heard;

/// A request leaves so soon after *sent* was stored, or not at all: the time until which it may still be done is counted from there.
const LEAVES_WITHIN_MS: i64 = 3_000;
/// Longest time from then until a connection is made and the request is on its way.
const CONNECTS_WITHIN_MS: i64 = 5_000;
/// Requests one attempt sends at most: a time entry has at most eight parts, and a few forms may be refused before one is taken.
const MOST_REQUESTS: usize = 16;

/// Where an item stands, and whether this attempt put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The ticket.
    pub ticket: String,
    /// The item's id in the help desk.
    pub remote_id: String,
    /// What happened, in words.
    pub how: &'static str,
}

/// The writes of one event's session. What is known of them is read once.
pub struct Deliverer<'a> {
    store: &'a dyn Store,
    clock: &'a Clock,
    help_desk: &'a dyn HelpDesk,
    event: &'a LeasedEvent,
    heard: &'a Heard,
    connection: ConnectionId,
    settles_within: Duration,
    /// How long an answer is waited for. None: as long as the help desk's client does.
    answered_within: Option<Duration>,
    known: HashMap<String, Delivery>,
    /// Written by this attempt, not stored as confirmed yet.
    written: Vec<(DeliveryKey, String)>,
}

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// `report`, `ticket`, …: with the session it names the delivery.
    pub kind: &'a str,
    /// The ticket's id; empty for a new ticket.
    pub ticket: &'a str,
    /// Found again by this text.
    pub marker: &'a str,
    /// What.
    pub item: Item<'a>,
}

impl<'a> Deliverer<'a> {
    /// Reads what is known of the session's writes.
    pub async fn load(
        store: &'a dyn Store,
        clock: &'a Clock,
        help_desk: &'a dyn HelpDesk,
        connection: ConnectionId,
        event: &'a LeasedEvent,
        heard: &'a Heard,
    ) -> Result<Self, WorkError> {
        let known = store.deliveries(connection, &event.lsid).await?;
        let known = known.into_iter().map(|delivery| (delivery.key.kind.clone(), delivery)).collect();
        let settles_within = help_desk.abilities().settles_within;
        Ok(Self { store, clock, help_desk, event, heard, connection, settles_within, answered_within: None, known, written: Vec::new() })
    }

    /// Somebody waits for what is written now. An answer is waited for so long, then what was written is looked for; a request that got none
    /// counts as not done after this time, even where the help desk's settings are more patient.
    pub fn hurry(&mut self, most: Duration) {
        self.settles_within = self.settles_within.min(most);
        self.answered_within = Some(most);
    }

    /// The id of what the delivery of that kind left, if it stands.
    pub fn confirmed(&self, kind: &str) -> Option<&str> {
        let delivery = self.known.get(kind).filter(|delivery| delivery.state == DeliveryState::Confirmed)?;
        Some(delivery.remote_id.as_deref().unwrap_or_default())
    }

    /// Whether anything was ever sent whose kind begins so: a note, or only the file that goes before it.
    pub fn knows(&self, beginning: &str) -> bool {
        self.known.keys().any(|kind| kind.starts_with(beginning))
    }

    /// What was written and is to be stored as confirmed together with the event's end.
    pub fn into_written(self) -> Vec<(DeliveryKey, String)> {
        self.written
    }

    /// Which attempt at the event this is, from 1.
    pub fn attempts(&self) -> i32 {
        self.event.attempts
    }

    /// Whether a request of that kind left whose fate is not known.
    pub fn is_sent(&self, kind: &str) -> bool {
        self.known.get(kind).is_some_and(|delivery| delivery.state == DeliveryState::Sent)
    }

    /// What this attempt hears from outside systems.
    pub fn heard(&self) -> &'a Heard {
        self.heard
    }

    /// The delivery of that kind.
    pub fn key(&self, kind: &str) -> DeliveryKey {
        let (tenant, lsid) = (self.event.tenant.clone(), self.event.lsid.clone());
        DeliveryKey { tenant, connection: self.connection, lsid, kind: kind.to_owned(), part: 0 }
    }

    /// Writes an item once. Where an earlier attempt may have written it, that attempt's ticket and marker count.
    pub async fn once(&mut self, planned: &Planned<'_>) -> Result<Delivered, WorkError> {
        self.confirm_written().await?;
        let key = self.key(planned.kind);
        let before = self.known.get(planned.kind).cloned();
        let (ticket, marker) = match &before {
            Some(delivery) if delivery.state != DeliveryState::Planned => (delivery.ticket.clone(), delivery.marker.clone()),
            _ => (planned.ticket.to_owned(), planned.marker.to_owned()),
        };
        let delivered = |remote_id: String, how| Delivered { ticket: ticket.clone(), remote_id, how };
        let write = Write { ticket: &ticket, marker: &marker, item: planned.item };
        let state = before.as_ref().map_or(DeliveryState::Planned, |delivery| delivery.state);
        if state == DeliveryState::Confirmed {
            return Ok(delivered(self.confirmed(planned.kind).unwrap_or_default().to_owned(), "stands already on"));
        }
        // Prepared before it is looked for, what was written in between is noticed by the help desk.
        let guards_repeats = self.help_desk.abilities().guards_repeats;
        let prepared = if guards_repeats && state == DeliveryState::Sent && before.as_ref().is_some_and(|sent| self.has_settled(sent)) {
            Some(self.heard.help_desk(self.help_desk.prepare(&write).await))
        } else {
            None
        };
        // What a sweep found may have been written before a backup of the database was restored.
        if state == DeliveryState::Sent || self.event.origin == Origin::Polling {
            if let Some(remote_id) = self.heard.help_desk(self.help_desk.find(&write).await)? {
                self.store.mark_confirmed(&key, &ticket, &marker, &remote_id, self.clock.now_ms()).await?;
                self.note_confirmed(&key, &ticket, &marker, &remote_id);
                return Ok(delivered(remote_id, "was found on"));
            }
            if let Some(sent) = before.as_ref().filter(|delivery| delivery.state == DeliveryState::Sent)
                && !(self.has_settled(sent) && prepared.is_some() == guards_repeats)
            {
                return Err(WorkError::Unsettled { sent_at: sent.sent_at.unwrap_or_default(), until: sent.settled_at });
            }
            if state == DeliveryState::Sent {
                self.heard.help_desk(self.help_desk.prove_absence(&write).await)?;
            }
        }
        fault_point::reach("planned");
        // A refused repetition says nothing about the request before it, which may have been done in the meantime.
        let is_repetition = state == DeliveryState::Sent && guards_repeats;
        let sends = before.map_or(0, |delivery| delivery.sends);
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => self.heard.help_desk(self.help_desk.prepare(&write).await),
        };
        let prepared = match prepared {
            // The earlier request did not reach it while it was open, and cannot any more: the item may go elsewhere.
            Err(closed @ WorkError::Closed { .. }) if state == DeliveryState::Sent => {
                self.store.settle_sent(&key, sends - 1, DeliveryState::Planned, self.clock.now_ms()).await?;
                self.known.insert(key.kind.clone(), Delivery { sends, ..delivery(&key, &ticket, &marker) });
                return Err(closed);
            }
            other => other?,
        };
        let remote_id = self.send(&key, &write, prepared, sends, is_repetition).await?;
        fault_point::reach("written");
        self.note_confirmed(&key, &ticket, &marker, &remote_id);
        self.written.push((key, remote_id.clone()));
        Ok(delivered(remote_id, "was written to"))
    }

    /// Looks for an item that an earlier attempt may have written, and writes nothing. `None`: it does not stand, and no earlier request can
    /// still be done.
    pub async fn look_for(&mut self, planned: &Planned<'_>) -> Result<Option<Delivered>, WorkError> {
        let Some(before) = self.known.get(planned.kind).cloned() else { return Ok(None) };
        let (key, Delivery { ticket, marker, .. }) = (self.key(planned.kind), &before);
        let delivered = |remote_id: String, how| Delivered { ticket: ticket.clone(), remote_id, how };
        match before.state {
            DeliveryState::Planned => return Ok(None),
            DeliveryState::Confirmed => return Ok(Some(delivered(before.remote_id.clone().unwrap_or_default(), "stands already on"))),
            DeliveryState::Sent => {}
        }
        let write = Write { ticket, marker, item: planned.item };
        if let Some(remote_id) = self.heard.help_desk(self.help_desk.find(&write).await)? {
            self.store.mark_confirmed(&key, ticket, marker, &remote_id, self.clock.now_ms()).await?;
            self.note_confirmed(&key, ticket, marker, &remote_id);
            return Ok(Some(delivered(remote_id, "was found on")));
        }
        if !self.has_settled(&before) {
            return Err(WorkError::Unsettled { sent_at: before.sent_at.unwrap_or_default(), until: before.settled_at });
        }
        self.heard.help_desk(self.help_desk.prove_absence(&write).await)?;
        self.store.settle_sent(&key, before.sends - 1, DeliveryState::Planned, self.clock.now_ms()).await?;
        self.known.insert(key.kind.clone(), Delivery { sends: before.sends, ..delivery(&key, ticket, marker) });
        Ok(None)
    }

    fn has_settled(&self, sent: &Delivery) -> bool {
        self.clock.now_ms() >= sent.settled_at
    }

    /// Sends a prepared write: one request, or one for each part. `may_stand`: it, or a part of it, may stand already.
    async fn send(
        &mut self,
        key: &DeliveryKey,
        write: &Write<'_>,
        mut prepared: Prepared<'a>,
        mut sends: i64,
        mut may_stand: bool,
    ) -> Result<String, WorkError> {
        let settles_within = i64::try_from(self.settles_within.as_millis()).unwrap_or(i64::MAX);
        for _ in 0..MOST_REQUESTS {
            let now = self.clock.now_ms();
            let settled_at = now.saturating_add(settles_within).saturating_add(LEAVES_WITHIN_MS + CONNECTS_WITHIN_MS);
            let send = SendTicket { key, ticket: write.ticket, marker: write.marker, sends, now, settled_at };
            if !self.store.mark_sent(self.event, &send).await? {
                return Err(WorkError::NotItsTurn);
            }
            fault_point::reach("sent");
            let nothing_left = if may_stand { DeliveryState::Sent } else { DeliveryState::Planned };
            if self.clock.now_ms() - now > LEAVES_WITHIN_MS {
                self.store.settle_sent(key, sends, nothing_left, now).await?;
                return Err(WorkError::Passing {
                    what: "the database was too slow for a write to be sent safely".into(),
                    retry_after: None,
                });
            }
            let sent = prepared.send();
            let outcome = match self.answered_within {
                None => sent.await,
                Some(most) => tokio::time::timeout(most, sent).await.unwrap_or_else(|_| WriteOutcome::Unknown {
                    error: HelpDeskError::passing(format!("no answer within {} s", most.as_secs())),
                    repeat_after: None,
                }),
            };
            match outcome {
                WriteOutcome::Written(remote_id) => return self.heard.help_desk(Ok(remote_id)),
                WriteOutcome::Partly(next) => {
                    may_stand = true;
                    prepared = next;
                }
                WriteOutcome::TryInstead(next) => prepared = next,
                WriteOutcome::Refused(error) => {
                    // There is nothing to look for, and a newer external key counts.
                    self.store.settle_sent(key, sends, nothing_left, self.clock.now_ms()).await?;
                    // The same attempt may try it in another form.
                    let refused = Delivery { state: nothing_left, sends: sends + 1, ..delivery(key, write.ticket, write.marker) };
                    self.known.insert(key.kind.clone(), refused);
                    return self.heard.help_desk(Err(error));
                }
                WriteOutcome::Unknown { error, repeat_after } => {
                    let guarded = repeat_after.map(|after| self.clock.now_ms() + i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
                    self.store.settle_sent(key, sends, DeliveryState::Sent, guarded.unwrap_or(settled_at)).await?;
                    return self.heard.help_desk(Err(error));
                }
            }
            sends += 1;
        }
        Err(WorkError::Permanent(format!("the help desk still asks for more after {MOST_REQUESTS} requests")))
    }

    /// Stores what was written as confirmed, before something else is written or where the event does not end.
    pub async fn confirm_written(&mut self) -> Result<(), WorkError> {
        for (key, remote_id) in &self.written {
            let Some(delivery) = self.known.get(&key.kind) else { continue };
            self.store.mark_confirmed(key, &delivery.ticket, &delivery.marker, remote_id, self.clock.now_ms()).await?;
        }
        self.written.clear();
        Ok(())
    }

    fn note_confirmed(&mut self, key: &DeliveryKey, ticket: &str, marker: &str, remote_id: &str) {
        let confirmed = Delivery { remote_id: Some(remote_id.to_owned()), ..delivery(key, ticket, marker) };
        self.known.insert(key.kind.clone(), Delivery { state: DeliveryState::Confirmed, ..confirmed });
    }
}

/// One that nothing is known of yet.
fn delivery(key: &DeliveryKey, ticket: &str, marker: &str) -> Delivery {
    let (ticket, marker) = (ticket.to_owned(), marker.to_owned());
    Delivery { key: key.clone(), ticket, marker, state: DeliveryState::Planned, remote_id: None, sends: 0, sent_at: None, settled_at: 0 }
}
