//! MeshCentral's events, as pushed and as listed, and the sessions they tell of (meshrelay.js, meshdesktopmultiplex.js; meshcentral.md).

use deskbridge_core::session_report::{SessionKind, Traffic};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The technician's browser chooses a session's id; MeshCentral's own have 11 characters.
const LONGEST_ID: usize = 256;
/// “Help Requested”, of MeshCentral Assistant.
const HELP_REQUESTED: i64 = 98;

/// Begin or end of a session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RelayEvent {
    pub(super) node: String,
    /// As the technician's browser chose it.
    pub(super) relay: String,
    pub(super) kind: SessionKind,
    pub(super) user_id: String,
    pub(super) user_name: String,
    pub(super) guest_name: Option<String>,
    /// Unix ms.
    pub(super) at: i64,
    /// None: it began.
    pub(super) end: Option<End>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Unix ms.
    pub(super) at: i64,
    pub(super) seconds: i64,
    pub(super) traffic: Option<Traffic>,
    /// Nobody told: the session's server or machine was gone by then.
    pub(super) is_estimated: bool,
}

/// A session, from its begin on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) lsid: String,
    pub(super) node: String,
    pub(super) relay: String,
    pub(super) kind: SessionKind,
    pub(super) user_id: String,
    pub(super) user_name: String,
    pub(super) guest_name: Option<String>,
    /// Unix ms.
    pub(super) began_at: i64,
    pub(super) end: Option<End>,
}

/// Somebody at a machine asked for help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HelpEvent {
    pub(super) id: String,
    pub(super) node: String,
    pub(super) person: String,
    pub(super) text: String,
    /// Unix ms.
    pub(super) at: i64,
}

/// An event's time in Unix ms.
pub(super) fn moment(event: &Value) -> Option<i64> {
    let time = OffsetDateTime::parse(event.get("time")?.as_str()?, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// A moment for people.
pub(super) fn written(at: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| "the first one".to_owned())
}

fn text(value: &Value, member: &str) -> Option<String> {
    value.get(member)?.as_str().map(str::to_owned)
}

fn argument(event: &Value, index: usize) -> Option<&Value> {
    event.get("msgArgs")?.get(index)
}

/// 32 hexadecimal characters that name what these texts are.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    format!("{:032x}", u128::from_be_bytes(hash[..16].try_into().unwrap_or_default()))
}

impl RelayEvent {
    /// Reads a `relaylog` event. `node`: the machine's id, where the list leaves it out. None: it is no begin or end of a session.
    pub(super) fn read(event: &Value, node: Option<&str>) -> Option<Self> {
        if event.get("action")?.as_str()? != "relaylog" {
            return None;
        }
        let (kind, is_end, seconds) = match event.get("msgid")?.as_i64()? {
            // 143 and 144: several people are on one screen, and each joins and leaves.
            15 | 143 => (SessionKind::Desktop, false, 0),
            11 => (SessionKind::Desktop, true, 3),
            144 => (SessionKind::Desktop, true, 1),
            14 => (SessionKind::Terminal, false, 0),
            10 => (SessionKind::Terminal, true, 3),
            16 => (SessionKind::Files, false, 0),
            12 => (SessionKind::Files, true, 3),
            162 => (SessionKind::Chat, false, 0),
            112 => (SessionKind::Chat, true, 3),
            13 => (SessionKind::Other, false, 0),
            9 => (SessionKind::Other, true, 3),
            _ => return None,
        };
        let relay = argument(event, 0)?.as_str().filter(|id| !id.is_empty() && id.len() <= LONGEST_ID)?.to_owned();
        let at = moment(event)?;
        let end = is_end.then(|| {
            let bytes = |member: &str| event.get(member).and_then(Value::as_u64);
            let traffic = bytes("bytesin").zip(bytes("bytesout")).map(|(received, sent)| Traffic { received, sent });
            End { at, seconds: argument(event, seconds).and_then(Value::as_i64).unwrap_or(0).max(0), traffic, is_estimated: false }
        });
        Some(Self {
            node: text(event, "nodeid").or_else(|| node.map(str::to_owned))?,
            relay,
            kind,
            user_id: text(event, "userid").unwrap_or_default(),
            user_name: text(event, "username").unwrap_or_default(),
            guest_name: text(event, "guestname").filter(|name| !name.is_empty()),
            at,
            end,
        })
    }
}

