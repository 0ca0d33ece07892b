//! The Reporting API (beyondtrust.md D): sessions and exit surveys. XML only, also on the newest appliances (B.6).
//!
//! "Nothing found" is an `<error>` document there; here it is an empty list or `None`. Must not wait for a report that
//! lags: who asks knows how long waiting makes sense.

use super::session::read_session;
use super::survey::read_surveys;
use super::transport::{Endpoint, Form, Wanted, error_document};
use super::{ApplianceClient, Element, Error, ExitSurvey, SessionReport};
use deskbridge_http_client::limiter::Urgency;

/// The lsid that no session has.
const NOBODY: &str = "00000000000000000000000000000000";

/// The reports that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Session,
    SessionListing,
    CustomerSurvey,
    RepresentativeSurvey,
}

impl Report {
    pub(super) const ALL: [Self; 4] = [Self::Session, Self::SessionListing, Self::CustomerSurvey, Self::RepresentativeSurvey];

    fn name(self) -> &'static str {
        match self {
            Self::Session => "SupportSession",
            Self::SessionListing => "SupportSessionListing",
            Self::CustomerSurvey => "SupportCustExitSurvey",
            Self::RepresentativeSurvey => "SupportRepExitSurvey",
        }
    }

    /// A question whose answer is empty. Surveys are asked for by a time long ago: old appliances refuse each lsid, in the same words.
    pub(super) fn of_nothing(self) -> Form<'static> {
        match self {
            Self::Session | Self::SessionListing => vec![("lsid".into(), NOBODY.into())],
            Self::CustomerSurvey | Self::RepresentativeSurvey => SurveyQuery::Window { start: 1, seconds: 1 }.form(),
        }
    }
}

/// Which exit surveys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurveyQuery<'a> {
    /// Of one session.
    Lsid(&'a str),
    /// Begun in a window. For appliances that do not know the lsid form; the session's start minus 5 s and 10 s do
    /// (beyondtrust.md D.7).
    Window {
        /// Unix seconds.
        start: i64,
        /// Length.
        seconds: u32,
    },
}

impl SurveyQuery<'_> {
    fn form(&self) -> Form<'_> {
        match self {
            Self::Lsid(lsid) => vec![("lsid".into(), (*lsid).into()), ("report_type".into(), "rep".into())],
            Self::Window { start, seconds } => vec![
                ("start_time".into(), start.to_string().into()),
                ("duration".into(), seconds.to_string().into()),
                ("report_type".into(), "rep".into()),
                ("id".into(), "all".into()),
            ],
        }
    }
}

impl ApplianceClient {
    /// A session's report. `None`: there is none, or not yet (beyondtrust.md D.5). A report without `end_time` can be
    /// of a session that runs, or lag behind its end. Of one that is too large its events are left out.
    pub async fn support_session(&self, lsid: &str) -> Result<Option<SessionReport>, Error> {
        let is_asked_for = |session: &SessionReport| session.lsid.eq_ignore_ascii_case(lsid);
        match self.sessions(vec![("lsid".into(), lsid.into())]).await {
            Ok(sessions) => Ok(sessions.into_iter().find(is_asked_for)),
            Err(too_large @ Error::TooLarge { .. }) => {
                self.session_without_events(lsid).await?.filter(is_asked_for).map(Some).ok_or(too_large)
            }
            Err(error) => Err(error),
        }
    }

