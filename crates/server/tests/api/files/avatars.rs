//! Pictures of people, from the upload to the sweep.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Client, TestApp};

use super::support::{execute, http, png, put, quarantined, tidy, until, value};
use crate::app;

/// Begins an upload; the answer.
async fn begin(user: &Client) -> Value {
    let new = json!({"content_type": "image/png"});
    user.post("/auth/me/avatar", new).await.created().json
}

/// Uploads and has it taken.
async fn upload(t: &TestApp, user: &Client, bytes: Vec<u8>) {
    assert_eq!(put(&begin(user).await, bytes).await, 200);
    t.run_jobs().await;
}

async fn avatar(user: &Client) -> Value {
    user.get("/auth/me").await.ok().json["avatar"].clone()
}

/// Width of what the URL of a thumbnail answers, or the status if that is none.
async fn width(avatar: &Value, name: &str) -> Result<u32, u16> {
    let url = avatar["urls"][name].as_str().expect("a URL");
    let response = http().get(url).send().await.expect("the store answers");
    if response.status() != 200 {
        return Err(response.status().as_u16());
    }
    let bytes = response.bytes().await.expect("a body");
    Ok(image::load_from_memory(&bytes).expect("a picture").width())
}

#[tokio::test]
async fn a_person_in_no_company_has_an_avatar() {
    let t = app().await;
    let ana = t.user("ana").await;
    assert_eq!(avatar(&ana).await, Value::Null);
    upload(&t, &ana, png(600, 600)).await;
    let first = avatar(&ana).await;
    assert_eq!(
        (&first["status"], &first["reason"]),
        (&json!("ready"), &Value::Null)
    );
    assert_eq!(width(&first, "thumb_160").await, Ok(160));
    assert_eq!(width(&first, "thumb_480").await, Ok(480));
    assert_eq!(width(&first, "thumb_1280").await, Ok(600));

    upload(&t, &ana, png(300, 300)).await;
    let second = avatar(&ana).await;
    assert_eq!(width(&second, "thumb_1280").await, Ok(300));
    assert_eq!(
        width(&first, "thumb_160").await,
        Err(404),
        "the one before is gone"
    );
    assert_eq!(files::sweep(&t.app, true).await.expect("a sweep").objects, 3);

    ana.delete("/auth/me/avatar").await.status(204);
    t.run_jobs().await;
    assert_eq!(avatar(&ana).await, Value::Null);
    assert_eq!(files::sweep(&t.app, true).await.expect("a sweep").objects, 0);
    ana.delete("/auth/me/avatar").await.status(204);
}

#[tokio::test]
async fn what_is_no_picture_takes_nothing_away() {
    let t = app().await;
    let ana = t.user("ana").await;
    upload(&t, &ana, png(200, 200)).await;
    let shown = avatar(&ana).await["urls"].clone();
    let five_megabytes = [png(9, 9), vec![0; 5 * 1024 * 1024]].concat();
    for (bytes, reason) in [
        (b"<svg onload='alert(1)'/>".to_vec(), "active-content"),
        (five_megabytes, "too-large"),
    ] {
        upload(&t, &ana, bytes).await;
        let after = avatar(&ana).await;
        assert_eq!(
            (&after["status"], &after["reason"]),
            (&json!("rejected"), &json!(reason))
        );
        assert_eq!(after["urls"], shown);
        assert_eq!(width(&after, "thumb_160").await, Ok(160));
    }
    assert_eq!(files::sweep(&t.app, true).await.expect("a sweep").objects, 3);

    let refused = ana
        .post("/auth/me/avatar", json!({"content_type": "image/svg+xml"}))
        .await;
    refused.problem(422, "file-type-not-allowed");
    let large = json!({"content_type": "image/png", "size": 5 * 1024 * 1024 + 1});
    ana.post("/auth/me/avatar", large)
        .await
        .problem(422, "file-too-large");
}

#[tokio::test]
async fn an_upload_that_does_not_come_expires() {
    let t = app().await;
    let ana = t.user("ana").await;
    begin(&ana).await;
    t.run_jobs().await;
    assert_eq!(avatar(&ana).await["status"], "pending");
    t.pass(Duration::from_mins(30)).await;
    t.run_jobs().await;
    let status = value(&t, "select state from ally.avatars").await;
    assert_eq!(status, "expired");
}