impl Session {
    /// The session that this event begins.
    pub(super) fn begun(event: &RelayEvent) -> Self {
        Self {
            lsid: digest(&[&event.node, &event.relay, &event.at.to_string()]),
            node: event.node.clone(),
            relay: event.relay.clone(),
            kind: event.kind,
            user_id: event.user_id.clone(),
            user_name: event.user_name.clone(),
            guest_name: event.guest_name.clone(),
            began_at: event.at,
            end: None,
        }
    }

    /// Whether that end can be its own: one id can be used for several sessions, one after the other.
    pub(super) fn can_end_by(&self, event: &RelayEvent) -> bool {
        event.end.is_some()
            && self.end.as_ref().is_none_or(|end| end.is_estimated)
            && self.node == event.node
            && self.relay == event.relay
            && self.kind == event.kind
            && self.user_id == event.user_id
            && self.guest_name == event.guest_name
            && event.at >= self.began_at
    }
}

/// The sessions that a list of events tells of, by their begin. Ends whose begin is not in the list are left out.
pub(super) fn sessions(mut events: Vec<RelayEvent>) -> Vec<Session> {
    // Of one millisecond, what began goes first.
    events.sort_by_key(|event| (event.at, event.end.is_some()));
    let mut sessions: Vec<Session> = Vec::new();
    for event in events {
        if event.end.is_none() {
            sessions.push(Session::begun(&event));
        } else if let Some(session) = sessions.iter_mut().rev().find(|session| session.can_end_by(&event)) {
            session.end = event.end;
        }
    }
    sessions
}

