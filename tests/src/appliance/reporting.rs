//! The Reporting API: sessions and exit surveys as XML (beyondtrust.md D).
//!
//! It reads sessions; the only thing it changes is how long a report still lags.

use super::answer::{NO_REPORT, Refusal, Xml};
use super::clock::iso;
use super::options::{LagShape, Options, Representative, SurveyTimestamp, is_hex_id};
use super::parameters::Parameters;
use super::session::{Customer, Member, Party, Session, SessionEvent, StampedEvent, Survey, SystemInformation};
use super::state::State;

const TIMES: [&str; 4] = ["start_date", "start_time", "end_date", "end_time"];

/// Report names the real appliance knows and this one does not imitate (beyondtrust.md D.1).
const NOT_SIMULATED: [&str; 15] = [
    "SupportSessionSummary",
    "SupportSessionRecording",
    "ShowMyScreenRecording",
    "CommandShellRecording",
    "PresentationSession",
    "PresentationSessionListing",
    "PresentationSessionRecording",
    "SupportTeam",
    "ArchiveListing",
    "Archive",
    "LicenseUsage",
    "EndpointLicenseUsage",
    "JumpItem",
    "Syslog",
    "VaultAccountActivity",
];

/// The root a report normally has.
pub(super) fn normal_root(report: &str) -> Option<&'static str> {
    match report {
        "SupportSession" => Some("session_list"),
        "SupportSessionListing" => Some("session_summary_list"),
        "SupportCustExitSurvey" | "SupportRepExitSurvey" => Some("exit_survey_list"),
        _ => None,
    }
}

/// Answers one report.
pub(super) fn answer(state: &mut State, base_url: &str, parameters: &Parameters, now: i64) -> Result<String, Refusal> {
    if !state.options.permissions.reporting_support {
        return Err(Refusal::new("You do not have permission to view support session reports."));
    }
    match parameters.required("generate_report")? {
        "SupportSession" => sessions(state, base_url, parameters, now),
        "SupportSessionListing" => listing(state, parameters, now),
        "SupportCustExitSurvey" => surveys(state, parameters, now, Side::Customer),
        "SupportRepExitSurvey" => surveys(state, parameters, now, Side::Representative),
        known if NOT_SIMULATED.contains(&known) => {
            Err(Refusal::new(format!("The report '{known}' is not available on this simulated appliance.")))
        }
        unknown => Err(Refusal::new(format!("Unknown report '{unknown}'."))),
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Side {
    Customer,
    Representative,
}

/// Which sessions are asked for.
enum Selection {
    Named(Vec<String>),
    /// Began within; sessions in progress are included.
    BeganWithin(Window),
    /// Closed, and ended within.
    EndedWithin(Window),
}

struct Window {
    from: i64,
    until: i64,
}

impl Window {
    fn contains(&self, at: i64) -> bool {
        (self.from..=self.until).contains(&at)
    }
}

impl Selection {
    /// Exactly one of `lsid`, `lsids`, or a time with a duration (beyondtrust.md D.2).
    fn read(parameters: &Parameters, now: i64) -> Result<Self, Refusal> {
        let times = TIMES.iter().filter(|name| parameters.get(name).is_some());
        let times: Vec<&str> = times.copied().collect();
        let named = ["lsid", "lsids"].map(|name| parameters.get(name).is_some());
        let named = named.iter().filter(|given| **given).count();
        if times.len() + named != 1 {
            return Err(Refusal::new("Exactly one of lsid, lsids, start_date, start_time, end_date, end_time is required."));
        }
        let Some(time) = times.first() else {
            return Self::read_ids(parameters);
        };
        let value = parameters.required(time)?;
        let (from, unit) = if time.ends_with("_date") { (date(time, value)?, 86_400) } else { (unix_time(time, value)?, 1) };
        parameters.required("duration")?;
        let duration: i64 = parameters.number("duration")?.unwrap_or(-1);
        if !(0..=1_000_000_000).contains(&duration) {
            return Err(Refusal::new("The parameter 'duration' is out of range."));
        }
        let until = match duration {
            0 => now,
            duration => from + duration * unit,
        };
        let window = Window { from, until };
        if time.starts_with("start") { Ok(Self::BeganWithin(window)) } else { Ok(Self::EndedWithin(window)) }
    }

    fn read_ids(parameters: &Parameters) -> Result<Self, Refusal> {
        if parameters.get("duration").is_some() {
            return Err(Refusal::new("The parameter 'duration' needs a start or end."));
        }
        let ids = match parameters.get("lsid") {
            Some(_) => vec![parameters.required("lsid")?.to_owned()],
            None => parameters.required("lsids")?.split(',').map(str::to_owned).collect(),
        };
        match ids.iter().find(|id| !is_hex_id(id)) {
            Some(wrong) => Err(Refusal::new(format!("'{wrong}' is not a valid lsid."))),
            None => Ok(Self::Named(ids)),
        }
    }

    /// Whether this session is meant, if its end could be seen like this.
    fn meets(&self, session: &Session, visible_end: Option<i64>) -> bool {
        match self {
            Self::Named(ids) => ids.iter().any(|id| id.eq_ignore_ascii_case(&session.lsid)),
            Self::BeganWithin(window) => window.contains(session.started_at),
            Self::EndedWithin(window) => visible_end.is_some_and(|at| window.contains(at)),
        }
    }
}

fn unix_time(name: &str, value: &str) -> Result<i64, Refusal> {
    // An RFC 3339 time is refused here: `*_time` is a Unix number (beyondtrust.md D.2).
    value.parse().map_err(|_| Refusal::new(format!("The parameter '{name}' must be a UNIX timestamp, not '{value}'.")))
}

fn date(name: &str, value: &str) -> Result<i64, Refusal> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    match time::Date::parse(value, format) {
        Ok(date) => Ok(date.midnight().assume_utc().unix_timestamp()),
        Err(_) => Err(Refusal::new(format!("The parameter '{name}' must be a date like 2024-12-03, not '{value}'."))),
    }
}

/// The sessions selected, each with the end that can be seen; counts the lag down.
fn select<'a>(state: &'a mut State, selection: &Selection) -> Vec<(&'a Session, Option<i64>)> {
    let (held, shape) = (state.reports_held, state.options.report_lag.shape);
    let mut selected = Vec::new();
    for session in state.sessions.all_mut() {
        if !selection.meets(session, session.ended_at) {
            continue;
        }
        let lags = session.ended_at.is_some() && (held || session.lagging_requests > 0);
        session.lagging_requests = session.lagging_requests.saturating_sub(1);
        let session = &*session;
        if !lags {
            selected.push((session, session.ended_at));
        } else if shape == LagShape::NoEndTime && selection.meets(session, None) {
            selected.push((session, None));
        }
    }
    selected
}

