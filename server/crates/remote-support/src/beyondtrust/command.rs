//! The Command API (beyondtrust.md B): session keys, attributes, "does it work".
//!
//! Must not decide who may do what: the doors and use cases have done that before a command is sent.

use super::transport::{Endpoint, Form, GET_API_INFO, Wanted};
use super::{ApplianceClient, Element, Error};
use deskbridge_http_client::limiter::Urgency;
use std::collections::BTreeMap;
use std::fmt;

/// A custom field's value (beyondtrust.md A.2).
const MAX_FIELD_CHARACTERS: usize = 1024;
/// All custom fields together, the external key included (beyondtrust.md A.2).
const MAX_FIELDS_BYTES: usize = 10 * 1024;
/// (beyondtrust.md B.6)
const MAX_CODE_NAME_CHARACTERS: usize = 64;

/// Answer of `get_api_info`: proves token, clock and permissions in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiInfo {
    /// Such as `1.22.2`.
    pub api_version: String,
    /// The site's name.
    pub company_name: Option<String>,
    /// The appliance's clock; the right one to base polling on (beyondtrust.md B.5).
    pub timestamp: Option<i64>,
    /// Permission name (`perm_command`, `perm_reporting_support`, …) and value (`full_access`, `read_only`, `deny`, `0`, `1`).
    pub permissions: BTreeMap<String, String>,
}

impl ApiInfo {
    /// Whether commands that change something are allowed. `None`: the appliance does not tell (16.1 and earlier).
    pub fn may_command(&self) -> Option<bool> {
        self.permissions.get("perm_command").map(|value| value == "full_access")
    }

    /// Whether support session reports may be read. `None`: the appliance does not tell.
    pub fn may_report_sessions(&self) -> Option<bool> {
        self.permissions.get("perm_reporting_support").map(|value| !matches!(value.as_str(), "0" | "" | "deny" | "false"))
    }

    fn read(root: &Element) -> Option<Self> {
        // Two roots are on record; how a permission is written is not known (beyondtrust.md B.5).
        if !matches!(root.name.as_str(), "get_api_info" | "api_information" | "api_info") {
            return None;
        }
        let permissions = root.child("permissions").map_or(&[][..], |permissions| &permissions.children);
        let permissions = permissions.iter().filter_map(|permission| {
            if permission.name != "permission" {
                return Some((permission.name.clone(), permission.text().to_owned()));
            }
            match permission.attribute("name") {
                Some(name) => Some((name.to_owned(), permission.text().to_owned())),
                None => Some((permission.child_text("name")?, permission.child_text("value").unwrap_or_default())),
            }
        });
        Some(Self {
            api_version: root.child_text("api_version")?,
            company_name: root.child_text("company_name"),
            timestamp: root.child("timestamp").and_then(Element::moment),
            permissions: permissions.collect(),
        })
    }
}

/// Answer of `check_health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The appliance's own id.
    pub appliance_id: Option<String>,
    /// Its host name.
    pub appliance: Option<String>,
    /// Product version.
    pub version: Option<String>,
    /// Whether it calls itself healthy.
    pub success: bool,
    /// Why not.
    pub error_message: Option<String>,
    /// `none`, `primary` or `backup`.
    pub failover_role: Option<String>,
}

/// What a session key is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionKeyRequest {
    /// `general`, `rep:ID`, `team:ID`, `rep_username:NAME` or `issue:CODE` (beyondtrust.md B.4).
    pub queue: String,
    /// How long the key works.
    pub ttl_seconds: Option<u32>,
    /// The ticket's id, at most 1024 characters.
    pub external_key: Option<String>,
    /// Further custom fields, code name and value.
    pub custom_fields: Vec<(String, String)>,
    /// Host name to stand in the link, on appliances with several sites.
    pub url_hostname: Option<String>,
}

/// A session key. It opens a support session, so it is not printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey {
    /// Seven characters to read out.
    pub short_key: String,
    /// The link that starts the session; `http` or `https`.
    pub key_url: String,
    /// Subject of an invitation.
    pub mail_subject: Option<String>,
    /// Text of an invitation; holds the link.
    pub mail_body: Option<String>,
    /// When the key ends, Unix seconds.
    pub expires: Option<i64>,
}

