//! The queue's rules once more, as plain code: what the databases must agree with.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const LEASE_MS: i64 = 15_000;
const WORKERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// `connection`: whose slot; `None`: the account's own.
    Add {
        session: u8,
        kind: u8,
        ticket: Option<u8>,
        connection: Option<u8>,
    },
    Claim {
        worker: usize,
        limit: i64,
        connection: Option<u8>,
    },
    Finish {
        worker: usize,
        outcome: u8,
    },
    Renew {
        worker: usize,
    },
    Crash {
        worker: usize,
    },
    Release {
        worker: usize,
    },
    Wait {
        ms: i64,
    },
}

/// Mostly one connection; another of the same account, and the account itself, now and then.
fn slot() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![6 => Just(Some(0)), 1 => Just(Some(1)), 1 => Just(None)]
}

fn connection_of(slot: Option<u8>) -> Option<ConnectionId> {
    slot.map(|number| id(number.into()))
}

fn slot_name(connection: Option<ConnectionId>) -> String {
    connection.map_or_else(|| SHARED.to_owned(), |connection| connection.to_string())
}

fn step() -> impl Strategy<Value = Step> {
    let worker = 0..WORKERS;
    prop_oneof![
        4 => (0..4u8, 0..4u8, proptest::option::of(0..2u8), slot())
            .prop_map(|(session, kind, ticket, connection)| Step::Add { session, kind, ticket, connection }),
        5 => (worker.clone(), 1..4i64, slot()).prop_map(|(worker, limit, connection)| Step::Claim { worker, limit, connection }),
        5 => (worker.clone(), 0..6u8).prop_map(|(worker, outcome)| Step::Finish { worker, outcome }),
        1 => worker.clone().prop_map(|worker| Step::Renew { worker }),
        1 => worker.clone().prop_map(|worker| Step::Crash { worker }),
        1 => worker.prop_map(|worker| Step::Release { worker }),
        3 => (1..20_000i64).prop_map(|ms| Step::Wait { ms }),
    ]
}

#[derive(Clone, Debug)]
struct Row {
    event: NewEvent,
    leased_by: Option<(usize, i64)>,
    ended: bool,
    attempts: i32,
    epoch: i64,
    not_before: i64,
}

#[derive(Default)]
struct Model {
    rows: Vec<Row>,
}

impl Model {
    /// Slots with an event that is due and not worked at.
    fn slots_with_work(&self, now: i64) -> Vec<String> {
        let due = |row: &&Row| !row.ended && row.not_before <= now && row.leased_by.is_none_or(|(_, until)| until < now);
        let mut slots: Vec<_> = self.rows.iter().filter(due).map(|row| slot_name(row.event.connection)).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    fn claim(&mut self, worker: usize, connection: Option<ConnectionId>, now: i64, limit: i64) -> Vec<(Uuid, i32, i64)> {
        let open: Vec<(NewEvent, bool, i64)> = self
            .rows
            .iter()
            .filter(|row| !row.ended)
            .map(|row| (row.event.clone(), row.leased_by.is_some_and(|(_, until)| until >= now), row.not_before))
            .collect();
        let waits = |event: &NewEvent| {
            open.iter().any(|(other, worked_at, not_before)| {
                let before = (other.kind.rank(), other.id) < (event.kind.rank(), event.id);
                let is_far = other.kind.rank() == 0 && event.kind.rank() > 0 && !*worked_at && *not_before > now + 5_000;
                let same_session = other.lsid == event.lsid && other.id != event.id && (before || *worked_at) && !is_far;
                let ends = other.kind == EventKind::SessionEnd && event.kind == EventKind::SessionEnd;
                // While it is not known whose the other is, it may be for this very ticket.
                let one_ticket = event.connection.is_some()
                    && (other.connection.is_none() || other.connection == event.connection)
                    && event.ticket.is_some()
                    && other.ticket == event.ticket;
                let same_ticket = ends && one_ticket && other.lsid != event.lsid && other.id < event.id;
                same_session || same_ticket
            })
        };
        let mut due: Vec<usize> = (0..self.rows.len())
            .filter(|index| {
                let row = &self.rows[*index];
                !row.ended
                    && row.event.connection == connection
                    && row.not_before <= now
                    && row.leased_by.is_none_or(|(_, until)| until < now)
                    && !waits(&row.event)
            })
            .collect();
        due.sort_by_key(|index| (self.rows[*index].not_before, self.rows[*index].event.id));
        due.truncate(usize::try_from(limit).unwrap());
        for &index in &due {
            let row = &mut self.rows[index];
            row.leased_by = Some((worker, now + LEASE_MS));
            row.attempts += 1;
            row.epoch += 1;
        }
        let mut claimed: Vec<_> = due.iter().map(|index| &self.rows[*index]).map(|row| (row.event.id, row.attempts, row.epoch)).collect();
        claimed.sort_unstable();
        claimed
    }

    fn holder(&mut self, event: &LeasedEvent) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.event.id == event.id && row.epoch == event.epoch && row.leased_by.is_some() && !row.ended)
    }
}

