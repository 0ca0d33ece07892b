//! People, roles and companies by name (autotask-extension.md a.8). What was found is kept for a while, as long as it leads to no
//! refusal; what was not found is asked for again, since a person will have corrected it before the next try.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use moka::future::Cache;
use serde_json::Value;
use tokio::time::Instant;

use super::client::{Client, Fault};
use super::query::{Entity, Filter};
use crate::HelpDeskError;
use deskbridge_http_client::cached::Freshness;

/// An answer is believed this long.
const LIFE: Duration = Duration::from_mins(5);
const MAX_KEPT: u64 = 5_000;
/// Rows looked at; one is expected.
const FEW: usize = 50;
/// Names told in a message.
const MAX_NAMES: usize = 10;
/// Longest address or name looked for.
const MAX_NAME: usize = 254;

/// A person of the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) email: Option<String>,
    pub(super) is_active: bool,
    default_role: Option<i64>,
}

impl Resource {
    /// One known by its number alone.
    pub(super) fn of_id(id: i64) -> Self {
        Self { id, name: format!("number {id}"), email: None, is_active: true, default_role: None }
    }
}

/// A role a person holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HeldRole {
    role: i64,
    is_default: bool,
}

pub(super) struct Lookup {
    resources: Answers<String, Arc<Resource>>,
    roles: Answers<String, i64>,
    held_roles: Answers<i64, Arc<Vec<HeldRole>>>,
    companies: Answers<String, i64>,
}

impl Lookup {
    pub(super) fn new() -> Self {
        Self { resources: Answers::new(), roles: Answers::new(), held_roles: Answers::new(), companies: Answers::new() }
    }

    /// What was written by these answers was refused: they are asked for again.
    pub(super) fn doubt(&self) {
        self.resources.0.invalidate_all();
        self.roles.0.invalidate_all();
        self.held_roles.0.invalidate_all();
        self.companies.0.invalidate_all();
    }

    /// The person of that e-mail address or user name, active ones first. `None`: there is none.
    pub(super) async fn resource(&self, client: &Client, name: &str, freshness: &Freshness) -> Result<Option<Arc<Resource>>, Fault> {
        let name = name.trim();
        if name.is_empty() || name.len() > MAX_NAME {
            return Ok(None);
        }
        let ask = async {
            let rows = client.query(Entity::Resources, &resource_filter(name), &RESOURCE_FIELDS, FEW, "a resource").await?;
            choose_resource(&rows, name)?.map(Arc::new).ok_or(Fault::NotFound("a resource"))
        };
        self.resources.get(name.to_lowercase(), freshness, ask).await
    }

    /// The active role of that name. `None`: there is none.
    pub(super) async fn role(&self, client: &Client, name: &str, freshness: &Freshness) -> Result<Option<i64>, Fault> {
        let name = name.trim();
        let ask = async {
            let filter = Filter::all([Filter::is("name", name), Filter::is("isActive", true)]);
            let rows = client.query(Entity::Roles, &filter, &["name"], FEW, "a role").await?;
            only(&rows, "name", name, "role")
        };
        self.roles.get(name.to_lowercase(), freshness, ask).await
    }

    /// The role under which a person works: the wanted one if he holds it, else his default one, else his only one
    /// (autotask-extension.md a.8).
    pub(super) async fn role_of(
        &self,
        client: &Client,
        resource: &Resource,
        wanted: Option<&str>,
        freshness: &Freshness,
    ) -> Result<i64, Fault> {
        let wanted_id = match wanted {
            Some(name) => Some(self.role(client, name, freshness).await?.ok_or_else(|| {
                HelpDeskError::Refused(format!(
                    "Autotask has no active role “{name}”; correct the role's name in the connection's settings"
                ))
            })?),
            None => None,
        };
        let held = self.held_roles(client, resource.id, freshness).await?;
        let is_held = |role: i64| held.iter().any(|held| held.role == role);
        let default = held.iter().find(|held| held.is_default).map(|held| held.role);
        let chosen = wanted_id
            .filter(|role| is_held(*role))
            .or(default)
            .or_else(|| resource.default_role.filter(|role| is_held(*role)))
            .or_else(|| if let [only] = held.as_slice() { Some(only.role) } else { None });
        if let Some(role) = chosen {
            if wanted_id.is_some_and(|wanted| wanted != role) {
                tracing::debug!(
                    resource = resource.name,
                    wanted,
                    role,
                    "the resource does not hold the wanted role; another of his is used"
                );
            }
            return Ok(role);
        }
        let held = if held.is_empty() { "none with a Service Desk queue".to_owned() } else { self.role_names(client, &held).await };
        let wanted = wanted.map_or_else(String::new, |name| format!("not the role “{name}”, "));
        Err(HelpDeskError::Refused(format!(
            "the Autotask resource {} holds {wanted}and of the roles it holds ({held}) none is its default; give it the role in Autotask",
            resource.name
        ))
        .into())
    }

