//! The machines of an account: read once, then kept up to date by what is pushed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use deskbridge_core::text::shown;
use deskbridge_shared::api::MachineState;
use serde_json::Value;
use tokio::time::Instant;

use super::events::RelayEvent;
use crate::Machine;

/// Names come from the machines themselves.
const LONGEST_NAME: usize = 100;
/// An agent is connected (bit 1 of `conn`; the others are ways to switch a machine on).
const AGENT: u64 = 1;

/// A machine, as far as we use what is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) host_name: String,
    pub(super) address: String,
    pub(super) system: String,
    pub(super) group: String,
    pub(super) is_online: bool,
    pub(super) person: Option<String>,
    /// When its agent connected, Unix ms.
    pub(super) connected_at: Option<i64>,
    /// Somebody has its screen, files or terminal, as it says itself.
    has_sessions: bool,
    /// Sessions that have begun and not ended: not all of them are in what it says.
    relays: HashSet<String>,
}

/// All machines of an account.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: HashMap<String, Node>,
    /// Since when machines have been off line or unknown, as far as anybody asked.
    lost: HashMap<String, Instant>,
    /// What was pushed lately, and when: a list that was asked for before that may be older.
    pushed: VecDeque<(Instant, Value)>,
    /// Not everything that was pushed before that moment is in `pushed`.
    forgotten_until: Option<Instant>,
}

/// A machine that has been lost for longer need not be remembered.
const LOST_LIFE: Duration = Duration::from_hours(48);
/// What was pushed is kept for so long, and no more than so much: as many machines come back within a minute when MeshCentral was restarted.
const PUSHED_LIFE: Duration = Duration::from_mins(2);
const MOST_PUSHED: usize = 20_000;

fn text(value: &Value, member: &str) -> String {
    value.get(member).and_then(Value::as_str).map(|text| shown(text, LONGEST_NAME)).unwrap_or_default()
}

fn has_agent(node: &Value) -> bool {
    node.get("conn").and_then(Value::as_u64).is_some_and(|conn| conn & AGENT != 0)
}

/// Somebody has the screen, the files or a terminal. Requests for help stand in the same place.
fn has_sessions(sessions: Option<&Value>) -> bool {
    let of = |kind: &str| sessions.and_then(|sessions| sessions.get(kind)).and_then(Value::as_object).is_some_and(|who| !who.is_empty());
    ["kvm", "terminal", "files"].into_iter().any(of)
}

impl Node {
    /// Takes what is told of it; what is not told stays.
    fn update(&mut self, node: &Value) {
        let set = |member: &str, value: &mut String| {
            if node.get(member).is_some_and(Value::is_string) {
                *value = text(node, member);
            }
        };
        set("name", &mut self.name);
        set("rname", &mut self.host_name);
        set("ip", &mut self.address);
        set("osdesc", &mut self.system);
        if let Some(group) = node.get("meshid").and_then(Value::as_str) {
            group.clone_into(&mut self.group);
        }
        if let Some(people) = node.get("users").and_then(Value::as_array) {
            self.person = people.iter().find_map(Value::as_str).map(|name| shown(name, LONGEST_NAME)).filter(|name| !name.is_empty());
        }
        if let Some(at) = node.get("agct").and_then(Value::as_i64) {
            self.connected_at = Some(at);
        }
    }

    fn machine(&self, id: &str) -> Machine {
        let state = match (self.is_online, self.has_sessions || !self.relays.is_empty()) {
            (false, _) => MachineState::Offline,
            (true, true) => MachineState::InUse,
            (true, false) => MachineState::Online,
        };
        let others = [&self.host_name, &self.address].into_iter().filter(|other| !other.is_empty() && **other != self.name);
        Machine { id: id.to_owned(), name: self.name.clone(), state, person: self.person.clone(), other_names: others.cloned().collect() }
    }
}