async fn agree(store: Arc<dyn Store>, steps: Vec<Step>) {
    let mut model = Model::default();
    let mut held: HashMap<usize, Vec<LeasedEvent>> = HashMap::new();
    let mut now = NOW;
    let owner = |worker: usize| Uuid::from_u128(u128::try_from(worker).unwrap() + 1);
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Add { session, kind, ticket, connection } => {
                let kind = [EventKind::Progress, EventKind::SessionEnd, EventKind::CustomerSurvey, EventKind::RepresentativeSurvey]
                    [usize::from(kind)];
                let mut event = unowned(&format!("s{session}"), kind, i64::try_from(number).unwrap());
                event.connection = connection_of(connection);
                event.ticket = ticket.map(|ticket| ticket.to_string());
                event.received_at = now;
                store.add_events(std::slice::from_ref(&event)).await.unwrap();
                model.rows.push(Row { event, leased_by: None, ended: false, attempts: 0, epoch: 0, not_before: now });
            }
            Step::Claim { worker, limit, connection } => {
                let connection = connection_of(connection);
                let slots = store.slots_with_work(now).await.unwrap();
                assert!(slots.iter().all(|work| slot_name(work.connection) == work.slot));
                let mut slots: Vec<_> = slots.into_iter().map(|work| work.slot).collect();
                slots.sort_unstable();
                assert_eq!(slots, model.slots_with_work(now), "step {number}");
                let slot = slot_name(connection);
                let claimed = store.claim_events(&slot, owner(worker), now, now + LEASE_MS, limit).await.unwrap();
                let seen: Vec<_> = claimed.iter().map(|event| (event.id, event.attempts, event.epoch)).collect();
                assert_eq!(seen, model.claim(worker, connection, now, limit), "step {number}");
                held.entry(worker).or_default().extend(claimed);
            }
            Step::Finish { worker, outcome } => {
                let Some(event) = held.get_mut(&worker).and_then(Vec::pop) else { continue };
                let outcome = match outcome {
                    0 => Outcome::Done("done".into()),
                    1 => Outcome::Dead("dead".into()),
                    4 => Outcome::Undecided("undecided".into()),
                    5 => Outcome::Belongs { connection: id(0), reason: "key".into() },
                    other => Outcome::Retry { not_before: now + 2_000, reason: "later".into(), counts: other == 2 },
                };
                let written = finish(&store, &event, &outcome, now).await;
                let row = model.holder(&event);
                assert_eq!(written, row.is_some(), "step {number}");
                if let Some(row) = row {
                    row.leased_by = None;
                    match outcome {
                        Outcome::Retry { not_before, counts, .. } => {
                            row.not_before = not_before;
                            row.attempts -= i32::from(!counts);
                        }
                        Outcome::Belongs { connection, .. } => {
                            row.event.connection = Some(connection);
                            row.not_before = now;
                            row.attempts = 0;
                        }
                        Outcome::Done(_) | Outcome::Dead(_) | Outcome::Undecided(_) => row.ended = true,
                    }
                }
            }
            Step::Renew { worker } => {
                let Some(event) = held.get(&worker).and_then(|events| events.last()) else { continue };
                let renewed = store.renew_lease(event, now + LEASE_MS).await.unwrap();
                let row = model.holder(event);
                assert_eq!(renewed, row.is_some(), "step {number}");
                if let Some(row) = row {
                    row.leased_by = Some((worker, now + LEASE_MS));
                }
            }
            // It forgets what it held; its leases end by themselves.
            Step::Crash { worker } => drop(held.remove(&worker)),
            Step::Release { worker } => {
                let released = store.release_leases(owner(worker), now).await.unwrap();
                let mut expected = 0;
                for row in model.rows.iter_mut().filter(|row| !row.ended && row.leased_by.is_some_and(|(holder, _)| holder == worker)) {
                    row.leased_by = None;
                    row.attempts -= 1;
                    row.epoch += 1;
                    row.not_before = now;
                    expected += 1;
                }
                assert_eq!(released, expected, "step {number}");
            }
            Step::Wait { ms } => now += ms,
        }
    }
    let ended = model.rows.iter().filter(|row| row.ended).count();
    let rows = list(&store, None).await;
    assert_eq!(rows.len(), model.rows.len(), "nothing is lost");
    assert_eq!(rows.iter().filter(|row| matches!(row.state.as_str(), "done" | "dead" | "undecided")).count(), ended);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn inbox_after_any_order_of_claims_crashes_and_answers_agrees_with_the_rules(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(on_both(|store| agree(store, steps.clone())));
    }
}
