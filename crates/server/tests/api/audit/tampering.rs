//! Whoever owns the database changes rows of the trail: each time it is found, and the first place named.

use std::time::Duration;

use audit::Fault;
use sqlx::PgConnection;
use testkit::TestApp;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{chain, create_brand, execute, whole};
use crate::app;

const ENTRIES: i64 = 200;

fn rounds() -> u64 {
    if std::env::var_os("ALLY360_TEST_FULL").is_some() {
        1000
    } else {
        60
    }
}

/// A company with a long trail, a copy of it to go back to, and a source of randomness.
struct Trail {
    t: TestApp,
    company: Uuid,
    conn: PgConnection,
    random: u64,
}

impl Trail {
    async fn new() -> Trail {
        let t = app().await;
        let a = t.tenant("a").await;
        let company = a.company();
        let mut conn = t.superuser().await;
        execute(
            &mut conn,
            &format!(
                "set search_path = ally, public;
                 insert into brands (tenant_id, id, name) select '{company}', gen_random_uuid(), 'Brand ' || n
                   from generate_series(1, {}) as n",
                ENTRIES - 2
            ),
        )
        .await
        .expect("brands");
        assert_eq!(whole(&t, company).await, ENTRIES);
        // Until something is known of the transactions to come.
        let unknown = "select seen_at = 'epoch' from audit_progress";
        while sqlx::query_scalar(unknown)
            .fetch_one(&mut conn)
            .await
            .expect("progress")
        {
            chain(&t, company).await;
        }
        execute(
            &mut conn,
            "create table public.entries as select * from audit_entries;
             create table public.links as select * from audit_links;
             create table public.heads as select * from audit_heads",
        )
        .await
        .expect("copy");
        Trail {
            t,
            company,
            conn,
            random: 360,
        }
    }

    async fn restore(&mut self) {
        execute(
            &mut self.conn,
            "delete from audit_entries; insert into audit_entries select * from public.entries;
             delete from audit_links; insert into audit_links select * from public.links;
             delete from audit_heads; insert into audit_heads select * from public.heads",
        )
        .await
        .expect("restore");
    }

    /// A number from 1 to `most`.
    fn any(&mut self, most: i64) -> i64 {
        // Knuth's generator: the same rounds every time.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.random >> 33).expect("31 bits") % most + 1
    }

    async fn entry(&mut self, seq: i64) -> Uuid {
        sqlx::query_scalar("select entry_id from public.links where seq = $1")
            .bind(seq)
            .fetch_one(&mut self.conn)
            .await
            .expect("entry")
    }

    async fn first_fault(&self) -> Option<Fault> {
        let report = audit::verify(&self.t.app, self.company, &[])
            .await
            .expect("verified");
        report.faults.into_iter().next()
    }
}

/// Columns of an entry, and another value for each.
const CHANGES: [&str; 12] = [
    "after = '{\"name\": \"Other\"}'",
    "before = '{}'",
    "after = null",
    "entity = 'products'",
    "entity_id = entity_id || '0'",
    "action = 'update'",
    "actor_kind = 'user'",
    "actor_id = '00000000-0000-4000-8000-000000000001'",
    "actor_name = 'somebody'",
    "address = '203.0.113.7'",
    "request_id = 'another'",
    "xact = xact + 1",
];

#[tokio::test]
async fn every_tampering_is_found_and_named() {
    let mut trail = Trail::new().await;
    let mut missed = Vec::new();
    for round in 0..rounds() {
        let (seq, other) = (trail.any(ENTRIES), trail.any(ENTRIES));
        let other = if other == seq { seq % ENTRIES + 1 } else { other };
        let entry = trail.entry(seq).await;
        let of = |seq: i64| format!("(select entry_id from public.links where seq = {seq})");
        let inserted = Uuid::from_u128(0x360_0000_0000 + u128::from(round));
        let columns = "tenant_id, xact, actor_kind, entity, entity_id, action, before, after";
        let (lower, upper) = (seq.min(other), seq.max(other));
        let (sql, expected) = match round % 10 {
            0..=1 => {
                let change = CHANGES[usize::try_from(trail.any(12)).expect("small") - 1];
                (
                    format!("update audit_entries set {change} where id = '{entry}'"),
                    Fault::Changed { seq, entry },
                )
            }
            2 => (
                format!("delete from audit_entries where id = '{entry}'"),
                Fault::Removed { seq, entry },
            ),
            3 => (
                format!(
                    "delete from audit_entries where id = '{entry}'; delete from audit_links where entry_id = '{entry}'"
                ),
                Fault::LinksMissing { from: seq, to: seq },
            ),
            4 => (
                format!(
                    "insert into audit_entries (id, occurred_at, {columns})
                     select '{inserted}', occurred_at, {columns} from audit_entries where id = '{entry}'"
                ),
                Fault::Inserted { entry: inserted },
            ),
            5 => (
                // With a transaction of now, which it truly has, and a time before.
                format!(
                    "insert into audit_entries (id, occurred_at, tenant_id, actor_kind, entity, entity_id, action)
                     values ('{inserted}', now() - interval '10 minutes', '{}', 'user', 'brands', 'x', 'create')",
                    trail.company
                ),
                Fault::Backdated {
                    seq: None,
                    entry: inserted,
                },
            ),
            6 => (
                // Reordered: two entries change places in the chain.
                format!(
                    "update audit_links set (entry_id, entry_at) =
                       (select entry_id, entry_at from public.links where seq = {lower} + {upper} - audit_links.seq)
                      where seq in ({lower}, {upper})"
                ),
                Fault::Changed {
                    seq: lower,
                    entry: trail.entry(upper).await,
                },
            ),
            7 => (
                format!(
                    "update audit_entries as e set after = o.after from public.entries as o
                      where e.id in ({one}, {two}) and o.id in ({one}, {two}) and o.id <> e.id",
                    one = of(lower),
                    two = of(upper)
                ),
                Fault::Changed {
                    seq: lower,
                    entry: trail.entry(lower).await,
                },
            ),
            8 => (
                format!("update audit_links set hash = sha256(hash) where seq = {seq}"),
                Fault::Changed { seq, entry },
            ),
            _ => (
                format!(
                    "delete from audit_entries where id in (select entry_id from audit_links where seq >= {seq});
                     delete from audit_links where seq >= {seq}"
                ),
                Fault::LinksMissing {
                    from: seq,
                    to: ENTRIES,
                },
            ),
        };
        execute(&mut trail.conn, &sql).await.expect(&sql);
        let found = trail.first_fault().await;
        // Brands 1 to 198 were made alike: only the name in `after` tells them apart, and it does.
        if found.as_ref() != Some(&expected) {
            missed.push(format!("{sql}\n  expected {expected:?}\n  found {found:?}"));
        }
        trail.restore().await;
        assert_eq!(trail.first_fault().await, None, "restored after {sql}");
    }
    assert!(
        missed.is_empty(),
        "{} of {}:\n{}",
        missed.len(),
        rounds(),
        missed.join("\n")
    );
}