    async fn held_roles(&self, client: &Client, resource: i64, freshness: &Freshness) -> Result<Arc<Vec<HeldRole>>, Fault> {
        let ask = async {
            let filter = Filter::all([Filter::is("resourceID", resource), Filter::is("isActive", true)]);
            let fields = ["resourceID", "roleID", "isDefault", "isActive"];
            let rows = client.query(Entity::ResourceServiceDeskRoles, &filter, &fields, FEW, "a resource's roles").await?;
            let held: Vec<HeldRole> = rows
                .iter()
                .filter(|row| row["resourceID"].as_i64() == Some(resource) && row["isActive"].as_bool() != Some(false))
                .filter_map(|row| Some(HeldRole { role: row["roleID"].as_i64()?, is_default: row["isDefault"].as_bool() == Some(true) }))
                .collect();
            // None at all is asked for again.
            if held.is_empty() { Err(Fault::NotFound("a resource's roles")) } else { Ok(Arc::new(held)) }
        };
        Ok(self.held_roles.get(resource, freshness, ask).await?.unwrap_or_default())
    }

    /// For a message only: where the names cannot be read, the numbers.
    async fn role_names(&self, client: &Client, held: &[HeldRole]) -> String {
        let ids: Vec<i64> = held.iter().map(|held| held.role).take(MAX_NAMES).collect();
        match client.query(Entity::Roles, &Filter::is_one_of("id", &ids), &["name"], FEW, "roles").await {
            Ok(rows) if !rows.is_empty() => names(&rows, "name"),
            _ => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }
    }

    /// The company of exactly that name. 0 is a company too: the tenant's own.
    pub(super) async fn company(&self, client: &Client, name: &str, freshness: &Freshness) -> Result<i64, Fault> {
        let name = name.trim();
        let ask = async {
            let rows = client.query(Entity::Companies, &Filter::is("companyName", name), &["companyName"], FEW, "a company").await?;
            only(&rows, "companyName", name, "company")
        };
        if let Some(id) = self.companies.get(name.to_lowercase(), freshness, ask).await? {
            return Ok(id);
        }
        let similar = client.query(Entity::Companies, &Filter::contains("companyName", name), &["companyName"], FEW, "companies").await?;
        let similar = match names(&similar, "companyName") {
            none if none.is_empty() => String::new(),
            names => format!("; there are {names}"),
        };
        Err(HelpDeskError::Refused(format!("Autotask has no company “{name}”{similar}. accountName must be a company's whole name")).into())
    }

    /// The active contact of that address in a company.
    pub(super) async fn contact(&self, client: &Client, company: i64, email: &str) -> Result<Option<i64>, Fault> {
        // An integer for contacts, unlike everywhere else (autotask-extension.md a.4).
        let filter = Filter::all([Filter::is("companyID", company), Filter::is("emailAddress", email), Filter::is("isActive", 1)]);
        let rows = client.query(Entity::Contacts, &filter, &["companyID", "emailAddress"], FEW, "a contact").await?;
        let is_it = |row: &&Value| {
            row["companyID"].as_i64() == Some(company)
                && row["emailAddress"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(email))
        };
        Ok(rows.iter().find(is_it).and_then(|row| row["id"].as_i64()))
    }
}

/// Answers by name or id, each with the time it was asked for. Who asks for the same at the same time shares the answer.
struct Answers<K: 'static, V: 'static>(LazyLock<Cache<K, (V, Instant)>>);

impl<K: std::hash::Hash + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static> Answers<K, V> {
    fn new() -> Self {
        // An empty one takes some 60 kB: made when it is first used.
        Self(LazyLock::new(|| Cache::builder().max_capacity(MAX_KEPT).time_to_live(LIFE).build()))
    }

    /// `None`: there is none, which is not kept.
    async fn get(&self, key: K, freshness: &Freshness, ask: impl Future<Output = Result<V, Fault>>) -> Result<Option<V>, Fault> {
        if let Some((kept, asked_at)) = self.0.get(&key).await {
            if freshness.takes(asked_at) {
                return Ok(Some(kept));
            }
            self.0.invalidate(&key).await;
        }
        let asked_at = Instant::now();
        // Boxed: it is large, and stands in the futures of all who ask.
        let found = Box::pin(self.0.try_get_with(key, async { Ok::<_, Fault>((ask.await?, asked_at)) }));
        match found.await {
            Ok((found, _)) => Ok(Some(found)),
            Err(fault) if matches!(*fault, Fault::NotFound(_)) => Ok(None),
            Err(fault) => Err((*fault).clone()),
        }
    }
}

