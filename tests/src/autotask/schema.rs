//! The entities and their fields: names, types, lengths, which are required, read-only or choices.
//!
//! A part of what the real product has, under its names (autotask-extension.md a.5 to a.10); what stands here is what can be
//! written, queried and read. Must not hold what differs between tenants.

use serde_json::{Map, Value, json};

/// A kind of record, named as in paths: `Tickets`, `TicketNotes`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// Files on tickets, without their content.
    AttachmentInfo,
    /// Work types and other codes; work types have `useType` 1.
    BillingCodes,
    /// Customers; id 0 is the tenant's own organisation.
    Companies,
    /// Devices.
    ConfigurationItems,
    /// Customers' people.
    Contacts,
    /// Which person may work in which role on tickets.
    ResourceServiceDeskRoles,
    /// The tenant's own people.
    Resources,
    /// Roles.
    Roles,
    /// Further devices of a ticket.
    TicketAdditionalConfigurationItems,
    /// Notes.
    TicketNotes,
    /// Tickets.
    Tickets,
    /// Time worked.
    TimeEntries,
}

/// A record by field names, spelt as in answers.
pub type Record = Map<String, Value>;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Decimal,
    /// At most so many UTF-16 units, which is what the real product's strings consist of.
    Text(usize),
    Time,
    Boolean,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Text(_) => "string",
            Self::Time => "datetime",
            Self::Boolean => "boolean",
        }
    }
}

/// A field of an entity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub read_only: bool,
    pub queryable: bool,
    pub picklist: bool,
    /// Field whose value decides which choices there are.
    pub parent: &'static str,
    pub refers_to: Option<Entity>,
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: false, read_only: false, queryable: true, picklist: false, parent: "", refers_to: None }
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    const fn not_queryable(mut self) -> Self {
        self.queryable = false;
        self
    }

    const fn picklist(mut self) -> Self {
        self.picklist = true;
        self
    }

    const fn parent(mut self, field: &'static str) -> Self {
        self.parent = field;
        self
    }

    const fn refers_to(mut self, entity: Entity) -> Self {
        self.refers_to = Some(entity);
        self
    }

    /// As `entityInformation/fields` describes it, without the choices.
    pub(super) fn json(&self) -> Value {
        let length = if let Kind::Text(length) = self.kind { length } else { 0 };
        json!({
            "name": self.name,
            "dataType": if self.name == "id" { "long" } else { self.kind.name() },
            "length": length,
            "isRequired": self.required,
            "isReadOnly": self.read_only,
            "isQueryable": self.queryable,
            "isReference": self.refers_to.is_some(),
            "referenceEntityType": self.refers_to.map_or("", Entity::singular),
            "isPickList": self.picklist,
            "picklistValues": null,
            "picklistParentValueField": self.parent,
            "isSupportedWebhookField": false,
        })
    }
}

const fn integer(name: &'static str) -> Field {
    Field::new(name, Kind::Integer)
}

const fn decimal(name: &'static str) -> Field {
    Field::new(name, Kind::Decimal)
}

const fn text(name: &'static str, length: usize) -> Field {
    Field::new(name, Kind::Text(length))
}

const fn time(name: &'static str) -> Field {
    Field::new(name, Kind::Time)
}

const fn boolean(name: &'static str) -> Field {
    Field::new(name, Kind::Boolean)
}

