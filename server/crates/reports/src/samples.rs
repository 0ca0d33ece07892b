//! Samples of every context: templates are tried on them before use, and administrators can preview on them.
//!
//! Between them they hold every field filled and every field empty, and text that would hurt if it were not escaped.

use super::context::{SessionContext, SurveyContext};
use super::limits::Shortening;
use super::{Audience, RenderOptions};
use deskbridge_core::session_report::{
    Actor, CommandShellRecording, CustomAttribute, Customer, CustomerInfo, EventFile, ExitSurvey, Participant, Reference, Representative,
    SessionEvent, SessionKind, SessionReport, SurveyQuestion, SystemCategory, SystemInformation, TerminalTranscript, Traffic, event_type,
};
use deskbridge_core::time_zone::TimeZone;

const BEGIN: i64 = 1_733_239_565;
pub(super) const NASTY: &str = "<script>alert(\"x\")</script> & 'y' {{ticket.id}}\nсообщение 太郎 👩‍💻";

impl SessionContext {
    /// A full session, the same in public and shortened, one too large to be read, one that has just begun, one full of hostile text, and sessions
    /// with a machine.
    pub fn samples() -> Vec<Self> {
        let whole = Shortening::default();
        let internal = RenderOptions { report_page_host: Some("support.example.com".to_owned()), ..RenderOptions::default() };
        let public = RenderOptions { audience: Audience::Requester, time_zone: TimeZone::of_minutes(60), ..internal.clone() };
        let published = RenderOptions { publish_session_notes: true, ..public.clone() };
        let beside = RenderOptions { audience: Audience::AgentsBesideRequester, ..internal.clone() };
        let refused = RenderOptions { file_refused: some("HTTP 413"), ..internal.clone() };
        let without_file = RenderOptions { takes_files: false, last_line: session("").lsid, ..internal.clone() };
        let everything = RenderOptions { include_system_chatter: true, system_categories: vec![], ..internal.clone() };
        let attached_file = Some("session-e9e99aeb9ad54fb381634498502c5a1b.html".to_owned());
        let shortened = Shortening { entries: Some(2), characters: Some(20), attached_file: attached_file.clone(), essentials_only: false };
        let essentials = Shortening { entries: Some(0), characters: Some(20), attached_file, essentials_only: true };
        let of_machine = machine_options();
        let of_machine_public = RenderOptions { audience: Audience::Requester, ..of_machine.clone() };
        let of_machine_beside = RenderOptions { audience: Audience::AgentsBesideRequester, ..of_machine.clone() };
        let of_machine_shortened = Shortening { entries: Some(8), ..shortened.clone() };
        let too_large = SessionReport { events: vec![], is_without_events: true, ..session("John Smith") };
        let just_begun = SessionReport { lsid: "0".repeat(32), start_time: Some(BEGIN), ..SessionReport::default() };
        vec![
            Self::new(&session("John Smith"), &internal, &whole),
            Self::new(&session("John Smith"), &public, &whole),
            Self::new(&session("John Smith"), &internal, &shortened),
            Self::new(&session("John Smith"), &internal, &essentials),
            Self::new(&session("John Smith"), &refused, &shortened),
            Self::new(&session("John Smith"), &without_file, &shortened),
            Self::new(&session(NASTY), &everything, &whole),
            Self::new(&too_large, &internal, &whole),
            Self::new(&session("John Smith"), &published, &whole),
            Self::new(&session("John Smith"), &beside, &whole),
            Self::new(&just_begun, &internal, &whole),
            Self::new(&just_begun, &beside, &whole),
            Self::new(&machine_session("John Smith"), &of_machine, &whole),
            Self::new(&machine_session("John Smith"), &of_machine_public, &whole),
            Self::new(&machine_session("John Smith"), &of_machine_beside, &whole),
            Self::new(&machine_session("John Smith"), &of_machine, &of_machine_shortened),
            Self::new(&machine_session("John Smith"), &of_machine, &essentials),
            Self::new(&machine_session(NASTY), &of_machine, &whole),
            Self::default(),
        ]
    }
}

impl SurveyContext {
    /// An answered survey, a hostile and shortened one, an empty one.
    pub fn samples() -> Vec<Self> {
        let options = RenderOptions::default();
        let refused = RenderOptions { file_refused: some("HTTP 413"), ..options.clone() };
        let shortened = Shortening { characters: Some(20), attached_file: Some("session-e9.html".to_owned()), ..Shortening::default() };
        vec![
            Self::new(&survey("John Smith"), &options, &Shortening::default()),
            Self::new(&survey(NASTY), &options, &shortened),
            Self::new(&survey("John Smith"), &refused, &shortened),
            Self::default(),
        ]
    }
}

