//! Whole support sessions as data: steps to play, an example for people, and one at the limits for tests.
//!
//! A script knows no appliance; the control handle plays it.

use super::options::Representative;
use super::session::{
    Customer, File, FileDirection, FileShape, JumpGroup, NewSession, Party, SessionEvent, SurveyAnswer, SystemInformation,
};

/// One thing that happens in a session.
#[derive(Clone, Debug)]
pub enum Step {
    /// A customer connects. Sends "someone joins".
    CustomerJoins(Customer),
    /// A representative enters; the first one becomes the owner. Sends "ownership changes" and "someone joins".
    RepresentativeJoins(Representative),
    /// Somebody leaves. Sends "someone leaves".
    Leaves(Party),
    /// Anything that only stands in the report.
    Happens(SessionEvent),
    /// The external key changes.
    ExternalKey(String),
    /// A custom field gets a value; an empty one clears it.
    CustomAttribute(String, String),
    /// The session ends. Sends "session end".
    Ends,
    /// The customer completes the exit survey, once. Sends its event.
    CustomerSurvey(Vec<SurveyAnswer>),
    /// The representative completes the exit survey, once. Sends its event.
    RepresentativeSurvey(Vec<SurveyAnswer>),
}

/// A session's whole life, step by step. A script without [`Step::Ends`] leaves its session in progress.
#[derive(Clone, Debug)]
pub struct SessionScript {
    /// What it begins with.
    pub session: NewSession,
    /// Seconds since the step before, and the step.
    pub steps: Vec<(u32, Step)>,
}

impl SessionScript {
    /// A session of this external key in which nothing has happened yet.
    pub fn new(external_key: impl Into<String>) -> Self {
        Self { session: NewSession::with_external_key(external_key), steps: Vec::new() }
    }

    /// Adds a step so many seconds after the one before.
    #[must_use]
    pub fn after(mut self, seconds: u32, step: Step) -> Self {
        self.steps.push((seconds, step));
        self
    }

    /// Adds a customer.
    #[must_use]
    pub fn customer(self, customer: Customer) -> Self {
        self.after(1, Step::CustomerJoins(customer))
    }

    /// Adds a representative.
    #[must_use]
    pub fn representative(self, representative: Representative) -> Self {
        self.after(20, Step::RepresentativeJoins(representative))
    }

    /// Adds an event.
    #[must_use]
    pub fn event(self, event: SessionEvent) -> Self {
        self.after(12, Step::Happens(event))
    }

    /// Adds a chat message.
    #[must_use]
    pub fn chat(self, from: Party, text: impl Into<String>) -> Self {
        self.event(SessionEvent::chat(from, text))
    }

    /// Adds the end.
    #[must_use]
    pub fn end(self) -> Self {
        self.after(30, Step::Ends)
    }

    /// The shortest complete session: both join, each says a sentence, end.
    pub fn short(external_key: impl Into<String>) -> Self {
        Self::new(external_key)
            .customer(Customer::named("John Smith"))
            .representative(Representative::example())
            .chat(Party::REPRESENTATIVE, "Hello, how can I help?")
            .chat(Party::CUSTOMER, "Outlook will not open.")
            .end()
    }

    /// A realistic session of about fifteen events in several languages, with files, a special action, system
    /// information, notes, the representative's survey at the end and the customer's two minutes later.
    pub fn example(external_key: impl Into<String>) -> Self {
        let customer = Customer {
            company: "Müller & Söhne GmbH".into(),
            issue: "General Technical Issues".into(),
            details: "Outlook startet nicht mehr".into(),
            ..Customer::named("Jürgen Groß")
        };
        let representative = Party::REPRESENTATIVE;
        let mut script = Self::new(external_key)
            .customer(customer)
            .representative(Representative::example())
            .chat(representative, "Guten Tag, ich sehe mir das an <sofort> & melde mich.")
            .chat(Party::CUSTOMER, "Danke! Seit heute früh öffnet sich Outlook nicht – „Profil beschädigt“.")
            .event(SessionEvent::system_information(system_information()))
            .event(SessionEvent::file(
                FileDirection::Download,
                File::new(r"C:\Users\jgross\AppData\Local\outlook.log", 3_229_469),
                FileShape::Data,
            ))
            .chat(Party::CUSTOMER, "Коллега из Варны видит то же самое: «профиль не найден».")
            .chat(representative, "了解しました。プロファイルを作り直します。")
            .event(SessionEvent::special_action("Run as administrator: mlcfg32.cpl"))
            .event(SessionEvent::file(FileDirection::Upload, File::new("profile-repair.zip", 18_244), FileShape::Direct))
            .chat(representative, "Bitte einmal neu anmelden.\nDanach sollte alles da sein.")
            .chat(Party::CUSTOMER, "Läuft wieder, vielen Dank 👍")
            .event(SessionEvent::session_note("Rebuilt the mail profile.\nAsked the customer to reboot."))
            .end()
            .after(5, Step::RepresentativeSurvey(vec![SurveyAnswer::close_state("Resolved")]))
            .after(120, Step::CustomerSurvey(vec![SurveyAnswer::rating("5"), SurveyAnswer::comments("Sehr schnell, danke!")]));
        script.session.custom_attributes = vec![("asset_tag".into(), "A-0042".into())];
        script.session.recorded = true;
        script
    }