impl Nodes {
    /// Reads the list of machines, which may have several pages, and was asked for at that moment. What was seen of sessions before stays, and
    /// what was pushed since then counts more. False: not all of that is known any more, so the list is not used.
    pub(super) fn read(&mut self, pages: &[Value], asked_at: Instant) -> bool {
        if self.forgotten_until.is_some_and(|until| asked_at < until) {
            return false;
        }
        let mut before = std::mem::take(&mut self.known);
        let groups = pages.iter().filter_map(|page| page.get("nodes").and_then(Value::as_object)).flatten();
        for (group, nodes) in groups {
            for told in nodes.as_array().into_iter().flatten() {
                let Some(id) = told.get("_id").and_then(Value::as_str) else { continue };
                let mut node = Node {
                    group: group.clone(),
                    is_online: has_agent(told),
                    has_sessions: has_sessions(told.get("sessions")),
                    ..Node::default()
                };
                node.update(told);
                node.relays = before.remove(id).map(|before| before.relays).unwrap_or_default();
                self.known.insert(id.to_owned(), node);
            }
        }
        // What the list knows of it already does no harm: each event says how things are then, and the last one counts.
        let since = self.pushed.partition_point(|(at, _)| *at < asked_at);
        let pushed = std::mem::take(&mut self.pushed);
        for (_, event) in pushed.range(since..) {
            self.apply(event);
        }
        self.pushed = pushed;
        true
    }

    /// Takes a pushed event.
    pub(super) fn hear(&mut self, event: &Value) {
        if self.apply(event) {
            let now = Instant::now();
            self.pushed.push_back((now, event.clone()));
            let is_over = |(at, _): &(Instant, Value)| now.duration_since(*at) > PUSHED_LIFE;
            while self.pushed.len() > MOST_PUSHED || self.pushed.front().is_some_and(is_over) {
                // Others of that very moment are still there.
                self.forgotten_until = self.pushed.pop_front().map(|(at, _)| at + Duration::from_nanos(1));
            }
        }
    }

    /// Nothing was heard until now: lists that were asked for before are not used.
    pub(super) fn heard_nothing(&mut self) {
        self.pushed.clear();
        self.forgotten_until = Some(Instant::now());
    }

    /// False: the event tells nothing of machines.
    fn apply(&mut self, event: &Value) -> bool {
        if let Some(relay) = RelayEvent::read(event, None) {
            if let Some(node) = self.known.get_mut(&relay.node) {
                if relay.end.is_some() {
                    node.relays.remove(&relay.relay)
                } else {
                    node.relays.insert(relay.relay)
                };
            }
            return true;
        }
        let id = |value: &Value| value.get("nodeid").or_else(|| value.get("node")?.get("_id")).and_then(Value::as_str).map(str::to_owned);
        let (Some(action), Some(id)) = (event.get("action").and_then(Value::as_str), id(event)) else { return false };
        match action {
            "addnode" | "changenode" => {
                let told = event.get("node").unwrap_or(&Value::Null);
                let node = self.known.entry(id).or_default();
                node.update(told);
                if told.get("conn").is_some() {
                    node.is_online = has_agent(told);
                }
            }
            "removenode" => {
                self.known.remove(&id);
            }
            "nodeconnect" => {
                let Some(node) = self.known.get_mut(&id) else { return true };
                let was_online = std::mem::replace(&mut node.is_online, has_agent(event));
                // The time of whatever connected last, which need not be the agent.
                if let Some(at) = event.get("ct").and_then(Value::as_i64).filter(|_| node.is_online && !was_online) {
                    node.connected_at = Some(at);
                }
                if !node.is_online {
                    node.has_sessions = false;
                    node.relays.clear();
                }
            }
            "devicesessions" => {
                if let Some(node) = self.known.get_mut(&id) {
                    node.has_sessions = has_sessions(event.get("sessions"));
                }
            }
            _ => return false,
        }
        true
    }

    pub(super) fn get(&self, id: &str) -> Option<&Node> {
        self.known.get(id)
    }

    /// For how long the machine has been off line or unknown, since that was first seen. None: it is on line.
    pub(super) fn lost_for(&mut self, id: &str) -> Option<Duration> {
        if self.known.get(id).is_some_and(|node| node.is_online) {
            self.lost.remove(id);
            return None;
        }
        self.lost.retain(|_, since| since.elapsed() < LOST_LIFE);
        Some(self.lost.entry(id.to_owned()).or_insert_with(Instant::now).elapsed())
    }

    /// What was seen of sessions is not known any more: their ends may not have been heard.
    pub(super) fn forget_sessions(&mut self) {
        for node in self.known.values_mut() {
            node.relays.clear();
        }
    }

