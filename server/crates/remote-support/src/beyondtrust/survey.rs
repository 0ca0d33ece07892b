//! Exit surveys (beyondtrust.md D.7): what customers and representatives answered after a session.

use deskbridge_core::session_report::{ExitSurvey, Participant, SurveyQuestion};

use super::session::{read_actor, read_participant, read_representative};
use super::{Element, Error};

/// Reads an `exit_survey_list`.
pub(super) fn read_surveys(root: &Element) -> Result<Vec<ExitSurvey>, Error> {
    if root.name != "exit_survey_list" {
        return Err(Error::Unexpected { what: "no exit_survey_list".to_owned(), excerpt: format!("<{:.40}>", root.name) });
    }
    Ok(root.children_named("exit_survey").filter_map(read_survey).collect())
}

fn read_survey(survey: &Element) -> Option<ExitSurvey> {
    let participant = |name| survey.child(name).map(read_participant).filter(Participant::is_somebody);
    Some(ExitSurvey {
        lsid: survey.attribute("lsid").map(str::trim).filter(|lsid| !lsid.is_empty())?.to_owned(),
        timestamp: survey.moment(),
        submitted_by: survey.child("submitted_by").map(read_actor),
        primary_customer: participant("primary_customer"),
        primary_representative: participant("primary_rep"),
        representatives: survey.listed("rep_list", "representative").map(read_representative).collect(),
        questions: survey.listed("question_list", "question").map(read_question).collect(),
    })
}

fn read_question(question: &Element) -> SurveyQuestion {
    let answers = question.listed("answer_list", "answer");
    SurveyQuestion {
        id: question.attribute("id").map(str::to_owned),
        name: question.child_text("name"),
        kind: question.child_text("type"),
        label: question.child_text("label"),
        report_header: question.child_text("report_header"),
        // Answers may hold the two characters `\n` where a line ends (beyondtrust.md D.7).
        answers: answers.map(|answer| answer.text().replace("\\n", "\n").trim().to_owned()).filter(|answer| !answer.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_of_the_example() {
        let root = Element::parse(include_bytes!("samples/exit_survey.xml")).unwrap();
        let surveys = read_surveys(&root).unwrap();
        assert_eq!(surveys.len(), 1);
        let survey = &surveys[0];
        assert_eq!((survey.lsid.as_str(), survey.timestamp), ("e9e99aeb9ad54fb381634498502c5a1b", Some(1_733_240_520)));
        let submitted_by = survey.submitted_by.as_ref().unwrap();
        assert_eq!((submitted_by.kind.as_str(), submitted_by.name.as_deref()), ("customer", Some("John Smith")));
        assert_eq!(survey.primary_customer.as_ref().unwrap().gsnumber.as_deref(), Some("22"));
        assert_eq!(survey.primary_representative.as_ref().unwrap().id.as_deref(), Some("151"));
        assert_eq!(survey.representatives[0].username.as_deref(), Some("jdoe"));
        let question = &survey.questions[0];
        assert_eq!(
            (question.id.as_deref(), question.name.as_deref(), question.kind.as_deref()),
            (Some("1"), Some("rating"), Some("radio"))
        );
        assert_eq!((question.label.as_deref(), question.report_header.as_deref()), (Some("How do you rate the support?"), Some("Rating")));
        assert_eq!(question.answers, ["5"]);
        assert_eq!(survey.questions[1].answers, Vec::<String>::new());
    }

    #[test]
    fn other_shapes() {
        let root = Element::parse(
            b"<exit_survey_list><exit_survey lsid=\"e9\" ts=\"7\"><question_list><question>
              <answer_list><answer>a\\nb\\n</answer><answer/><answer>c</answer></answer_list></question></question_list></exit_survey>
              <exit_survey/></exit_survey_list>",
        );
        let surveys = read_surveys(&root.unwrap()).unwrap();
        assert_eq!(surveys.len(), 1, "one without a session is of no use");
        assert_eq!((surveys[0].timestamp, &surveys[0].questions[0].answers), (Some(7), &vec!["a\nb".to_owned(), "c".to_owned()]));
        assert!(read_surveys(&Element::parse(b"<session_list/>").unwrap()).is_err());
    }
}
