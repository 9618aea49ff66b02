//! Old months are dropped whole, and what is left still verifies.

use audit::Fault;
use sqlx::PgConnection;

use super::{create_brand, execute, whole};
use crate::app;

async fn count(conn: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(conn).await.expect("count")
}

/// Moves what there is into the past, links and all, as if chained then.
const AGE: &str = "
  set search_path = ally, public;
  do $$ begin
    execute format('create table audit_entries_%s partition of audit_entries for values from (%L) to (%L)', '201001', '2010-01-01 00:00Z', '2010-02-01 00:00Z');
    execute format('create table audit_links_%s partition of audit_links for values from (%L) to (%L)', '201001', '2010-01-01 00:00Z', '2010-02-01 00:00Z');
    execute format('create table security_events_%s partition of security_events for values from (%L) to (%L)', '201001', '2010-01-01 00:00Z', '2010-02-01 00:00Z');
  end $$;
  alter table audit_entries_201001 owner to ally_owner;
  alter table audit_links_201001 owner to ally_owner;
  alter table security_events_201001 owner to ally_owner;
  update audit_entries set occurred_at = '2010-01-15 00:00Z';
  update security_events set occurred_at = '2010-01-15 00:00Z'";

#[tokio::test]
async fn old_months_go_and_the_chain_still_holds() {
    let t = app().await;
    let a = t.tenant("a").await;
    for n in 0..5 {
        create_brand(&a, &format!("Old {n}")).await;
    }
    let mut conn = t.superuser().await;
    execute(&mut conn, AGE).await.expect("age");
    assert_eq!(whole(&t, a.company()).await, 7);
    // Five of seven links lie in the old month, two were made late.
    execute(
        &mut conn,
        "update audit_links set chained_at = '2010-01-16 00:00Z' where seq <= 5",
    )
    .await
    .expect("age");
    create_brand(&a, "New").await;
    assert_eq!(whole(&t, a.company()).await, 8);

    audit::rotate(&t.app, 12).await.expect("rotated");
    assert_eq!(count(&mut conn, "select count(*) from audit_entries").await, 1);
    assert_eq!(count(&mut conn, "select count(*) from audit_links").await, 3);
    assert_eq!(
        count(
            &mut conn,
            "select count(*) from security_events where occurred_at < '2011-01-01'"
        )
        .await,
        0
    );
    assert_eq!(whole(&t, a.company()).await, 3);
    create_brand(&a, "Newer").await;
    assert_eq!(whole(&t, a.company()).await, 4);

    // What is left is guarded as before, also where it joins what is gone.
    execute(&mut conn, "delete from audit_links where seq = 6")
        .await
        .expect("delete");
    let report = audit::verify(&t.app, a.company(), &[]).await.expect("verified");
    assert_eq!(report.faults[0], Fault::LinksMissing { from: 6, to: 6 });
}

/// Whatever is asked for, a year is kept, and the months to come are there.
#[tokio::test]
async fn a_year_is_always_kept() {
    let t = app().await;
    let a = t.tenant("a").await;
    create_brand(&a, "Café").await;
    let mut conn = t.superuser().await;
    let partitions =
        "select count(*) from pg_class where relnamespace = 'ally'::regnamespace and relispartition
                       and relname ^@ 'audit_entries_' and relkind = 'r'";
    execute(
        &mut conn,
        "drop table ally.audit_entries_202705, ally.audit_links_202705",
    )
    .await
    .ok();
    audit::rotate(&t.app, 1).await.expect("rotated");
    audit::rotate(&t.app, -5).await.expect("rotated");
    assert_eq!(count(&mut conn, partitions).await, 7);
    assert_eq!(whole(&t, a.company()).await, 3);
}