/// Who owns the database can make a chain anew; not one that fits the heads kept elsewhere.
#[tokio::test]
async fn a_chain_made_anew_does_not_fit_exported_heads() {
    let mut trail = Trail::new().await;
    let exported = audit::heads(&trail.t.app, Some(trail.company))
        .await
        .expect("heads");
    assert_eq!(exported[0].seq, ENTRIES);
    let a = trail.entry(50).await;
    execute(
        &mut trail.conn,
        &format!(
            "update audit_entries set after = '{{}}' where id = '{a}';
             delete from audit_links; delete from audit_heads;
             update audit_progress set chained_below = 0"
        ),
    )
    .await
    .expect("tampering");
    assert_eq!(whole(&trail.t, trail.company).await, ENTRIES);
    let report = audit::verify(&trail.t.app, trail.company, &exported)
        .await
        .expect("verified");
    assert_eq!(report.faults, [Fault::Rewritten { seq: ENTRIES }]);

    // Cut off, and the head with it.
    trail.restore().await;
    execute(
        &mut trail.conn,
        "delete from audit_entries where id in (select entry_id from audit_links where seq > 150);
         delete from audit_links where seq > 150;
         update audit_heads set seq = 150, hash = (select hash from audit_links where seq = 150)",
    )
    .await
    .expect("tampering");
    assert_eq!(trail.first_fault().await, None);
    let report = audit::verify(&trail.t.app, trail.company, &exported)
        .await
        .expect("verified");
    assert_eq!(report.faults, [Fault::Rewritten { seq: ENTRIES }]);
}

/// A backdated entry that was chained before anybody looked stays known as such.
#[tokio::test]
async fn a_backdated_entry_stays_known() {
    let mut trail = Trail::new().await;
    let sql = format!(
        "insert into audit_entries (occurred_at, tenant_id, actor_kind, entity, entity_id, action)
         values (now() - interval '10 minutes', '{}', 'user', 'brands', 'x', 'create')",
        trail.company
    );
    execute(&mut trail.conn, &sql).await.expect("insert");
    let deadline = Instant::now() + Duration::from_secs(30);
    while audit::chain(&trail.t.app).await.expect("chained") == 0 {
        assert!(Instant::now() < deadline, "the entry still waits");
        sleep(Duration::from_millis(50)).await;
    }
    let fault = trail.first_fault().await;
    assert!(
        matches!(fault, Some(Fault::Backdated { seq: Some(seq), .. }) if seq == ENTRIES + 1),
        "{fault:?}"
    );
}

/// The other companies' trails are whole, whatever happened to one.
#[tokio::test]
async fn a_fault_is_one_companys() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    create_brand(&a, "Café").await;
    create_brand(&b, "Café").await;
    chain(&t, a.company()).await;
    let mut conn = t.superuser().await;
    execute(
        &mut conn,
        &format!(
            "delete from ally.audit_entries where tenant_id = '{}' and entity = 'brands'",
            a.company()
        ),
    )
    .await
    .expect("delete");
    let of_a = audit::verify(&t.app, a.company(), &[]).await.expect("verified");
    assert!(
        matches!(of_a.faults[..], [Fault::Removed { seq: 3, .. }]),
        "{:?}",
        of_a.faults
    );
    assert_eq!(whole(&t, b.company()).await, 3);
}
