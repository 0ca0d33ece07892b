//! Who may work on a ticket, as Zendesk itself judges it: by what an agent's role reaches, and by what they have to do with the ticket
//! (zendesk.md d.9; private groups: support.zendesk.com, article 4767122732058; roles: developer.zendesk.com, Custom Agent Roles).

use std::sync::Arc;

use serde_json::Value;

use super::{FIRST_PAGE, Zendesk, next_page};
use crate::{Agent, HelpDeskError, NotAllowed};

/// An agent in more groups than these pages hold is not found in the others.
const MAX_MEMBERSHIP_PAGES: usize = 20;

/// What says who may see a ticket.
pub(super) struct Owners {
    assignee: Option<u64>,
    requester: Option<u64>,
    group: Option<u64>,
    organisation: Option<u64>,
    /// Followers and people in copy.
    watchers: Vec<u64>,
}

impl Owners {
    pub(super) fn of(ticket: &Value) -> Self {
        let number = |name: &str| ticket[name].as_u64();
        let numbers = |name: &str| ticket[name].as_array().into_iter().flatten().filter_map(Value::as_u64);
        Self {
            assignee: number("assignee_id"),
            requester: number("requester_id"),
            group: number("group_id"),
            organisation: number("organization_id"),
            watchers: ["follower_ids", "email_cc_ids", "collaborator_ids"].into_iter().flat_map(numbers).collect(),
        }
    }

    /// Such an agent sees the ticket, whichever group or organisation it is of.
    fn involve(&self, agent: u64) -> bool {
        self.requester == Some(agent) || self.assignee == Some(agent) || self.watchers.contains(&agent)
    }
}

/// Which tickets an agent's role reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    All,
    /// Of their groups, and of groups that are not private.
    PublicGroups,
    Groups,
    Organisation,
    Assigned,
    Requested,
    None,
}

impl Reach {
    /// `ticket_access` of a custom role, or `ticket_restriction` of a user. What is not known reaches nothing.
    fn named(name: &str) -> Self {
        match name {
            "all" => Self::All,
            "within-groups-and-public-groups" => Self::PublicGroups,
            "within-groups" | "groups" => Self::Groups,
            "within-organization" | "organization" => Self::Organisation,
            "assigned-only" | "assigned" => Self::Assigned,
            "requested" => Self::Requested,
            _ => Self::None,
        }
    }
}

/// What an agent may see, as far as the API tells.
pub(super) struct Profile {
    agent: Agent,
    pub(super) is_agent: bool,
    reach: Reach,
    organisation: Option<u64>,
}

impl Profile {
    pub(super) fn is_administrator(&self) -> bool {
        self.agent.is_administrator
    }
}

impl Zendesk {
    /// The agent, if they may work on a ticket of these owners.
    pub(super) async fn agent_for(&self, agent_id: u64, ticket: &Owners) -> Result<Agent, HelpDeskError> {
        let profile = self.profile(agent_id).await?;
        if !profile.is_agent {
            return Err(HelpDeskError::not_allowed(NotAllowed::NotAnAgent, "only an active agent of the account can start remote support"));
        }
        if self.reaches(agent_id, &profile, ticket).await? {
            Ok(profile.agent.clone())
        } else {
            Err(HelpDeskError::not_allowed(NotAllowed::NoAccess, "your role in Zendesk does not let you work on this ticket"))
        }
    }

    async fn reaches(&self, agent_id: u64, profile: &Profile, ticket: &Owners) -> Result<bool, HelpDeskError> {
        Ok(match (profile.reach, ticket.group, ticket.organisation) {
            (Reach::All, ..) | (Reach::PublicGroups, None, _) => true,
            (Reach::Assigned, ..) => ticket.assignee == Some(agent_id),
            (Reach::Requested, ..) => ticket.requester == Some(agent_id),
            (Reach::None, ..) => false,
            _ if ticket.involve(agent_id) => true,
            (Reach::PublicGroups, Some(group), _) => self.is_public_group(group).await? || self.is_member(agent_id, "group", group).await?,
            (Reach::Groups, Some(group), _) => self.is_member(agent_id, "group", group).await?,
            (Reach::Organisation, _, Some(organisation)) => {
                profile.organisation == Some(organisation) || self.is_member(agent_id, "organization", organisation).await?
            }
            (Reach::Groups, None, _) | (Reach::Organisation, _, None) => false,
        })
    }