impl Entity {
    /// All of them.
    pub const ALL: &'static [Entity] = &[
        Entity::AttachmentInfo,
        Entity::BillingCodes,
        Entity::Companies,
        Entity::ConfigurationItems,
        Entity::Contacts,
        Entity::ResourceServiceDeskRoles,
        Entity::Resources,
        Entity::Roles,
        Entity::TicketAdditionalConfigurationItems,
        Entity::TicketNotes,
        Entity::Tickets,
        Entity::TimeEntries,
    ];

    /// As in paths.
    pub fn path(self) -> &'static str {
        match self {
            Entity::AttachmentInfo => "AttachmentInfo",
            Entity::BillingCodes => "BillingCodes",
            Entity::Companies => "Companies",
            Entity::ConfigurationItems => "ConfigurationItems",
            Entity::Contacts => "Contacts",
            Entity::ResourceServiceDeskRoles => "ResourceServiceDeskRoles",
            Entity::Resources => "Resources",
            Entity::Roles => "Roles",
            Entity::TicketAdditionalConfigurationItems => "TicketAdditionalConfigurationItems",
            Entity::TicketNotes => "TicketNotes",
            Entity::Tickets => "Tickets",
            Entity::TimeEntries => "TimeEntries",
        }
    }

    /// As in error texts and metadata.
    pub(super) fn singular(self) -> &'static str {
        match self {
            Entity::AttachmentInfo => "AttachmentInfo",
            Entity::BillingCodes => "BillingCode",
            Entity::Companies => "Company",
            Entity::ConfigurationItems => "ConfigurationItem",
            Entity::Contacts => "Contact",
            Entity::ResourceServiceDeskRoles => "ResourceServiceDeskRole",
            Entity::Resources => "Resource",
            Entity::Roles => "Role",
            Entity::TicketAdditionalConfigurationItems => "TicketAdditionalConfigurationItem",
            Entity::TicketNotes => "TicketNote",
            Entity::Tickets => "Ticket",
            Entity::TimeEntries => "TimeEntry",
        }
    }

    pub(super) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|entity| entity.path() == path)
    }

    /// The records below `/Tickets/{id}/` under this name.
    pub(super) fn of_child_path(path: &str) -> Option<Self> {
        match path {
            "AdditionalConfigurationItems" => Some(Self::TicketAdditionalConfigurationItems),
            "Attachments" => Some(Self::AttachmentInfo),
            "Notes" => Some(Self::TicketNotes),
            _ => None,
        }
    }

    pub(super) fn has_user_defined_fields(self) -> bool {
        matches!(self, Self::Companies | Self::ConfigurationItems | Self::Contacts | Self::Tickets)
    }

    /// Names are not case-sensitive (a.4, a.6).
    pub(super) fn field(self, name: &str) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::AttachmentInfo => ATTACHMENT_INFO,
            Self::BillingCodes => BILLING_CODES,
            Self::Companies => COMPANIES,
            Self::ConfigurationItems => CONFIGURATION_ITEMS,
            Self::Contacts => CONTACTS,
            Self::ResourceServiceDeskRoles => RESOURCE_SERVICE_DESK_ROLES,
            Self::Resources => RESOURCES,
            Self::Roles => ROLES,
            Self::TicketAdditionalConfigurationItems => TICKET_ADDITIONAL_CONFIGURATION_ITEMS,
            Self::TicketNotes => TICKET_NOTES,
            Self::Tickets => TICKETS,
            Self::TimeEntries => TIME_ENTRIES,
        }
    }
}

const ATTACHMENT_INFO: &[Field] = &[
    integer("id").read_only(),
    time("attachDate").read_only(),
    integer("attachedByContactID").read_only(),
    integer("attachedByResourceID").read_only().refers_to(Entity::Resources),
    text("attachmentType", 30).required(),
    text("contentType", 100).read_only(),
    integer("creatorType").read_only(),
    decimal("fileSize").read_only(),
    text("fullPath", 255).required(),
    integer("impersonatorCreatorResourceID").read_only(),
    integer("parentID").read_only(),
    integer("parentType").read_only(),
    integer("publish").required().picklist(),
    integer("ticketID").read_only().refers_to(Entity::Tickets),
    text("title", 255).required(),
];

const BILLING_CODES: &[Field] = &[
    integer("id").read_only(),
    integer("billingCodeType"),
    integer("department"),
    text("description", 500),
    text("externalNumber", 100),
    boolean("isActive"),
    text("name", 200).required(),
    integer("useType").required().picklist(),
];

const COMPANIES: &[Field] = &[
    integer("id").read_only(),
    text("companyName", 100).required(),
    text("companyNumber", 50),
    integer("companyType"),
    boolean("isActive"),
    integer("ownerResourceID").refers_to(Entity::Resources),
    text("phone", 25),
];

const CONFIGURATION_ITEMS: &[Field] = &[
    integer("id").read_only(),
    integer("companyID").required().refers_to(Entity::Companies),
    integer("contactID").refers_to(Entity::Contacts),
    text("dattoHostname", 255).read_only(),
    boolean("isActive"),
    text("location", 100),
    text("notes", 5000),
    integer("productID"),
    text("referenceNumber", 50),
    text("referenceTitle", 100),
    text("rmmDeviceAuditHostname", 255).read_only(),
    text("rmmDeviceAuditIPAddress", 50).read_only(),
    integer("rmmDeviceID"),
    text("rmmDeviceUID", 50),
    text("serialNumber", 100),
];

const CONTACTS: &[Field] = &[
    integer("id").read_only(),
    integer("companyID").required().refers_to(Entity::Companies),
    text("emailAddress", 254),
    text("emailAddress2", 254),
    text("emailAddress3", 254),
    text("externalID", 50),
    text("firstName", 50).required(),
    // An integer, unlike every other `isActive` (a.4).
    integer("isActive").required(),
    text("lastName", 50),
    text("mobilePhone", 25),
    text("phone", 25),
];

