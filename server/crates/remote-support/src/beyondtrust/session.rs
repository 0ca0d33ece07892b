//! Reads a support session's report, with every element on record (beyondtrust.md D.3 to D.5).
//!
//! Nothing but the lsid is required: versions differ in what they send, and in its order.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deskbridge_core::session_report::{
    Actor, CommandShellRecording, CustomAttribute, Customer, CustomerInfo, EventFile, Participant, Reference, Representative, SessionEvent,
    SessionReport, SystemCategory, SystemInformation,
};

use super::Element;
use super::xml::visible;

/// Reads a `session` element; `None` without an lsid.
pub(super) fn read_session(session: &Element) -> Option<SessionReport> {
    let lsid = session.attribute("lsid").map(str::trim).filter(|lsid| !lsid.is_empty())?.to_owned();
    let text = |name| session.child_text(name);
    let moment = |name| session.child(name).and_then(Element::moment);
    let teams = session.child("team_list").map_or(&[][..], |list| &list.children);
    let surveys = |list, name| session.listed(list, name).map(read_participant).collect();
    Some(SessionReport {
        lsid,
        session_type: text("session_type"),
        lseq: session.child_number("lseq"),
        start_time: moment("start_time"),
        end_time: moment("end_time"),
        duration: text("duration"),
        rep_join_time: moment("rep_join_time"),
        public_site: session.child("public_site").and_then(read_reference),
        external_key: text("external_key"),
        custom_attributes: session.listed("custom_attributes", "custom_attribute").map(read_custom_attribute).collect(),
        chat_view_url: text("session_chat_view_url"),
        chat_download_url: text("session_chat_download_url"),
        recording_view_url: text("session_recording_view_url"),
        recording_download_url: text("session_recording_download_url"),
        command_shell_recordings: session
            .listed("command_shell_recordings", "command_shell_recording")
            .map(read_command_shell_recording)
            .collect(),
        file_transfer_count: session.child_number("file_transfer_count"),
        file_move_count: session.child_number("file_move_count"),
        file_delete_count: session.child_number("file_delete_count"),
        jumpoint: session.child("jumpoint").and_then(read_reference),
        jump_group: session.child("jump_group").and_then(read_reference),
        primary_customer: session.child("primary_customer").map(read_participant).filter(Participant::is_somebody),
        primary_representative: session.child("primary_rep").map(read_participant).filter(Participant::is_somebody),
        teams: teams
            .iter()
            .filter_map(|team| team.child_text("name").or_else(|| Some(team.text().to_owned()).filter(|name| !name.is_empty())))
            .collect(),
        customers: session.listed("customer_list", "customer").map(read_customer).collect(),
        representatives: session.listed("rep_list", "representative").map(read_representative).collect(),
        customer_surveys: surveys("cust_survey_list", "cust_exit_survey"),
        representative_surveys: surveys("rep_survey_list", "rep_exit_survey"),
        events: session.listed("session_details", "event").map(read_session_event).collect(),
        ..SessionReport::default()
    })
}

pub(super) fn read_reference(element: &Element) -> Option<Reference> {
    let id = attribute(element, "id");
    let name = own_text(element);
    // A Jump group with id -1 is none (beyondtrust.md D.3).
    if id.as_deref() == Some("-1") || (id.is_none() && name.is_none()) {
        return None;
    }
    Some(Reference { id, kind: attribute(element, "type"), name })
}

pub(super) fn read_custom_attribute(element: &Element) -> CustomAttribute {
    let code_name = attribute(element, "code_name").unwrap_or_default();
    CustomAttribute {
        display_name: attribute(element, "display_name").unwrap_or_else(|| code_name.clone()),
        code_name,
        value: element.text().to_owned(),
    }
}

pub(super) fn read_command_shell_recording(element: &Element) -> CommandShellRecording {
    CommandShellRecording {
        instance: element.attribute("instance").and_then(|instance| instance.trim().parse().ok()),
        download_url: element.child_text("download_url"),
        view_url: element.child_text("view_url"),
    }
}

pub(super) fn read_participant(element: &Element) -> Participant {
    Participant { gsnumber: attribute(element, "gsnumber"), id: attribute(element, "id"), name: own_text(element) }
}