#[expect(clippy::unnecessary_wraps, reason = "keeps long literals readable")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A session with every element; `text` stands wherever somebody's free text can stand.
pub(super) fn session(text: &str) -> SessionReport {
    let customer = Actor { kind: "customer".to_owned(), gsnumber: some("22"), name: some(text) };
    let representative = Actor { kind: "representative".to_owned(), gsnumber: some("21"), name: some("Jane D.") };
    let colleague = Actor { kind: "representative".to_owned(), gsnumber: some("23"), name: some("Max M.") };
    let system = Actor { kind: "system".to_owned(), gsnumber: some("0"), name: some("Bomgar") };
    let everyone = Actor { kind: "everyone".to_owned(), gsnumber: some("0"), name: some("Everyone") };
    let event = |seconds: i64, kind: &str, by: Option<&Actor>| SessionEvent {
        timestamp: Some(BEGIN + seconds),
        event_type: kind.to_owned(),
        performed_by: by.cloned(),
        ..SessionEvent::default()
    };
    let chat = |seconds: i64, by: &Actor, to: &Actor, body: &str| SessionEvent {
        destination: Some(to.clone()),
        body: some(body),
        ..event(seconds, event_type::CHAT_MESSAGE, Some(by))
    };
    let data = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let row = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>();
    SessionReport {
        lsid: "e9e99aeb9ad54fb381634498502c5a1b".to_owned(),
        session_type: some("support"),
        lseq: Some(4711),
        start_time: Some(BEGIN),
        end_time: Some(BEGIN + 902),
        duration: some("00:15:02"),
        rep_join_time: Some(BEGIN + 20),
        public_site: Some(Reference { id: some("1"), kind: None, name: some("Default") }),
        external_key: some("88121"),
        custom_attributes: vec![CustomAttribute {
            code_name: "asset_tag".to_owned(),
            display_name: "Asset Tag".to_owned(),
            value: text.to_owned(),
        }],
        chat_view_url: some("https://support.example.com/session_download?lsid=l%3De9e9&dl_action=chat&view=1"),
        chat_download_url: some("https://support.example.com/session_download?lsid=l%3De9e9&dl_action=chat"),
        recording_view_url: some("https://support.example.com/session_download?lsid=l%3De9e9&view=1"),
        recording_download_url: some("https://support.example.com/session_download?lsid=l%3De9e9"),
        command_shell_recordings: vec![CommandShellRecording {
            instance: Some(0),
            download_url: some("https://support.example.com/session_download?lsid=l%3De9e9&instance=0"),
            view_url: some(text),
        }],
        file_transfer_count: Some(2),
        file_move_count: Some(0),
        file_delete_count: Some(1),
        jumpoint: Some(Reference { id: some("4"), kind: None, name: some("HQ-Net") }),
        jump_group: Some(Reference { id: some("7"), kind: some("shared"), name: some("Laptops") }),
        primary_customer: Some(Participant { gsnumber: some("22"), id: None, name: some(text) }),
        primary_representative: Some(Participant { gsnumber: some("21"), id: some("151"), name: some("Jane D.") }),
        teams: vec!["Service Desk".to_owned()],
        customers: vec![Customer {
            gsnumber: some("22"),
            username: some("jsmith"),
            public_ip: some("[2001:db8::1]:56722"),
            private_ip: some("10.0.0.4"),
            hostname: some("LAPTOP-0042"),
            os: some("Windows 11 Pro x64 (23H2)"),
            is_primary: true,
            info: CustomerInfo {
                name: some(text),
                company: some("Acme"),
                company_code: None,
                issue: some("General Technical Issues"),
                details: some(text),
            },
        }],
        representatives: vec![
            Representative {
                gsnumber: some("21"),
                id: some("151"),
                username: some("jdoe"),
                public_display_name: some("Jane D."),
                is_owner: true,
                seconds_involved: Some(901),
                ..Representative::default()
            },
            Representative { gsnumber: some("23"), display_name: some("Max M."), is_invited: true, ..Representative::default() },
        ],
        events: vec![
            event(0, event_type::SESSION_START, None),
            SessionEvent { data: data(&[("owner", "Jane D.")]), ..event(0, event_type::OWNER_CHANGED, Some(&system)) },
            SessionEvent { data: data(&[("name", text)]), ..event(1, event_type::MEMBER_ADDED, Some(&customer)) },
            chat(35, &representative, &everyone, "Hello, I am going to have a look."),
            chat(45, &customer, &everyone, text),
            chat(50, &representative, &colleague, "Can you help?"),
            SessionEvent {
                system_information: Some(SystemInformation {
                    categories: vec![
                        SystemCategory {
                            name: "General".to_owned(),
                            columns: row(&["Operating System", "Processor"]),
                            rows: vec![row(&["Windows 11 Pro", text])],
                        },
                        SystemCategory {
                            name: "Disk".to_owned(),
                            columns: row(&["Drive", "Free"]),
                            rows: vec![row(&["C:", "81 GB"]), row(&[text, "410 GB", "extra"])],
                        },
                        SystemCategory {
                            name: "Processes".to_owned(),
                            columns: row(&["Name"]),
                            rows: (0..120).map(|index| row(&[&format!("process {index}")])).collect(),
                        },
                    ],
                }),
                ..event(135, event_type::SYSTEM_INFORMATION, Some(&customer))
            },
            SessionEvent {
                destination: Some(representative.clone()),
                data: data(&[("filename", "C:\\Users\\jsmith\\outlook.log"), ("filesize", "3229469")]),
                ..event(180, event_type::FILE_DOWNLOAD, Some(&customer))
            },
            SessionEvent {
                files: vec![EventFile { name: text.to_owned(), size: None }],
                ..event(190, event_type::FILE_UPLOAD, Some(&representative))
            },
            SessionEvent {
                data: data(&[("action_name", "Restart Explorer")]),
                ..event(200, event_type::SPECIAL_ACTION, Some(&representative))
            },
            SessionEvent { data: data(&[("depth", text)]), ..event(210, "Quantum Leap", Some(&representative)) },
            SessionEvent { body: some(text), ..event(235, event_type::SESSION_NOTE, Some(&representative)) },
            event(900, event_type::MEMBER_DEPARTED, Some(&customer)),
            event(902, event_type::SESSION_END, None),
        ],
        ..SessionReport::default()
    }
}