fn check_common(parameters: &Parameters, more: &[&str]) -> Result<(), Refusal> {
    let common = ["generate_report", "lsid", "lsids", "duration", "locale", "lang", "limit"];
    let allowed: Vec<&str> = common.iter().chain(&TIMES).chain(more).copied().collect();
    parameters.allow_only(&allowed, false)?;
    if parameters.get("limit").is_some() {
        // Its values are not known (beyondtrust.md D.2); ignoring it would answer another question.
        return Err(Refusal::new("The parameter 'limit' is not simulated."));
    }
    Ok(())
}

fn sessions(state: &mut State, base_url: &str, parameters: &Parameters, now: i64) -> Result<String, Refusal> {
    check_common(parameters, &[])?;
    let selection = Selection::read(parameters, now)?;
    let options = state.options.clone();
    let selected = select(state, &selection);
    if selected.is_empty() {
        return Err(Refusal::new(NO_REPORT));
    }
    let mut xml = Xml::document("session_list", options.namespaces.reporting());
    for (session, ended_at) in selected {
        write_session(&mut xml, &options, base_url, session, ended_at, now);
    }
    Ok(xml.finish("session_list"))
}

fn listing(state: &mut State, parameters: &Parameters, now: i64) -> Result<String, Refusal> {
    check_common(parameters, &[])?;
    let selection = Selection::read(parameters, now)?;
    let namespace = state.options.namespaces.reporting();
    let selected = select(state, &selection);
    if selected.is_empty() {
        return Err(Refusal::new(NO_REPORT));
    }
    let mut xml = Xml::document("session_summary_list", namespace);
    for (session, ended_at) in selected {
        let has_recording = if session.recorded && ended_at.is_some() { "1" } else { "0" };
        let attributes = [("lsid", session.lsid.as_str()), ("has_recording", has_recording)];
        xml.element("session_summary", &attributes, "");
    }
    Ok(xml.finish("session_summary_list"))
}