    /// A session at the limits: 300 script events, about 200 kB of chat in many scripts, template and HTML syntax,
    /// `encoded_body`, IPv6 and `Unknown` addresses, unknown event types, very long lines, `jump_group` -1.
    pub fn at_the_limits(external_key: impl Into<String>) -> Self {
        let customer = Customer {
            public_ip: "[2001:db8:85a3::8a2e:370:7334]:61606".into(),
            private_ip: "fe80::1ff:fe23:4567:890a".into(),
            hostname: "Unknown".into(),
            details: "{{ticket.title}} <b>\"quoted\"</b> & 'more'".into(),
            ..Customer::named("Ωmega <customer> & {{ticket.requester.name}}")
        };
        let second_customer =
            Customer { public_ip: "Unknown".into(), private_ip: "Unknown".into(), ..Customer::named("Наталья Ёлкина") };
        let second_representative = Representative {
            id: 152,
            username: "kmori".into(),
            display_name: "森 健二".into(),
            private_display_name: "森 健二 (T1)".into(),
            public_ip: "Unknown".into(),
            hostname: "KMORI-PC".into(),
            invited: true,
            ..Representative::example()
        };
        let mut script = Self::new(external_key)
            .customer(customer)
            .representative(Representative::example())
            .customer(second_customer)
            .representative(second_representative);
        script.session.recorded = true;
        script.session.jumpoint = Some((7, "HQ-Net".into()));
        script.session.jump_group = Some(JumpGroup { id: -1, kind: "shared", name: String::new() });
        for number in 0..EVENTS_AT_THE_LIMITS {
            script = script.after(1, Step::Happens(event_at_the_limits(number)));
        }
        script.end()
    }
}

const EVENTS_AT_THE_LIMITS: usize = 300;

/// Of every ten events, six are chat; 1.1 kB each make about 200 kB.
const CHAT_BYTES: usize = 1_130;

fn event_at_the_limits(number: usize) -> SessionEvent {
    let speaker = [Party::REPRESENTATIVE, Party::CUSTOMER, Party::Customer(1), Party::Representative(1)][number % 4];
    match number {
        7 => {
            return SessionEvent::chat(
                Party::CUSTOMER,
                "{{ticket.title}} {{#each x}} <script>alert(1)</script> <img src=x onerror=alert(1)>",
            );
        }
        // Not UTF-8, and characters XML cannot carry: the sheet's own sample, beyondtrust.md D.5.
        17 => return SessionEvent::chat_bytes(Party::CUSTOMER, *b"c\ra\x18d"),
        27 => return SessionEvent::chat_bytes(Party::CUSTOMER, [0xff, 0xfe, 0x00, 0x80]),
        37 => return SessionEvent::chat(Party::CUSTOMER, "bell \u{7} and escape \u{1b}[31m"),
        47 => return SessionEvent::chat(speaker, "]]> --> <!-- <![CDATA[ &amp; &#0; ' \""),
        57 => return SessionEvent::chat(speaker, ""),
        67 => {
            return SessionEvent::chat(speaker, "\u{202e}right to left\u{202c} \u{200b}zero width\r\nsecond line\ttab");
        }
        _ => {}
    }
    match number % 10 {
        0 => {
            let shape = [FileShape::Data, FileShape::Direct, FileShape::List][number / 10 % 3];
            let direction = [FileDirection::Upload, FileDirection::Download][number / 10 % 2];
            let name = format!(r"C:\Users\Ωmega\Отчёт {number} <final> & 'copy'.txt");
            SessionEvent::file(direction, File::new(&name, u64::MAX - number as u64), shape)
        }
        2 => {
            let categories = system_information();
            let by_id = number % 20 == 2;
            let category = |one: SystemInformation| if by_id { one.by_id() } else { one };
            SessionEvent::system_information(categories.into_iter().map(category).collect())
        }
        4 => SessionEvent {
            data: vec![("widget".into(), "<unknown> & \"new\"".into()), ("empty".into(), String::new())],
            ..SessionEvent::of_type(format!("Quantum Clipboard Synchronized {}", number % 3))
        },
        6 if number % 20 == 6 => SessionEvent::special_action("Ausführen als… <Administrator>"),
        6 => SessionEvent::session_note(format!("Notiz {number}: {{{{ticket.status}}}}\n• läuft\n• проверено")),
        _ => SessionEvent::chat(speaker, long_text(number)),
    }
}

/// One chat message; every fourth is a single line without a space.
fn long_text(number: usize) -> String {
    const WORDS: [&str; 8] = ["Grüße", "привет", "こんにちは", "مرحبا", "שלום", "γειά", "नमस्ते", "👩🏽‍💻"];
    let separator = if number % 4 == 3 { "" } else { " " };
    let mut text = format!("#{number}{separator}");
    let mut word = number;
    while text.len() < CHAT_BYTES {
        text.push_str(WORDS[word % WORDS.len()]);
        text.push_str(separator);
        word += 1;
    }
    text
}

fn system_information() -> Vec<SystemInformation> {
    vec![
        SystemInformation::new(
            "General",
            &[("os", "Operating System"), ("cpu", "Processor"), ("name", "Computer Name")],
            &[&["Windows 11 Pro", "8 x 2.4 GHz", "LAPTOP-0042"]],
        ),
        SystemInformation::new("Disk", &[("drive", "Drive"), ("free", "Free")], &[&["C:", "81 GB"], &["D:", "410 GB"]]),
        SystemInformation::new("Memory", &[("total", "Total"), ("free", "Free")], &[&["32 GB", ""]]),
        SystemInformation::new(
            "Network",
            &[("adapter", "Adapter"), ("address", "Address")],
            &[&["Wi-Fi", "10.0.0.4"], &["Ethernet", "2001:db8::17"]],
        ),
    ]
}