const ADDRESSES: [&str; 4] = ["email", "email2", "email3", "userName"];
const RESOURCE_FIELDS: [&str; 8] =
    ["firstName", "lastName", "email", "email2", "email3", "userName", "isActive", "defaultServiceDeskRoleID"];

fn resource_filter(name: &str) -> Filter {
    Filter::any(ADDRESSES.map(|field| Filter::is(field, name)))
}

fn choose_resource(rows: &[Value], name: &str) -> Result<Option<Resource>, Fault> {
    let rank = |row: &Value| {
        let at = ADDRESSES.iter().position(|field| row[*field].as_str().is_some_and(|value| value.trim().eq_ignore_ascii_case(name)))?;
        Some((row["isActive"].as_bool() == Some(false), at))
    };
    let mut ranked: Vec<((bool, usize), Resource)> = rows.iter().filter_map(|row| Some((rank(row)?, read_resource(row)?))).collect();
    ranked.sort_by_key(|(rank, resource)| (*rank, resource.id));
    if let [(first, one), (second, other), ..] = ranked.as_slice()
        && first == second
        && one.is_active
    {
        return Err(HelpDeskError::Refused(format!(
            "two active Autotask resources have “{name}”: {} and {}; change the address of one",
            one.name, other.name
        ))
        .into());
    }
    Ok(ranked.into_iter().next().map(|(_, resource)| resource))
}

fn read_resource(row: &Value) -> Option<Resource> {
    let text = |name: &str| row[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let name = [text("firstName"), text("lastName")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    Some(Resource {
        id: row["id"].as_i64()?,
        name: if name.is_empty() { text("userName").unwrap_or("without a name").to_owned() } else { name },
        email: text("email").map(str::to_owned),
        is_active: row["isActive"].as_bool() != Some(false),
        default_role: row["defaultServiceDeskRoleID"].as_i64(),
    })
}

/// The one row whose `field` is `name`; the tenant decides how it compares, so we look again.
fn only(rows: &[Value], field: &str, name: &str, what: &'static str) -> Result<i64, Fault> {
    let is_it = |row: &&Value| row[field].as_str().is_some_and(|value| value.trim().to_lowercase() == name.to_lowercase());
    let ids: Vec<i64> = rows.iter().filter(is_it).filter_map(|row| row["id"].as_i64()).collect();
    match ids.as_slice() {
        [] => Err(Fault::NotFound(what)),
        [id] => Ok(*id),
        several => {
            let numbers: Vec<String> = several.iter().take(MAX_NAMES).map(ToString::to_string).collect();
            Err(HelpDeskError::Refused(format!("Autotask has more than one {what} “{name}” ({}); give the number", numbers.join(", ")))
                .into())
        }
    }
}

fn names(rows: &[Value], field: &str) -> String {
    let names: Vec<String> =
        rows.iter().filter_map(|row| row[field].as_str()).take(MAX_NAMES).map(|name| format!("“{}”", name.trim())).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_active_person_comes_before_a_gone_one_and_the_first_address_before_the_others() {
        let row = |id: i64, active: bool, field: &str| json!({ "id": id, "isActive": active, "firstName": format!("R{id}"), field: "Rep@Msp.example" });
        let check = |rows: &[Value], expected: Option<i64>| {
            assert_eq!(choose_resource(rows, "rep@msp.example").unwrap().map(|resource| resource.id), expected);
        };
        check(&[row(1, false, "email"), row(2, true, "email3"), row(3, true, "email2")], Some(3));
        check(&[row(1, false, "email")], Some(1));
        check(&[json!({ "id": 9, "isActive": true, "email": "other@msp.example" })], None);
        let twice = choose_resource(&[row(4, true, "email"), row(5, true, "email")], "rep@msp.example");
        assert!(twice.unwrap_err().to_string().contains("R4 and R5"));
    }

    #[test]
    fn one_record_of_a_name_is_wanted_and_0_is_an_id() {
        assert_eq!(only(&[json!({ "id": 0, "companyName": "ACME, Inc. " })], "companyName", "Acme, Inc.", "company").unwrap(), 0);
        assert!(matches!(only(&[json!({ "id": 3, "companyName": "Acme" })], "companyName", "Ac", "company"), Err(Fault::NotFound(_))));
        let rows = [json!({ "id": 3, "name": "A" }), json!({ "id": 4, "name": "a" })];
        assert!(only(&rows, "name", "A", "role").unwrap_err().to_string().contains("3, 4"));
    }
}