fn surveys(state: &mut State, parameters: &Parameters, now: i64, side: Side) -> Result<String, Refusal> {
    check_common(parameters, &["report_type", "id"])?;
    parameters.required("report_type")?;
    parameters.one_of("report_type", &["rep"])?;
    let selection = Selection::read(parameters, now)?;
    if matches!(selection, Selection::Named(_)) {
        if !state.options.surveys_by_lsid {
            return Err(Refusal::new("Unknown parameter 'lsid'."));
        }
    } else {
        parameters.required("id")?;
    }
    let representative = match parameters.get("id") {
        None | Some("all") => None,
        Some(_) => parameters.number::<u32>("id")?,
    };
    let held = state.reports_held;
    let options = state.options.clone();
    let mut xml = Xml::document("exit_survey_list", options.namespaces.reporting());
    let mut found = false;
    for session in state.sessions.all_mut() {
        if !selection.meets(session, session.ended_at) {
            continue;
        }
        let survey = match side {
            Side::Customer => &mut session.customer_survey,
            Side::Representative => &mut session.representative_survey,
        };
        let Some(survey) = survey else { continue };
        let lags = held || survey.lagging_requests > 0;
        survey.lagging_requests = survey.lagging_requests.saturating_sub(1);
        let survey = survey.clone();
        let primary = session.representatives.first().map(|member| member.person.id);
        if !lags && representative.is_none_or(|id| primary == Some(id)) {
            write_survey(&mut xml, &options, session, &survey, side);
            found = true;
        }
    }
    if found { Ok(xml.finish("exit_survey_list")) } else { Err(Refusal::new(NO_REPORT)) }
}

fn write_survey(xml: &mut Xml, options: &Options, session: &Session, survey: &Survey, side: Side) {
    let submitted_at = survey.submitted_at.to_string();
    let attribute = match options.survey_timestamp {
        SurveyTimestamp::Timestamp => "timestamp",
        SurveyTimestamp::Ts => "ts",
    };
    let attributes = [("lsid", session.lsid.as_str()), (attribute, submitted_at.as_str())];
    xml.open("exit_survey", &attributes);
    xml.line();
    let (kind, name) = match side {
        Side::Customer => ("customer", session.name_of(Party::CUSTOMER, options)),
        Side::Representative => ("rep", session.name_of(Party::REPRESENTATIVE, options)),
    };
    xml.element("submitted_by", &[("type", kind)], &name);
    write_primaries(xml, session);
    xml.open("rep_list", &[]);
    for member in &session.representatives {
        let (gsnumber, id) = (member.gsnumber.to_string(), member.person.id.to_string());
        xml.open("representative", &[("gsnumber", &gsnumber), ("id", &id)]);
        xml.element("username", &[], &member.person.username);
        xml.element("display_name", &[], &member.person.display_name);
        xml.close("representative");
    }
    xml.close("rep_list");
    xml.open("question_list", &[]);
    for (number, question) in survey.answers.iter().enumerate() {
        xml.open("question", &[("id", &(number + 1).to_string())]);
        xml.element("name", &[], &question.name);
        xml.element("type", &[], question.kind);
        xml.element("label", &[], &question.label);
        xml.element("report_header", &[], &question.report_header);
        xml.open("answer_list", &[]);
        for answer in &question.answers {
            xml.element("answer", &[], answer);
        }
        xml.close("answer_list");
        xml.close("question");
    }
    xml.close("question_list");
    xml.close("exit_survey");
}