/// How a session of [`machine_session`]'s kind is told.
pub(super) fn machine_options() -> RenderOptions {
    RenderOptions {
        recordings: some("https://deskbridge.example.com/recordings/0190f0c4-7b2a-7cde-8f00-0123456789ab"),
        ..RenderOptions::default()
    }
}

/// A session at a machine as MeshCentral tells it, with every element; `text` stands wherever somebody's free text can stand.
pub(super) fn machine_session(text: &str) -> SessionReport {
    let category = |name: &str, columns: [&str; 2], rows: &[[&str; 2]]| SystemCategory {
        name: name.to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect(),
    };
    let general = [["Operating system", "Debian GNU/Linux 12 (bookworm)"], ["Agent", text], ["Address", "192.0.2.16"]];
    let categories = vec![
        category("General", ["Name", "Value"], &general),
        category("Network", ["Interface", "Address"], &[["eth0", "192.0.2.17"]]),
        category("Memory", ["Size", "First address"], &[["16 GB", "0x1000"]]),
    ];
    let by = |kind: &str, name: &str| Some(Actor { kind: kind.to_owned(), gsnumber: None, name: some(name) });
    let message = |seconds: i64, from: Option<Actor>, to: Option<Actor>, body: &str| SessionEvent {
        timestamp: Some(BEGIN + seconds),
        event_type: event_type::CHAT_MESSAGE.to_owned(),
        performed_by: from,
        destination: to,
        body: some(body),
        ..SessionEvent::default()
    };
    SessionReport {
        lsid: "3b5f0a5f6f0c4d2e9a8b7c6d5e4f3a2b".to_owned(),
        start_time: Some(BEGIN),
        end_time: Some(BEGIN + 754),
        external_key: some("88121"),
        machine: some(text),
        kind: Some(SessionKind::Terminal),
        traffic: Some(Traffic { received: 18_211, sent: 1_204_553 }),
        terminal: Some(TerminalTranscript {
            text: format!("anna@vm:~$ ls -l  /srv\n\ttotal 4\n{text}\n\nanna@vm:~$ echo '```' && exit\n"),
            is_cut: true,
        }),
        recording: true,
        remarks: vec!["MeshCentral was restarted during the session: the end is when it was last heard of.".to_owned()],
        primary_representative: Some(Participant { gsnumber: None, id: None, name: some("Jane D.") }),
        representatives: vec![Representative { public_display_name: some("Jane D."), is_owner: true, ..Representative::default() }],
        customers: vec![Customer {
            username: some("anna"),
            hostname: some("front-desk"),
            os: some("Debian GNU/Linux 12 (bookworm)"),
            public_ip: some("203.0.113.9"),
            ..Customer::default()
        }],
        events: vec![
            message(12, by("representative", "Jane D."), by("customer", text), "May I have a look?"),
            message(20, by("customer", text), by("representative", "Jane D."), text),
            SessionEvent {
                system_information: Some(SystemInformation { categories }),
                ..SessionEvent { event_type: event_type::SYSTEM_INFORMATION.to_owned(), ..SessionEvent::default() }
            },
        ],
        ..SessionReport::default()
    }
}

/// A survey with every element.
pub(super) fn survey(text: &str) -> ExitSurvey {
    ExitSurvey {
        lsid: "e9e99aeb9ad54fb381634498502c5a1b".to_owned(),
        timestamp: Some(BEGIN + 955),
        submitted_by: Some(Actor { kind: "customer".to_owned(), gsnumber: None, name: some(text) }),
        primary_customer: Some(Participant { gsnumber: some("22"), id: None, name: some(text) }),
        primary_representative: Some(Participant { gsnumber: some("21"), id: some("151"), name: some("Jane D.") }),
        questions: vec![
            SurveyQuestion {
                id: some("1"),
                name: some("rating"),
                kind: some("radio"),
                label: some("How do you rate the support?"),
                report_header: some("Rating"),
                answers: vec!["5".to_owned(), text.to_owned()],
            },
            SurveyQuestion { label: some(text), ..SurveyQuestion::default() },
        ],
        ..ExitSurvey::default()
    }
}
