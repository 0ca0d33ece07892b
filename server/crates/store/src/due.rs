//! The statements that find due events and lease them.

/// Jumps from slot to slot along the index `inbox_event_due`, and in each looks at the first event that nobody works at. If none is due at
/// all, which `inbox_event_next` tells, it does not begin. `$1`: now.
///
/// Written so that the cost does not depend on statistics: with EXISTS, or with the time compared inside, PostgreSQL may read all that is due.
pub(crate) const SLOTS_WITH_WORK: &str = "
    WITH RECURSIVE slots (slot) AS (
        SELECT CAST('' AS TEXT) WHERE (
            SELECT e.id FROM inbox_event e WHERE e.state IN ('ready', 'leased') AND e.not_before <= $1
            AND (e.state = 'ready' OR e.lease_until < $1) ORDER BY e.not_before LIMIT 1
        ) IS NOT NULL
        UNION ALL
        SELECT (SELECT e.slot FROM inbox_event e WHERE e.state IN ('ready', 'leased') AND e.slot > slots.slot ORDER BY e.slot LIMIT 1)
        FROM slots WHERE slots.slot IS NOT NULL
    )
    SELECT slot FROM slots WHERE slot <> '' AND (
        SELECT e.not_before FROM inbox_event e WHERE e.slot = slots.slot AND e.state IN ('ready', 'leased')
        AND (e.state = 'ready' OR e.lease_until < $1) ORDER BY e.not_before, e.id LIMIT 1
    ) <= $1";

/// Leases due events. Of one session (same account and lsid), a lower rank goes first, and one that is worked at is not overtaken by one that
/// was stored later with an earlier id; of one ticket, the session that ended first (ends wait for ends only, so that no two events wait for
/// each other).
/// Parameters: `$1` slot, `$2` owner, `$3` now, `$4` lease end, `$5` limit. Databases differ in `$lock` only.
macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "UPDATE inbox_event SET state = 'leased', attempts = attempts + 1, lease_epoch = lease_epoch + 1, lease_owner = $2, lease_until = $4 ",
            "WHERE id IN (SELECT e.id FROM inbox_event e WHERE e.slot = $1 AND e.state IN ('ready', 'leased') AND e.not_before <= $3 ",
            "AND (e.state = 'ready' OR e.lease_until < $3) ",
            "AND NOT EXISTS (SELECT 1 FROM inbox_event o WHERE o.account = e.account AND o.lsid = e.lsid AND o.state IN ('ready', 'leased') ",
            "AND o.id <> e.id AND (o.rank < e.rank OR (o.rank = e.rank AND o.id < e.id) OR (o.state = 'leased' AND o.lease_until >= $3)) ",
            // A join whose next try is far away holds up nothing: the session's end does what is left of it.
            "AND NOT (o.rank = 0 AND e.rank > 0 AND o.state = 'ready' AND o.not_before > $3 + 5000)) ",
            "AND NOT (e.kind = 'session_end' AND EXISTS (SELECT 1 FROM inbox_event t WHERE t.account = e.account AND t.ticket = e.ticket ",
            // While it is not known whose a session is, it may be for this very ticket.
            "AND e.connection IS NOT NULL AND (t.connection = e.connection OR t.connection IS NULL) AND t.state IN ('ready', 'leased') AND t.kind = 'session_end' AND t.lsid <> e.lsid AND t.id < e.id)) ",
            "ORDER BY e.not_before, e.id LIMIT $5 ",
            $lock,
            ") RETURNING id, tenant, account, connection, kind, lsid, ticket, origin, received_at, attempts, lease_epoch"
        )
    };
}
pub(crate) use claim;