fn write_session(xml: &mut Xml, options: &Options, base_url: &str, session: &Session, ended_at: Option<i64>, now: i64) {
    xml.open("session", &[("lsid", &session.lsid)]);
    xml.line();
    xml.element("session_type", &[], "support");
    xml.element("lseq", &[], &session.lseq.to_string());
    write_time(xml, "start_time", session.started_at);
    if let Some(ended_at) = ended_at {
        write_time(xml, "end_time", ended_at);
    }
    let seconds = (ended_at.unwrap_or(now) - session.started_at).max(0);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let duration = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    xml.element("duration", &[], &duration);
    if let Some(first) = session.representatives.first() {
        write_time(xml, "rep_join_time", first.joined_at);
    }
    xml.element("public_site", &[("id", "1")], "Default");
    xml.element("external_key", &[], &session.external_key);
    xml.open("custom_attributes", &[]);
    for (code_name, value) in &session.custom_attributes {
        let mut fields = options.custom_fields.iter();
        let field = fields.find(|field| field.code_name == *code_name);
        let display_name = field.map_or(code_name.as_str(), |field| &field.display_name);
        let names = [("display_name", display_name), ("code_name", code_name)];
        xml.element("custom_attribute", &names, value);
    }
    xml.close("custom_attributes");
    if ended_at.is_some() {
        write_urls(xml, base_url, session);
    }
    let count = |prefix: &str| {
        let fits = |stamped: &&StampedEvent| stamped.event.event_type.starts_with(prefix);
        session.events.iter().filter(fits).count()
    };
    let transfers = count("File Upload") + count("File Download");
    xml.element("file_transfer_count", &[], &transfers.to_string());
    xml.element("file_move_count", &[], &count("File Moved").to_string());
    xml.element("file_delete_count", &[], &count("File Deleted").to_string());
    if let Some((id, name)) = &session.jumpoint {
        xml.element("jumpoint", &[("id", &id.to_string())], name);
    }
    if let Some(group) = &session.jump_group {
        let id = group.id.to_string();
        xml.element("jump_group", &[("id", &id), ("type", group.kind)], &group.name);
    }
    write_primaries(xml, session);
    xml.open("customer_list", &[]);
    for (number, customer) in session.customers.iter().enumerate() {
        write_customer(xml, customer, number == 0);
    }
    xml.close("customer_list");
    xml.open("rep_list", &[]);
    for (number, representative) in session.representatives.iter().enumerate() {
        write_representative(xml, representative, number == 0, ended_at.unwrap_or(now));
    }
    xml.close("rep_list");
    // Pointers only; the answers come with the survey reports (beyondtrust.md D.3).
    let pointers = [
        ("cust_survey_list", "cust_exit_survey", &session.customer_survey),
        ("rep_survey_list", "rep_exit_survey", &session.representative_survey),
    ];
    for (list, pointer, survey) in pointers {
        if survey.is_some() {
            xml.open(list, &[]);
            xml.element(pointer, &[("gsnumber", "1")], "");
            xml.close(list);
        }
    }
    xml.open("session_details", &[]);
    xml.line();
    // While the end cannot be seen its event is not there either.
    let visible = |stamped: &&StampedEvent| ended_at.is_some() || stamped.event.event_type != "Session End";
    for stamped in session.events.iter().filter(visible) {
        write_event(xml, options, session, stamped);
    }
    xml.close("session_details");
    xml.close("session");
}

fn write_time(xml: &mut Xml, name: &str, at: i64) {
    xml.element(name, &[("timestamp", &at.to_string())], &iso(at));
}

/// Signed links of an ended session (beyondtrust.md D.3).
fn write_urls(xml: &mut Xml, base_url: &str, session: &Session) {
    let (lsid, signature) = (&session.lsid, &session.signature);
    let url = |what: &str, rest: &str| format!("{base_url}/session_download?lsid=l%3D{lsid}%3Bh%3D{signature}%3Bt%3Dsd%3Bm%3D{what}{rest}");
    let chat = url("chat", "&dl_action=chat");
    xml.element("session_chat_view_url", &[], &format!("{chat}&view=1"));
    xml.element("session_chat_download_url", &[], &chat);
    if session.recorded {
        let recording = url("recording", "");
        let view = format!("{recording}&view=1");
        xml.element("session_recording_view_url", &[], &view);
        xml.element("session_recording_download_url", &[], &recording);
    }
}

fn write_primaries(xml: &mut Xml, session: &Session) {
    if let Some(customer) = session.customers.first() {
        let gsnumber = customer.gsnumber.to_string();
        let attributes = [("gsnumber", gsnumber.as_str())];
        xml.element("primary_customer", &attributes, &customer.person.name);
    }
    if let Some(member) = session.representatives.first() {
        let (gsnumber, id) = (member.gsnumber.to_string(), member.person.id.to_string());
        let attributes = [("gsnumber", gsnumber.as_str()), ("id", id.as_str())];
        xml.element("primary_rep", &attributes, &member.person.display_name);
    }
}

fn write_customer(xml: &mut Xml, member: &Member<Customer>, primary: bool) {
    let customer = &member.person;
    xml.open("customer", &[("gsnumber", &member.gsnumber.to_string())]);
    xml.element("username", &[], &customer.username);
    xml.element("public_ip", &[], &customer.public_ip);
    xml.element("private_ip", &[], &customer.private_ip);
    xml.element("hostname", &[], &customer.hostname);
    xml.element("os", &[], &customer.operating_system);
    xml.element("primary_cust", &[], if primary { "1" } else { "0" });
    xml.open("info", &[]);
    xml.element("name", &[], &customer.name);
    xml.element("company", &[], &customer.company);
    xml.element("company_code", &[], &customer.company_code);
    xml.element("issue", &[], &customer.issue);
    xml.element("details", &[], &customer.details);
    xml.close("info");
    xml.close("customer");
}

