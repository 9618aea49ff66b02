//! Periodic jobs: one per slot, whoever plans.

use std::time::Duration;

use jiff::SignedDuration;
use kernel::job::{Job, JobCx, JobResult, Schedule};
use kernel::types::Timestamp;
use serde::{Deserialize, Serialize};

use super::support::{app, number, rows, sql, state};

#[derive(Default, Serialize, Deserialize)]
struct Hourly {}

impl Job for Hourly {
    const NAME: &'static str = "test.hourly";
    async fn run(self, _: JobCx) -> JobResult {
        Ok(())
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Daily {}

impl Job for Daily {
    const NAME: &'static str = "test.daily";
    async fn run(self, _: JobCx) -> JobResult {
        Ok(())
    }
}

#[tokio::test]
async fn three_schedulers_plan_every_slot_once() {
    let t = app().await;
    let begin: jiff::Timestamp = "2026-11-23T22:30:00Z".parse().expect("time");
    let schedules = [
        Schedule::every::<Hourly>(Duration::from_secs(3600)),
        Schedule::every::<Daily>(Duration::from_secs(86_400)),
    ];
    let schedulers = (0..3).map(|_| {
        let app = state(&t, 2);
        async move {
            let mut planned = 0;
            // Five looks per slot, four slots.
            for minutes in (0..240).step_by(12) {
                let now = Timestamp(begin + SignedDuration::from_mins(minutes));
                planned += worker::plan(&app, &schedules, now).await.expect("planned");
            }
            app.db.close();
            planned
        }
    });
    let planned = futures::future::join_all(schedulers).await;
    let mut conn = sql(&t).await;
    // 22:00 to 02:00, two days.
    assert_eq!(
        rows(
            &mut conn,
            "select name, count(*) from jobs group by name order by name"
        )
        .await,
        ["test.daily 1", "test.hourly 1"],
        "while one waits, no other is added"
    );
    assert_eq!(planned.iter().sum::<u64>(), 7, "{planned:?}");
    assert_eq!(number(&mut conn, "select count(*) from schedule_slots").await, 7);
    let slots = rows(&mut conn, "select to_char(slot at time zone 'utc', 'DD HH24:MI') from schedule_slots where name = 'test.hourly' order by slot").await;
    assert_eq!(
        slots,
        ["23 22:00", "23 23:00", "24 00:00", "24 01:00", "24 02:00"]
    );
    assert_eq!(
        rows(&mut conn, "select distinct tenant_id from jobs").await,
        [uuid::Uuid::nil().to_string()]
    );
    // The next slot after it has run has one again.
    for hour in 5..8 {
        sqlx::query("delete from jobs")
            .execute(&mut conn)
            .await
            .expect("done");
        let now = Timestamp(begin + SignedDuration::from_hours(hour));
        worker::plan(&t.app, &schedules, now).await.expect("planned");
        assert_eq!(rows(&mut conn, "select name from jobs").await, ["test.hourly"]);
    }
}