    pub(super) async fn profile(&self, agent_id: u64) -> Result<Arc<Profile>, HelpDeskError> {
        if let Some(profile) = self.agents.get(&agent_id).await {
            return Ok(profile);
        }
        let answer = self.client.get(&format!("/api/v2/users/{agent_id}")).await?;
        if answer.status == 404 {
            return Err(HelpDeskError::not_allowed(NotAllowed::NotAnAgent, "you are not an agent of this account any more"));
        }
        let answer = answer.ok("the agent")?;
        let user = &answer["user"];
        let text = |name: &str| user[name].as_str().map(str::to_owned);
        let suspended = user["suspended"].as_bool().unwrap_or(false);
        let is_agent = matches!(user["role"].as_str(), Some("agent" | "admin")) && !suspended && user["active"].as_bool() != Some(false);
        let profile = Arc::new(Profile {
            agent: Agent {
                name: text("name").unwrap_or_default(),
                email: text("email"),
                locale: text("locale"),
                is_administrator: is_agent && user["role"].as_str() == Some("admin"),
            },
            is_agent,
            reach: if is_agent { self.reach(user).await? } else { Reach::None },
            organisation: user["organization_id"].as_u64(),
        });
        self.agents.insert(agent_id, profile.clone()).await;
        Ok(profile)
    }

    /// With a custom role `ticket_restriction` is null, whatever the role reaches.
    async fn reach(&self, user: &Value) -> Result<Reach, HelpDeskError> {
        if user["role"].as_str() == Some("admin") {
            return Ok(Reach::All);
        }
        let restriction = user["ticket_restriction"].as_str().map(Reach::named);
        let Some(role) = user["custom_role_id"].as_u64() else { return Ok(restriction.unwrap_or(Reach::All)) };
        let answer = self.client.get(&format!("/api/v2/custom_roles/{role}")).await?;
        if matches!(answer.status, 403 | 404) {
            // The API user may not read roles (`check` says so): nothing is given away that a role might not reach.
            return Ok(restriction.unwrap_or(Reach::Groups));
        }
        let role = answer.ok("the agent's role")?;
        Ok(role["custom_role"]["configuration"]["ticket_access"].as_str().map_or(Reach::None, Reach::named))
    }

    /// For `deskbridge check`.
    pub(super) async fn roles_are_readable(&self) -> Result<(), HelpDeskError> {
        let answer = self.client.get("/api/v2/custom_roles").await?;
        if matches!(answer.status, 403 | 404) {
            return Err(HelpDeskError::Refused(
                "the API user may not read them: agents with a custom role reach tickets of their own groups only, and those they have to do \
                 with; give the API user's role access to them"
                    .into(),
            ));
        }
        answer.ok("the agents' roles").map(drop)
    }

    /// A group that cannot be read may be private.
    async fn is_public_group(&self, id: u64) -> Result<bool, HelpDeskError> {
        let answer = self.client.get(&format!("/api/v2/groups/{id}")).await?;
        if matches!(answer.status, 403 | 404) {
            return Ok(false);
        }
        Ok(answer.ok("the ticket's group")?["group"]["is_public"].as_bool() == Some(true))
    }

    /// Whether the user belongs to the `what` (`group` or `organization`) of that id.
    async fn is_member(&self, agent_id: u64, what: &str, id: u64) -> Result<bool, HelpDeskError> {
        let mut query = FIRST_PAGE.to_owned();
        for _ in 0..MAX_MEMBERSHIP_PAGES {
            let answer = self.client.get(&format!("/api/v2/users/{agent_id}/{what}_memberships?{query}")).await?;
            if answer.status == 404 {
                return Ok(false);
            }
            let page = answer.ok("the agent's memberships")?;
            let mut rows = page[format!("{what}_memberships").as_str()].as_array().into_iter().flatten();
            if rows.any(|row| row[format!("{what}_id").as_str()].as_u64() == Some(id)) {
                return Ok(true);
            }
            match next_page(&page) {
                Some(next) => query = next,
                None => return Ok(false),
            }
        }
        Ok(false)
    }
}