pub(super) fn read_customer(element: &Element) -> Customer {
    let info = |name| element.child("info").and_then(|info| info.child_text(name));
    Customer {
        gsnumber: attribute(element, "gsnumber"),
        username: element.child_text("username"),
        public_ip: known(element, "public_ip"),
        private_ip: known(element, "private_ip"),
        hostname: known(element, "hostname"),
        os: known(element, "os"),
        is_primary: element.child_flag("primary_cust"),
        info: CustomerInfo {
            name: info("name"),
            company: info("company"),
            company_code: info("company_code"),
            issue: info("issue"),
            details: info("details"),
        },
    }
}

pub(super) fn read_representative(element: &Element) -> Representative {
    Representative {
        gsnumber: attribute(element, "gsnumber"),
        id: attribute(element, "id"),
        username: element.child_text("username"),
        display_name: element.child_text("display_name"),
        public_display_name: element.child_text("public_display_name"),
        private_display_name: element.child_text("private_display_name"),
        public_ip: known(element, "public_ip"),
        private_ip: known(element, "private_ip"),
        hostname: known(element, "hostname"),
        os: known(element, "os"),
        // `primary_rep` is the older RS spelling (beyondtrust.md D.3).
        is_owner: element.child_flag("session_owner") || element.child_flag("primary_rep"),
        seconds_involved: element.child_number("seconds_involved"),
        is_invited: element.child_flag("invited"),
    }
}

pub(super) fn read_session_event(element: &Element) -> SessionEvent {
    let value = |value: &Element| Some((attribute(value, "name")?, value.attribute("value").unwrap_or_default().trim().to_owned()));
    let file = |file: &Element| Some(EventFile { name: file.child_text("filename")?, size: file.child_number("filesize") });
    SessionEvent {
        timestamp: element.moment(),
        event_type: attribute(element, "event_type").unwrap_or_else(|| "Unknown event".to_owned()),
        performed_by: element.child("performed_by").map(read_actor),
        destination: element.child("destination").map(read_actor),
        body: element.child_text("body").or_else(|| decode_body(element)),
        filename: element.child_text("filename"),
        filesize: element.child_number("filesize"),
        files: element.listed("files", "file").filter_map(file).collect(),
        data: element.listed("data", "value").filter_map(value).collect(),
        system_information: element.child("system_information").map(read_system_information),
    }
}

pub(super) fn read_actor(element: &Element) -> Actor {
    Actor {
        kind: element.attribute("type").unwrap_or_default().trim().to_owned(),
        gsnumber: attribute(element, "gsnumber"),
        name: own_text(element),
    }
}

pub(super) fn read_system_information(element: &Element) -> SystemInformation {
    let fields = |list: &Element| list.children_named("field").map(|field| field.text().to_owned()).collect();
    let category = |category: &Element| SystemCategory {
        name: attribute(category, "name").unwrap_or_default(),
        columns: category.child("description").map(fields).unwrap_or_default(),
        rows: category.listed("data", "row").map(fields).collect(),
    };
    SystemInformation { categories: element.children_named("category").map(category).collect() }
}