fn write_representative(xml: &mut Xml, member: &Member<Representative>, owner: bool, end: i64) {
    let (representative, gsnumber) = (&member.person, member.gsnumber.to_string());
    let id = representative.id.to_string();
    xml.open("representative", &[("gsnumber", &gsnumber), ("id", &id)]);
    xml.element("username", &[], &representative.username);
    xml.element("display_name", &[], &representative.display_name);
    xml.element("public_display_name", &[], &representative.display_name);
    xml.element("private_display_name", &[], &representative.private_display_name);
    xml.element("public_ip", &[], &representative.public_ip);
    xml.element("private_ip", &[], &representative.private_ip);
    if !representative.hostname.is_empty() {
        xml.element("hostname", &[], &representative.hostname);
    }
    xml.element("os", &[], &representative.operating_system);
    xml.element("session_owner", &[], if owner { "1" } else { "0" });
    let involved = (member.left_at.unwrap_or(end) - member.joined_at).max(0);
    xml.element("seconds_involved", &[], &involved.to_string());
    if representative.invited {
        xml.element("invited", &[], "1");
    }
    xml.close("representative");
}

fn write_event(xml: &mut Xml, options: &Options, session: &Session, stamped: &StampedEvent) {
    let SessionEvent { event_type, performed_by, destination, body, data, file, files, system_information } = &stamped.event;
    let at = stamped.at.to_string();
    xml.open("event", &[("timestamp", &at), ("event_type", event_type)]);
    xml.line();
    for (name, party) in [("performed_by", performed_by), ("destination", destination)] {
        if let Some(party) = party {
            let (kind, gsnumber) = session.kind_and_number_of(*party);
            let attributes = [("type", kind), ("gsnumber", gsnumber.as_str())];
            xml.element(name, &attributes, &session.name_of(*party, options));
        }
    }
    if let Some(body) = body {
        match (body.encoded(), body) {
            (Some(encoded), _) => xml.element("encoded_body", &[], &encoded),
            (None, super::session::Body::Text(text)) => xml.element("body", &[], text),
            (None, super::session::Body::Bytes(_)) => {}
        }
    }
    if let Some(file) = file {
        xml.element("filename", &[], &file.filename);
        xml.element("filesize", &[], &file.filesize.to_string());
    }
    if !files.is_empty() {
        xml.open("files", &[]);
        for file in files {
            xml.open("file", &[]);
            xml.element("filename", &[], &file.filename);
            xml.element("filesize", &[], &file.filesize.to_string());
            xml.close("file");
        }
        xml.close("files");
    }
    if !data.is_empty() {
        xml.open("data", &[]);
        for (name, value) in data {
            xml.element("value", &[("name", name), ("value", value)], "");
        }
        xml.close("data");
    }
    if !system_information.is_empty() {
        xml.open("system_information", &[]);
        for category in system_information {
            write_category(xml, category);
        }
        xml.close("system_information");
    }
    xml.close("event");
}

/// Values are padded with whitespace, as real ones are (beyondtrust.md D.4).
fn write_category(xml: &mut Xml, category: &SystemInformation) {
    let attribute = category.field_attribute;
    xml.open("category", &[("name", &category.category)]);
    xml.open("description", &[]);
    for (code, title) in &category.columns {
        xml.element("field", &[(attribute, code)], title);
    }
    xml.close("description");
    xml.open("data", &[]);
    for row in &category.rows {
        xml.open("row", &[]);
        for (position, value) in row.iter().enumerate() {
            let column = category.columns.get(position);
            let code = column.map_or("", |(code, _)| code.as_str());
            xml.element("field", &[(attribute, code)], &format!("\n      {value} \n"));
        }
        xml.close("row");
    }
    xml.close("data");
    xml.close("category");
}

impl Session {
    /// The display name of somebody in this session.
    pub(super) fn name_of(&self, party: Party, options: &Options) -> String {
        let name = match party {
            Party::System => Some(&options.product_name),
            Party::Customer(number) => self.customers.get(number).map(|m| &m.person.name),
            Party::Representative(number) => {
                let member = self.representatives.get(number);
                member.map(|member| &member.person.display_name)
            }
            Party::Everyone => return "Everyone".into(),
            Party::PreStart => return "Pre-start Conference".into(),
        };
        name.cloned().unwrap_or_default()
    }

    fn kind_and_number_of(&self, party: Party) -> (&'static str, String) {
        let (kind, gsnumber) = match party {
            Party::System | Party::PreStart => ("system", None),
            Party::Everyone => ("everyone", None),
            Party::Customer(number) => ("customer", self.customers.get(number).map(|member| member.gsnumber)),
            Party::Representative(number) => {
                let member = self.representatives.get(number);
                ("representative", member.map(|member| member.gsnumber))
            }
        };
        (kind, gsnumber.unwrap_or(0).to_string())
    }
}