    /// What a report says before its events. `None`: not whose session it is.
    async fn session_without_events(&self, lsid: &str) -> Result<Option<SessionReport>, Error> {
        let form = vec![("lsid".into(), lsid.into())];
        let root = match self.ask(Report::Session, form, Wanted::BeginningWithout("session_details")).await {
            Ok(root) => root,
            // Not one element before the cut.
            Err(Error::Unexpected { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // A field that is not set is an empty element (beyondtrust.md D.3): one that is not there may come after what was read.
        let mut sessions = root.children_named("session").filter(|session| session.child("external_key").is_some());
        let report = sessions.next().and_then(read_session);
        Ok(report.map(|report| SessionReport { is_without_events: true, ..report }))
    }

    /// Closed sessions that ended within `seconds` from that moment of the appliance's clock on (0: until now), in no promised order.
    pub async fn support_sessions_ended_since(&self, since: i64, seconds: u32) -> Result<Vec<SessionReport>, Error> {
        self.sessions(vec![("end_time".into(), since.to_string().into()), ("duration".into(), seconds.to_string().into())]).await
    }

    /// Only the lsids of such sessions, for where the reports together are too large.
    pub async fn ids_of_sessions_ended_since(&self, since: i64, seconds: u32) -> Result<Vec<String>, Error> {
        let form = vec![("end_time".into(), since.to_string().into()), ("duration".into(), seconds.to_string().into())];
        match self.report(Report::SessionListing, form).await {
            Ok(root) if root.name == "session_summary_list" => {
                Ok(root.children_named("session_summary").filter_map(|session| session.attribute("lsid")).map(str::to_owned).collect())
            }
            Ok(root) => Err(Error::Unexpected { what: "no session_summary_list".to_owned(), excerpt: format!("<{:.40}>", root.name) }),
            Err(Error::NoReport) => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// Sessions that began at or after that moment of the appliance's clock, those in progress included.
    pub async fn support_sessions_started_since(&self, since: i64) -> Result<Vec<SessionReport>, Error> {
        self.sessions(vec![("start_time".into(), since.to_string().into()), ("duration".into(), "0".into())]).await
    }

    /// What customers answered.
    pub async fn customer_surveys(&self, query: SurveyQuery<'_>) -> Result<Vec<ExitSurvey>, Error> {
        self.surveys(Report::CustomerSurvey, query).await
    }

    /// What representatives answered.
    pub async fn representative_surveys(&self, query: SurveyQuery<'_>) -> Result<Vec<ExitSurvey>, Error> {
        self.surveys(Report::RepresentativeSurvey, query).await
    }

    async fn sessions(&self, form: Form<'_>) -> Result<Vec<SessionReport>, Error> {
        match self.report(Report::Session, form).await {
            Ok(root) => read_sessions(&root),
            Err(Error::NoReport) => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    async fn surveys(&self, report: Report, query: SurveyQuery<'_>) -> Result<Vec<ExitSurvey>, Error> {
        match self.report(report, query.form()).await {
            Ok(root) => read_surveys(&root),
            Err(Error::NoReport) => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// One report. "Nothing found" is [`Error::NoReport`] in every language.
    async fn report(&self, report: Report, form: Form<'_>) -> Result<Element, Error> {
        match self.ask(report, form, Wanted::Whole).await {
            Err(Error::Refused { message }) if self.says_nothing_found(report, &message).await? => Err(Error::NoReport),
            other => other,
        }
    }

    /// One report, as it is answered.
    pub(super) async fn ask(&self, report: Report, mut form: Form<'_>, wanted: Wanted) -> Result<Element, Error> {
        form.insert(0, ("generate_report".into(), report.name().into()));
        if let Some(locale) = self.inner.locale() {
            // The spelling of this parameter is not on record; `locale` is the likely one (beyondtrust.md D.1).
            form.push(("locale".into(), locale.into()));
        }
        self.inner.call(Endpoint::Reporting, Urgency::Work, &form, wanted).await
    }
}

/// Reads a stored answer of the SupportSession report, for previews and replays.
///
/// # Errors
/// [`Error::NoReport`] or [`Error::Refused`] for an `<error>` document, [`Error::Unexpected`] for anything that is
/// no report.
pub fn parse_report(document: &[u8]) -> Result<Vec<SessionReport>, Error> {
    let root = Element::parse(document).map_err(|fault| Error::unexpected(fault.to_string(), document, &[]))?;
    match root.error_text() {
        Some(text) => Err(error_document(Endpoint::Reporting, &text, &[])),
        None => read_sessions(&root),
    }
}
/// Reads a `session_list`.
pub(super) fn read_sessions(root: &Element) -> Result<Vec<SessionReport>, Error> {
    if root.name != "session_list" {
        return Err(Error::Unexpected { what: "no session_list".to_owned(), excerpt: format!("<{:.40}>", root.name) });
    }
    Ok(root.children_named("session").filter_map(read_session).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Double, Reply};
    use super::*;

    const LSID: &str = "e9e99aeb9ad54fb381634498502c5a1b";
    const NOTHING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error xmlns=\"http://www.beyondtrust.com/sra/namespaces/API/reporting\">No Support report information matching your chosen criteria is available.</error>";

    #[tokio::test]
    async fn one_session() {
        let double = Double::start().await;
        double.next(Reply::ok(include_str!("samples/support_session.xml")));
        double.next(Reply::ok(NOTHING));
        double.next(Reply::ok(include_str!("samples/support_session.xml")));
        let client = double.oauth_client();
        assert_eq!(client.support_session(LSID).await.unwrap().unwrap().lseq, Some(4711));
        assert_eq!(client.support_session(LSID).await.unwrap(), None);
        assert_eq!(
            client.support_session("00000000000000000000000000000000").await.unwrap(),
            None,
            "another session's report is not taken"
        );
        assert_eq!(
            (double.calls()[0].path.as_str(), double.calls()[0].body.as_str()),
            ("/api/reporting", &*format!("generate_report=SupportSession&lsid={LSID}"))
        );
    }

    #[tokio::test]
    async fn a_long_report_is_read() {
        let event = "<event timestamp=\"1\" event_type=\"Chat Message\"><body>x</body></event>".repeat(20_000);
        let double = Double::start().await;
        double.next(Reply::ok(format!(
            "<session_list><session lsid=\"{LSID}\"><session_details>{event}</session_details></session></session_list>"
        )));
        assert_eq!(double.oauth_client().support_session(LSID).await.unwrap().unwrap().events.len(), 20_000);
    }

    /// What stands before the events tells whose session it is; the events are left out.
    #[tokio::test]
    async fn the_beginning_of_a_report_too_large_is_read() {
        let head = "<external_key>88121</external_key><start_time timestamp=\"7\"/><end_time timestamp=\"9\"/>";
        let many = "<event timestamp=\"1\" event_type=\"Chat Message\"/>".repeat(600_000);
        let long = format!("<event timestamp=\"1\"><body>{}</body></event>", "x".repeat(33 << 20));
        for events in [many, long] {
            let double = Double::start().await;
            double.always(Reply::ok(format!(
                "<session_list><session lsid=\"{LSID}\">{head}<session_details>{events}</session_details></session></session_list>"
            )));
            let report = double.oauth_client().support_session(LSID).await.unwrap().unwrap();
            assert_eq!((report.external_key.as_deref(), report.start_time, report.end_time), (Some("88121"), Some(7), Some(9)));
            assert!(report.is_without_events && report.events.is_empty());
        }
    }

    #[tokio::test]
    async fn a_report_too_large_that_does_not_say_whose_session_it_is_is_refused() {
        let double = Double::start().await;
        let long = format!("<event timestamp=\"1\"><body>{}</body></event>", "x".repeat(33 << 20));
        double.always(Reply::ok(format!(
            "<session_list><session lsid=\"{LSID}\"><session_details>{long}</session_details><external_key>88121</external_key></session></session_list>"
        )));
        let error = double.oauth_client().support_session(LSID).await.unwrap_err();
        assert_eq!(error, Error::TooLarge { limit: "32 MiB".to_owned() });
    }

    #[tokio::test]
    async fn ids_alone() {
        let double = Double::start().await;
        double.next(Reply::ok(
            "<session_summary_list><session_summary lsid=\"a\" has_recording=\"0\"  /><session_summary lsid=\"b\"/></session_summary_list>",
        ));
        double.next(Reply::ok(NOTHING));
        double.next(Reply::ok("<session_list/>"));
        let client = double.oauth_client();
        assert_eq!(client.ids_of_sessions_ended_since(7, 1).await.unwrap(), ["a", "b"]);
        assert_eq!(client.ids_of_sessions_ended_since(7, 1).await.unwrap(), Vec::<String>::new());
        assert!(matches!(client.ids_of_sessions_ended_since(7, 1).await, Err(Error::Unexpected { .. })));
        assert_eq!(double.calls()[0].body, "generate_report=SupportSessionListing&end_time=7&duration=1");
    }

    #[tokio::test]
    async fn ranges() {
        let double = Double::start().await;
        double.next(Reply::ok("<session_list><session lsid=\"a\"/><session/><session lsid=\"b\"/></session_list>"));
        double.next(Reply::ok(NOTHING));
        double.next(Reply::ok("<summary_list/>"));
        let mut settings = double.legacy_settings();
        settings.locale = Some("en-us".to_owned());
        let client = ApplianceClient::new(settings).unwrap();
        let ended: Vec<_> =
            client.support_sessions_ended_since(1_733_239_565, 0).await.unwrap().into_iter().map(|session| session.lsid).collect();
        assert_eq!(ended, ["a", "b"]);
        assert_eq!(client.support_sessions_started_since(7).await.unwrap(), []);
        assert!(matches!(client.support_sessions_started_since(7).await, Err(Error::Unexpected { .. })));
        let bodies: Vec<_> = double.calls().iter().map(|call| call.body.split("&username").next().unwrap().to_owned()).collect();
        assert_eq!(bodies[0], "generate_report=SupportSession&end_time=1733239565&duration=0&locale=en-us");
        assert_eq!(bodies[1], "generate_report=SupportSession&start_time=7&duration=0&locale=en-us");
        assert_eq!(double.calls()[0].path, "/api/reporting.ns");
    }

    #[tokio::test]
    async fn surveys_by_session_and_by_window() {
        let double = Double::start().await;
        double.next(Reply::ok(include_str!("samples/exit_survey.xml")));
        double.next(Reply::ok(NOTHING));
        let client = double.oauth_client();
        assert_eq!(client.customer_surveys(SurveyQuery::Lsid(LSID)).await.unwrap()[0].questions.len(), 2);
        assert_eq!(client.representative_surveys(SurveyQuery::Window { start: 1_733_239_560, seconds: 10 }).await.unwrap(), []);
        let calls = double.calls();
        assert_eq!(calls[0].body, format!("generate_report=SupportCustExitSurvey&lsid={LSID}&report_type=rep"));
        assert_eq!(calls[1].body, "generate_report=SupportRepExitSurvey&start_time=1733239560&duration=10&report_type=rep&id=all");
    }

    const INFO: &str = "<get_api_info><api_version>1.24.1</api_version><permissions><permission name=\"perm_reporting_support\">1</permission></permissions></get_api_info>";

    fn error(sentence: &str) -> Reply {
        Reply::ok(format!("<error xmlns=\"http://www.beyondtrust.com/sra/namespaces/API/reporting\">{sentence}</error>"))
    }

    fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
        match answer.unwrap_err() {
            Error::Refused { message } => message,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn nothing_found_is_learnt_once_in_the_appliances_language() {
        for french in [true, false] {
            let (sentence, again) = if french {
                (
                    "Aucun rapport Support correspondant à vos critères n'est disponible.",
                    "Aucun rapport Support\n  correspondant à vos\u{a0}critères n’est disponible.",
                )
            } else {
                (
                    "Es sind keine Support-Berichte verfügbar, die Ihren Kriterien entsprechen.",
                    "Es sind keine Support-Berichte verfügbar,\tdie Ihren Kriterien entsprechen.",
                )
            };
            let double = Double::start().await;
            for reply in [error(again), Reply::ok(INFO), error(sentence)] {
                double.next(reply);
            }
            let client = double.oauth_client();
            assert_eq!(client.support_session(LSID).await, Ok(None));
            let bodies = || double.calls().iter().map(|call| call.body.clone()).collect::<Vec<_>>();
            let report = |lsid| format!("generate_report=SupportSession&lsid={lsid}");
            assert_eq!(bodies(), [report(LSID), "action=get_api_info".to_owned(), report(NOBODY)]);
            double.always(error(sentence));
            assert_eq!(client.support_sessions_ended_since(7, 0).await, Ok(vec![]));
            assert_eq!(client.support_sessions_started_since(7).await, Ok(vec![]));
            assert_eq!(client.customer_surveys(SurveyQuery::Lsid(LSID)).await, Ok(vec![]));
            assert_eq!(client.representative_surveys(SurveyQuery::Window { start: 7, seconds: 0 }).await, Ok(vec![]));
            assert_eq!(bodies().len(), 7, "it is asked for once");
        }
    }

    #[tokio::test]
    async fn surveys_may_have_a_sentence_of_their_own() {
        let double = Double::start().await;
        let none = "Aucune enquête ne correspond à vos critères.";
        for reply in [error(none), Reply::ok(INFO), error("Aucun rapport."), Reply::ok(INFO), error(none)] {
            double.next(reply);
        }
        let client = double.oauth_client();
        assert_eq!(client.customer_surveys(SurveyQuery::Lsid(LSID)).await, Ok(vec![]));
        double.next(error(none));
        assert_eq!(client.customer_surveys(SurveyQuery::Window { start: 7, seconds: 0 }).await, Ok(vec![]));
        assert_eq!(double.calls().len(), 6);
        // An old appliance that knows no surveys by session would refuse every such question in the same words.
        let question = "generate_report=SupportCustExitSurvey&start_time=1&duration=1&report_type=rep&id=all";
        assert_eq!(double.calls()[4].body, question);
    }

    #[tokio::test]
    async fn nothing_found_is_known_in_english_without_asking() {
        for sentence in [
            "No report information matching your criteria is available.",
            "There are no sessions\n matching your filter.",
            "Nothing matching your chosen criteria was found.",
        ] {
            let double = Double::start().await;
            double.next(error(sentence));
            assert_eq!(double.oauth_client().support_session(LSID).await, Ok(None), "{sentence}");
            assert_eq!(double.calls().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_refusal_in_another_language_is_never_taken_for_nothing_found() {
        let double = Double::start().await;
        let client = double.oauth_client();
        let no = "Le site est en cours de mise à jour.";
        for reply in [error(no), Reply::ok(INFO), error("Aucun rapport.")] {
            double.next(reply);
        }
        assert_eq!(refused(client.support_sessions_ended_since(7, 0).await), no);
        double.next(error(no));
        assert_eq!(refused(client.support_sessions_ended_since(7, 0).await), no);
        assert_eq!(double.calls().len(), 4, "the sentence is known by now");

        // It says the same to everything: nothing is learnt from that but that the password is refused.
        let double = Double::start().await;
        double.always(error("Échec de la connexion"));
        let reason = "Échec de la connexion".to_owned();
        assert_eq!(double.legacy_client().support_session(LSID).await.unwrap_err(), Error::Denied { reason });

        // The account may not read reports, whatever the sentence is.
        let double = Double::start().await;
        let denied = Reply::ok(INFO.replace('1', "0"));
        for reply in [error("Vous n’y êtes pas autorisé."), denied] {
            double.next(reply);
        }
        let error = double.oauth_client().support_session(LSID).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn what_keeps_us_from_learning_the_sentence_may_pass() {
        let double = Double::start().await;
        for reply in [error("Aucun rapport."), Reply::new(reqwest::StatusCode::BAD_GATEWAY, "")] {
            double.next(reply);
        }
        let client = double.oauth_client();
        let error = client.support_session(LSID).await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
    }
}