const RESOURCE_SERVICE_DESK_ROLES: &[Field] = &[
    integer("id").read_only(),
    boolean("isActive"),
    boolean("isDefault"),
    integer("resourceID").required().refers_to(Entity::Resources),
    integer("roleID").required().refers_to(Entity::Roles),
];

const RESOURCES: &[Field] = &[
    integer("id").read_only(),
    integer("defaultServiceDeskRoleID").refers_to(Entity::Roles),
    text("email", 254),
    text("email2", 254),
    text("email3", 254),
    text("firstName", 50),
    boolean("isActive"),
    text("lastName", 50),
    integer("licenseType"),
    text("resourceType", 15),
    text("title", 50),
    text("userName", 32),
    integer("userType"),
];

const ROLES: &[Field] = &[
    integer("id").read_only(),
    text("description", 200),
    decimal("hourlyRate"),
    boolean("isActive"),
    boolean("isSystemRole"),
    text("name", 200).required(),
];

const TICKET_ADDITIONAL_CONFIGURATION_ITEMS: &[Field] = &[
    integer("id").read_only(),
    integer("configurationItemID").required().refers_to(Entity::ConfigurationItems),
    integer("ticketID").required().refers_to(Entity::Tickets),
];

const TICKET_NOTES: &[Field] = &[
    integer("id").read_only(),
    time("createDateTime").read_only(),
    integer("createdByContactID").read_only(),
    integer("creatorResourceID").refers_to(Entity::Resources),
    text("description", 32_000).required(),
    integer("impersonatorCreatorResourceID").read_only(),
    integer("impersonatorUpdaterResourceID").read_only(),
    time("lastActivityDate").read_only(),
    integer("noteType").required().picklist(),
    integer("publish").required().picklist(),
    integer("ticketID").required().refers_to(Entity::Tickets),
    text("title", 250),
];

const TICKETS: &[Field] = &[
    integer("id").read_only(),
    integer("assignedResourceID").refers_to(Entity::Resources),
    integer("assignedResourceRoleID").refers_to(Entity::Roles),
    integer("billingCodeID").refers_to(Entity::BillingCodes),
    integer("companyID").required().refers_to(Entity::Companies),
    integer("companyLocationID"),
    integer("completedByResourceID").read_only(),
    time("completedDate").read_only(),
    integer("configurationItemID").refers_to(Entity::ConfigurationItems),
    integer("contactID").refers_to(Entity::Contacts),
    integer("contractID"),
    time("createDate").read_only(),
    // The metadata says that it can be written; it is ignored (a.5).
    integer("createdByContactID"),
    integer("creatorResourceID").refers_to(Entity::Resources),
    integer("creatorType").read_only().not_queryable(),
    text("description", 8000),
    time("dueDateTime"),
    decimal("estimatedHours"),
    text("externalID", 50),
    integer("impersonatorCreatorResourceID").read_only(),
    integer("issueType").picklist(),
    time("lastActivityDate").read_only(),
    integer("lastActivityPersonType").read_only().not_queryable(),
    integer("lastActivityResourceID").read_only(),
    integer("organizationalLevelAssociationID"),
    integer("priority").required().picklist(),
    integer("projectID"),
    text("purchaseOrderNumber", 50),
    integer("queueID").picklist(),
    text("resolution", 32_000),
    text("rmmAlertID", 50),
    integer("serviceLevelAgreementID"),
    integer("source").picklist(),
    integer("status").required().picklist(),
    integer("subIssueType").picklist().parent("issueType"),
    integer("ticketCategory").picklist(),
    text("ticketNumber", 50).read_only(),
    integer("ticketType").picklist(),
    text("title", 255).required(),
];

const TIME_ENTRIES: &[Field] = &[
    integer("id").read_only(),
    integer("billingCodeID").refers_to(Entity::BillingCodes),
    integer("contractID"),
    time("createDateTime").read_only(),
    integer("creatorUserID").read_only(),
    time("dateWorked"),
    time("endDateTime"),
    decimal("hoursToBill"),
    decimal("hoursWorked"),
    integer("impersonatorCreatorResourceID").read_only(),
    integer("internalBillingCodeID").refers_to(Entity::BillingCodes),
    text("internalNotes", 32_000),
    boolean("isNonBillable"),
    time("lastModifiedDateTime").read_only(),
    decimal("offsetHours"),
    integer("resourceID").required().refers_to(Entity::Resources),
    integer("roleID").refers_to(Entity::Roles),
    boolean("showOnInvoice"),
    time("startDateTime"),
    text("summaryNotes", 32_000),
    integer("taskID"),
    integer("ticketID").refers_to(Entity::Tickets),
    integer("timeEntryType").read_only(),
];