/// Text with characters that XML cannot carry comes as base64 (beyondtrust.md 0, fact 6).
fn decode_body(element: &Element) -> Option<String> {
    let encoded: String = element.child("encoded_body")?.text().split_ascii_whitespace().collect();
    let text = match STANDARD.decode(&encoded) {
        Ok(bytes) => visible(&String::from_utf8_lossy(&bytes)),
        // Not base64 after all: better as it came than lost.
        Err(_) => encoded,
    };
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn known(element: &Element, name: &str) -> Option<String> {
    element.child_text(name).filter(|text| !text.eq_ignore_ascii_case("unknown"))
}

fn attribute(element: &Element, name: &str) -> Option<String> {
    element.attribute(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn own_text(element: &Element) -> Option<String> {
    Some(element.text().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::reporting::read_sessions;
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = include_str!("samples/support_session.xml");

    fn read(document: &str) -> SessionReport {
        let mut sessions = read_sessions(&Element::parse(document.as_bytes()).unwrap()).unwrap();
        assert_eq!(sessions.len(), 1);
        sessions.remove(0)
    }

    fn read_inner(elements: &str) -> SessionReport {
        read(&format!("<session_list><session lsid=\"e9e9\">{elements}</session></session_list>"))
    }

    #[expect(clippy::unnecessary_wraps, reason = "keeps long literals readable")]
    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn every_element_of_the_example() {
        let session = read(EXAMPLE);
        assert_eq!(session.lsid, "e9e99aeb9ad54fb381634498502c5a1b");
        assert_eq!((session.session_type.as_deref(), session.lseq), (Some("support"), Some(4711)));
        assert_eq!((session.start_time, session.end_time), (Some(1_733_239_565), Some(1_733_240_467)));
        assert!(session.is_ended());
        assert_eq!((session.duration.as_deref(), session.duration_seconds()), (Some("00:15:02"), Some(902)));
        assert_eq!(session.public_site, Some(Reference { id: some("1"), kind: None, name: some("Default") }));
        assert_eq!(session.external_key.as_deref(), Some("88121"));
        let attribute = CustomAttribute { code_name: "asset_tag".into(), display_name: "Asset Tag".into(), value: "A-0042".into() };
        assert_eq!(session.custom_attributes, [attribute]);
        assert!(session.chat_view_url.as_ref().unwrap().ends_with("&dl_action=chat&view=1"));
        assert!(session.chat_download_url.as_ref().unwrap().ends_with("&dl_action=chat"));
        assert!(session.recording_view_url.as_ref().unwrap().ends_with("&view=1"));
        assert!(session.recording_download_url.is_some());
        assert_eq!((session.file_transfer_count, session.file_move_count, session.file_delete_count), (Some(2), Some(0), Some(1)));
        assert_eq!((session.customer_name(), session.representative_name()), (Some("John Smith"), Some("Jane D.")));

        let customer = session.primary_customer().unwrap();
        assert_eq!(customer.public_address(), Some("203.0.113.9"));
        assert_eq!(customer.private_address(), Some("10.0.0.4"));
        assert_eq!((customer.hostname.as_deref(), customer.os.as_deref()), (Some("LAPTOP-0042"), Some("Windows 11 Pro x64 (23H2)")));
        assert!(customer.is_primary);
        let info = CustomerInfo {
            name: some("John Smith"),
            company: some("Acme"),
            company_code: None,
            issue: some("General Technical Issues"),
            details: some("Outlook will not open"),
        };
        assert_eq!(customer.info, info);

        let representative = session.primary_representative().unwrap();
        assert_eq!((representative.id.as_deref(), representative.username.as_deref()), (Some("151"), Some("jdoe")));
        assert_eq!(representative.private_display_name.as_deref(), Some("Jane Doe (T2)"));
        assert_eq!(representative.public_address(), Some("2001:db8::1"));
        assert_eq!((&representative.private_ip, &representative.os, &representative.hostname), (&None, &None, &None));
        assert_eq!((representative.is_owner, representative.seconds_involved, representative.is_invited), (true, Some(901), false));

        let types: Vec<_> = session.events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(
            types,
            [
                "Session Start",
                "Conference Owner Changed",
                "Conference Member Added",
                "Chat Message",
                "Chat Message",
                "System Information Retrieved",
                "File Download",
                "Session Note Added",
                "Session End"
            ]
        );
        let event = |index: usize| &session.events[index];
        assert_eq!(event(1).destination, Some(Actor { kind: "system".into(), gsnumber: some("0"), name: some("Pre-start Conference") }));
        assert_eq!(event(2).data_value("public_ip"), Some("203.0.113.9:61606"));
        assert_eq!(event(3).body.as_deref(), Some("Hello, I am going to have a look <now> & report back."));
        assert_eq!(event(3).destination.as_ref().unwrap().kind, "everyone");
        assert_eq!(event(4).body.as_deref(), Some("c\na␘d"));
        let categories = &event(5).system_information.as_ref().unwrap().categories;
        assert_eq!(categories[0].columns, ["Operating System", "Processor"]);
        assert_eq!(categories[0].rows, [["Windows 11 Pro", "8 x 2.4 GHz"]]);
        assert_eq!((categories[1].name.as_str(), categories[1].rows.len()), ("Disk", 2));
        assert_eq!(event(6).all_files(), [EventFile { name: "C:\\Users\\jsmith\\outlook.log".into(), size: Some(3_229_469) }]);
        assert_eq!(event(7).body.as_deref(), Some("Rebuilt the mail profile.\nAsked user to reboot."));
        assert_eq!(event(8).timestamp, Some(1_733_240_467));
    }

    #[test]
    fn all_four_namespaces_none_and_prefixes() {
        let expected = read(EXAMPLE);
        let original = "http://www.beyondtrust.com/sra/namespaces/API/reporting";
        for namespace in
            ["http://www.bomgar.com/namespaces/API/reporting", "https://www.beyondtrust.com/namespaces/API/reporting", "urn:next", ""]
        {
            assert_eq!(read(&EXAMPLE.replace(original, namespace)), expected, "{namespace}");
        }
        let prefixed = EXAMPLE.replace("xmlns=", "xmlns:r=").replace('<', "<r:").replace("<r:/", "</r:").replace("<r:?", "<?");
        assert_eq!(read(&prefixed), expected);
    }

    #[test]
    fn shapes_of_other_versions() {
        // As privileged access sites send it: no end, no Jump group, personal one, recordings, invited, legacy owner.
        let session = read_inner(
            "<end_time/><external_key/><custom_attributes/><jump_group id=\"-1\" type=\"shared\"/><jumpoint id=\"4\">HQ-Net</jumpoint>
             <command_shell_recordings><command_shell_recording instance=\"0\"><download_url>https://a/d</download_url>
               <view_url>https://a/v</view_url></command_shell_recording></command_shell_recordings>
             <team_list><team id=\"1\">Service Desk</team><team><name>Tier 2</name></team></team_list>
             <rep_join_time timestamp=\"7\"/><primary_customer gsnumber=\"0\"/>
             <rep_list><representative gsnumber=\"1\" id=\"2\"><username>a</username><seconds_involved>10</seconds_involved></representative>
               <representative gsnumber=\"2\" id=\"3\"><display_name>B</display_name><invited>1</invited><primary_rep>1</primary_rep></representative></rep_list>
             <cust_survey_list><cust_exit_survey gsnumber=\"22\"/></cust_survey_list>
             <rep_survey_list><rep_exit_survey gsnumber=\"21\"/></rep_survey_list>
             <session_details><event timestamp=\"8\" event_type=\"Quantum Leap\"><performed_by type=\"system\" gsnumber=\"0\">Privileged Remote Access</performed_by>
               <data><value name=\"depth\" value=\"7\"/><value name=\"empty\" value=\"\"/></data></event></session_details>",
        );
        assert!(!session.is_ended());
        assert_eq!((&session.external_key, &session.jump_group, session.duration_seconds()), (&None, &None, None));
        assert_eq!(session.jumpoint.as_ref().unwrap().name.as_deref(), Some("HQ-Net"));
        assert_eq!(session.command_shell_recordings[0].instance, Some(0));
        assert_eq!(session.teams, ["Service Desk", "Tier 2"]);
        assert_eq!((session.rep_join_time, session.customer_surveys.len(), session.representative_surveys.len()), (Some(7), 1, 1));
        assert_eq!((session.representative_name(), session.customer_name()), (Some("B"), None));
        assert!(session.representatives[1].is_invited);
        let unknown = &session.events[0];
        assert_eq!((unknown.event_type.as_str(), unknown.is_by_system()), ("Quantum Leap", true));
        assert_eq!(unknown.data, [("depth".to_owned(), "7".to_owned()), ("empty".to_owned(), String::new())]);
    }

    #[test]
    fn files_in_all_three_shapes() {
        let files = |inner: &str| {
            read_inner(&format!("<session_details><event event_type=\"x\">{inner}</event></session_details>")).events[0].all_files()
        };
        let expected = [EventFile { name: "a.txt".to_owned(), size: Some(7) }];
        assert_eq!(files("<filename>a.txt</filename><filesize>7</filesize>"), expected);
        assert_eq!(files("<files><file><filename>a.txt</filename><filesize>7</filesize></file></files>"), expected);
        assert_eq!(files("<data><value name=\"filename\" value=\"a.txt\"/><value name=\"filesize\" value=\"7\"/></data>"), expected);
        assert_eq!(
            files("<files><file><filename>a.txt</filename><filesize>7</filesize></file></files><filename>a.txt</filename>"),
            expected
        );
        assert_eq!(files("<filename>b</filename><filesize>many</filesize>"), [EventFile { name: "b".to_owned(), size: None }]);
        assert_eq!(files("<body>x</body>"), []);
    }

    #[test]
    fn fields_of_system_information_match_by_position() {
        for name in ["name", "id"] {
            let session = read_inner(&format!(
                "<session_details><event event_type=\"x\"><system_information><category name=\"General\">
                 <description><field {name}=\"b\">OS</field><field {name}=\"a\">CPU</field></description>
                 <data><row><field {name}=\"0\">\n  Windows  </field><field {name}=\"1\"/></row></data>
                 </category></system_information></event></session_details>"
            ));
            let category = &session.events[0].system_information.as_ref().unwrap().categories[0];
            assert_eq!(
                (&category.columns, &category.rows),
                (&vec!["OS".to_owned(), "CPU".to_owned()], &vec![vec!["Windows".to_owned(), String::new()]])
            );
        }
    }

    /// What people read of an address as it was sent.
    fn address(text: &str) -> String {
        let customer = Customer { public_ip: Some(text.to_owned()), ..Customer::default() };
        customer.public_address().unwrap().to_owned()
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("203.0.113.9:61606", "203.0.113.9"),
            ("203.0.113.9", "203.0.113.9"),
            ("[2001:db8::1]:56722", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8::1:443", "2001:db8::1:443"),
            ("::ffff:203.0.113.9", "::ffff:203.0.113.9"),
            ("host.example.com:80", "host.example.com"),
            ("a:b", "a:b"),
            ("[", "["),
        ] {
            assert_eq!(address(text), expected);
        }
        let session = read_inner(
            "<customer_list><customer><public_ip>Unknown</public_ip><hostname>unknown</hostname><username>Unknown</username></customer></customer_list>",
        );
        let customer = session.primary_customer().unwrap();
        assert_eq!((customer.public_address(), &customer.hostname, customer.name()), (None, &None, Some("Unknown")));
    }

    #[test]
    fn encoded_bodies() {
        let body = |encoded: &str| {
            let document =
                format!("<session_details><event event_type=\"x\"><encoded_body>{encoded}</encoded_body></event></session_details>");
            read_inner(&document).events[0].body.clone()
        };
        assert_eq!(body(" R3LDvMOf\n ZSAYIQ== "), some("Grüße ␘!"));
        assert_eq!(body("/w=="), some("\u{fffd}"));
        assert_eq!(body("not base64!"), some("notbase64!"));
        assert_eq!(body(""), None);
    }

    #[test]
    fn durations() {
        let seconds = |duration: &str| {
            SessionReport { duration: some(duration), start_time: Some(10), end_time: Some(15), ..SessionReport::default() }
                .duration_seconds()
        };
        assert_eq!(seconds("100:00:01"), Some(360_001));
        for wrong in ["PT15M", "1:2", "1:2:3:4", "-1:00:00", "99999999999:00:00"] {
            assert_eq!(seconds(wrong), Some(5), "{wrong}");
        }
        assert_eq!(SessionReport { start_time: Some(5), end_time: Some(1), ..SessionReport::default() }.duration_seconds(), None);
        let wide = SessionReport { start_time: Some(i64::MIN), end_time: Some(i64::MAX), ..SessionReport::default() };
        assert_eq!(wide.duration_seconds(), Some(i64::MAX));
    }

    #[test]
    fn a_long_session() {
        let event = |index: usize| {
            format!(
                "<event timestamp=\"{}\" event_type=\"Chat Message\"><performed_by type=\"customer\" gsnumber=\"22\">Иван 太郎</performed_by><body>Zeile {index} 👩‍💻</body></event>",
                1_733_239_565 + index
            )
        };
        let session = read_inner(&format!("<session_details>{}</session_details>", (0..300).map(event).collect::<String>()));
        assert_eq!(session.events.len(), 300);
        assert_eq!(session.events[299].body.as_deref(), Some("Zeile 299 👩‍💻"));
        assert_eq!(session.events[299].performed_by.as_ref().unwrap().name.as_deref(), Some("Иван 太郎"));
    }

    proptest! {
        /// Whatever happens to a document on its way, reading it does not panic.
        #[test]
        fn mutated_reports_never_panic(
            cut in 0..EXAMPLE.len(),
            changes in proptest::collection::vec((0..EXAMPLE.len(), any::<u8>()), 0..8),
            keep in any::<bool>(),
        ) {
            let mut document = EXAMPLE.as_bytes().to_vec();
            for (position, byte) in changes {
                document[position] = byte;
            }
            if !keep {
                document.truncate(cut);
            }
            if let Ok(root) = Element::parse(&document) && let Ok(sessions) = read_sessions(&root) {
                for session in sessions {
                    let _ = (session.primary_customer(), session.primary_representative(), session.duration_seconds());
                    let _ = session.events.iter().map(SessionEvent::all_files).collect::<Vec<_>>();
                }
            }
        }

        #[test]
        fn an_address_is_a_part_of_what_was_sent(text in any::<String>()) {
            prop_assert!(text.contains(&address(&text)));
        }
    }
}