    pub(super) fn machines(&self) -> Vec<Machine> {
        self.known.iter().map(|(id, node)| node.machine(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(nodes: &mut Nodes, answer: &Value) {
        assert!(nodes.read(std::slice::from_ref(answer), later()));
    }

    /// After whatever was pushed until now.
    fn later() -> Instant {
        Instant::now() + Duration::from_millis(1)
    }

    fn nodes() -> Nodes {
        let mut nodes = Nodes::default();
        read(
            &mut nodes,
            &json!({"action": "nodes", "nodes": {"mesh//g": [
            {"_id": "node//a", "name": "LAPTOP-1", "rname": "laptop-1", "ip": "192.0.2.7", "osdesc": "Windows 11", "conn": 1, "agct": 5, "users": ["CORP\\anna"]},
            {"_id": "node//b", "name": "SERVER-2", "conn": 1, "sessions": {"kvm": {"user//eve": 1}}},
            {"_id": "node//c", "name": "OLD", "conn": 4, "sessions": {"help": {"anna": "burns"}, "app": {"anna": 1}}},
            {"name": "without an id"}, 7,
        ], "mesh//h": "no list"}}),
        );
        nodes
    }

    fn state(nodes: &Nodes, id: &str) -> MachineState {
        nodes.machines().into_iter().find(|machine| machine.id == id).unwrap().state
    }

    #[test]
    fn machines_are_read_with_their_state() {
        let nodes = nodes();
        assert_eq!(nodes.machines().len(), 3);
        let laptop = nodes.machines().into_iter().find(|machine| machine.id == "node//a").unwrap();
        assert_eq!((laptop.name.as_str(), laptop.person.as_deref()), ("LAPTOP-1", Some("CORP\\anna")));
        assert_eq!(laptop.other_names, ["laptop-1", "192.0.2.7"]);
        assert_eq!(
            [state(&nodes, "node//a"), state(&nodes, "node//b"), state(&nodes, "node//c")],
            [MachineState::Online, MachineState::InUse, MachineState::Offline]
        );
    }

    #[test]
    fn what_is_pushed_changes_them() {
        let mut nodes = nodes();
        let relay = |msgid: i64| json!({"action": "relaylog", "msgid": msgid, "msgArgs": ["x", "", "", 5], "nodeid": "node//a", "time": "2026-11-30T02:39:00Z"});
        nodes.hear(&relay(14));
        assert_eq!(state(&nodes, "node//a"), MachineState::InUse, "a link's terminal stands in nothing the machine says");
        read(&mut nodes, &json!({"nodes": {"mesh//g": [{"_id": "node//a", "name": "LAPTOP-1", "conn": 1}]}}));
        assert_eq!(state(&nodes, "node//a"), MachineState::InUse);
        nodes.hear(&relay(10));
        assert_eq!(state(&nodes, "node//a"), MachineState::Online);
        nodes.hear(&json!({"action": "devicesessions", "nodeid": "node//a", "sessions": {"files": {"user//eve": 1}}}));
        assert_eq!(state(&nodes, "node//a"), MachineState::InUse);
        nodes.hear(&json!({"action": "devicesessions", "nodeid": "node//a"}));
        assert_eq!(state(&nodes, "node//a"), MachineState::Online);
        nodes.hear(&relay(14));
        nodes.hear(&json!({"action": "nodeconnect", "nodeid": "node//a", "conn": 0}));
        assert_eq!(state(&nodes, "node//a"), MachineState::Offline);
        nodes.hear(&json!({"action": "nodeconnect", "nodeid": "node//a", "conn": 1, "ct": 9}));
        assert_eq!((state(&nodes, "node//a"), nodes.get("node//a").unwrap().connected_at), (MachineState::Online, Some(9)));
        nodes.hear(&json!({"action": "nodeconnect", "nodeid": "node//a", "conn": 3, "ct": 11}));
        assert_eq!(nodes.get("node//a").unwrap().connected_at, Some(9), "something else has connected, and not the agent");
        assert_eq!(nodes.lost_for("node//a"), None);
        assert!(nodes.lost_for("node//zz").is_some(), "nobody knows it");
        nodes.hear(
            &json!({"action": "changenode", "nodeid": "node//a", "node": {"_id": "node//a", "name": "RENAMED\u{202e}", "users": []}}),
        );
        let renamed = nodes.get("node//a").unwrap();
        assert!(renamed.name.starts_with("RENAMED") && !renamed.name.contains('\u{202e}') && renamed.is_online, "{renamed:?}");
        nodes.hear(&json!({"action": "addnode", "node": {"_id": "node//d", "meshid": "mesh//g", "name": "NEW", "conn": 1}}));
        assert_eq!(state(&nodes, "node//d"), MachineState::Online);
        nodes.hear(&json!({"action": "removenode", "nodeid": "node//d"}));
        assert!(nodes.get("node//d").is_none());
        for ignored in [
            json!({}),
            json!({"action": "nodeconnect"}),
            json!({"action": "nodeconnect", "nodeid": "node//zz", "conn": 1}),
            json!({"action": 5, "nodeid": "node//a"}),
        ] {
            nodes.hear(&ignored);
        }
        assert!(nodes.get("node//zz").is_none());
    }

    #[test]
    fn pages_are_one_list() {
        let mut nodes = nodes();
        let page = |id: &str| json!({"nodes": {"mesh//g": [{"_id": id, "name": id, "conn": 1}]}, "skip": 0, "limit": 1, "totalcount": 2});
        assert!(nodes.read(&[page("node//x"), page("node//y")], Instant::now()));
        let mut names: Vec<String> = nodes.machines().into_iter().map(|machine| machine.name).collect();
        names.sort();
        assert_eq!(names, ["node//x", "node//y"], "and nothing that was known before");
    }

    /// The list is asked for, events are pushed, then the list comes, which knows nothing of them.
    #[test]
    fn a_list_that_is_older_than_what_was_pushed_takes_nothing_back() {
        let list = json!({"nodes": {"mesh//g": [
            {"_id": "node//a", "name": "OLD NAME", "conn": 1, "sessions": {"kvm": {"user//eve": 1}}},
            {"_id": "node//b", "name": "SERVER-2"},
            {"_id": "node//gone", "name": "GONE", "conn": 1},
        ]}});
        for mut nodes in [Nodes::default(), nodes()] {
            let asked_at = Instant::now();
            for event in [
                json!({"action": "changenode", "nodeid": "node//a", "node": {"_id": "node//a", "name": "NEW NAME"}}),
                json!({"action": "nodeconnect", "nodeid": "node//a", "conn": 1}),
                json!({"action": "nodeconnect", "nodeid": "node//a", "conn": 0}),
                json!({"action": "nodeconnect", "nodeid": "node//b", "conn": 1, "ct": 9}),
                json!({"action": "relaylog", "msgid": 14, "msgArgs": ["x", "", ""], "nodeid": "node//b", "time": "2026-11-30T02:39:00Z"}),
                json!({"action": "removenode", "nodeid": "node//gone"}),
                json!({"action": "addnode", "node": {"_id": "node//d", "meshid": "mesh//g", "name": "NEW", "conn": 1}}),
            ] {
                nodes.hear(&event);
            }
            assert!(nodes.read(std::slice::from_ref(&list), asked_at));
            assert_eq!(nodes.get("node//a").unwrap().name, "NEW NAME");
            assert_eq!(
                [state(&nodes, "node//a"), state(&nodes, "node//b"), state(&nodes, "node//d")],
                [MachineState::Offline, MachineState::InUse, MachineState::Online]
            );
            assert!(nodes.get("node//gone").is_none());
            // One that is asked for now knows it all.
            read(&mut nodes, &list);
            assert_eq!((state(&nodes, "node//a"), nodes.get("node//d")), (MachineState::InUse, None));
        }
    }

    #[test]
    fn a_list_is_not_used_where_not_all_is_known_that_was_pushed_since() {
        let list = [json!({"nodes": {"mesh//g": [{"_id": "node//a", "name": "OLD", "conn": 1}]}})];
        let event = json!({"action": "nodeconnect", "nodeid": "node//a", "conn": 0});
        let mut nodes = nodes();
        let asked_at = Instant::now();
        for _ in 0..=MOST_PUSHED {
            nodes.hear(&event);
        }
        assert!(!nodes.read(&list, asked_at), "too much was pushed");
        assert_eq!((state(&nodes, "node//a"), nodes.pushed.len()), (MachineState::Offline, MOST_PUSHED));
        assert!(nodes.read(&list, later()));

        let asked_at = Instant::now().checked_sub(Duration::from_millis(1)).unwrap();
        nodes.heard_nothing();
        assert!(!nodes.read(&list, asked_at), "the connection broke meanwhile");
        assert!(nodes.read(&list, later()));
    }

    #[test]
    fn only_what_tells_of_machines_is_kept() {
        let mut nodes = nodes();
        for ignored in [json!({"action": "wssessioncount", "nodeid": "node//a"}), json!({"action": "nodeconnect"}), json!({})] {
            nodes.hear(&ignored);
        }
        assert!(nodes.pushed.is_empty());
    }
}