impl HelpEvent {
    /// Reads an `agentlog` event. None: it is no request for help.
    pub(super) fn read(event: &Value) -> Option<Self> {
        if event.get("action")?.as_str()? != "agentlog" || event.get("msgid")?.as_i64()? != HELP_REQUESTED {
            return None;
        }
        let (node, at) = (text(event, "nodeid")?, moment(event)?);
        let argument = |index| argument(event, index).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (person, words) = (argument(0), argument(1));
        Some(Self { id: digest(&[&node, &at.to_string(), &person, &words]), node, person, text: words, at })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(msgid: i64, session: &str, second: i64) -> Value {
        let time = format!("2026-11-30T02:39:{second:02}.800Z");
        let mut event = json!({"etype": "relay", "action": "relaylog", "domain": "", "userid": "user//service", "username": "service",
            "msgid": msgid, "msgArgs": [session, "127.0.0.1", "127.0.0.1"], "protocol": 1, "nodeid": "node//a", "guestname": "T", "time": time});
        if [9, 10, 11, 12, 112].contains(&msgid) {
            event["msgArgs"] = json!([session, "127.0.0.1", "127.0.0.1", 5]);
            (event["bytesin"], event["bytesout"]) = (json!(5_356), json!(2_530));
        }
        event
    }

    fn read(events: &[Value]) -> Vec<Session> {
        sessions(events.iter().map(|event| RelayEvent::read(event, None).unwrap()).collect())
    }

    #[test]
    fn a_session_has_a_begin_and_an_end_in_whatever_order_they_are_listed() {
        let found = read(&[event(10, "x", 9), event(14, "x", 3)]);
        let [session] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((session.kind, session.relay.as_str(), session.began_at % 60_000), (SessionKind::Terminal, "x", 3_800));
        let end = session.end.as_ref().unwrap();
        assert_eq!((end.seconds, end.at - session.began_at), (5, 6_000));
        assert_eq!(end.traffic, Some(Traffic { received: 5_356, sent: 2_530 }));
        assert_eq!(session.lsid.len(), 32);
    }

    /// The technician's browser chooses the id.
    #[test]
    fn one_id_used_again_is_another_session() {
        let found = read(&[event(14, "same", 1), event(10, "same", 2), event(14, "same", 3), event(10, "same", 4), event(14, "same", 5)]);
        assert_eq!(
            found.iter().map(|session| session.end.as_ref().map(|end| end.at - session.began_at)).collect::<Vec<_>>(),
            [Some(1_000), Some(1_000), None]
        );
        let mut ids: Vec<_> = found.iter().map(|session| session.lsid.as_str()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn what_is_of_another_machine_person_or_kind_ends_nothing() {
        let begun = event(14, "x", 1);
        for (member, value) in
            [("nodeid", json!("node//b")), ("userid", json!("user//eve")), ("guestname", json!("U")), ("msgid", json!(11))]
        {
            let mut end = event(10, "x", 2);
            end[member] = value;
            assert_eq!(read(&[begun.clone(), end])[0].end, None, "{member}");
        }
        assert!(read(&[event(10, "x", 2)]).is_empty(), "an end without its begin");
        assert_eq!(read(&[event(10, "x", 2), event(14, "x", 3)])[0].end, None, "an end of before");
    }

    #[test]
    fn an_end_that_is_told_takes_the_place_of_an_estimated_one() {
        let begun = RelayEvent::read(&event(14, "x", 1), None).unwrap();
        let ended = RelayEvent::read(&event(10, "x", 9), None).unwrap();
        let mut session = Session::begun(&begun);
        session.end = Some(End { at: begun.at, seconds: 0, traffic: None, is_estimated: true });
        assert!(session.can_end_by(&ended));
        session.end = ended.end.clone();
        assert!(!session.can_end_by(&ended));
    }

    #[test]
    fn whatever_else_is_pushed_is_no_session() {
        for change in [
            json!({"action": "addedDeviceShare"}),
            json!({"msgid": 36}),
            json!({"msgArgs": []}),
            json!({"msgArgs": [5]}),
            json!({"msgArgs": [""]}),
            json!({"msgArgs": ["x".repeat(300)]}),
            json!({"time": "soon"}),
            json!({"nodeid": 5}),
            json!({"msgid": null}),
        ] {
            let mut event = event(14, "x", 1);
            event.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert_eq!(RelayEvent::read(&event, None), None, "{change}");
        }
        let mut listed = event(14, "x", 1);
        listed.as_object_mut().unwrap().remove("nodeid");
        assert_eq!(RelayEvent::read(&listed, Some("node//a")).unwrap().node, "node//a");
    }

    #[test]
    fn a_request_for_help_is_itself_whenever_it_is_read() {
        let event = json!({"etype": "node", "action": "agentlog", "nodeid": "node//a", "domain": "", "msgid": 98,
            "msg": "Help Requested, user: anna, details: My printer burns ä", "msgArgs": ["anna", "My printer burns ä"], "time": "2026-11-30T02:37:02.664Z"});
        let help = HelpEvent::read(&event).unwrap();
        assert_eq!((help.person.as_str(), help.text.as_str(), help.at % 60_000), ("anna", "My printer burns ä", 2_664));
        assert_eq!(HelpEvent::read(&event), Some(help.clone()));
        let mut again = event.clone();
        again["time"] = json!("2026-11-30T02:38:02.664Z");
        assert_ne!(HelpEvent::read(&again).unwrap().id, help.id);
        for change in [json!({"msgid": 36}), json!({"action": "relaylog"}), json!({"nodeid": null}), json!({"time": 5})] {
            let mut other = event.clone();
            other.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert_eq!(HelpEvent::read(&other), None, "{change}");
        }
    }
}