/// Two uploads are open: the later one is the avatar, whichever bytes come first.
#[tokio::test]
async fn the_later_upload_is_the_avatar() {
    let t = app().await;
    let ana = t.user("ana").await;
    let (earlier, later) = (begin(&ana).await, begin(&ana).await);
    assert_eq!(put(&later, png(222, 222)).await, 200);
    assert_eq!(put(&earlier, png(333, 333)).await, 200);
    t.run_jobs().await;
    assert_eq!(width(&avatar(&ana).await, "thumb_1280").await, Ok(222));
    let found = files::sweep(&t.app, false).await.expect("a sweep");
    assert_eq!(
        (found.quarantined.count, found.unreferenced.count),
        (0, 0),
        "{found:?}"
    );
}

#[tokio::test]
async fn what_is_put_for_no_avatar_that_is_waited_for_is_removed() {
    let t = app().await;
    let ana = t.user("ana").await;
    let superseded = begin(&ana).await;
    let taken = begin(&ana).await;
    assert_eq!(put(&taken, png(222, 222)).await, 200);
    t.run_jobs().await;
    let removed = async |upload: &Value| {
        assert_eq!(put(upload, png(333, 333)).await, 200);
        until(async || quarantined(&t).await == 1).await;
        let waits = "select count(*)::text from ally.jobs where name = 'files.remove_objects'";
        until(async || value(&t, waits).await == "1").await;
        t.run_jobs().await;
        assert_eq!(quarantined(&t).await, 0);
    };
    removed(&superseded).await;
    removed(&taken).await;
    assert_eq!(width(&avatar(&ana).await, "thumb_1280").await, Ok(222));
    ana.delete("/auth/me/avatar").await.status(204);
    t.run_jobs().await;
    removed(&taken).await;
}

#[tokio::test]
async fn sweeping_keeps_avatars_and_removes_those_of_people_who_are_gone() {
    let t = app().await;
    let (ana, luz) = (t.user("ana").await, t.user("luz").await);
    t.tenant("acme").await;
    upload(&t, &ana, png(200, 200)).await;
    upload(&t, &luz, png(200, 200)).await;
    let shown = avatar(&ana).await;
    execute(&t, "delete from ally.users where first_name = 'luz'").await;
    let found = files::sweep(&t.app, false).await.expect("a sweep");
    assert_eq!((found.young.count, found.unreferenced.count), (3, 0), "{found:?}");
    t.pass(Duration::from_hours(24 * 8)).await;
    let found = files::sweep(&t.app, false).await.expect("a sweep");
    assert_eq!(
        (found.unreferenced.count, found.foreign.count),
        (3, 0),
        "{found:?}"
    );
    assert_eq!(files::sweep(&t.app, true).await.expect("a sweep").objects, 3);
    assert_eq!(width(&shown, "thumb_160").await, Ok(160));
}

/// A person has one avatar in all companies, and shows nobody's else.
#[tokio::test]
async fn everybody_sees_his_own() {
    let t = app().await;
    let a = t.tenant("a").await;
    let b = t.member(&a, "admin").await;
    upload(&t, &a, png(100, 100)).await;
    assert_eq!(avatar(&b).await, Value::Null);
    b.delete("/auth/me/avatar").await.status(204);
    assert_eq!(width(&avatar(&a).await, "thumb_160").await, Ok(100));
    t.anonymous()
        .post("/auth/me/avatar", json!({"content_type": "image/png"}))
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_avatar_goes_with_the_account() {
    let t = app().await;
    let ana = t.user("ana").await;
    upload(&t, &ana, png(200, 200)).await;
    ana.post("/auth/me/delete", json!({"current_password": testkit::PASSWORD}))
        .await
        .status(204);
    t.run_jobs().await;
    assert_eq!(value(&t, "select count(*)::text from ally.avatars").await, "0");
    assert_eq!(files::sweep(&t.app, true).await.expect("a sweep").objects, 0);
}

#[tokio::test]
async fn an_avatar_whose_job_was_lost_ends() {
    let t = app().await;
    let ana = t.user("ana").await;
    let body = json!({"content_type": "image/png"});
    ana.post("/auth/me/avatar", body).await.created();
    execute(&t, "delete from ally.jobs where name = 'files.take_avatar'").await;
    execute(
        &t,
        "update ally.avatars set upload_expires_at = now() - interval '59 minutes'",
    )
    .await;
    tidy(&t).await;
    assert_eq!(avatar(&ana).await["status"], "pending");
    execute(
        &t,
        "update ally.avatars set upload_expires_at = now() - interval '61 minutes'",
    )
    .await;
    execute(&t, "delete from ally.schedule_slots").await;
    tidy(&t).await;
    assert_eq!(avatar(&ana).await["status"], "expired");
}
