//! The choices a new tenant has, and people and tickets to work with.
//!
//! Made-up names only. Ids of choices differ between tenants (autotask-extension.md a.5), so most here are large.

use std::collections::BTreeMap;

use serde_json::json;

use super::schema::Entity;
use super::tenant::{Choice, Tenant};

/// What [`super::SimulatedAutotask::fill_sample_data`] made.
#[derive(Clone, Debug)]
pub struct SampleData {
    /// Harbour Logistics.
    pub company: i64,
    /// Tom Okafor of that company.
    pub contact: i64,
    /// The ticket's device `HBR-LT-0147`.
    pub device: i64,
    /// Another device of the company, `HBR-PC-0042`.
    pub other_device: i64,
    /// Anna Lindqvist, `anna.lindqvist@msp.example`.
    pub technician: i64,
    /// The role she works in, `Technician`.
    pub role: i64,
    /// A role she does not have, `Project Engineer`.
    pub other_role: i64,
    /// An active work type, `Remote Support`.
    pub work_type: i64,
    /// One no longer in use.
    pub old_work_type: i64,
    /// A code that is no work type.
    pub material_code: i64,
    /// "VPN drops".
    pub ticket: i64,
    /// Its number.
    pub ticket_number: String,
}

/// Status "New".
pub const STATUS_NEW: i64 = 1;
/// Priority "Medium".
pub const PRIORITY_MEDIUM: i64 = 2;
/// Queue "Level I Support".
pub const QUEUE: i64 = 29_682_833;
/// The ticket category that makes the queue required.
pub const CATEGORY_INCIDENT: i64 = 3;

pub(super) fn picklists() -> BTreeMap<(Entity, &'static str), Vec<Choice>> {
    let publish = [Choice::new(1, "All Autotask Users"), Choice::new(2, "Internal Project Team"), Choice::new(4, "Internal & Co-managed")];
    let note_types = [
        Choice::new(1, "Task Summary"),
        Choice::new(2, "Task Detail").by_default(),
        Choice::new(3, "Task Notes"),
        Choice::new(13, "Workflow Rule Note - Task"),
        Choice::new(18, "Client Portal Note"),
        Choice::new(99, "RMM Note"),
        Choice::new(29_683_411, "Remote Support"),
        Choice::new(29_683_412, "Remote Assistance (old)").inactive(),
    ];
    let ticket = |field: &'static str, choices: Vec<Choice>| ((Entity::Tickets, field), choices);
    BTreeMap::from([
        ((Entity::AttachmentInfo, "publish"), publish.to_vec()),
        ((Entity::BillingCodes, "useType"), vec![Choice::new(1, "General Allocation Code"), Choice::new(4, "Material Code")]),
        ((Entity::TicketNotes, "noteType"), note_types.to_vec()),
        ((Entity::TicketNotes, "publish"), publish.to_vec()),
        ticket(
            "status",
            vec![
                Choice::new(STATUS_NEW, "New").by_default(),
                Choice::new(5, "Complete"),
                Choice::new(7, "Waiting Customer"),
                Choice::new(8, "In Progress"),
            ],
        ),
        ticket(
            "priority",
            vec![
                Choice::new(4, "Critical"),
                Choice::new(1, "High"),
                Choice::new(PRIORITY_MEDIUM, "Medium").by_default(),
                Choice::new(3, "Low (old)").inactive(),
            ],
        ),
        ticket("queueID", vec![Choice::new(8, "Monitoring Alert"), Choice::new(QUEUE, "Level I Support")]),
        ticket("source", vec![Choice::new(2, "Phone"), Choice::new(4, "Email"), Choice::new(29_683_420, "Remote Session")]),
        ticket("issueType", vec![Choice::new(10, "Computer"), Choice::new(11, "Network")]),
        ticket("subIssueType", vec![Choice::new(136, "Software").under(10), Choice::new(137, "VPN").under(11)]),
        ticket("ticketType", vec![Choice::new(1, "Service Request").by_default(), Choice::new(2, "Incident"), Choice::new(3, "Problem")]),
        ticket("ticketCategory", vec![Choice::new(1, "Standard").by_default(), Choice::new(CATEGORY_INCIDENT, "Incident")]),
    ])
}

pub(super) fn fill(tenant: &mut Tenant) -> anyhow::Result<SampleData> {
    for entity in [Entity::ConfigurationItems, Entity::Tickets] {
        tenant.user_defined_fields.entry(entity).or_default().push("Device Name".to_owned());
    }
    // The tenant's own organisation (a.5).
    tenant.add(Entity::Companies, json!({"id": 0, "companyName": "Northwind Managed Services", "isActive": true}))?;
    let company = tenant.add(Entity::Companies, json!({"companyName": "Harbour Logistics", "isActive": true}))?;
    let contact = tenant.add(
        Entity::Contacts,
        json!({"companyID": company, "firstName": "Tom", "lastName": "Okafor", "emailAddress": "tom@customer.example", "isActive": 1}),
    )?;
    let mut device = |name: &str, serial: &str| {
        tenant.add(
            Entity::ConfigurationItems,
            json!({
                "companyID": company, "contactID": contact, "referenceTitle": name, "rmmDeviceAuditHostname": name,
                "serialNumber": serial, "isActive": true, "userDefinedFields": [{"name": "Device Name", "value": name}],
            }),
        )
    };
    let (device, other_device) = (device("HBR-LT-0147", "SN-147")?, device("HBR-PC-0042", "SN-42")?);

    let role = tenant.add(Entity::Roles, json!({"name": "Technician", "isActive": true}))?;
    let other_role = tenant.add(Entity::Roles, json!({"name": "Project Engineer", "isActive": true}))?;
    let technician = tenant.add(
        Entity::Resources,
        json!({
            "firstName": "Anna", "lastName": "Lindqvist", "email": "anna.lindqvist@msp.example", "userName": "anna.lindqvist",
            "isActive": true, "defaultServiceDeskRoleID": role,
        }),
    )?;
    tenant.add(Entity::ResourceServiceDeskRoles, json!({"resourceID": technician, "roleID": role, "isActive": true, "isDefault": true}))?;
    let mut code = |name: &str, use_type: i64, active: bool| {
        tenant.add(Entity::BillingCodes, json!({"name": name, "useType": use_type, "isActive": active}))
    };
    let (work_type, old_work_type, material_code) =
        (code("Remote Support", 1, true)?, code("Telephone Support", 1, false)?, code("Cable", 4, true)?);
    let ticket = tenant.add(
        Entity::Tickets,
        json!({
            "companyID": company, "contactID": contact, "configurationItemID": device, "title": "VPN drops",
            "description": "It drops every morning.", "status": STATUS_NEW, "priority": PRIORITY_MEDIUM, "queueID": QUEUE,
            "ticketCategory": 1, "ticketType": 1,
        }),
    )?;
    let number = tenant.get(Entity::Tickets, ticket).and_then(|record| record["ticketNumber"].as_str()).unwrap_or_default();
    Ok(SampleData {
        ticket_number: number.to_owned(),
        company,
        contact,
        device,
        other_device,
        technician,
        role,
        other_role,
        work_type,
        old_work_type,
        material_code,
        ticket,
    })
}