impl SessionKey {
    fn read(root: &Element) -> Option<Self> {
        if root.name != "session_key" {
            return None;
        }
        Some(Self {
            short_key: root.child_text("short_key")?,
            // A link for customers: nothing but a web address may stand here.
            key_url: root.child_text("key_url").filter(|url| url.starts_with("https://") || url.starts_with("http://"))?,
            mail_subject: root.child_text("mail_subject"),
            mail_body: root.child_text("mail_body"),
            expires: root.child("expires").and_then(Element::moment),
        })
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SessionKey").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl ApplianceClient {
    /// Version, clock and permissions. Whatever is said against a password here refuses it, in whatever language: the call has no argument
    /// and needs no permission (beyondtrust.md B.5).
    pub async fn api_info(&self) -> Result<ApiInfo, Error> {
        let answered = self.command(GET_API_INFO, vec![]).await;
        let root = answered.map_err(|error| self.inner.what_refuses_all(error))?;
        ApiInfo::read(&root).ok_or_else(|| wrong_shape(GET_API_INFO, &root))
    }

    /// The appliance's own view of its health.
    pub async fn check_health(&self) -> Result<Health, Error> {
        let root = self.command("check_health", vec![]).await?;
        if root.child("success").is_none() {
            return Err(wrong_shape("check_health", &root));
        }
        Ok(Health {
            appliance_id: root.child("appliance").and_then(|appliance| appliance.attribute("id")).map(str::to_owned),
            appliance: root.child_text("appliance"),
            version: root.child_text("version"),
            success: root.child_flag("success"),
            error_message: root.child_text("error_message"),
            failover_role: root.child_text("failover_role"),
        })
    }

    /// Makes a session key (beyondtrust.md B.4).
    ///
    /// # Errors
    /// [`Error::Argument`] where a custom field exceeds the appliance's limits; [`Error::Refused`] where the queue does not
    /// exist or a `rep_username:` is not exactly one user's.
    pub async fn generate_session_key(&self, request: &SessionKeyRequest) -> Result<SessionKey, Error> {
        let ttl = request.ttl_seconds.map(|seconds| seconds.to_string());
        let mut form: Form<'_> = vec![("type".into(), "support".into()), ("queue_id".into(), request.queue.as_str().into())];
        if let Some(ttl) = &ttl {
            form.push(("ttl".into(), ttl.into()));
        }
        let external_key = request.external_key.iter().map(|key| ("external_key", key.as_str()));
        let fields: Vec<_> =
            external_key.chain(request.custom_fields.iter().map(|(code, value)| (code.as_str(), value.as_str()))).collect();
        push_custom_fields(&mut form, &fields)?;
        if let Some(hostname) = &request.url_hostname {
            form.push(("url_hostname".into(), hostname.into()));
        }
        let root = self.command_for(Urgency::Person, "generate_session_key", form).await?;
        SessionKey::read(&root).ok_or_else(|| wrong_shape("generate_session_key", &root))
    }

    /// Sets custom fields of an active session. Fields left out keep their value, an empty text clears
    /// (beyondtrust.md B.3). The external key is the field `external_key`.
    pub async fn set_session_attributes(&self, lsid: &str, attributes: &[(&str, &str)]) -> Result<(), Error> {
        let mut form: Form<'_> = vec![("lsid".into(), lsid.into())];
        push_custom_fields(&mut form, attributes)?;
        self.command_for_success("set_session_attributes", form).await
    }

    /// Whether a representative is logged in, of whatever team (beyondtrust.md B.5).
    pub async fn has_logged_in_representative(&self) -> Result<bool, Error> {
        let root = self.command("get_logged_in_reps", Vec::new()).await?;
        if root.name != "logged_in_reps" {
            return Err(wrong_shape("get_logged_in_reps", &root));
        }
        Ok(root.children_named("rep").next().is_some())
    }

    /// Custom fields of an active session, code name to value.
    pub async fn get_session_attributes(&self, lsid: &str) -> Result<BTreeMap<String, String>, Error> {
        let root = self.command("get_session_attributes", vec![("lsid".into(), lsid.into())]).await?;
        if root.name != "custom_attributes" {
            return Err(wrong_shape("get_session_attributes", &root));
        }
        let attributes = root.children_named("custom_attribute");
        Ok(attributes.filter_map(|attribute| Some((attribute.attribute("code_name")?.to_owned(), attribute.text().to_owned()))).collect())
    }

    async fn command_for_success(&self, action: &'static str, form: Form<'_>) -> Result<(), Error> {
        let root = self.command(action, form).await?;
        // The sentence is for people; the root is the promise (beyondtrust.md B.3).
        if root.name == "success" { Ok(()) } else { Err(wrong_shape(action, &root)) }
    }

    async fn command(&self, action: &'static str, form: Form<'_>) -> Result<Element, Error> {
        self.command_for(Urgency::Work, action, form).await
    }

    async fn command_for(&self, urgency: Urgency, action: &'static str, mut form: Form<'_>) -> Result<Element, Error> {
        form.insert(0, ("action".into(), action.into()));
        self.inner.call(Endpoint::Command, urgency, &form, Wanted::Whole).await
    }
}

/// Says which root came, and none of its content: a session key could be in it.
fn wrong_shape(action: &str, root: &Element) -> Error {
    Error::Unexpected { what: format!("{action} answered in a shape not known"), excerpt: format!("<{:.40}>", root.name) }
}

/// Adds `session.custom.CODE` pairs within the appliance's limits.
fn push_custom_fields<'a>(form: &mut Form<'a>, fields: &[(&'a str, &'a str)]) -> Result<(), Error> {
    let mut total = 0;
    for (code, value) in fields {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if code.is_empty() || code.len() > MAX_CODE_NAME_CHARACTERS || !code.bytes().all(valid) {
            return Err(Error::Argument(format!(
                "{code:?} is no code name of a custom field; expected letters, digits, _ and -, at most {MAX_CODE_NAME_CHARACTERS}"
            )));
        }
        let characters = value.chars().count();
        if characters > MAX_FIELD_CHARACTERS {
            return Err(Error::Argument(format!(
                "the value of custom field {code} has {characters} characters; the appliance takes at most {MAX_FIELD_CHARACTERS}"
            )));
        }
        total += value.len();
        if total > MAX_FIELDS_BYTES {
            return Err(Error::Argument(format!(
                "the custom fields together exceed {MAX_FIELDS_BYTES} bytes, the most the appliance takes"
            )));
        }
        form.push((format!("session.custom.{code}").into(), (*value).into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Double, Reply};
    use super::*;

    const KEY: &str = r#"<session_key xmlns="https://www.beyondtrust.com/namespaces/API/command">
  <short_key>4831907</short_key>
  <key_url>https://support.example.com/?ak=0c1d6f5a9b7e4e21a3c4d5e6f7081920</key_url>
  <mail_subject>Remote support invitation</mail_subject>
  <mail_body>Your representative would like to start a support session with you.
Open this link: https://support.example.com/?ak=0c1d6f5a9b7e4e21a3c4d5e6f7081920</mail_body>
  <expires ts="1733241365">2024-12-03T15:56:05+00:00</expires>
</session_key>"#;

    #[tokio::test]
    async fn session_key() {
        let double = Double::start().await;
        double.always(Reply::ok(KEY));
        let request = SessionKeyRequest {
            queue: "rep_username:jdoe".to_owned(),
            ttl_seconds: Some(1800),
            external_key: Some("88121".to_owned()),
            custom_fields: vec![("asset_tag".to_owned(), "Ä&=1".to_owned())],
            url_hostname: Some("help.example.com".to_owned()),
        };
        let key = double.legacy_client().generate_session_key(&request).await.unwrap();
        assert_eq!((key.short_key.as_str(), key.expires), ("4831907", Some(1_733_241_365)));
        assert_eq!(key.key_url, "https://support.example.com/?ak=0c1d6f5a9b7e4e21a3c4d5e6f7081920");
        assert_eq!(key.mail_subject.as_deref(), Some("Remote support invitation"));
        assert!(key.mail_body.as_ref().unwrap().ends_with(&key.key_url));
        assert!(!format!("{key:?}").contains("4831907"));
        assert_eq!(
            double.calls()[0].body,
            "action=generate_session_key&type=support&queue_id=rep_username%3Ajdoe&ttl=1800&session.custom.external_key=88121\
             &session.custom.asset_tag=%C3%84%26%3D1&url_hostname=help.example.com&username=integration&password=p%26ss"
        );
    }

    #[test]
    fn a_session_key_needs_its_key_and_a_web_address() {
        let read = |document: &str| SessionKey::read(&Element::parse(document.as_bytes()).unwrap());
        assert!(read(&KEY.replace("https://support", "javascript:support")).is_none());
        assert!(read("<session_key><short_key>1</short_key></session_key>").is_none());
        assert!(read("<session_key><key_url>https://a/?ak=1</key_url></session_key>").is_none());
        let least = read("<session_key><short_key>1</short_key><key_url>https://a/?ak=1</key_url></session_key>").unwrap();
        assert_eq!((least.expires, least.mail_body), (None, None));
    }

    #[tokio::test]
    async fn custom_fields_beyond_the_limits_are_not_sent() {
        let double = Double::start().await;
        let client = double.legacy_client();
        let long = "x".repeat(1025);
        let most = "x".repeat(1024);
        let eleven: Vec<_> = (0..11).map(|index| (format!("f{index}"), most.as_str())).collect();
        let eleven: Vec<_> = eleven.iter().map(|(code, value)| (code.as_str(), *value)).collect();
        for attributes in [&[("external_key", long.as_str())][..], &[("a&b", "x")], &[("", "x")], &eleven] {
            let error = client.set_session_attributes("e9e9", attributes).await.unwrap_err();
            assert!(matches!(error, Error::Argument(_)), "{error}");
        }
        assert!(double.calls().is_empty());
        double.next(Reply::ok("<success>Session attributes were set</success>"));
        client.set_session_attributes("e9e9", &[("external_key", &most), ("asset_tag", "")]).await.unwrap();
        assert!(double.calls()[0].body.contains("&session.custom.asset_tag=&"));
    }

    #[test]
    fn api_info_in_every_root_and_encoding() {
        let by_attribute =
            "<permission name=\"perm_command\">full_access</permission><permission name=\"perm_reporting_support\">1</permission>";
        let by_name = "<perm_command>full_access</perm_command><perm_reporting_support>1</perm_reporting_support>";
        let by_children = "<permission><name>perm_command</name><value>full_access</value></permission>\
                           <permission><name>perm_reporting_support</name><value>1</value></permission>";
        for root in ["get_api_info", "api_information"] {
            for permissions in [by_attribute, by_name, by_children] {
                let document = format!(
                    "<{root} xmlns=\"urn:x\"><api_version>1.22.2</api_version><company_name>example</company_name>\
                     <timestamp>1733239000</timestamp><permissions>{permissions}</permissions></{root}>"
                );
                let info = ApiInfo::read(&Element::parse(document.as_bytes()).unwrap()).unwrap();
                assert_eq!(info.api_version, "1.22.2");
                assert_eq!(info.company_name.as_deref(), Some("example"));
                assert_eq!(info.timestamp, Some(1_733_239_000));
                assert_eq!((info.may_command(), info.may_report_sessions()), (Some(true), Some(true)));
            }
        }
        let old = ApiInfo::read(&Element::parse(b"<get_api_info><api_version>1.5.0</api_version></get_api_info>").unwrap()).unwrap();
        assert_eq!((old.may_command(), old.may_report_sessions()), (None, None));
        assert!(ApiInfo::read(&Element::parse(b"<html><api_version>1</api_version></html>").unwrap()).is_none());
    }

    #[tokio::test]
    async fn health() {
        let double = Double::start().await;
        double.next(Reply::ok(
            "<health><appliance id=\"9d2c\">support.example.com</appliance><version>23.2.1 (58213)</version><success>1</success>\
             <failover_role>none</failover_role></health>",
        ));
        double.next(Reply::ok("<health><success>0</success><error_message>disk full</error_message></health>"));
        double.next(Reply::ok("<something/>"));
        let client = double.legacy_client();
        let health = client.check_health().await.unwrap();
        assert_eq!(
            (health.success, health.version.as_deref(), health.appliance_id.as_deref()),
            (true, Some("23.2.1 (58213)"), Some("9d2c"))
        );
        let health = client.check_health().await.unwrap();
        assert_eq!((health.success, health.error_message.as_deref()), (false, Some("disk full")));
        assert!(matches!(client.check_health().await, Err(Error::Unexpected { .. })));
    }

    #[tokio::test]
    async fn representatives_are_counted_as_the_appliance_lists_them() {
        let double = Double::start().await;
        let client = double.legacy_client();
        double.next(Reply::ok("<logged_in_reps><rep id=\"151\"><public_display_name>Jane D.</public_display_name></rep></logged_in_reps>"));
        double.next(Reply::ok("<logged_in_reps xmlns=\"urn:x\"/>"));
        double.next(Reply::ok("<logged_in_reps><error>No</error></logged_in_reps>"));
        double.next(Reply::ok("<something/>"));
        assert!(client.has_logged_in_representative().await.unwrap());
        assert!(!client.has_logged_in_representative().await.unwrap());
        assert!(matches!(client.has_logged_in_representative().await, Err(Error::Refused { .. })));
        assert!(matches!(client.has_logged_in_representative().await, Err(Error::Unexpected { .. })));
    }

    #[tokio::test]
    async fn session_attributes() {
        let double = Double::start().await;
        double.always(Reply::ok(
            "<custom_attributes><custom_attribute display_name=\"External Key\" code_name=\"external_key\">88121</custom_attribute>\
             <custom_attribute display_name=\"Asset Tag\" code_name=\"asset_tag\"/></custom_attributes>",
        ));
        let attributes = double.legacy_client().get_session_attributes("e9e9").await.unwrap();
        let expected = [("external_key", "88121"), ("asset_tag", "")];
        assert_eq!(attributes, expected.into_iter().map(|(code, value)| (code.to_owned(), value.to_owned())).collect());
    }
}
